// The whole interface over a real socket and a real SQLite ledger, with people and programs that come in by themselves.
#pragma once

#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "access/schema.h"
#include "access/token_store.h"
#include "api/api.h"
#include "api/fake_reader_for_test.h"
#include "db/testing.h"
#include "http/client.h"
#include "ledger/outbox.h"
#include "ledger/schema.h"
#include "notify/schema.h"
#include "notify/webhooks.h"
#include "redact/redactor.h"
#include "runs/admission.h"
#include "runs/schema.h"
#include "runs/testing.h"

namespace fettle::api {

class QuietIngest final : public IngestView {
 public:
  std::vector<ingest::BalanceRow> balance(const WorkspaceId&) const override { return {}; }
  IngestStatus status(const WorkspaceId&) const override { return {}; }
};

class AccessTest : public testing::Test {
 protected:
  static constexpr const char* kPassword = "correct horse battery";

  void SetUp() override {
    ASSERT_TRUE(db::migrate(
        *ledger_, {&ledger::migrations(), &access::migrations(), &runs::migrations(), &notify::migrations()}));
    for (const char* workspace : {"acme", "globex"}) {
      ASSERT_TRUE(ledger_->write_and_wait([&](db::Transaction& tx) {
        return access::create_workspace(tx, by_system(workspace), {workspace}, workspace);
      }));
    }
    runs_.emplace(*ledger_, clock_, rng_, journal_, runs::Runs::Options{});
    runs_->set_admission(&admission_);
    api_.emplace(Services{.authenticator = authenticator_,
                          .reader = reader_,
                          .ingest = ingest_,
                          .health = health_,
                          .redactor = *redactor_,
                          .metrics = store_.registry,
                          .clock = clock_,
                          .access = {.directory = &directory_,
                                     .accounts = &accounts_,
                                     .ledger = ledger_.get(),
                                     .auditor = &auditor_,
                                     .rng = &rng_},
                          .work = {.runs = &*runs_,
                                   .ledger = ledger_.get(),
                                   .auditor = &auditor_,
                                   .outbox = &outbox_,
                                   .webhooks = &webhooks_},
                          .proxies = proxies()},
                 Limits{.query_threads = 1});
    server_.emplace(http::ServerOptions{.threads = 1}, store_.registry);
    const auto address = server_->listen("127.0.0.1:0", api_->gate(), api_->handler());
    ASSERT_TRUE(address);
    server_->start();
    client_.emplace("http://" + *address, http::ClientOptions{});
  }

  // Whose word about clients counts.
  virtual TrustedProxies proxies() const { return {}; }

  void TearDown() override {
    if (runs_) runs_->close();
    if (api_) api_->stop();
    if (server_) server_->stop(std::chrono::seconds(5));
    hasher_.stop();
    directory_.stop();
    ledger_->close();
  }

  access::Change by_system(std::string workspace) {
    return {.auditor = auditor_, .actor = access::system_actor({std::move(workspace)}), .now = clock_.now()};
  }

  using Headers = std::vector<std::pair<std::string, std::string>>;
  http::Response send(std::string method, std::string target, std::string body, Headers headers) {
    http::ClientRequest request{.method = std::move(method), .target = std::move(target), .headers = {}, .body = {}};
    headers.emplace_back("Content-Type", "application/json");
    for (auto& [name, value] : headers) request.headers.add(std::move(name), std::move(value));
    if (!body.empty()) request.body.push_back(std::move(body));
    auto response = client_->send(request);
    EXPECT_TRUE(response) << response.error().message();
    return response ? std::move(*response) : http::Response{.status = 0, .headers = {}, .body = {}};
  }

  // The headers of a session of somebody with that role.
  Headers person(access::Role role, std::vector<ClientId> clients = {}, const std::string& workspace = "acme") {
    const std::string email = "p" + std::to_string(++people_) + "@acme.example";
    const access::NewLink made{.id = access::make_identifier("lnk_", rng_),
                               .credential = access::make_credential(access::CredentialKind::kLink, rng_)};
    const auto invited = ledger_->write_and_wait([&](db::Transaction& tx) {
      return access::invite(tx, by_system(workspace), made, email, {.role = role, .clients = clients});
    });
    EXPECT_TRUE(invited) << invited.error().message();
    const auto response =
        send("POST", "/api/v1/links/redeem",
             R"({"link":")" + made.credential + R"(","name":"Somebody","password":")" + kPassword + R"("})", {});
    EXPECT_EQ(response.status, 200) << response.body;
    const std::string cookie(response.headers.get("Set-Cookie"));
    EXPECT_TRUE(cookie.contains("HttpOnly; SameSite=Strict")) << cookie;
    const auto answer = boost::json::parse(response.body);
    return {{"Cookie", cookie.substr(0, cookie.find(';'))},
            {"X-Fettle-Csrf", std::string(answer.at("csrf_token").as_string())}};
  }

  Headers program(access::TokenScopes scopes, const std::string& workspace = "acme") {
    const access::NewToken made{.id = access::make_identifier("tok_", rng_),
                                .credential = access::make_credential(access::CredentialKind::kToken, rng_),
                                .name = "program",
                                .scopes = scopes};
    const auto stored = directory_.change_and_wait(
        [&](db::Transaction& tx) { return access::create_token(tx, by_system(workspace), made); });
    EXPECT_TRUE(stored) << stored.error().message();
    return {{"Authorization", "Bearer " + made.credential}};
  }

  SystemRng rng_;
  db::TestStore store_{db::Dialect::kSqlite};
  SystemClock clock_;
  std::unique_ptr<db::Database> ledger_ = store_.open();
  static inline const std::shared_ptr<const redact::Redactor> redactor_ = redact::Redactor::compile().value();
  ledger::Auditor auditor_{redactor_, clock_, store_.registry};
  access::Directory directory_{*ledger_, clock_, store_.registry, {}};
  runs::DirectoryAdmission admission_{directory_};
  access::PasswordHasher hasher_{{.threads = 1, .queue_max = 64, .memory_bytes = 1 << 20, .passes = 1},
                                 store_.registry};
  access::LoginThrottle throttle_{{}, clock_};
  access::Accounts accounts_{{*ledger_, directory_, hasher_, throttle_, auditor_, clock_, rng_}, {.home = {"acme"}}};
  access::Authenticator authenticator_{&directory_, access::Mode::kTokens, &directory_};
  FakeReader reader_;
  QuietIngest ingest_;
  health::Health health_{clock_, "9.9.9"};
  runs::FakeJournal journal_;
  std::optional<runs::Runs> runs_;
  http::OutboundClient outbound_{{.allow = {}}};
  ledger::Outbox outbox_{*ledger_, clock_, store_.registry};
  notify::Webhooks webhooks_{{.database = *ledger_,
                              .outbox = outbox_,
                              .auditor = auditor_,
                              .client = outbound_,
                              .redactor = redactor_,
                              .box = notify::SecretBox::derive(Secret(std::string(32, 's'))).value(),
                              .clock = clock_,
                              .rng = rng_,
                              .metrics = store_.registry,
                              .is_leader = [] { return true; }},
                             {}};
  std::optional<Api> api_;
  std::optional<http::Server> server_;
  std::optional<http::Client> client_;
  int people_ = 0;
};

}  // namespace fettle::api
