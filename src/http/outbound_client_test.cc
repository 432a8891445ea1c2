#include "http/outbound_client.h"

#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <map>
#include <thread>

#include "http/test_support.h"

namespace fettle::http {
namespace {

using namespace std::chrono_literals;

// Names of the test's own, and how often each was asked for.
class FakeResolver final : public Resolver {
 public:
  Result<std::vector<IpAddress>> resolve(const std::string& host, std::chrono::milliseconds,
                                         const std::stop_token&) override {
    const int asked = times[host]++;
    const auto found = names.find(host);
    if (found == names.end()) return fail(ErrorCode::kUnavailable, "no such name");
    // The last list is the answer to all later questions.
    const auto& lists = found->second;
    std::vector<IpAddress> out;
    for (const char* text : lists[std::min<std::size_t>(static_cast<std::size_t>(asked), lists.size() - 1)]) {
      out.push_back(*IpAddress::parse(text));
    }
    return out;
  }
  std::map<std::string, std::vector<std::vector<const char*>>> names;
  std::map<std::string, int> times;
};

class OutboundClientTest : public testing::Test {
 protected:
  void SetUp() override {
    server.handler = [this](Request request, Responder responder) {
      ++requests;
      last_host = request.headers.get("Host");
      std::move(responder).respond(answer(request));
    };
    server.start();
    port = server.address.substr(server.address.rfind(':') + 1);
  }
  std::string url(const std::string& host) const { return "http://" + host + ":" + port + "/hook?key=1"; }
  Result<OutboundAnswer> send(const OutboundClient& client, const std::string& to) {
    return client.send({.url = to, .body = "{}"});
  }
  static ErrorCode code_of(const Result<OutboundAnswer>& result) {
    return result ? ErrorCode{} : result.error().code();
  }

  std::function<Response(const Request&)> answer = [](const Request& request) {
    return Response::make(200, "text/plain", request.method + " " + request.target + " " + request.body);
  };
  std::atomic<int> requests = 0;
  std::string last_host;
  std::string port;
  FakeResolver resolver;
  OutboundClient strict{{.allow = {}}, resolver};
  OutboundClient local{{.allow = {*Cidr::parse("127.0.0.0/8")}}, resolver};
  Mailbox<Responder> held;  // requests that nobody answers
  TestServer server;        // last: its threads use everything above
};

TEST_F(OutboundClientTest, ANameIsReachedAtItsAddressAndKeepsItsNameInTheRequest) {
  resolver.names["hook.example"] = {{"127.0.0.1"}};
  const auto got = send(local, url("hook.example"));
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->response.status, 200);
  EXPECT_EQ(got->response.body, "POST /hook?key=1 {}");
  EXPECT_EQ(got->address, "127.0.0.1");
  EXPECT_EQ(last_host, "hook.example:" + port);
  EXPECT_EQ(resolver.times["hook.example"], 1) << "looked up once";
}

TEST_F(OutboundClientTest, AnAddressBehindThisServerIsRefusedWhateverItsSpelling) {
  for (const char* host : {"127.0.0.1", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "[::1]",
                           "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[64:ff9b::7f00:1]", "0.0.0.0", "0", "[::]"}) {
    resolver.names[host] = {{"127.0.0.1"}};
    EXPECT_EQ(code_of(send(strict, url(host))), ErrorCode::kPermissionDenied) << host;
  }
  EXPECT_EQ(requests, 0);
}

TEST_F(OutboundClientTest, ANameThatLeadsToAPrivateAddressIsRefused) {
  for (const char* address : {"127.0.0.1", "10.0.0.7", "169.254.169.254", "100.100.100.200", "192.168.1.1", "::1",
                              "fd00:ec2::254", "::ffff:10.0.0.1"}) {
    resolver.names["inside.example"] = {{address}};
    const auto got = send(strict, url("inside.example"));
    EXPECT_EQ(code_of(got), ErrorCode::kPermissionDenied) << address;
    EXPECT_FALSE(got.error().message().contains("key=1")) << got.error().message();
  }
  EXPECT_EQ(requests, 0);
}

TEST_F(OutboundClientTest, TheMachinesOwnNamesAreCheckedLikeAllOthers) {
  const OutboundClient real({.allow = {}});
  EXPECT_EQ(code_of(send(real, url("localhost"))), ErrorCode::kPermissionDenied);
  EXPECT_EQ(requests, 0);
  const OutboundClient open({.allow = {*Cidr::parse("127.0.0.0/8"), *Cidr::parse("::1")}});
  const auto got = send(open, url("localhost"));
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->response.status, 200);
}

TEST_F(OutboundClientTest, OneForbiddenAddressForbidsTheName) {
  resolver.names["both.example"] = {{"8.8.8.8", "127.0.0.1"}};
  EXPECT_EQ(code_of(send(strict, url("both.example"))), ErrorCode::kPermissionDenied);
  EXPECT_EQ(requests, 0);
}

TEST_F(OutboundClientTest, ANameThatChangesBetweenTwoLooksIsConnectedToTheOneThatWasChecked) {
  // A second look-up during the call would lead it elsewhere; one for the next call does.
  resolver.names["rebind.example"] = {{"127.0.0.1"}, {"10.0.0.1"}};
  const auto got = send(local, url("rebind.example"));
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(resolver.times["rebind.example"], 1);
  EXPECT_EQ(code_of(send(local, url("rebind.example"))), ErrorCode::kPermissionDenied);
  EXPECT_EQ(requests, 1);
}

TEST_F(OutboundClientTest, ARedirectIsAnAnswerAndIsNotFollowed) {
  answer = [this](const Request& request) {
    if (request.path != "/hook") return Response::make(200, "text/plain", "followed");
    auto response = Response::make(302, "text/plain", "there");
    response.headers.set("Location", "http://127.0.0.1:" + port + "/inside");
    return response;
  };
  const auto got = send(local, url("127.0.0.1"));
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->response.status, 302);
  EXPECT_EQ(requests, 1);
}

TEST_F(OutboundClientTest, NoProxyIsTakenFromTheEnvironment) {
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  ::setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
  const auto got = send(local, url("127.0.0.1"));
  ::unsetenv("http_proxy");
  ::unsetenv("ALL_PROXY");
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->response.status, 200);
}

TEST_F(OutboundClientTest, ABodyIsReadUpToItsLimitAndTheAnswerCounts) {
  answer = [](const Request&) { return Response::make(503, "text/plain", std::string(1 << 20, 'x')); };
  const auto got = local.send({.url = url("127.0.0.1"), .response_bytes_max = 1'000});
  ASSERT_TRUE(got) << got.error().message();
  EXPECT_EQ(got->response.status, 503);
  EXPECT_EQ(got->response.body, std::string(1'000, 'x'));
  EXPECT_TRUE(got->is_cut);
}

TEST_F(OutboundClientTest, AReceiverThatDoesNotAnswerCostsItsTimeAndNoMore) {
  server.handler = [this](Request, Responder responder) { held.put(std::move(responder)); };
  const auto got = local.send({.url = url("127.0.0.1"), .time_max = 50ms});
  EXPECT_EQ(code_of(got), ErrorCode::kDeadlineExceeded);
}

TEST_F(OutboundClientTest, AStopEndsACallThatWaits) {
  std::stop_source stop;
  server.handler = [this, stop](Request, Responder responder) mutable {
    held.put(std::move(responder));
    stop.request_stop();
  };
  const auto got = local.send({.url = url("127.0.0.1"), .stop = stop.get_token()});
  EXPECT_EQ(code_of(got), ErrorCode::kCancelled);
}

TEST_F(OutboundClientTest, WhatCannotBeAUrlToCallIsRefusedBeforeAnythingIsAsked) {
  for (const char* wrong :
       {"", "hook.example/x", "ftp://hook.example/", "file:///etc/passwd", "gopher://127.0.0.1:11211/_x",
        "http://user:secret@hook.example/", "http://user@hook.example/", "http://hook.example/#part", "http://",
        "http://hook example/", "http://hook.example/\r\nX: y", "http://hook.example:99999/",
        "http://[fe80::1%25eth0]/", "https://", "http://[::1", "javascript:alert(1)"}) {
    EXPECT_EQ(code_of(send(strict, wrong)), ErrorCode::kInvalidArgument) << wrong;
    const auto checked = strict.check(wrong);
    ASSERT_FALSE(checked) << wrong;
    EXPECT_EQ(checked.error().code(), ErrorCode::kInvalidArgument) << wrong;
  }
  EXPECT_TRUE(resolver.times.empty());
  EXPECT_EQ(strict.check("http://169.254.169.254/latest").error().code(), ErrorCode::kPermissionDenied);
  EXPECT_TRUE(strict.check("https://hook.example/x?y=z"));
  OutboundRequest split{.url = url("127.0.0.1")};
  split.headers.add("X-One", "1\r\nX-Two: 2");
  EXPECT_EQ(code_of(local.send(split)), ErrorCode::kInvalidArgument);
  EXPECT_EQ(requests, 0);
}

TEST_F(OutboundClientTest, AnUnknownNameAndAClosedPortAreUnavailable) {
  EXPECT_EQ(code_of(send(local, url("nobody.example"))), ErrorCode::kUnavailable);
  server.server.stop(0ms);
  EXPECT_EQ(code_of(send(local, url("127.0.0.1"))), ErrorCode::kUnavailable);
}

}  // namespace
}  // namespace fettle::http
