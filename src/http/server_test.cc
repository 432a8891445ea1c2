#include "http/server.h"

#include <gtest/gtest.h>

#include "http/client.h"

namespace fettle::http {
namespace {

TEST(Server, AnswersARequest) {
  metrics::Registry metrics;
  Server server({}, metrics);
  auto address = server.listen(
      "127.0.0.1:0", [](Request&) { return GateDecision{}; },
      [](Request request, Responder responder) {
        std::move(responder).respond(Response::make(200, "text/plain", request.method + " " + request.path + " " + request.body));
      });
  ASSERT_TRUE(address) << address.error().message();
  server.start();
  Client client("http://" + *address, {});
  auto answer = client.send({.method = "POST", .target = "/a%20b?x=1", .body = {"one ", "two"}});
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->body, "POST /a b one two");
}

}  // namespace
}  // namespace fettle::http
