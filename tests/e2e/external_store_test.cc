// A store that is somebody else's, reached over TCP with a password: telemetry.url.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <string>

#include "access/tokens.h"
#include "core/ids.h"
#include "e2e/server_process.h"

namespace fettle::e2e {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kPassword = "p@ss: word/1";

std::string entry(std::string_view token, std::string_view rest) {
  const auto sha256 = access::sha256_of(token);
  return fmt::format(R"({{"sha256":"{}",{}}})", to_hex({reinterpret_cast<const char*>(sha256.data()), sha256.size()}),
                     rest);
}

const ServerProcess::HeaderList kAcme = {{"Authorization", "Bearer acme-token"}};
const ServerProcess::HeaderList kGlobex = {{"Authorization", "Bearer globex-token"}};

class ExternalStore : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    engine_ = EngineProcess::start(fmt::format("[{},{}]", entry(kPassword, R"("server":true)"),
                                               entry("acme-admin", R"("workspace":"acme","admin":true)")))
                  .release();
    ASSERT_NE(engine_, nullptr);
  }
  static void TearDownTestSuite() { delete engine_; }

  static std::string config(const std::string& url, std::string_view password = kPassword) {
    return fmt::format(R"(
telemetry: {{url: '{}', user: fettle, password_file: '{}'}}
tokens:
  - {{token: acme-token, workspace: acme, scopes: [ingest, read]}}
  - {{token: globex-token, workspace: globex, scopes: [ingest, read]}}
)",
                       url, engine_->write("password", std::string(password) + "\n").string());
  }
  // What /health/ready says of a server that cannot open this store, and takes telemetry in all the same.
  static std::string why_not_ready(const std::string& url, std::string_view password = kPassword) {
    const auto server = ServerProcess::start({.dev = false, .config = config(url, password), .until_ready = false});
    if (server == nullptr) return "it ended";
    EXPECT_EQ(server->post_otlp("/v1/traces", "application/json", "{}", kAcme).status, 200);
    EXPECT_TRUE(eventually([&] { return server->log().find("store_not_open") != std::string::npos; }));
    EXPECT_EQ(server->get("/api/v1/spans", kAcme).status, 503);
    const auto ready = server->get("/health/ready", kAcme);
    EXPECT_EQ(ready.status, 503);
    EXPECT_EQ(server->get("/health/ready").body.find("telemetry.url"), std::string::npos) << "not for strangers";
    EXPECT_EQ(server->log().find("wrong-password"), std::string::npos);
    return ready.body;
  }

  static EngineProcess* engine_;
};
EngineProcess* ExternalStore::engine_ = nullptr;

std::string span_of(const std::string& service) {
  const auto now =
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch());
  return fmt::format(
      R"({{"resourceSpans":[{{"resource":{{"attributes":[{{"key":"service.name","value":{{"stringValue":"{}"}}}}]}},
      "scopeSpans":[{{"spans":[{{"traceId":"11111111111111111111111111111111","spanId":"2222222222222222",
      "name":"{}-work","startTimeUnixNano":"{}","endTimeUnixNano":"{}"}}]}}]}}]}})",
      service, service, now.count(), now.count() + 1);
}

TEST_F(ExternalStore, WhatIsSentIsReadBackByItsWorkspaceAloneAndSurvivesTheServer) {
  const ScratchFolder scratch;
  auto server = ServerProcess::start({.dev = false, .config = config(engine_->url()), .data = scratch.path() / "data"});
  ASSERT_NE(server, nullptr);
  ASSERT_EQ(server->post_otlp("/v1/traces", "application/json", span_of("acme-web"), kAcme).status, 200);
  ASSERT_EQ(server->post_otlp("/v1/traces", "application/json", span_of("globex-web"), kGlobex).status, 200);
  const auto check = [&] {
    const auto is_there = [&](const ServerProcess::HeaderList& who) {
      return server->get("/api/v1/traces/11111111111111111111111111111111", who).status == 200;
    };
    ASSERT_TRUE(eventually([&] { return is_there(kAcme) && is_there(kGlobex); })) << server->log();
    for (const char* target : {"/api/v1/traces/11111111111111111111111111111111",
                               "/api/v1/traces/11111111111111111111111111111111/outline", "/api/v1/spans"}) {
      EXPECT_THAT(server->get(target, kAcme).body, AllOf(HasSubstr("acme-web-work"), Not(HasSubstr("globex-web"))))
          << target;
      EXPECT_THAT(server->get(target, kGlobex).body, AllOf(HasSubstr("globex-web-work"), Not(HasSubstr("acme-web"))))
          << target;
    }
    const auto sql = [&](const ServerProcess::HeaderList& who) {
      return server->post("/api/v1/sql", "application/json", R"({"query":"SELECT name FROM spans"})", who).body;
    };
    EXPECT_THAT(sql(kAcme), HasSubstr(R"([["acme-web-work"]])"));
    EXPECT_THAT(sql(kGlobex), HasSubstr(R"([["globex-web-work"]])"));
  };
  check();
  EXPECT_THAT(server->get("/health", kAcme).body,
              AllOf(HasSubstr(R"("status":"healthy")"), HasSubstr(R"("engine":"external")")));
  EXPECT_EQ(server->terminate(), 0);
  server = ServerProcess::start({.dev = false, .config = config(engine_->url())});
  ASSERT_NE(server, nullptr);
  check();
}

TEST_F(ExternalStore, AWrongAddressOrPasswordIsSaidClearlyAndRefusesNoTelemetry) {
  // Nobody listens at port 1.
  EXPECT_THAT(why_not_ready("http://127.0.0.1:1"), HasSubstr("telemetry.url http://127.0.0.1:1: "));
  EXPECT_THAT(why_not_ready(engine_->url(), "wrong-password"),
              AllOf(HasSubstr("telemetry.url " + engine_->url()), HasSubstr("the user 'fettle'"),
                    HasSubstr("telemetry.password_file"), Not(HasSubstr("wrong-password"))));
  const auto other = ServerProcess::start({});
  ASSERT_NE(other, nullptr);
  EXPECT_THAT(why_not_ready(other->url()), HasSubstr("this is not ClickHouse's HTTP interface"));
}

TEST_F(ExternalStore, AUserWhoMayNotNameWorkspacesIsRefused) {
  // Its statements would all run in the workspace of the token, whoever asks.
  EXPECT_THAT(why_not_ready(engine_->url(), "acme-admin"),
              HasSubstr("is bound to 'acme' there and must be allowed to set log_comment"));
}

TEST_F(ExternalStore, DoctorTriesTheAddress) {
  const auto doctor = [&](std::string_view password) {
    return run_fettle({"doctor", "--telemetry-url", engine_->url(), "--telemetry-user", "fettle",
                       "--telemetry-password-file", engine_->write("doctor", password).string(), "--http",
                       "127.0.0.1:0", "--otlp-http", "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"});
  };
  EXPECT_THAT(doctor(kPassword).out, HasSubstr("ok    store: the server of telemetry.url answers"));
  const Ended refused = doctor("wrong");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.out, HasSubstr("FAIL  store"));
}

}  // namespace
}  // namespace fettle::e2e
