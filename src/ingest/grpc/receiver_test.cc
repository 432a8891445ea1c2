#include "ingest/grpc/receiver.h"

#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "ingest/spool_for_test.h"

namespace fettle::ingest {
namespace {

constexpr std::string_view kCatalogue = R"(
identifiers:
  - {number: 1, name: client_id, aliases: [clientId], column: true, low_cardinality: true}
  - {number: 2, name: trace_id, column: true}
)";
constexpr const char* kExport = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
constexpr auto kPatience = std::chrono::seconds(60);

class GrpcReceiverTest : public testing::Test {
 protected:
  void start(FrontOptions front_options, GrpcReceiver::Options options = {}) {
    life_.open();
    front_.emplace(PipelineParts{.identifiers = *identifiers_,
                                 .redactor = redact::Redactor::compile().value(),
                                 .prices = prices_,
                                 .registry = life_.registry},
                   std::move(front_options), *life_.spool, life_.guard, clock_);
    receiver_.emplace(*front_, authenticator_, clock_, options);
    auto address = receiver_->listen("127.0.0.1:0");
    ASSERT_TRUE(address) << address.error().message();
    stub_.emplace(grpc::CreateChannel(*address, grpc::InsecureChannelCredentials()));
  }

  // An empty request, which is a message of no bytes, or with so many of an unknown field.
  std::future<grpc::Status> call(std::string message) {
    struct Open {
      grpc::ClientContext context;
      grpc::ByteBuffer request, response;
      std::promise<grpc::Status> status;
    };
    auto open = std::make_shared<Open>();
    const grpc::Slice slice(message);
    open->request = grpc::ByteBuffer(&slice, 1);
    auto status = open->status.get_future();
    stub_->UnaryCall(&open->context, kExport, {}, &open->request, &open->response,
                     [open](grpc::Status outcome) { open->status.set_value(std::move(outcome)); });
    return status;
  }

  TempFolder folder_;
  SystemClock clock_;
  Life life_{folder_.path(), clock_};
  std::optional<telemetry::IdentifierCatalogue> identifiers_ =
      telemetry::IdentifierCatalogue::parse(kCatalogue).value();
  PriceTable prices_ = PriceTable::parse("models: []").value();
  access::Authenticator authenticator_{nullptr, access::Mode::kDevelopment};
  std::optional<Front> front_;
  std::optional<GrpcReceiver> receiver_;
  std::optional<grpc::GenericStub> stub_;
};

TEST_F(GrpcReceiverTest, ACallIsAnswered) {
  start({});
  EXPECT_TRUE(call({}).get().ok());
}

TEST_F(GrpcReceiverTest, StoppingEndsThoughACallIsNeverAnswered) {
  // Nobody works: what is submitted stays without an answer.
  start({.workers = 0, .in_flight_bytes_max = 100});
  auto status = call(std::string("\x7a\x5f", 2) + std::string(95, 'x'));
  while (front_->admit(50)) std::this_thread::yield();
  auto stopped = std::async(std::launch::async, [this] { receiver_->stop(std::chrono::milliseconds(50)); });
  ASSERT_EQ(stopped.wait_for(kPatience), std::future_status::ready);
  EXPECT_FALSE(status.get().ok());
}

TEST_F(GrpcReceiverTest, ACallThatSendsNoMessageEnds) {
  start({}, {.message_time_max = std::chrono::milliseconds(50)});
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  auto silent = stub_->PrepareCall(&context, kExport, &queue);
  int started = 0, finished = 0;
  grpc::Status status;
  silent->StartCall(&started);
  void* tag = nullptr;
  bool ok = false;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  silent->Finish(&status, &finished);
  ASSERT_EQ(queue.AsyncNext(&tag, &ok, std::chrono::system_clock::now() + kPatience), grpc::CompletionQueue::GOT_EVENT);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(call({}).get().ok());
}

}  // namespace
}  // namespace fettle::ingest
