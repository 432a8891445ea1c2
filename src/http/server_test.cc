#include "http/server.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "http/client.h"
#include "http/test_support.h"

namespace fettle::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::string body_of(const std::string& answer) {
  const std::size_t end = answer.find("\r\n\r\n");
  return end == std::string::npos ? "" : answer.substr(end + 4);
}

bool has_status(const std::string& answer, int status) {
  return answer.starts_with("HTTP/1.1 " + std::to_string(status) + " ");
}

Response text(std::string body) { return Response::make(200, "text/plain", std::move(body)); }

// ---- requests and answers

class EveryTransport : public ::testing::TestWithParam<const char*> {};

TEST_P(EveryTransport, CarriesARequestAndItsAnswer) {
  const TemporaryFolder folder;
  TestServer server;
  Mailbox<Request> requests;
  server.handler = [&](Request request, Responder responder) {
    requests.put(std::move(request));
    Response answer = Response::make(201, "text/plain", "made");
    answer.headers.add("X-Answer", "yes");
    std::move(responder).respond(std::move(answer));
  };
  const std::string listen = std::string(GetParam()) == "unix" ? "unix:" + folder.file("s.sock") : GetParam();
  server.start(listen);
  Client client(server.url(), {});
  ClientRequest sent{.method = "POST", .target = "/a%20b/c?x=1&y=%26", .body = {"one ", "", "two"}};
  sent.headers.add("X-Question", "why");
  const auto answer = client.send(sent);
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->status, 201);
  EXPECT_EQ(answer->headers.get("x-answer"), "yes");
  EXPECT_EQ(answer->headers.get("Content-Length"), "4");
  EXPECT_EQ(answer->body, "made");

  const auto request = requests.take();
  ASSERT_TRUE(request);
  EXPECT_EQ(request->method, "POST");
  EXPECT_EQ(request->target, "/a%20b/c?x=1&y=%26");
  EXPECT_EQ(request->path, "/a b/c");
  EXPECT_EQ(request->query.get("y"), "&");
  EXPECT_EQ(request->headers.get("x-question"), "why");
  EXPECT_EQ(request->body, "one two");
  EXPECT_FALSE(request->body_file.is_open());
  EXPECT_EQ(request->listener, listen);
  const std::string host = server.address.substr(0, server.address.rfind(':') + 1);
  EXPECT_TRUE(listen.starts_with("unix:") ? request->remote == "unix" : request->remote.starts_with(host))
      << request->remote;
}

INSTANTIATE_TEST_SUITE_P(Server, EveryTransport, ::testing::Values("127.0.0.1:0", "[::1]:0", "localhost:0", "unix"));

TEST(Server, KeepsAConnectionForAThousandRequests) {
  TestServer server;
  server.start();
  Client client(server.url(), {});
  for (int i = 0; i < 1'000; ++i) {
    const auto answer = client.send({.target = "/" + std::to_string(i)});
    ASSERT_TRUE(answer) << answer.error().message();
    ASSERT_EQ(answer->body, "GET /" + std::to_string(i) + " ");
  }
  EXPECT_EQ(server.metrics.gauge("fettle_http_connections", "").value(), 1);
  EXPECT_EQ(server.metrics.counter("fettle_http_requests_total", "", {{"status_class", "2xx"}}).value(), 1'000);
}

TEST(Server, ServesSixtyFourClientsAtOnce) {
  TestServer server;
  server.start();
  Client client(server.url(), {.connections_max = 64});
  std::atomic<int> good = 0;
  {
    std::vector<std::jthread> clients;
    for (int c = 0; c < 64; ++c) {
      clients.emplace_back([&, c] {
        const std::string body(static_cast<std::size_t>(c) * 1'000, static_cast<char>('a' + c % 26));
        for (int i = 0; i < 30; ++i) {
          const auto answer = client.send({.method = "PUT", .target = "/x", .body = {body}});
          if (answer && answer->body == "PUT /x " + body) ++good;
        }
      });
    }
  }
  EXPECT_EQ(good, 64 * 30);
}

TEST(Server, SpreadsConnectionsOverItsThreads) {
  TestServer server({.threads = 2});
  Mailbox<std::thread::id> threads;
  server.handler = [&](Request, Responder responder) {
    threads.put(std::this_thread::get_id());
    std::move(responder).respond(text("ok"));
  };
  server.start();
  Client client(server.url(), {});
  RawSocket kept(server.address);
  ASSERT_TRUE(kept.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  const auto first = threads.take();
  ASSERT_TRUE(first);
  ASSERT_TRUE(client.send({}));
  EXPECT_NE(first, threads.take());
}

TEST(Server, AnswersPipelinedRequestsOneAfterAnother) {
  TestServer server;
  std::atomic<int> open = 0;
  std::atomic<int> open_most = 0;
  std::vector<std::jthread> answering;
  server.handler = [&](Request request, Responder responder) {
    open_most = std::max<int>(open_most, ++open);
    answering.emplace_back([&, request = std::move(request), responder = std::move(responder)]() mutable {
      --open;
      std::move(responder).respond(text(request.path + request.body));
    });
  };
  server.start();
  RawSocket socket(server.address);
  std::string all;
  for (int i = 0; i < 20; ++i) {
    all += "POST /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc";
    all += "PUT /" + std::to_string(i) +
           " HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nxyz\r\n0\r\n\r\n\r\n";
  }
  ASSERT_TRUE(socket.send(all));
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(body_of(socket.read_answer()), "/" + std::to_string(i) + "abc");
    EXPECT_EQ(body_of(socket.read_answer()), "/" + std::to_string(i) + "xyz");
  }
  EXPECT_EQ(open_most, 1);
  socket.close();
  server.server.stop(seconds(5));
}

TEST(Server, ReadsARequestThatComesByteByByte) {
  TestServer server;
  server.start();
  RawSocket socket(server.address);
  const std::string request =
      "POST /p HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nTrailer: "
      "t\r\n\r\n"
      "POST /q HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nok";
  for (const char c : request) ASSERT_TRUE(socket.send({&c, 1}));
  EXPECT_EQ(body_of(socket.read_answer()), "POST /p hello!");
  EXPECT_EQ(body_of(socket.read_answer()), "POST /q ok");
}

TEST(Server, HeadHasTheLengthButNotTheBody) {
  TestServer server;
  server.start();
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("HEAD /h HTTP/1.1\r\nHost: x\r\n\r\n"));
  const std::string answer = socket.read_answer(true);
  EXPECT_TRUE(answer.contains("Content-Length: 8\r\n")) << answer;
  ASSERT_TRUE(socket.send("GET /g HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_EQ(body_of(socket.read_answer()), "GET /g ");
}

TEST(Server, ConnectionCloseIsHonouredFromBothSides) {
  TestServer server;
  server.handler = [](Request request, Responder responder) {
    Response answer = text("bye");
    if (request.path == "/close") answer.headers.add("Connection", "close");
    std::move(responder).respond(std::move(answer));
  };
  server.start();
  for (const char* request : {"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
                              "GET /close HTTP/1.1\r\nHost: x\r\n\r\n", "GET / HTTP/1.0\r\n\r\n"}) {
    RawSocket socket(server.address);
    ASSERT_TRUE(socket.send(request));
    const std::string answer = socket.read_to_end();
    EXPECT_TRUE(answer.contains("Connection: close\r\n")) << answer;
    EXPECT_TRUE(answer.ends_with("bye")) << answer;
  }
  RawSocket old(server.address);
  ASSERT_TRUE(old.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  EXPECT_TRUE(old.read_answer().contains("Connection: keep-alive\r\n"));
}

TEST(Server, AHeaderValueCannotBeginAnotherAnswer) {
  TestServer server;
  server.handler = [](Request request, Responder responder) {
    Response answer = text("");
    answer.headers.add("X-Echo", std::string(request.query.get("v")));
    std::move(responder).respond(std::move(answer));
  };
  server.start();
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("GET /?v=a%0d%0aX-Evil:%20b HTTP/1.1\r\nHost: x\r\n\r\n"));
  const std::string answer = socket.read_answer();
  EXPECT_TRUE(answer.contains("X-Echo: a  X-Evil: b\r\n")) << answer;
}

TEST(Server, AnUnansweredRequestIsAnswered500) {
  TestServer server;
  server.handler = [](Request request, Responder responder) {
    if (request.path == "/throw") throw std::runtime_error("no");
    if (request.path == "/throw_anything") throw 42;
    const Responder dropped = std::move(responder);
  };
  server.start();
  Client client(server.url(), {});
  EXPECT_EQ(client.send({.target = "/drop"})->status, 500);
  EXPECT_EQ(client.send({.target = "/throw"})->status, 500);
  EXPECT_EQ(client.send({.target = "/throw_anything"})->status, 500);
}

TEST(Server, AnAnswerWithoutAValidStatusBecomes500) {
  TestServer server;
  server.handler = [](Request, Responder responder) { std::move(responder).respond({.status = 42}); };
  server.start();
  Client client(server.url(), {});
  EXPECT_EQ(client.send({})->status, 500);
}

// ---- what is refused

struct Malformed {
  const char* name;
  std::string bytes;
  int status;
};

class MalformedRequest : public ::testing::TestWithParam<Malformed> {};

TEST_P(MalformedRequest, IsAnsweredAndTheConnectionClosed) {
  TestServer server;
  std::atomic<int> handled = 0;
  server.handler = [&](Request, Responder responder) {
    ++handled;
    std::move(responder).respond(text("handled"));
  };
  server.start();
  RawSocket socket(server.address);
  socket.send(GetParam().bytes);
  bool reset = false;
  const std::string answer = socket.read_to_end(&reset);
  EXPECT_TRUE(has_status(answer, GetParam().status)) << answer;
  EXPECT_TRUE(answer.contains("Connection: close\r\n")) << answer;
  EXPECT_TRUE(answer.contains("application/problem+json")) << answer;
  EXPECT_FALSE(reset);
  EXPECT_EQ(handled, 0);
  EXPECT_EQ(server.refused("malformed") + server.refused("unsupported") + server.refused("header_too_large"), 1);
}

INSTANTIATE_TEST_SUITE_P(
    Server, MalformedRequest,
    ::testing::Values(
        Malformed{"NoHttp", "\x16\x03\x01\x02", 400}, Malformed{"NoVersion", "GET /\r\n\r\n", 400},
        Malformed{"SpaceBeforeColon", "GET / HTTP/1.1\r\nHost : x\r\n\r\n", 400},
        Malformed{"NoColon", "GET / HTTP/1.1\r\nHost: x\r\nnonsense\r\n\r\n", 400},
        Malformed{"NoHost", "GET / HTTP/1.1\r\n\r\n", 400},
        Malformed{"TwoHosts", "GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400},
        Malformed{"TargetNoPath", "GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        Malformed{"TargetAuthority", "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        Malformed{"BrokenPath", "GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        Malformed{"BrokenQuery", "GET /?a=%1 HTTP/1.1\r\nHost: x\r\n\r\n", 400},
        Malformed{"Version2", "GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505},
        Malformed{"NegativeLength", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", 400},
        Malformed{"HexLength", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x10\r\n\r\n", 400},
        Malformed{"HugeLength", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n", 400},
        Malformed{"TwoLengths", "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400},
        Malformed{"LengthThenCoding",
                  "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                  400},
        Malformed{"CodingThenLength",
                  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n",
                  400},
        Malformed{"UnknownCoding", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\nabc", 501},
        Malformed{"CodingBeforeChunked",
                  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501},
        Malformed{"ChunkedNotLast", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n",
                  501},
        Malformed{"CodingAndLengthUnknown",
                  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\nContent-Length: 3\r\n\r\nabc", 400},
        Malformed{"CodingInOldVersion", "POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                  400},
        Malformed{"BadChunkSize", "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", 400},
        Malformed{"BadChunkEnd",
                  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n", 400},
        Malformed{"EndlessChunkHeader",
                  "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1;" + std::string(100'000, 'x'),
                  400},
        Malformed{"UnknownExpectation", "POST / HTTP/1.1\r\nHost: x\r\nExpect: tea\r\nContent-Length: 1\r\n\r\na", 417},
        Malformed{"HeaderTooLarge", "GET / HTTP/1.1\r\nHost: x\r\nX: " + std::string(70'000, 'x') + "\r\n\r\n", 431},
        Malformed{"HeaderNeverEnds", "GET / HTTP/1.1\r\nX: " + std::string(65'536, 'x'), 431}),
    [](const auto& row) { return row.param.name; });

TEST(Server, AHeaderOfJustTheLimitIsRead) {
  TestServer server;
  server.start();
  std::string header = "GET / HTTP/1.1\r\nHost: x\r\nX: ";
  header += std::string(64 * 1024 - header.size() - 4, 'x') + "\r\n\r\n";
  ASSERT_EQ(header.size(), 64U * 1024);
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send(header));
  EXPECT_TRUE(has_status(socket.read_answer(), 200));
}

TEST(Server, ASlowHeaderIsAnswered408) {
  TestServer server({.header_time_max = milliseconds(50)});
  server.start();
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost:"));
  EXPECT_TRUE(has_status(socket.read_to_end(), 408));
  EXPECT_EQ(server.refused("header_timeout"), 1);
}

TEST(Server, AnIdleConnectionIsClosedWithoutAWord) {
  TestServer server({.keep_alive_time_max = milliseconds(250)});
  server.start();
  RawSocket silent(server.address);
  EXPECT_EQ(silent.read_to_end(), "");
  RawSocket after_one(server.address);
  ASSERT_TRUE(after_one.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  EXPECT_TRUE(has_status(after_one.read_answer(), 200));
  EXPECT_EQ(after_one.read_to_end(), "");
}

TEST(Server, ASlowBodyIsAnswered408) {
  for (const auto body_to : {GateDecision::BodyTo::kMemory, GateDecision::BodyTo::kMemoryFile}) {
    TestServer server({.body_bytes_per_second_min = 1'000'000, .body_grace = milliseconds(50)});
    server.gate = [=](Request&) { return GateDecision{.body_to = body_to}; };
    server.start();
    RawSocket sized(server.address);
    ASSERT_TRUE(sized.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc"));
    EXPECT_TRUE(has_status(sized.read_to_end(), 408));
    RawSocket chunked(server.address);
    ASSERT_TRUE(chunked.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"));
    EXPECT_TRUE(has_status(chunked.read_to_end(), 408));
    EXPECT_EQ(server.refused("body_timeout"), 2);
  }
}

TEST(Server, AClientThatLeavesAfterASlowBodyIsForgottenAtOnce) {
  TestServer server({.body_bytes_per_second_min = 1'000'000, .body_grace = milliseconds(50)});
  server.start();
  {
    RawSocket socket(server.address);
    ASSERT_TRUE(socket.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"));
    EXPECT_TRUE(has_status(socket.read_to_end(), 408));
  }
  const auto began = std::chrono::steady_clock::now();
  server.server.stop(seconds(30));
  EXPECT_LT(std::chrono::steady_clock::now() - began, seconds(1));  // not the two seconds it would linger
}

TEST(Server, ABodyEarnsTimeByItsBytes) {
  // 100 bytes at 500 bytes/s earn 200 ms, four times the grace; the answer comes when they are spent, not before.
  TestServer server({.body_bytes_per_second_min = 500, .body_grace = milliseconds(50)});
  server.start();
  RawSocket socket(server.address);
  const auto began = std::chrono::steady_clock::now();
  ASSERT_TRUE(socket.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + std::string(100, 'a')));
  EXPECT_TRUE(has_status(socket.read_to_end(), 408));
  EXPECT_GE(std::chrono::steady_clock::now() - began, milliseconds(200));
}

TEST(Server, ABodyOverTheGatesLimitIsAnswered413BeforeItIsRead) {
  TestServer server;
  server.gate = [](Request&) { return GateDecision{.body_bytes_max = 10}; };
  server.start();
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\n"));
  EXPECT_TRUE(has_status(socket.read_to_end(), 413));
  RawSocket fits(server.address);
  ASSERT_TRUE(fits.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n0123456789"));
  EXPECT_EQ(body_of(fits.read_answer()), "POST / 0123456789");
  EXPECT_EQ(server.refused("body_too_large"), 1);
}

TEST(Server, AChunkedBodyIsCountedAgainstTheGatesLimit) {
  for (const auto body_to : {GateDecision::BodyTo::kMemory, GateDecision::BodyTo::kMemoryFile}) {
    TestServer server;
    server.gate = [=](Request&) { return GateDecision{.body_bytes_max = 10, .body_to = body_to}; };
    server.handler = [](Request request, Responder responder) {
      std::move(responder).respond(text(std::to_string(request.body.size() + request.body_file.bytes())));
    };
    server.start();
    const std::string head = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    RawSocket fits(server.address);
    ASSERT_TRUE(fits.send(head + "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n"));
    EXPECT_EQ(body_of(fits.read_answer()), "10");
    RawSocket too_much(server.address);
    ASSERT_TRUE(too_much.send(head + "5\r\n01234\r\n6\r\n"));
    EXPECT_TRUE(has_status(too_much.read_to_end(), 413));
  }
}

TEST(Server, AClientThatSendsOnSeesTheEarlyAnswer) {
  TestServer server;
  server.gate = [](Request&) { return GateDecision{.body_bytes_max = 1'000}; };
  server.start();
  Client client(server.url(), {});
  const std::string body(16 * 1024 * 1024, 'x');
  const auto answer = client.send({.method = "POST", .body = {body}});
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->status, 413);
}

TEST(Server, AnExpectingClientIsToldToContinue) {
  TestServer server;
  server.start();
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"));
  EXPECT_EQ(socket.read_answer(), "HTTP/1.1 100 Continue\r\n\r\n");
  ASSERT_TRUE(socket.send("ok"));
  EXPECT_EQ(body_of(socket.read_answer()), "POST / ok");
}

// ---- the gate

TEST(Gate, RefusesWithoutReadingTheBody) {
  TestServer server;
  Mailbox<int> ended;
  std::atomic<int> handled = 0;
  server.gate = [&](Request& request) {
    GateDecision decision;
    decision.refuse = std::make_unique<Response>(Response::make(401, "text/plain", "who? " + request.path));
    decision.on_end = [&] { ended.put(1); };
    return decision;
  };
  server.handler = [&](Request, Responder) { ++handled; };
  server.start();
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("POST /p HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n"));
  const std::string answer = socket.read_to_end();
  EXPECT_TRUE(has_status(answer, 401)) << answer;
  EXPECT_EQ(body_of(answer), "who? /p");
  EXPECT_TRUE(ended.take());
  EXPECT_EQ(handled, 0);
  EXPECT_EQ(server.refused("gate"), 1);
}

TEST(Gate, ThatThrowsIsAnswered500) {
  TestServer server;
  server.gate = [](Request&) -> GateDecision { throw std::runtime_error("no"); };
  server.start();
  Client client(server.url(), {});
  EXPECT_EQ(client.send({})->status, 500);
}

TEST(Gate, IsToldOnceHoweverTheRequestEnds) {
  TestServer server({.body_bytes_per_second_min = 1'000'000, .body_grace = milliseconds(50)});
  Mailbox<std::string> ended;
  Mailbox<Responder> responders;
  server.gate = [&](Request& request) {
    GateDecision decision{.body_bytes_max = 10};
    decision.on_end = [&ended, path = request.path] { ended.put(path); };
    return decision;
  };
  server.handler = [&](Request request, Responder responder) {
    if (request.path == "/answered") return std::move(responder).respond(text("done"));
    if (request.path == "/dropped") return;
    responders.put(std::move(responder));
  };
  server.start();
  const auto send = [&](const std::string& path, const std::string& rest) {
    auto socket = std::make_unique<RawSocket>(server.address);
    EXPECT_TRUE(socket->send("POST " + path + " HTTP/1.1\r\nHost: x\r\n" + rest));
    return socket;
  };
  EXPECT_TRUE(has_status(send("/answered", "\r\n")->read_answer(), 200));
  EXPECT_EQ(ended.take(), "/answered");
  EXPECT_TRUE(has_status(send("/dropped", "\r\n")->read_answer(), 500));
  EXPECT_EQ(ended.take(), "/dropped");
  send("/too_large", "Content-Length: 11\r\n\r\n")->read_to_end();
  EXPECT_EQ(ended.take(), "/too_large");
  send("/slow", "Content-Length: 10\r\n\r\n")->read_to_end();
  EXPECT_EQ(ended.take(), "/slow");
  send("/cut", "Content-Length: 10\r\n\r\nabc")->close();
  EXPECT_EQ(ended.take(), "/cut");

  // While somebody still works on the request, what was admitted stays taken.
  auto gone = send("/gone", "\r\n");
  auto responder = responders.take();
  ASSERT_TRUE(responder);
  Mailbox<int> closed;
  responder->on_close([&] { closed.put(1); });
  gone->close();
  EXPECT_TRUE(closed.take());
  EXPECT_EQ(ended.size(), 0U);
  std::move(*responder).respond(text("too late"));
  EXPECT_EQ(ended.take(), "/gone");
  server.server.stop(seconds(5));
  EXPECT_EQ(ended.size(), 0U);
}

// ---- big bodies

std::string contents(const BodyFile& file) {
  std::string bytes(file.bytes(), '\0');
  EXPECT_EQ(::pread(file.fd(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return bytes;
}

TEST(Body, SixtyFourMebibytesArriveWholeInMemoryAndInAFile) {
  constexpr std::size_t kBytes = 64 * 1024 * 1024;
  const std::string body = patterned(kBytes);
  for (const auto body_to : {GateDecision::BodyTo::kMemory, GateDecision::BodyTo::kMemoryFile}) {
    TestServer server;
    Mailbox<Request> requests;
    server.gate = [=](Request&) { return GateDecision{.body_bytes_max = kBytes, .body_to = body_to}; };
    server.handler = [&](Request request, Responder responder) {
      requests.put(std::move(request));
      std::move(responder).respond(text("ok"));
    };
    server.start();
    Client client(server.url(), {});
    const std::string_view whole = body;
    const auto answer = client.send(
        {.method = "POST", .body = {whole.substr(0, 1), whole.substr(1, 1'000'000), whole.substr(1'000'001)}});
    ASSERT_TRUE(answer) << answer.error().message();
    auto request = requests.take();
    ASSERT_TRUE(request);
    const bool to_file = body_to == GateDecision::BodyTo::kMemoryFile;
    ASSERT_EQ(request->body_file.is_open(), to_file);
    EXPECT_EQ(request->body.empty(), to_file);
    // Not EXPECT_EQ: printing 64 MiB helps nobody.
    EXPECT_TRUE((to_file ? contents(request->body_file) : request->body) == body);
  }
}

TEST(Body, AChunkedOneArrivesWholeInMemoryAndInAFile) {
  const std::string body = patterned(5'000'000);
  std::string sent = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (std::size_t at = 0, size = 1; at < body.size(); at += size, size = size * 3 % 200'003) {
    const std::string piece = body.substr(at, size);
    char head[32];
    sent.append(head, static_cast<std::size_t>(std::snprintf(head, sizeof(head), "%zx\r\n", piece.size())));
    sent += piece + "\r\n";
  }
  sent += "0\r\n\r\n";
  for (const auto body_to : {GateDecision::BodyTo::kMemory, GateDecision::BodyTo::kMemoryFile}) {
    TestServer server;
    Mailbox<Request> requests;
    server.gate = [&](Request&) { return GateDecision{.body_bytes_max = body.size(), .body_to = body_to}; };
    server.handler = [&](Request request, Responder responder) {
      requests.put(std::move(request));
      std::move(responder).respond(text("ok"));
    };
    server.start();
    RawSocket socket(server.address);
    ASSERT_TRUE(socket.send(sent));
    EXPECT_TRUE(has_status(socket.read_answer(), 200));
    auto request = requests.take();
    ASSERT_TRUE(request);
    EXPECT_TRUE((request->body_file.is_open() ? contents(request->body_file) : request->body) == body);
  }
}

TEST(Body, AFileIsOpenThoughTheBodyIsEmpty) {
  TestServer server;
  server.gate = [](Request&) { return GateDecision{.body_to = GateDecision::BodyTo::kMemoryFile}; };
  server.handler = [](Request request, Responder responder) {
    std::move(responder).respond(text(request.body_file.is_open() && request.body_file.bytes() == 0 ? "open" : "not"));
  };
  server.start();
  Client client(server.url(), {});
  EXPECT_EQ(client.send({})->body, "open");
}

TEST(Body, AnAnswerOfSixtyFourMebibytesArrivesWhole) {
  const std::string body = patterned(64 * 1024 * 1024);
  TestServer server;
  server.handler = [&](Request, Responder responder) { std::move(responder).respond(text(body)); };
  server.start();
  Client client(server.url(), {});
  const auto answer = client.send({});
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_TRUE(answer->body == body);
}

// ---- answering later, and clients that leave

TEST(Responder, TellsThatTheClientLeftBeforeTheAnswer) {
  TestServer server;
  Mailbox<int> closed;
  Mailbox<Responder> responders;
  server.handler = [&](Request, Responder responder) {
    responder.on_close([&] { closed.put(1); });
    responders.put(std::move(responder));
  };
  server.start();
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto responder = responders.take();
  ASSERT_TRUE(responder);
  EXPECT_EQ(closed.size(), 0U);
  socket.close();
  EXPECT_TRUE(closed.take());
  // Asked too late, it is told at once.
  responder->on_close([&] { closed.put(2); });
  EXPECT_EQ(closed.take(), 2);
}

TEST(Responder, DoesNotTakeAPipelinedRequestForAFarewell) {
  TestServer server;
  std::atomic<int> closed = 0;
  Mailbox<Responder> responders;
  server.handler = [&](Request, Responder responder) {
    responder.on_close([&] { ++closed; });
    responders.put(std::move(responder));
  };
  server.start();
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("GET /1 HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto first = responders.take();
  ASSERT_TRUE(first);
  ASSERT_TRUE(socket.send("GET /2 HTTP/1.1\r\nHost: x\r\n\r\n"));
  std::move(*first).respond(text("1"));
  EXPECT_EQ(body_of(socket.read_answer()), "1");
  auto second = responders.take();
  ASSERT_TRUE(second);
  std::move(*second).respond(text("2"));
  EXPECT_EQ(body_of(socket.read_answer()), "2");
  EXPECT_EQ(closed, 0);
}

TEST(Responder, StillAnswersAClientThatOnlyEndedItsSending) {
  TestServer server;
  Mailbox<Responder> responders;
  Mailbox<int> closed;
  server.handler = [&](Request, Responder responder) {
    responder.on_close([&] { closed.put(1); });
    responders.put(std::move(responder));
  };
  server.start();
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  socket.end_sending();
  auto responder = responders.take();
  ASSERT_TRUE(responder);
  EXPECT_TRUE(closed.take());
  std::move(*responder).respond(text("still"));
  EXPECT_TRUE(socket.read_to_end().ends_with("still"));
}

TEST(Responder, MayOutliveTheServer) {
  Mailbox<Responder> responders;
  Mailbox<int> closed;
  {
    TestServer server;
    server.handler = [&](Request, Responder responder) {
      responder.on_close([&] { closed.put(1); });
      responders.put(std::move(responder));
    };
    server.start();
    RawSocket socket(server.address);
    ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
    while (responders.size() == 0) std::this_thread::yield();
  }
  EXPECT_TRUE(closed.take());
  std::move(*responders.take()).respond(text("nobody hears"));
}

// Hands each stream to the test.
struct StreamServer : TestServer {
  explicit StreamServer(ServerOptions options = {}) : TestServer(options) {
    handler = [this](Request, Responder responder) { streams.put(std::move(responder).stream(text(""))); };
    start();
  }
  ~StreamServer() { server.stop(seconds(5)); }
  Mailbox<std::unique_ptr<ResponseStream>> streams;
};

TEST(ResponseStream, ArrivesWholeThroughTheClient) {
  const std::string body = patterned(64 * 1024 * 1024);
  StreamServer server;
  std::jthread producer([&] {
    auto stream = std::move(*server.streams.take());
    std::string_view rest = body;
    for (std::size_t size = 1; !rest.empty(); size = size * 7 % 3'000'017) {
      EXPECT_TRUE(stream->write(rest.substr(0, size)));
      rest.remove_prefix(std::min(size, rest.size()));
    }
    stream->finish();
  });
  Client client(server.url(), {});
  std::string received;
  const auto answer = client.stream({}, [&](std::string_view bytes) {
    received += bytes;
    return true;
  });
  ASSERT_TRUE(answer) << answer.error().message();
  EXPECT_EQ(answer->headers.get("Transfer-Encoding"), "chunked");
  EXPECT_EQ(answer->body, "");
  EXPECT_TRUE(received == body);
}

TEST(ResponseStream, SendsEachPieceWhenItIsWritten) {
  StreamServer server;
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost: x\r\n\r\nGET /next HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto stream = std::move(*server.streams.take());
  EXPECT_TRUE(socket.read_answer().contains("Transfer-Encoding: chunked\r\n"));
  EXPECT_TRUE(stream->write("one"));
  EXPECT_EQ(socket.read_some(8), "3\r\none\r\n");
  EXPECT_TRUE(stream->write("twotwotwotwotwo!"));
  EXPECT_EQ(socket.read_some(22), "10\r\ntwotwotwotwotwo!\r\n");
  EXPECT_FALSE(stream->is_closed());
  stream.reset();  // ends it well
  EXPECT_EQ(socket.read_some(5), "0\r\n\r\n");
  // The connection is good for the request that waited.
  stream = std::move(*server.streams.take());
  stream->finish();
  EXPECT_EQ(socket.read_some(17), "HTTP/1.1 200 OK\r\n");
}

TEST(ResponseStream, EndsWithTheConnectionForAnOldClient) {
  StreamServer server;
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"));
  auto stream = std::move(*server.streams.take());
  EXPECT_TRUE(stream->write("one"));
  EXPECT_TRUE(stream->write("two"));
  stream->finish();
  const std::string answer = socket.read_to_end();
  EXPECT_EQ(body_of(answer), "onetwo");
  EXPECT_FALSE(answer.contains("chunked"));
  EXPECT_TRUE(answer.contains("Connection: close"));
}

TEST(ResponseStream, WantsNothingForHead) {
  StreamServer server;
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("HEAD / HTTP/1.1\r\nHost: x\r\n\r\nHEAD / HTTP/1.1\r\nHost: x\r\n\r\n"));
  for (int i = 0; i < 2; ++i) {
    EXPECT_TRUE(has_status(socket.read_answer(true), 200));
    const auto stream = std::move(*server.streams.take());
    EXPECT_FALSE(stream->write("nobody asked"));
  }
}

TEST(ResponseStream, TellsThatTheReaderLeftThoughNothingIsWritten) {
  StreamServer server;
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto stream = std::move(*server.streams.take());
  Mailbox<int> closed;
  stream->on_close([&] { closed.put(1); });
  EXPECT_TRUE(stream->write("hello"));
  socket.close();
  EXPECT_TRUE(closed.take());
  EXPECT_TRUE(stream->is_closed());
  EXPECT_FALSE(stream->write("anybody?"));
  stream->on_close([&] { closed.put(2); });
  EXPECT_EQ(closed.take(), 2);
}

TEST(ResponseStream, HoldsItsWriterBackAndCutsAReaderThatTakesNothing) {
  StreamServer server({.write_time_max = milliseconds(100)});
  RawSocket socket(server.address, 4'096);
  ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto stream = std::move(*server.streams.take());
  Mailbox<int> closed;
  stream->on_close([&] { closed.put(1); });
  const std::string piece(64 * 1024, 'x');
  std::size_t taken = 0;
  while (stream->write(piece)) taken += piece.size();
  EXPECT_TRUE(closed.take());
  // What the kernel's buffers hold, and a little more than a megabyte of our own.
  EXPECT_LT(taken, 16U * 1024 * 1024);
  EXPECT_EQ(server.refused("write_timeout"), 1);
}

TEST(ResponseStream, AWriterThatIsToldToStopDoesNotWaitForAReaderAndTheBodyIsCut) {
  StreamServer server;
  RawSocket socket(server.address, 4'096);
  ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto stream = std::move(*server.streams.take());
  std::stop_source stop;
  stream->stop_waiting_on(stop.get_token());
  // The client reads nothing: this returns because of the stop, and of nothing else.
  Mailbox<int> full;
  std::jthread producer([&] {
    const std::string piece(64 * 1024, 'x');
    for (std::size_t pieces = 0; stream->write(piece); ++pieces) {
      if (pieces == 16) full.put(1);  // more than it may hold itself is on its way
    }
    stream->finish();
    stream.reset();
    full.put(2);
  });
  ASSERT_TRUE(full.take());
  stop.request_stop();
  ASSERT_TRUE(full.take()) << "the writer still waits";
  const std::string answer = socket.read_to_end();
  EXPECT_FALSE(answer.ends_with("\r\n0\r\n\r\n")) << "half a body must not look whole";
}

TEST(ResponseStream, AReaderThatKeepsUpGetsTheWholeBodyThoughItsWriterIsToldToStop) {
  StreamServer server;
  Client client(server.url(), {});
  std::jthread producer([&] {
    auto stream = std::move(*server.streams.take());
    std::stop_source stop;
    stream->stop_waiting_on(stop.get_token());
    stop.request_stop();
    EXPECT_TRUE(stream->write("all"));
    stream->finish();
  });
  EXPECT_EQ(client.send({})->body, "all");
}

TEST(ResponseStream, AbortLetsTheReaderKnow) {
  StreamServer server;
  Client client(server.url(), {});
  std::jthread producer([&] {
    auto stream = std::move(*server.streams.take());
    EXPECT_TRUE(stream->write("half"));
    stream->abort();
    EXPECT_FALSE(stream->write("more"));
  });
  const auto answer = client.send({});
  ASSERT_FALSE(answer);
  EXPECT_EQ(answer.error().code(), ErrorCode::kUnavailable);
}

TEST(ResponseStream, MayBeEndedTwice) {
  StreamServer server;
  Client client(server.url(), {});
  std::jthread producer([&] {
    auto stream = std::move(*server.streams.take());
    EXPECT_TRUE(stream->write("all"));
    stream->finish();
    stream->finish();
    stream->abort();
    EXPECT_FALSE(stream->write("more"));
  });
  EXPECT_EQ(client.send({})->body, "all");
}

// ---- stopping

TEST(Stop, LetsAnOpenRequestEnd) {
  TestServer server;
  Mailbox<Responder> responders;
  server.handler = [&](Request, Responder responder) { responders.put(std::move(responder)); };
  server.start();
  RawSocket idle(server.address);
  RawSocket busy(server.address);
  ASSERT_TRUE(busy.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto responder = responders.take();
  ASSERT_TRUE(responder);
  std::jthread stopping([&] { server.server.stop(seconds(30)); });
  EXPECT_EQ(idle.read_to_end(), "");  // the stop has begun
  std::move(*responder).respond(text("last words"));
  const std::string answer = busy.read_to_end();
  EXPECT_EQ(body_of(answer), "last words");
  EXPECT_TRUE(answer.contains("Connection: close\r\n"));
  stopping.join();
  EXPECT_FALSE(RawSocket(server.address).connected());
}

TEST(Stop, CutsWhatIsOpenAtTheDeadline) {
  TestServer server;
  Mailbox<Responder> responders;
  Mailbox<int> closed;
  server.handler = [&](Request, Responder responder) {
    responder.on_close([&] { closed.put(1); });
    responders.put(std::move(responder));
  };
  server.start();
  RawSocket socket(server.address);
  ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  auto responder = responders.take();
  ASSERT_TRUE(responder);
  server.server.stop(milliseconds(50));
  EXPECT_TRUE(closed.take());
  EXPECT_EQ(socket.read_to_end(), "");
  EXPECT_EQ(server.metrics.gauge("fettle_http_connections", "").value(), 0);
  server.server.stop(milliseconds(50));  // once more does no harm
}

TEST(Stop, LetsABlockedWriterGo) {
  TestServer server;
  Mailbox<std::unique_ptr<ResponseStream>> streams;
  server.handler = [&](Request, Responder responder) { streams.put(std::move(responder).stream(text(""))); };
  server.start();
  RawSocket socket(server.address, 4'096);
  ASSERT_TRUE(socket.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n"));
  std::jthread producer([stream = std::move(*streams.take())] {
    while (stream->write(std::string(64 * 1024, 'x'))) {
    }
  });
  server.server.stop(milliseconds(50));
}

TEST(Stop, BeforeStartIsNoHarm) {
  const TemporaryFolder folder;
  TestServer server;
  ASSERT_TRUE(server.server.listen("unix:" + folder.file("s"), server.gate, server.handler));
  server.server.stop(milliseconds(0));
  EXPECT_FALSE(std::filesystem::exists(folder.file("s")));
}

// ---- listening

TEST(Listen, AUnixSocketIsItsOwnersAloneAndGoesWithTheServer) {
  const TemporaryFolder folder;
  const std::string path = folder.file("s.sock");
  TestServer server;
  server.start("unix:" + path);
  struct stat found{};
  ASSERT_EQ(::lstat(path.c_str(), &found), 0);
  EXPECT_TRUE(S_ISSOCK(found.st_mode));
  EXPECT_EQ(found.st_mode & 0777U, 0600U);
  server.server.stop(seconds(1));
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(Listen, ReplacesASocketThatNobodyAnswersOn) {
  const TemporaryFolder folder;
  const std::string path = folder.file("s.sock");
  const int left_over = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  ASSERT_EQ(::bind(left_over, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
  ::close(left_over);
  ASSERT_TRUE(std::filesystem::exists(path));
  TestServer server;
  server.start("unix:" + path);
  EXPECT_EQ(Client("unix:" + path, {}).send({})->status, 200);
}

TEST(Listen, LeavesASocketAloneThatAnswers) {
  const TemporaryFolder folder;
  const std::string address = "unix:" + folder.file("s.sock");
  TestServer first;
  first.start(address);
  TestServer second;
  const auto refused = second.server.listen(address, second.gate, second.handler);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(Client(address, {}).send({})->status, 200);
}

TEST(Listen, LeavesAFileAloneThatIsNoSocket) {
  const TemporaryFolder folder;
  const std::string path = folder.file("precious");
  std::ofstream(path) << "data";
  TestServer server;
  const auto refused = server.server.listen("unix:" + path, server.gate, server.handler);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument);
  EXPECT_EQ(std::filesystem::file_size(path), 4U);
}

TEST(Listen, LocalhostIsTheOldAddress) {
  TestServer server;
  server.start("localhost:0");
  EXPECT_TRUE(server.address.starts_with("127.0.0.1:")) << server.address;
}

TEST(Listen, ATakenPortIsUnavailable) {
  TestServer first;
  first.start();
  TestServer second;
  const auto refused = second.server.listen(first.address, second.gate, second.handler);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code(), ErrorCode::kUnavailable);
  EXPECT_TRUE(refused.error().message().contains(first.address)) << refused.error().message();
}

TEST(Listen, AMalformedAddressIsAnInvalidArgument) {
  TestServer server;
  for (const std::string& address :
       {std::string(""), std::string("127.0.0.1"), std::string("127.0.0.1:"), std::string("127.0.0.1:http"),
        std::string(":80"), std::string("127.0.0.1:65536"), std::string("127.0.0.1:-1"), std::string("::1:80"),
        std::string("[::1]"), std::string("[::1:80"), std::string("[127.0.0.1]:80"), std::string("300.0.0.1:80"),
        std::string("unix:"), "unix:/" + std::string(200, 'x')}) {
    const auto refused = server.server.listen(address, server.gate, server.handler);
    ASSERT_FALSE(refused) << address;
    EXPECT_EQ(refused.error().code(), ErrorCode::kInvalidArgument) << address;
  }
}

TEST(Listen, FurtherConnectionsWaitInTheBacklog) {
  TestServer server({.connections_max = 2});
  server.start();
  const std::string request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
  auto first = std::make_unique<RawSocket>(server.address);
  RawSocket second(server.address);
  for (RawSocket* socket : {first.get(), &second}) {
    ASSERT_TRUE(socket->send(request));
    EXPECT_TRUE(has_status(socket->read_answer(), 200));
  }
  RawSocket third(server.address);
  ASSERT_TRUE(third.connected());
  ASSERT_TRUE(third.send(request));
  EXPECT_EQ(server.metrics.gauge("fettle_http_connections", "").value(), 2);
  first.reset();
  EXPECT_TRUE(has_status(third.read_answer(), 200));
}

// ---- everything at once, for the sanitizers

TEST(Server, SurvivesClientsThatLeaveAtAnyMoment) {
  TestServer server({.threads = 3});
  Mailbox<std::pair<Request, Responder>> work;
  std::atomic<int> admitted = 0;
  std::atomic<int> ended = 0;
  server.gate = [&](Request& request) {
    ++admitted;
    GateDecision decision{.body_bytes_max = 1'000'000};
    if (request.path == "/file") decision.body_to = GateDecision::BodyTo::kMemoryFile;
    decision.on_end = [&] { ++ended; };
    return decision;
  };
  server.handler = [&](Request request, Responder responder) { work.put({std::move(request), std::move(responder)}); };
  server.start();
  std::atomic<bool> over = false;
  std::vector<std::jthread> workers;
  for (int w = 0; w < 3; ++w) {
    workers.emplace_back([&] {
      while (!over || work.size() != 0) {
        auto item = work.take_if_there();
        if (!item) {
          std::this_thread::yield();
          continue;
        }
        auto& [request, responder] = *item;
        auto seen = std::make_shared<std::atomic<bool>>(false);
        responder.on_close([seen] { *seen = true; });
        if (request.path == "/stream") {
          auto stream = std::move(responder).stream(text(""));
          stream->on_close([seen] { *seen = true; });
          for (int i = 0; i < 50 && stream->write(std::string(30'000, 's')); ++i) {
          }
          if (request.body.size() % 2 == 1) stream->abort();
        } else if (request.path != "/drop") {
          std::move(responder).respond(text(std::string(100'000, 'r')));
        }
      }
    });
  }
  {
    std::vector<std::jthread> clients;
    for (int c = 0; c < 4; ++c) {
      clients.emplace_back([&, c] {
        const char* paths[] = {"/plain", "/file", "/stream", "/drop"};
        for (int i = 0; i < 60; ++i) {
          RawSocket socket(server.address);
          const std::string body(static_cast<std::size_t>(i) * 997, 'b');
          const std::string request = "POST " + std::string(paths[(i + c) % 4]) +
                                      " HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(body.size()) +
                                      "\r\n\r\n" + body;
          switch (i % 5) {
            case 0: socket.send(request.substr(0, request.size() / 2)); break;  // leaves in the middle
            case 1: socket.send(request); break;                                // leaves at once
            case 2:
              socket.send(request);
              socket.read_some(1);
              break;  // leaves during the answer
            case 3:
              socket.send(request + request);
              socket.read_some(300);
              break;
            default:
              socket.send(request);
              socket.end_sending();
              socket.read_to_end();
              break;
          }
        }
      });
    }
  }
  server.server.stop(seconds(5));
  over = true;
  workers.clear();
  EXPECT_EQ(admitted, ended);
  EXPECT_EQ(server.metrics.gauge("fettle_http_connections", "").value(), 0);
}

}  // namespace
}  // namespace fettle::http
