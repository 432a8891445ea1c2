#include "grpc_load.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>

namespace fettle::bench {

struct GrpcSender::Impl {
  std::string method;
  std::shared_ptr<grpc::Channel> channel;
  grpc::GenericStub stub;
  Impl(const std::string& address, bool logs)
      : method(logs ? "/opentelemetry.proto.collector.logs.v1.LogsService/Export"
                    : "/opentelemetry.proto.collector.trace.v1.TraceService/Export"),
        channel(make_channel(address)),
        stub(channel) {}

  static std::shared_ptr<grpc::Channel> make_channel(const std::string& address) {
    grpc::ChannelArguments arguments;
    // Each sender has a connection of its own, as separate programs would.
    arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    return grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments);
  }
};

GrpcSender::GrpcSender(const std::string& address, bool logs) : impl_(std::make_unique<Impl>(address, logs)) {}
GrpcSender::~GrpcSender() = default;

bool GrpcSender::send(const std::string& body, std::string& error) {
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  // Not copied: the template stands still until the answer is here.
  const grpc::Slice slice(body.data(), body.size(), grpc::Slice::STATIC_SLICE);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  auto call = impl_->stub.PrepareUnaryCall(&context, impl_->method, request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  if (!status.ok() && error.empty()) error = status.error_message();
  return status.ok();
}

}  // namespace fettle::bench
