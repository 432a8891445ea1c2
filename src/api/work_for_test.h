// The work half of the interface over a real socket and a real SQLite ledger, on a clock that stands still.
#pragma once

#include <gtest/gtest.h>

#include <boost/json/parse.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/api.h"
#include "api/fake_reader_for_test.h"
#include "db/testing.h"
#include "http/client.h"
#include "ledger/audit.h"
#include "ledger/outbox.h"
#include "ledger/schema.h"
#include "notify/schema.h"
#include "notify/webhooks.h"
#include "redact/redactor.h"
#include "runs/schema.h"
#include "runs/testing.h"

namespace fettle::api {

class NoIngest final : public IngestView {
 public:
  std::vector<ingest::BalanceRow> balance(const WorkspaceId&) const override { return {}; }
  IngestStatus status(const WorkspaceId&) const override { return {}; }
};

class WorkTest : public testing::Test {
 protected:
  using Headers = std::vector<std::pair<std::string, std::string>>;

  void SetUp() override {
    database_ = store_.open();
    const auto ready = db::migrate(*database_, {&ledger::migrations(), &runs::migrations(), &notify::migrations()});
    ASSERT_TRUE(ready) << ready.error().message();
    outbox_.emplace(*database_, clock_, metrics_);
    webhooks_.emplace(notify::Webhooks::Rooms{.database = *database_,
                                              .outbox = *outbox_,
                                              .auditor = auditor_,
                                              .client = outbound_,
                                              .redactor = redactor_,
                                              .box = notify::SecretBox::derive(Secret(std::string(32, 's'))).value(),
                                              .clock = clock_,
                                              .rng = system_rng_,
                                              .metrics = metrics_,
                                              .is_leader = [] { return true; }},
                      notify::Webhooks::Options{.senders = 2});
    runs_ =
        std::make_unique<runs::Runs>(*database_, clock_, rng_, journal_, runs::Runs::Options{.revokes_at_once = false});
    api_.emplace(Services{.authenticator = authenticator_,
                          .reader = reader_,
                          .ingest = ingest_,
                          .health = health_,
                          .redactor = *redactor_,
                          .metrics = metrics_,
                          .clock = clock_,
                          .work = {.runs = runs_.get(),
                                   .ledger = database_.get(),
                                   .auditor = &auditor_,
                                   .outbox = &*outbox_,
                                   .webhooks = &*webhooks_}},
                 Limits{});
    server_.emplace(http::ServerOptions{.threads = 2}, metrics_);
    auto address = server_->listen("127.0.0.1:0", api_->gate(), api_->handler());
    ASSERT_TRUE(address) << address.error().message();
    server_->start();
    address_ = *address;
    client_.emplace("http://" + address_, http::ClientOptions{});
  }

  void TearDown() override {
    if (runs_) runs_->close();
    if (api_) api_->stop();
    if (server_) server_->stop(std::chrono::seconds(5));
    if (webhooks_) webhooks_->stop();
    if (database_) database_->close();
  }

  http::Response send(std::string method, std::string target, std::string body = "", Headers headers = {},
                      std::string bearer = "worker") {
    http::ClientRequest request{.method = std::move(method), .target = std::move(target), .headers = {}, .body = {}};
    if (!bearer.empty()) request.headers.add("Authorization", "Bearer " + bearer);
    if (!body.empty()) request.headers.add("Content-Type", "application/json");
    for (auto& [name, value] : headers) request.headers.add(std::move(name), std::move(value));
    if (!body.empty()) request.body.push_back(body);
    auto response = client_->send(request);
    EXPECT_TRUE(response) << response.error().message();
    return response ? std::move(*response) : http::Response{.status = 0, .headers = {}, .body = {}};
  }
  static boost::json::value json_of(const http::Response& response, int status) {
    EXPECT_EQ(response.status, status) << response.body;
    boost::json::error_code error;
    auto value = boost::json::parse(response.body, error);
    EXPECT_FALSE(error) << response.body;
    return value;
  }
  boost::json::value post(std::string target, std::string body, int status = 200, Headers headers = {}) {
    return json_of(send("POST", std::move(target), std::move(body), std::move(headers)), status);
  }
  boost::json::value get(std::string target, int status = 200) {
    return json_of(send("GET", std::move(target)), status);
  }
  std::string add_run(std::string body = R"({"workflow":"publish","client_id":"acme","payload":{"post":7}})") {
    return std::string(post("/api/v1/runs", std::move(body), 201).at("run_id").as_string());
  }
  // The first lease.
  boost::json::value lease_one() { return post("/api/v1/work/lease", R"({"runner_id":"w1"})").at("leases").at(0); }
  static std::string named(const boost::json::value& lease) {
    return R"("run_id":")" + std::string(lease.at("run_id").as_string()) + R"(","fence":)" +
           std::to_string(lease.at("fence").as_int64());
  }
  // The answer to one report about a lease; `more` are further members.
  boost::json::value report(const boost::json::value& lease, std::string op, std::string more = "") {
    if (!more.empty()) more.insert(0, ",");
    return post("/api/v1/work/report",
                R"({"runner_id":"w1","reports":[{"op":")" + op + R"(",)" + named(lease) + more + "}]}")
        .at("results")
        .at(0);
  }
  void tick(std::chrono::nanoseconds by) {
    clock_.advance(by);
    const auto done = runs_->upkeep_and_wait();
    EXPECT_TRUE(done) << done.error().message();
  }

  static access::TokenEntry token(std::string_view text, std::string workspace, access::TokenScope scope,
                                  std::vector<ClientId> clients = {}) {
    return {.sha256 = access::sha256_of(text),
            .name = std::string(text),
            .workspace = {std::move(workspace)},
            .clients = std::move(clients),
            .scopes = {scope}};
  }

  ManualClock clock_{1'800'000'000 * kNanosPerSecond};
  SeededRng rng_{7};
  runs::FakeJournal journal_;
  metrics::Registry metrics_;
  db::TestStore store_{db::Dialect::kSqlite};
  access::ConfiguredTokens tokens_ =
      access::ConfiguredTokens::make(
          std::vector<access::TokenEntry>{token("worker", "acme", access::TokenScope::kAdmin),
                                          token("reader", "acme", access::TokenScope::kRead),
                                          token("manager", "acme", access::TokenScope::kOperate),
                                          token("other", "globex", access::TokenScope::kAdmin),
                                          token("limited", "acme", access::TokenScope::kAdmin, {ClientId{"c1"}})})
          .value();
  access::Authenticator authenticator_{&tokens_, access::Mode::kTokens};
  static inline const std::shared_ptr<const redact::Redactor> redactor_ = redact::Redactor::compile().value();
  ledger::Auditor auditor_{redactor_, clock_, metrics_};
  FakeReader reader_;
  NoIngest ingest_;
  health::Health health_{clock_, "9.9.9"};
  std::unique_ptr<db::Database> database_;
  SystemRng system_rng_;
  http::OutboundClient outbound_{{.allow = {*http::Cidr::parse("127.0.0.0/8")}}};
  std::optional<ledger::Outbox> outbox_;
  std::optional<notify::Webhooks> webhooks_;
  std::unique_ptr<runs::Runs> runs_;
  std::optional<Api> api_;
  std::optional<http::Server> server_;
  std::string address_;
  std::optional<http::Client> client_;
};

}  // namespace fettle::api
