// Starting, refusing to start, and stopping.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <algorithm>
#include <filesystem>
#include <string>

#include "e2e/server_process.h"

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

  const auto part = a_part_of(data, "logs");
  ASSERT_FALSE(part.empty());
  std::filesystem::resize_file(part / "checksums.txt", 0);
  server = ServerProcess::start({.data = data});
  ASSERT_NE(server, nullptr);
  ASSERT_TRUE(eventually([&] {
    return server->get("/metrics").body.find("\nfettle_store_detached_parts 1\n") != std::string::npos;
  })) << server->get("/health").body;
  const std::string health = server->get("/health").body;
  EXPECT_THAT(health, HasSubstr(R"({"status":"degraded")"));
  EXPECT_THAT(health, HasSubstr("(logs 1)"));
  EXPECT_THAT(server->log(), HasSubstr("store_detached_parts"));
  const Ended warned = doctor();
  EXPECT_EQ(warned.exit_code, 0) << warned.out;
  EXPECT_THAT(warned.out, HasSubstr("warn  tables: the engine put parts aside and does not read them (logs 1)"));

  // The look that the manual describes.
  http::Client engine("unix:" + (data / "engine/engine.sock").string(), http::ClientOptions{});
  http::ClientRequest look{.method = "POST", .target = "/?log_comment=*", .headers = {}, .body = {}};
  look.body = {"SELECT table, reason FROM system.detached_parts WHERE database = 'fettle'"};
  const auto seen = engine.send(look);
  ASSERT_TRUE(seen) << seen.error().message();
  EXPECT_EQ(seen->body, "logs\tbroken-on-start\n");
}

TEST(Lifecycle, RedactShowsWhatWouldBeStored) {
  const Ended ended = run_fettle({"redact"}, "mail to anna@example.com\nnothing here\n");
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.out, "mail to a***@example.com\nnothing here\n");
}

}  // namespace
}  // namespace fettle::e2e
