#include "server/config_audit.h"

#include <gtest/gtest.h>

#include "ledger/ledger_for_test.h"

namespace fettle::server {
namespace {

class ConfigAuditTest : public ledger::LedgerTest {
 protected:
  void SetUp() override {
    ASSERT_TRUE(db::migrate(*database, {&ledger::migrations(), &config_migrations()}));
    ASSERT_TRUE(write({record()}));  // a workspace with an audit log
    chain();
  }
  void start() {
    const auto done = audit_configuration(audited_settings(config_, key.public_key()), *database, *auditor, clock);
    ASSERT_TRUE(done) << done.error().message();
    chain();
  }
  std::vector<ledger::FoundAudit> changes() {
    ledger::AuditQuery query;
    query.with_details = true;
    query.match.push_back({"action", "config.change"});
    return find(query).audits;
  }

  Config config_;
};
FETTLE_FOR_BOTH_STORES(ConfigAuditTest);

TEST_P(ConfigAuditTest, AChangeOfTheFileIsAuditedAtTheNextStartWithBeforeAndAfter) {
  config_.tokens.push_back(
      {.sha256 = {0xab, 0xcd}, .name = "ci", .workspace = {"agency"}, .scopes = {access::TokenScope::kRead}});
  start();
  start();
  EXPECT_TRUE(changes().empty()) << "the first start and one without a change tell nothing";
  config_.retention.runs = std::chrono::hours(24);
  config_.tokens[0].scopes.push_back(access::TokenScope::kAdmin);
  config_.http = "0.0.0.0:7070";
  start();
  const auto found = changes();
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].details, R"({"after":{"http":"0.0.0.0:7070","retention.runs":"86400 s",)"
                              R"("tokens.ci":"workspace agency; scopes read,admin; clients all; sha256 abcd0000"},)"
                              R"("before":{"http":"127.0.0.1:7070","retention.runs":"7776000 s",)"
                              R"("tokens.ci":"workspace agency; scopes read; clients all; sha256 abcd0000"}})");
  EXPECT_TRUE(found[0].entry.contains(R"("actor_type":"system")")) << found[0].entry;
}

TEST_P(ConfigAuditTest, AnotherSecretKeyIsAChangeToo) {
  start();
  const auto other = ledger::SigningKey::derive(Secret(std::string(32, 'o'))).value();
  ASSERT_TRUE(audit_configuration(audited_settings(config_, other.public_key()), *database, *auditor, clock));
  chain();
  ASSERT_EQ(changes().size(), 1U);
  EXPECT_TRUE(changes()[0].details.contains("secret.key"));
}

}  // namespace
}  // namespace fettle::server
