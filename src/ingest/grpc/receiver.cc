#include "ingest/grpc/receiver.h"

#include <fmt/format.h>
#include <grpcpp/alarm.h>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/resource_quota.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "ingest/request_hash.h"
#include "otlp/encode.h"

namespace fettle::ingest {
namespace {

constexpr std::string_view kPrefix = "/opentelemetry.proto.collector.";
// A connection whose other end is gone is found out, and one that nobody uses is closed.
constexpr int kKeepaliveMs = 60'000;
constexpr int kKeepaliveTimeoutMs = 20'000;
constexpr int kIdleMs = 600'000;

std::optional<otlp::Signal> signal_of(std::string_view method) {
  if (!method.starts_with(kPrefix)) return std::nullopt;
  method.remove_prefix(kPrefix.size());
  if (method == "trace.v1.TraceService/Export") return otlp::Signal::kTraces;
  if (method == "logs.v1.LogsService/Export") return otlp::Signal::kLogs;
  if (method == "metrics.v1.MetricsService/Export") return otlp::Signal::kMetrics;
  return std::nullopt;
}

grpc::StatusCode code_of(ErrorCode code) {
  switch (code) {
    case ErrorCode::kInvalidArgument:
    case ErrorCode::kUnsupported: return grpc::StatusCode::INVALID_ARGUMENT;
    case ErrorCode::kUnauthenticated: return grpc::StatusCode::UNAUTHENTICATED;
    case ErrorCode::kPermissionDenied: return grpc::StatusCode::PERMISSION_DENIED;
    case ErrorCode::kNotFound: return grpc::StatusCode::NOT_FOUND;
    case ErrorCode::kConflict: return grpc::StatusCode::ABORTED;
    case ErrorCode::kTooLarge:
    case ErrorCode::kResourceExhausted: return grpc::StatusCode::RESOURCE_EXHAUSTED;
    case ErrorCode::kUnavailable:
    case ErrorCode::kDeadlineExceeded:
    case ErrorCode::kCancelled:
    case ErrorCode::kDataLoss:
    case ErrorCode::kInternal: break;
  }
  return grpc::StatusCode::UNAVAILABLE;
}

// With a delay, the details carry RetryInfo: only then do clients retry RESOURCE_EXHAUSTED.
grpc::Status failure(const Error& error) {
  const grpc::StatusCode code = code_of(error.code());
  if (!error.retry_after()) return {code, error.message()};
  return {code, error.message(),
          otlp::encode_status(otlp::Encoding::kProtobuf, static_cast<int>(code), error.message(), error.retry_after())};
}

std::string join(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  bytes.reserve(buffer.Length());
  for (const grpc::Slice& slice : slices) bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  return bytes;
}

// What the calls need; outlives them, because the server waits for its calls before it goes.
struct Shared {
  Front& front;
  const access::Authenticator& authenticator;
  Clock& clock;
  const std::chrono::milliseconds message_time_max;
};

class Call;

// What is left of a call for those who may come too late: its answer, its alarm. Whoever ends the call takes it first;
// the others find it gone.
struct CallEnd {
  std::atomic<Call*> call;
  std::atomic<bool> has_message = false;
  // Held until the front lets go of the request, even when the caller has gone.
  std::optional<Front::Ticket> ticket = {};

  Call* take() { return call.exchange(nullptr); }
};

// One call. Deletes itself in OnDone, which gRPC calls last, after one of answer(), the alarm and OnCancel() ended it:
// a call ends even if nobody answers it.
class Call final : public grpc::ServerGenericBidiReactor {
 public:
  Call(Shared& shared, grpc::GenericCallbackServerContext& context) : shared_(shared) {
    signal_ = signal_of(context.method());
    if (!signal_) {
      end({grpc::StatusCode::UNIMPLEMENTED, "expected an Export method of OTLP trace, logs or metrics v1"});
      return;
    }
    const auto& metadata = context.client_metadata();
    const auto authorization = metadata.find("authorization");
    auto grant = shared_.authenticator.authenticate(
        authorization == metadata.end() ? std::string_view{}
                                        : std::string_view(authorization->second.data(), authorization->second.size()));
    if (grant && !grant->may(access::TokenScope::kIngest)) {
      end({grpc::StatusCode::PERMISSION_DENIED, "this token may not send telemetry"});
      return;
    }
    if (!grant) {
      end(failure(grant.error()));
      return;
    }
    grant_ = *std::move(grant);
    method_ = context.method();
    alarm_.Set(std::chrono::system_clock::now() + shared_.message_time_max, [end = end_](bool is_due) {
      if (!is_due || end->has_message) return;
      if (Call* call = end->take())
        call->Finish({grpc::StatusCode::DEADLINE_EXCEEDED, "the message did not arrive in time"});
    });
    StartRead(&request_);
  }

  void OnReadDone(bool ok) override {
    end_->has_message = true;
    alarm_.Cancel();
    if (!ok) {
      end({grpc::StatusCode::INVALID_ARGUMENT, "the call ended without a message"});
      return;
    }
    auto ticket = shared_.front.admit(request_.Length());
    if (!ticket) {
      end(failure(ticket.error()));
      return;
    }
    end_->ticket.emplace(*std::move(ticket));
    Submission submission;
    submission.workspace = grant_.scope.workspace;
    submission.sender = grant_.sender;
    submission.signal = *signal_;
    submission.received_at = shared_.clock.now();
    submission.body = join(request_);
    submission.hash = hash_request(submission.workspace.value, submission.sender, method_, submission.body);
    request_.Clear();
    shared_.front.submit(std::move(submission), [end = end_](const Result<Accepted>& outcome) {
      end->ticket.reset();
      if (Call* call = end->take()) call->answer(outcome);
    });
  }

  // The caller went away, or the server is stopping and the call had its time.
  void OnCancel() override { end({grpc::StatusCode::CANCELLED, "the call was cancelled"}); }

  void OnDone() override { delete this; }

 private:
  void end(const grpc::Status& status) {
    if (end_->take() != nullptr) Finish(status);
  }

  void answer(const Result<Accepted>& outcome) {
    if (!outcome) {
      Finish(failure(outcome.error()));
      return;
    }
    const std::string bytes =
        otlp::encode_response(*signal_, otlp::Encoding::kProtobuf, outcome->rejected, outcome->message);
    const grpc::Slice slice(bytes);
    response_ = grpc::ByteBuffer(&slice, 1);
    StartWriteAndFinish(&response_, grpc::WriteOptions(), grpc::Status::OK);
  }

  Shared& shared_;
  // Shared with the alarm and with the answer, which may both outlive the call.
  const std::shared_ptr<CallEnd> end_{new CallEnd{this}};
  std::optional<otlp::Signal> signal_;
  access::Grant grant_;
  std::string method_;
  grpc::ByteBuffer request_;
  grpc::ByteBuffer response_;
  grpc::Alarm alarm_;
};

class Service final : public grpc::CallbackGenericService {
 public:
  explicit Service(Shared& shared) : shared_(shared) {}
  grpc::ServerGenericBidiReactor* CreateReactor(grpc::GenericCallbackServerContext* context) override {
    return new Call(shared_, *context);
  }

 private:
  Shared& shared_;
};

}  // namespace

struct GrpcReceiver::Impl {
  Impl(Shared its_shared, Options its_options) : shared(its_shared), options(its_options), service(shared) {}
  Shared shared;
  const Options options;
  Service service;
  std::unique_ptr<grpc::Server> server;
};

GrpcReceiver::GrpcReceiver(Front& front, const access::Authenticator& authenticator, Clock& clock, Options options)
    : impl_(std::make_unique<Impl>(Shared{front, authenticator, clock, options.message_time_max}, options)) {}

GrpcReceiver::~GrpcReceiver() { stop(std::chrono::milliseconds(0)); }

Result<std::string> GrpcReceiver::listen(std::string_view address) {
  grpc::ServerBuilder builder;
  int port = 0;
  builder.AddListeningPort(std::string(address), grpc::InsecureServerCredentials(), &port);
  builder.RegisterCallbackGenericService(&impl_->service);
  builder.SetMaxReceiveMessageSize(static_cast<int>(impl_->options.message_bytes_max));
  // Messages are taken into memory before the front is asked: this bounds what all of them hold together.
  grpc::ResourceQuota quota("fettle_ingest");
  quota.Resize(std::max(impl_->options.in_flight_bytes_max, 2 * impl_->options.message_bytes_max));
  builder.SetResourceQuota(quota);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, impl_->options.calls_max);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, kKeepaliveTimeoutMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, kIdleMs);
  // Two servers on one port would each take half of the calls: refuse the second instead.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  impl_->server = builder.BuildAndStart();
  if (!impl_->server || port == 0) {
    return fail(
        ErrorCode::kUnavailable,
        fmt::format("cannot listen for OTLP/gRPC on {}: the address is taken, not local, or not allowed; choose "
                    "another with --otlp-grpc",
                    address));
  }
  return fmt::format("{}:{}", address.substr(0, address.rfind(':')), port);
}

void GrpcReceiver::stop(std::chrono::milliseconds deadline) {
  if (!impl_->server) return;
  impl_->server->Shutdown(std::chrono::system_clock::now() + deadline);
  impl_->server->Wait();
  impl_->server.reset();
}

}  // namespace fettle::ingest
