// Starting, refusing to start, and stopping.
#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <filesystem>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/metrics.h"
#include "e2e/server_process.h"
#include "http/server.h"

namespace fettle::e2e {
namespace {

using testing::HasSubstr;

TEST(Lifecycle, StartsServesAndStopsWell) {
  const auto server = ServerProcess::start({});
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->get("/health/ready").status, 200);
  EXPECT_EQ(server->get("/health/live").status, 200);
  EXPECT_THAT(server->get("/health").body, HasSubstr(R"("checks":{"store":{"status":"up")"));
  struct stat info{};
  ASSERT_EQ(::stat(server->data().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
  std::chrono::milliseconds took{0};
  EXPECT_EQ(server->terminate(&took), 0);
  EXPECT_LT(took, std::chrono::seconds(10));
  EXPECT_FALSE(std::filesystem::exists(server->data() / "ports.json"));
}

// A TCP port of this machine on which nothing answers: nobody listens, or connections are taken and that is all.
class DeafPort {
 public:
  explicit DeafPort(bool is_listening) : socket_(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    EXPECT_EQ(::bind(socket_, reinterpret_cast<sockaddr*>(&address), size), 0);
    EXPECT_EQ(::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &size), 0);
    if (is_listening && ::listen(socket_, 16) != 0) ADD_FAILURE() << "it cannot listen";
    url_ = "http://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
  }
  ~DeafPort() { ::close(socket_); }
  const std::string& url() const { return url_; }

 private:
  int socket_;
  std::string url_;
};

constexpr const char* kNdjson = "application/x-ndjson";
constexpr std::chrono::seconds kStopMax{10};

bool has_log(ServerProcess& server, std::string_view text) {
  return eventually([&] { return server.get("/api/v1/logs").body.find(text) != std::string::npos; });
}

TEST(Lifecycle, AStoreThatIsDownRefusesNothingButReads) {
  const ScratchFolder scratch;
  const auto data = scratch.path() / "data";
  const DeafPort closed(false);
  auto server =
      ServerProcess::start({.data = data, .arguments = {"--telemetry-url", closed.url()}, .until_ready = false});
  ASSERT_NE(server, nullptr);
  EXPECT_EQ(server->post("/api/v1/ingest/logs", kNdjson, "{\"msg\":\"meanwhile\"}\n").status, 200);
  ASSERT_TRUE(eventually([&] { return server->log().find("store_not_open") != std::string::npos; }));
  EXPECT_EQ(server->get("/health/live").status, 200);
  const http::Response ready = server->get("/health/ready");
  EXPECT_EQ(ready.status, 503);
  EXPECT_THAT(ready.body, HasSubstr("the telemetry store is not open yet; what arrives waits in the spool: "));
  const http::Response health = server->get("/health");
  EXPECT_EQ(health.status, 503);
  EXPECT_THAT(health.body, HasSubstr(R"("store":{"status":"down")"));
  for (const char* path : {"/api/v1/logs", "/api/v1/spans", "/api/v1/journeys/run-1", "/api/v1/logs/tail"}) {
    const http::Response answer = server->get(path);
    EXPECT_EQ(answer.status, 503) << path;
    EXPECT_THAT(answer.body, HasSubstr("the telemetry store cannot be opened yet")) << path;
    EXPECT_EQ(answer.headers.get("Content-Type"), "application/problem+json") << path;
  }
  std::chrono::milliseconds took{0};
  EXPECT_EQ(server->terminate(&took), 0);
  EXPECT_LT(took, kStopMax);

  server = ServerProcess::start({.data = data});
  ASSERT_NE(server, nullptr);
  EXPECT_TRUE(has_log(*server, "meanwhile"));
}

TEST(Lifecycle, AnEngineThatCannotStartIsTriedAgainUntilItDoes) {
  const ScratchFolder scratch;
  const auto mended = scratch.path() / "mended";
  const auto real = std::filesystem::path(FETTLE_PROGRAM).parent_path() / "fettle-engine";
  const auto program = scratch.write(
      "engine.sh", "#!/bin/sh\n[ -e " + mended.string() + " ] || exit 3\nexec " + real.string() + " \"$@\"\n");
  std::filesystem::permissions(program, std::filesystem::perms::owner_all);
  const auto server = ServerProcess::start({.arguments = {"--engine-binary", program.string()}, .until_ready = false});
  ASSERT_NE(server, nullptr);
  ASSERT_TRUE(eventually([&] { return server->log().find("store_not_open") != std::string::npos; }));
  EXPECT_EQ(server->get("/health/ready").status, 503);
  EXPECT_THAT(server->get("/health/ready").body, HasSubstr("exit code 3"));
  EXPECT_EQ(server->post("/api/v1/ingest/logs", kNdjson, "{\"msg\":\"meanwhile\"}\n").status, 200);
  scratch.write("mended", "");
  ASSERT_TRUE(server->await_ready());
  EXPECT_EQ(server->get("/health/ready").status, 200);
  EXPECT_TRUE(has_log(*server, "meanwhile"));
  const std::string log = server->log();
  EXPECT_EQ(log.find("store_not_open"), log.rfind("store_not_open")) << "told once for as long as it is the same";
  EXPECT_EQ(server->terminate(), 0);
}

TEST(Lifecycle, WhatCanNeverWorkStopsTheStart) {
  const ScratchFolder scratch;
  const auto serve = [&](std::vector<std::string> more) {
    std::vector<std::string> all = {"serve",       "--dev",       "--data",      (scratch.path() / "data").string(),
                                    "--http",      "127.0.0.1:0", "--otlp-http", "127.0.0.1:0",
                                    "--otlp-grpc", "127.0.0.1:0"};
    all.insert(all.end(), more.begin(), more.end());
    return run_fettle(all);
  };
  const Ended path = serve({"--telemetry-url", "http://127.0.0.1:1/a/path"});
  EXPECT_EQ(path.exit_code, 2);
  EXPECT_THAT(path.err, HasSubstr("telemetry.url"));
  const Ended password = serve({"--telemetry-url", "http://127.0.0.1:1", "--telemetry-password-file", "/nowhere"});
  EXPECT_EQ(password.exit_code, 2);
  EXPECT_THAT(password.err, HasSubstr("telemetry.password_file: cannot read '/nowhere'"));
  const Ended twice = serve({"--telemetry-url", "http://ann:x@127.0.0.1:1", "--telemetry-user", "bob"});
  EXPECT_EQ(twice.exit_code, 2);
  EXPECT_THAT(twice.err, HasSubstr("telemetry.user"));
  const Ended missing = serve({"--engine-binary", "/nowhere/fettle-engine"});
  EXPECT_EQ(missing.exit_code, 1);
  EXPECT_THAT(missing.err, HasSubstr("/nowhere/fettle-engine is missing"));
}

// Takes every statement and remembers as whom it was sent.
class StoreThatTakesNames {
 public:
  StoreThatTakesNames() {
    auto address = server_.listen(
        "127.0.0.1:0", [](http::Request&) { return http::GateDecision(); },
        [this](http::Request request, http::Responder responder) {
          {
            const std::scoped_lock lock(mutex_);
            user_ = request.headers.get("X-ClickHouse-User");
            password_ = request.headers.get("X-ClickHouse-Key");
          }
          std::move(responder).respond(http::Response::make(500, "text/plain", "Code: 516. wrong password"));
        });
    EXPECT_TRUE(address);
    url_ = "http://" + *address;
    server_.start();
  }
  ~StoreThatTakesNames() { server_.stop(std::chrono::seconds(1)); }
  const std::string& url() const { return url_; }
  std::string user() const {
    const std::scoped_lock lock(mutex_);
    return user_;
  }
  std::string password() const {
    const std::scoped_lock lock(mutex_);
    return password_;
  }

 private:
  mutable std::mutex mutex_;
  std::string user_, password_, url_;
  metrics::Registry metrics_;
  http::Server server_{{.threads = 1}, metrics_};
};

TEST(Lifecycle, TheStoresUserIsNamedWithAndWithoutAPassword) {
  const ScratchFolder scratch;
  const std::string file = scratch.write("password", "hush\n").string();
  const StoreThatTakesNames store;
  for (const bool has_password : {false, true}) {
    std::vector<std::string> arguments = {"--telemetry-url", store.url(), "--telemetry-user",
                                          has_password ? "ann" : "bob"};
    if (has_password) arguments.insert(arguments.end(), {"--telemetry-password-file", file});
    const auto server = ServerProcess::start({.arguments = arguments, .until_ready = false});
    ASSERT_NE(server, nullptr);
    // Not a reason to end: what arrives meanwhile is kept, and a password can be mended at the store.
    ASSERT_TRUE(eventually([&] { return server->log().find("wrong password") != std::string::npos; }));
    EXPECT_EQ(store.user(), arguments[3]);
    EXPECT_EQ(store.password(), has_password ? "hush" : "");
  }
}

TEST(Lifecycle, SigtermEndsAStartThatWaitsForADeafStore) {
  const DeafPort deaf(true);
  const auto server = ServerProcess::start({.arguments = {"--telemetry-url", deaf.url()}, .until_ready = false});
  ASSERT_NE(server, nullptr);
  std::chrono::milliseconds took{0};
  EXPECT_EQ(server->terminate(&took), 0);
  EXPECT_LT(took, kStopMax);
}

TEST(Lifecycle, SigtermEndsAServerWhoseEngineHangs) {
  const auto server = ServerProcess::start({});
  ASSERT_NE(server, nullptr);
  const pid_t engine = server->engine_pid();
  ASSERT_GT(engine, 0);
  ASSERT_EQ(::kill(engine, SIGSTOP), 0);
  ASSERT_EQ(server->post("/api/v1/ingest/logs", kNdjson, "{\"msg\":\"late\"}\n").status, 200);
  // After as long as the supervisor waits between two looks at its health, it waits for an answer too.
  http::Client client("unix:" + (server->data() / "engine/engine.sock").string(), http::ClientOptions{});
  http::ClientRequest look;
  look.target = "/health";
  look.time_max = std::chrono::seconds(5);
  EXPECT_EQ(client.send(look).error().code(), ErrorCode::kDeadlineExceeded);
  std::chrono::milliseconds took{0};
  EXPECT_EQ(server->terminate(&took), 0);
  EXPECT_LT(took, kStopMax);
  EXPECT_NE(::kill(engine, 0), 0) << "the engine went with it";
}

TEST(Lifecycle, ASecondServerOnTheSameFolderIsRefused) {
  const auto first = ServerProcess::start({});
  ASSERT_NE(first, nullptr);
  const Ended second = run_fettle({"serve", "--dev", "--data", first->data().string(), "--http", "127.0.0.1:0",
                                   "--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"});
  EXPECT_EQ(second.exit_code, 1);
  EXPECT_THAT(second.err, HasSubstr("another server"));
  EXPECT_EQ(first->get("/health/ready").status, 200);
}

TEST(Lifecycle, AFolderIsFreeAgainAfterAKill) {
  const ScratchFolder scratch;
  auto first = ServerProcess::start({.data = scratch.path() / "data"});
  ASSERT_NE(first, nullptr);
  first->kill();
  const auto second = ServerProcess::start({.data = scratch.path() / "data"});
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->get("/health/ready").status, 200);
}

TEST(Lifecycle, AWrongConfigurationIsOneClearErrorAndExit2) {
  const ScratchFolder scratch;
  const auto file = scratch.write("fettle.yaml", "dev: true\nlimits:\n  body_bytes: lots\n").string();
  const Ended wrong_value = run_fettle({"serve", "--config", file});
  EXPECT_EQ(wrong_value.exit_code, 2);
  EXPECT_THAT(wrong_value.err, HasSubstr("fettle.yaml:3: limits.body_bytes"));
  EXPECT_EQ(std::count(wrong_value.err.begin(), wrong_value.err.end(), '\n'), 1);

  EXPECT_EQ(run_fettle({"serve", "--no-such-flag"}).exit_code, 2);
  EXPECT_EQ(run_fettle({"serve", "--config", "/nowhere.yaml"}).exit_code, 2);
  EXPECT_EQ(run_fettle({}).exit_code, 2);
}

TEST(Lifecycle, DevelopmentModeIsRefusedOffLoopback) {
  for (const char* flag : {"--http", "--otlp-http", "--otlp-grpc"}) {
    const Ended ended = run_fettle({"serve", "--dev", flag, "0.0.0.0:0"});
    EXPECT_EQ(ended.exit_code, 2) << flag;
    EXPECT_THAT(ended.err, HasSubstr(flag));
  }
}

TEST(Lifecycle, APortThatIsTakenIsNamed) {
  const auto first = ServerProcess::start({});
  ASSERT_NE(first, nullptr);
  const ScratchFolder scratch;
  const std::string address = "127.0.0.1:" + std::to_string(first->http_port());
  const Ended ended = run_fettle({"serve", "--dev", "--data", (scratch.path() / "data").string(), "--http", address});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.err, HasSubstr(address));
}

TEST(Lifecycle, DoctorFindsThisMachineFit) {
  const ScratchFolder scratch;
  const Ended ended = run_fettle({"doctor", "--data", (scratch.path() / "data").string(), "--http", "127.0.0.1:0",
                                  "--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"});
  EXPECT_EQ(ended.exit_code, 0) << ended.out;
  EXPECT_THAT(ended.out, HasSubstr("engine: starts in"));
}

TEST(Lifecycle, DoctorNamesAPortThatIsTaken) {
  const auto server = ServerProcess::start({});
  ASSERT_NE(server, nullptr);
  const ScratchFolder scratch;
  const Ended ended = run_fettle({"doctor", "--data", (scratch.path() / "data").string(), "--http",
                                  "127.0.0.1:" + std::to_string(server->http_port()), "--otlp-http", "127.0.0.1:0",
                                  "--otlp-grpc", "127.0.0.1:0"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.out, HasSubstr("FAIL  http"));
}

// The folder of some part of a table that holds rows.
std::filesystem::path a_part_of(const std::filesystem::path& data, std::string_view table) {
  for (const auto& entry : std::filesystem::directory_iterator(data / "engine/data/data/fettle" / table)) {
    if (std::filesystem::exists(entry.path() / "count.txt")) return entry.path();
  }
  return {};
}

TEST(Lifecycle, APartThatTheStorePutAsideIsSaidByHealthMetricsAndDoctor) {
  const ScratchFolder scratch;
  const auto data = scratch.path() / "data";
  const auto doctor = [&] {
    return run_fettle({"doctor", "--data", data.string(), "--http", "127.0.0.1:0", "--otlp-http", "127.0.0.1:0",
                       "--otlp-grpc", "127.0.0.1:0"});
  };
  auto server = ServerProcess::start({.data = data});
  ASSERT_NE(server, nullptr);
  ASSERT_EQ(server->post("/api/v1/ingest/logs", "application/x-ndjson", "{\"msg\":\"precious\"}\n").status, 200);
  ASSERT_TRUE(eventually([&] { return server->get("/api/v1/logs").body.find("precious") != std::string::npos; }));
  EXPECT_THAT(server->get("/health").body, HasSubstr(R"("parts":{"status":"up")"));
  EXPECT_THAT(server->get("/metrics").body, HasSubstr("\nfettle_store_detached_parts 0\n"));
  EXPECT_EQ(server->terminate(), 0);
  EXPECT_THAT(doctor().out, HasSubstr("ok    tables: no part was put aside"));

  const auto part = a_part_of(data, "logs_hot");
  ASSERT_FALSE(part.empty());
  std::filesystem::resize_file(part / "checksums.txt", 0);
  server = ServerProcess::start({.data = data});
  ASSERT_NE(server, nullptr);
  ASSERT_TRUE(eventually([&] {
    return server->get("/metrics").body.find("\nfettle_store_detached_parts 1\n") != std::string::npos;
  })) << server->get("/health").body;
  const std::string health = server->get("/health").body;
  EXPECT_THAT(health, HasSubstr(R"({"status":"degraded")"));
  EXPECT_THAT(health, HasSubstr("(logs_hot 1)"));
  EXPECT_THAT(server->log(), HasSubstr("store_detached_parts"));
  const Ended warned = doctor();
  EXPECT_EQ(warned.exit_code, 0) << warned.out;
  EXPECT_THAT(warned.out, HasSubstr("warn  tables: the engine put parts aside and does not read them (logs_hot 1)"));

  // The look that the manual describes.
  http::Client engine("unix:" + (data / "engine/engine.sock").string(), http::ClientOptions{});
  http::ClientRequest look{.method = "POST", .target = "/?log_comment=*", .headers = {}, .body = {}};
  look.body = {"SELECT table, reason FROM system.detached_parts WHERE database = 'fettle'"};
  const auto seen = engine.send(look);
  ASSERT_TRUE(seen) << seen.error().message();
  EXPECT_EQ(seen->body, "logs_hot\tbroken-on-start\n");
}

TEST(Lifecycle, DoctorAndRedactTakeTheConfigurationOfAServerThatIsReachable) {
  const ScratchFolder scratch;
  const std::string file =
      scratch
          .write("fettle.yaml", "data: " + (scratch.path() / "data").string() +
                                    "\nhttp: 0.0.0.0:0\notlp_http: 0.0.0.0:0\notlp_grpc: 0.0.0.0:0\n"
                                    "redaction: {rules: [{name: badge, pattern: 'B-[0-9]{4}'}]}\n"
                                    "tokens: [{token: a, workspace: acme, scopes: [read]}]\n")
          .string();
  const Ended doctor = run_fettle({"doctor", "--config", file});
  EXPECT_EQ(doctor.exit_code, 0) << doctor.out << doctor.err;
  EXPECT_THAT(doctor.out, HasSubstr("http: 0.0.0.0:0 is free"));
  const Ended redact = run_fettle({"redact", "--config", file}, "by B-1234\n");
  EXPECT_EQ(redact.exit_code, 0) << redact.err;
  EXPECT_EQ(redact.out, "by [redacted:badge]\n");
}

TEST(Lifecycle, RedactTriesRulesOfTheCommandLine) {
  const Ended ended =
      run_fettle({"redact", "--rule", "badge=B-[0-9]{4}", "--rule", "key=k=[0-9]{4}"}, "by B-1234 with k=5678\n");
  EXPECT_EQ(ended.exit_code, 0) << ended.err;
  EXPECT_EQ(ended.out, "by [redacted:badge] with [redacted:key]\n");
  for (const char* bad : {"badge", "=x", "badge="}) {
    const Ended refused = run_fettle({"redact", "--rule", bad});
    EXPECT_EQ(refused.exit_code, 2) << bad;
    EXPECT_THAT(refused.err, HasSubstr("--rule: expected NAME=PATTERN")) << bad;
  }
  EXPECT_EQ(run_fettle({"redact", "--rule", "badge=("}).exit_code, 2);
  EXPECT_EQ(run_fettle({"redact", "--http", "127.0.0.1:1"}).exit_code, 2) << "it has no use for a server's flags";
}

TEST(Lifecycle, TheVersionIsAFlagAndASubcommand) {
  const Ended flag = run_fettle({"--version"});
  EXPECT_EQ(flag.exit_code, 0);
  EXPECT_THAT(flag.out, testing::StartsWith("fettle "));
  EXPECT_EQ(flag.out, run_fettle({"version"}).out);
}

TEST(Lifecycle, RedactShowsWhatWouldBeStored) {
  const Ended ended = run_fettle({"redact"}, "mail to anna@example.com\nnothing here\n");
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.out, "mail to a***@example.com\nnothing here\n");
}

}  // namespace
}  // namespace fettle::e2e
