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

TEST(Lifecycle, RedactShowsWhatWouldBeStored) {
  const Ended ended = run_fettle({"redact"}, "mail to anna@example.com\nnothing here\n");
  EXPECT_EQ(ended.exit_code, 0);
  EXPECT_EQ(ended.out, "mail to a***@example.com\nnothing here\n");
}

}  // namespace
}  // namespace fettle::e2e
