#include "http/client.h"

#include <gtest/gtest.h>
#include <poll.h>

#include <atomic>
#include <cstdlib>
#include <optional>
#include <thread>

#include "http/listen_socket.h"
#include "http/test_support.h"

namespace fettle::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

Response text(std::string body) { return Response::make(200, "text/plain", std::move(body)); }

// A server that says, to each connection in turn, exactly the bytes it was given, once a request's header has come.
class ScriptedServer {
 public:
  explicit ScriptedServer(std::vector<std::string> says) : socket_(std::move(*ListenSocket::open("127.0.0.1:0"))) {
    thread_ = std::jthread([this, says = std::move(says)] {
      for (const std::string& bytes : says) {
        int fd = -1;
        while (fd < 0) {
          pollfd ready{.fd = socket_.fd(), .events = POLLIN, .revents = 0};
          if (::poll(&ready, 1, 10'000) <= 0) return;
          fd = ::accept(socket_.fd(), nullptr, nullptr);
        }
        std::string received;
        char buffer[4'096];
        while (!received.contains("\r\n\r\n")) {
          const ssize_t count = ::recv(fd, buffer, sizeof(buffer), 0);
          if (count <= 0) break;
          received.append(buffer, static_cast<std::size_t>(count));
        }
        requests_.put(received);
        ::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        ::close(fd);
      }
    });
  }
  std::string url() const { return "http://" + socket_.address(); }
  Mailbox<std::string>& requests() { return requests_; }

 private:
  ListenSocket socket_;
  Mailbox<std::string> requests_;
  std::jthread thread_;
};

TEST(Client, SendsWhatItIsGivenAndNothingOfItsOwn) {
  ScriptedServer server({"HTTP/1.1 204 No Content\r\n\r\n"});
  Client client(server.url() + "/", {});
  ClientRequest request{.method = "POST", .target = "/a/../b?q=%2F", .body = {}};
  request.headers.add("X-Empty", "");
  request.headers.add("X-Two", "1");
  request.headers.add("X-Two", "2");
  ASSERT_TRUE(client.send(request));
  const std::string host = server.url().substr(7);
  EXPECT_EQ(server.requests().take(),
            "POST /a/../b?q=%2F HTTP/1.1\r\nHost: " + host +
                "\r\nAccept: */*\r\nX-Empty:\r\nX-Two: 1\r\nX-Two: 2\r\nContent-Length: 0\r\n\r\n");
}

TEST(Client, LargeBodiesDoNotWaitForLeave) {
  TestServer server;
  std::atomic<bool> expected = false;
  server.gate = [&](Request& request) {
    expected = request.headers.has("Expect");
    return GateDecision{.body_bytes_max = 10'000'000};
  };
  server.handler = [](Request request, Responder responder) {
    std::move(responder).respond(text(std::to_string(request.body.size())));
  };
  server.start();
  Client client(server.url(), {});
  const std::string half(2'500'000, 'x');
  EXPECT_EQ(client.send({.method = "POST", .body = {half, half}})->body, "5000000");
  EXPECT_FALSE(expected);
}

TEST(Client, AnyStatusIsASuccess) {
  ScriptedServer server({"HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\ngone",
                         "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
                         "HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
                         "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"});
  Client client(server.url(), {});
  const auto missing = client.send({});
  EXPECT_EQ(missing->status, 404);
  EXPECT_EQ(missing->body, "gone");
  EXPECT_EQ(client.send({})->status, 503);
  EXPECT_EQ(client.send({})->status, 302);  // and is not followed: the next answer is for the next request
  const auto last = client.send({});
  EXPECT_EQ(last->status, 200);
  EXPECT_FALSE(last->headers.has("X-Early"));
}

TEST(Client, ReadsNoProxyFromTheEnvironment) {
  ::setenv("http_proxy", "http://127.0.0.1:1", 1);
  ::setenv("all_proxy", "http://127.0.0.1:1", 1);
  TestServer server;
  server.start();
  EXPECT_TRUE(Client(server.url(), {}).send({}));
  ::unsetenv("http_proxy");
  ::unsetenv("all_proxy");
}

TEST(Client, ReusesItsConnection) {
  TestServer server;
  std::atomic<int> connections = 0;
  std::string last;
  server.gate = [&](Request& request) {
    connections += std::exchange(last, request.remote) != request.remote ? 1 : 0;
    return GateDecision{};
  };
  server.start();
  Client client(server.url(), {});
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(client.send({.method = i % 2 == 0 ? "GET" : "POST"}));
  EXPECT_EQ(connections, 1);
}

TEST(Client, ReplacesAConnectionThatTheServerClosed) {
  TestServer server;
  server.handler = [](Request, Responder responder) {
    Response answer = text("ok");
    answer.headers.add("Connection", "close");
    std::move(responder).respond(std::move(answer));
  };
  server.start();
  Client client(server.url(), {});
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(client.send({.method = "POST", .body = {"body"}}));
}

TEST(Client, ABrokenExchangeIsUnavailable) {
  ScriptedServer server({"", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", "not http at all\r\n\r\n",
                         "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"});
  Client client(server.url(), {});
  for (int i = 0; i < 4; ++i) {
    const auto answer = client.send({.method = "POST", .body = {"x"}});
    ASSERT_FALSE(answer) << i;
    EXPECT_EQ(answer.error().code(), ErrorCode::kUnavailable) << answer.error().message();
  }
}

TEST(Client, NobodyListeningIsUnavailable) {
  std::string address;
  {
    auto closed = ListenSocket::open("127.0.0.1:0");
    address = closed->address();
  }
  for (const std::string& base : {"http://" + address, std::string("unix:/nonexistent/socket")}) {
    Client client(base, {});
    const auto answer = client.send({.target = "/path?token=hidden"});
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code(), ErrorCode::kUnavailable);
    EXPECT_TRUE(answer.error().message().contains(base + "/path")) << answer.error().message();
    EXPECT_FALSE(answer.error().message().contains("hidden")) << answer.error().message();
  }
}

TEST(Client, WhatCannotBeSentIsAnInvalidArgument) {
  Client client("http://127.0.0.1:1", {});
  ClientRequest two_lines;
  two_lines.headers.add("X", "a\r\nY: b");
  ClientRequest no_name;
  no_name.headers.add("X: y", "a");
  for (const ClientRequest& request : {two_lines, no_name, ClientRequest{.target = "no/slash"},
                                       ClientRequest{.target = "/two\r\nlines"}, ClientRequest{.method = "GET /"}}) {
    const auto answer = client.send(request);
    ASSERT_FALSE(answer);
    EXPECT_EQ(answer.error().code(), ErrorCode::kInvalidArgument) << answer.error().message();
  }
  EXPECT_EQ(Client("ftp://127.0.0.1", {}).send({}).error().code(), ErrorCode::kInvalidArgument);
}

// Answers nothing; keeps the responders until the test ends.
struct SilentServer : TestServer {
  SilentServer() {
    handler = [this](Request, Responder responder) { waiting.put(std::move(responder)); };
    start();
  }
  ~SilentServer() { server.stop(milliseconds(0)); }
  Mailbox<Responder> waiting;
};

TEST(Client, TheDeadlineEndsTheExchange) {
  SilentServer server;
  Client client(server.url(), {});
  const auto answer = client.send({.time_max = milliseconds(50)});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), ErrorCode::kDeadlineExceeded);
}

TEST(Client, AStopEndsTheExchangeAtOnce) {
  SilentServer server;
  Client client(server.url(), {});
  std::stop_source stop;
  std::optional<Responder> unanswered;  // kept: a responder that is let go answers
  std::jthread stopping([&] {
    unanswered = server.waiting.take();
    EXPECT_TRUE(unanswered);
    stop.request_stop();
  });
  const auto began = std::chrono::steady_clock::now();
  const auto answer = client.send({.time_max = seconds(60), .stop = stop.get_token()});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), ErrorCode::kCancelled);
  EXPECT_LT(std::chrono::steady_clock::now() - began, milliseconds(900));  // sooner than curl looks by itself
  EXPECT_EQ(client.send({.stop = stop.get_token()}).error().code(), ErrorCode::kCancelled);
}

TEST(Client, WaitsForAConnectionNoLongerThanItMay) {
  SilentServer server;
  Client client(server.url(), {.connections_max = 1});
  std::stop_source stop;
  std::jthread busy([&] {
    EXPECT_EQ(client.send({.time_max = seconds(60), .stop = stop.get_token()}).error().code(), ErrorCode::kCancelled);
  });
  const auto first = server.waiting.take();
  ASSERT_TRUE(first);
  EXPECT_EQ(client.send({.time_max = milliseconds(50)}).error().code(), ErrorCode::kDeadlineExceeded);
  std::stop_source impatient;
  std::jthread waiting([&] {
    EXPECT_EQ(client.send({.time_max = seconds(60), .stop = impatient.get_token()}).error().code(),
              ErrorCode::kCancelled);
  });
  impatient.request_stop();
  waiting.join();
  EXPECT_EQ(server.waiting.size(), 0U);
  stop.request_stop();
}

TEST(Client, AnAnswerOverTheLimitIsTooLarge) {
  TestServer server;
  server.handler = [](Request, Responder responder) { std::move(responder).respond(text(std::string(1'001, 'x'))); };
  server.start();
  Client client(server.url(), {});
  EXPECT_EQ(client.send({.response_bytes_max = 1'001})->body.size(), 1'001U);
  const auto answer = client.send({.response_bytes_max = 1'000});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), ErrorCode::kTooLarge);
  const auto streamed = client.stream({.response_bytes_max = 1'000}, [](std::string_view) { return true; });
  ASSERT_FALSE(streamed);
  EXPECT_EQ(streamed.error().code(), ErrorCode::kTooLarge);
}

TEST(Client, TheSinkMayStopTheStream) {
  TestServer server;
  Mailbox<int> closed;
  std::vector<std::jthread> producers;
  server.handler = [&](Request, Responder responder) {
    producers.emplace_back([&closed, stream = std::move(responder).stream(text(""))] {
      while (stream->write(std::string(100'000, 'x'))) {
      }
      closed.put(1);
    });
  };
  server.start();
  Client client(server.url(), {});
  std::size_t received = 0;
  const auto answer = client.stream({}, [&](std::string_view bytes) { return (received += bytes.size()) < 1'000'000; });
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), ErrorCode::kCancelled);
  EXPECT_GE(received, 1'000'000U);
  EXPECT_TRUE(closed.take());  // the server noticed
  const auto thrown = client.stream({}, [](std::string_view) -> bool { throw std::runtime_error("full"); });
  ASSERT_FALSE(thrown);
  EXPECT_EQ(thrown.error().code(), ErrorCode::kInternal);
  EXPECT_TRUE(closed.take());
}

TEST(Client, OnlyTheBodyOfA200GoesToTheSink) {
  ScriptedServer server({"HTTP/1.1 500 Oops\r\nContent-Length: 5\r\n\r\nerror"});
  Client client(server.url(), {});
  int called = 0;
  const auto answer = client.stream({}, [&](std::string_view) { return ++called > 0; });
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 500);
  EXPECT_EQ(answer->body, "error");
  EXPECT_EQ(called, 0);
}

TEST(Client, HeadHasNoBody) {
  TestServer server;
  server.start();
  Client client(server.url(), {});
  for (int i = 0; i < 2; ++i) {
    const auto answer = client.send({.method = "HEAD", .target = "/h"});
    ASSERT_TRUE(answer) << answer.error().message();
    EXPECT_EQ(answer->headers.get("Content-Length"), "8");
    EXPECT_EQ(answer->body, "");
    EXPECT_EQ(client.send({.target = "/g"})->body, "GET /g ");
  }
}

}  // namespace
}  // namespace fettle::http
