// A secret that slips into what agents report is masked before anything is stored, published or audited. Payloads and
// results are the work itself, protected by the right to see payloads, and stay as they are.
#include <gmock/gmock.h>

#include "api/work_for_test.h"
#include "ledger/events.h"
#include "runs/ledger_journal.h"

namespace fettle::api {
namespace {

using testing::HasSubstr;

// Of the form of a provider's key; belongs to nobody.
const std::string kSecret = "sk-ant-api03-" + std::string(60, 'Q') + "7k2x";

class SecretsTest : public WorkTest {
 protected:
  // Every text and blob of every table.
  std::string everything() {
    std::string all;
    const auto add = [&](const db::Row row) {
      for (std::size_t i = 0; i < row.size(); ++i) {
        if (const auto* text = std::get_if<std::string_view>(&row[i].get())) all += *text;
        if (const auto* blob = std::get_if<db::BlobView>(&row[i].get())) all += blob->bytes;
        all += '\n';
      }
    };
    for (const db::Sql& sql :
         {db::Sql("SELECT * FROM runs"), db::Sql("SELECT * FROM run_data"), db::Sql("SELECT * FROM run_attempts"),
          db::Sql("SELECT * FROM run_steps"), db::Sql("SELECT * FROM workflow_failures"),
          db::Sql("SELECT * FROM records"), db::Sql("SELECT * FROM audit_pending"), db::Sql("SELECT * FROM outbox"),
          db::Sql("SELECT * FROM audit_names")}) {
      auto rows = database_->read_and_wait([&](db::Reader& reader) { return reader.query(sql); });
      EXPECT_TRUE(rows) << rows.error().message();
      if (!rows) continue;
      for (const db::Row row : *rows) add(row);
    }
    for (const runs::Event& event : journal_.events) all += event.body + "\n";
    return all;
  }
  std::string error() {
    return R"("error":{"message":"401 for )" + kSecret + R"(","stack":"at\nkey )" + kSecret + R"("})";
  }
};

TEST_F(SecretsTest, WhatIsReportedOfARunHoldsNoSecretAnywhere) {
  ASSERT_FALSE(redactor_->redact(kSecret).contains(kSecret)) << "or else this test shows nothing";
  add_run();
  auto lease = lease_one();
  report(lease, "step_fail", R"("name":"send",)" + error());
  report(lease, "log", R"("message":"using )" + kSecret + R"(","payload":{"header":")" + kSecret + R"("})");
  report(lease, "fail", error());
  const auto made = post("/api/v1/runs", R"({"workflow":"w","observed":true,"status":"running"})", 201);
  const std::string path = "/api/v1/runs/" + std::string(made.at("run_id").as_string());
  post(path + "/steps", R"({"steps":[{"name":"s","status":"failed",)" + error() + "}]}");
  post(path + "/end", R"({"status":"failed",)" + error() + "}");
  const std::string other = add_run(R"({"workflow":"w"})");
  post("/api/v1/runs/" + other + "/cancel", R"({"reason":"leaked )" + kSecret + "\"}");
  const std::string all = everything();
  EXPECT_THAT(all, HasSubstr("401 for"));
  EXPECT_THAT(all, HasSubstr("using "));
  EXPECT_FALSE(all.contains(kSecret)) << all.substr(all.find(kSecret) - 200, 400);
}

TEST_F(SecretsTest, RecordsOfAgentsAndAuditsHoldNoSecret) {
  for (const char* collection : {"agent_runs", "agent_logs", "workflow_triggers", "workflow_failures"}) {
    post(std::string("/api/v1/") + collection,
         R"({"message":"failed with )" + kSecret + R"(","payload":{"note":["x",")" + kSecret +
             R"("],"password":"tulip-7731"}})",
         201);
  }
  post("/api/v1/audit_logs",
       R"({"action":"publish","audit_id":")" + kSecret + R"(","payload_summary":")" + kSecret +
           R"(","after":{"token":")" + kSecret + R"("},"reason":")" + kSecret + "\"}",
       201);
  const std::string all = everything();
  EXPECT_THAT(all, HasSubstr("failed with"));
  EXPECT_FALSE(all.contains(kSecret));
  EXPECT_FALSE(all.contains("tulip-7731")) << "its name says what it is";
}

TEST_F(SecretsTest, PayloadsAndResultsStayAsTheyAre) {
  add_run(R"({"workflow":"publish","payload":{"caption":")" + kSecret + R"("}})");
  const auto lease = lease_one();
  EXPECT_EQ(lease.at("payload").at("caption").as_string(), kSecret);
  report(lease, "step_complete", R"("name":"s","result":{"caption":")" + kSecret + R"("})");
  EXPECT_THAT(everything(), HasSubstr(kSecret));
}

// What no door looked at: the reasons and notes of people, and whatever comes next.
TEST_F(SecretsTest, EventsAreMaskedOnTheirWayIntoTheOutbox) {
  runs::LedgerJournal journal(auditor_);
  const Scope scope{.workspace = {"acme"}, .clients = {}};
  const std::vector<runs::Event> events = {
      {.type = "run.failed", .identifiers = {{"run_id", "run_1"}}, .body = R"({"attempt":1})"},
      {.type = "run.discarded", .identifiers = {{"correlation_id", kSecret}}, .body = R"({"reason":"x"})"},
      {.type = "run.discarded", .identifiers = {}, .body = R"({"reason":"see )" + kSecret + R"("})"},
      {.type = "run.discarded", .identifiers = {}, .body = R"({"reason":"see\n)" + kSecret + R"("})"},
      {.type = "run.progress", .identifiers = {}, .body = R"({"note":"x","password":"tulip-7731"})"},
  };
  for (std::size_t first = 0; first < events.size(); ++first) {
    // Each alone, too: what lies beside it must not be what gives it away.
    const auto done = database_->write_and_wait([&](db::Transaction& tx) {
      return journal.publish(tx, scope, clock_.now(), std::span(events).subspan(first, 1));
    });
    ASSERT_TRUE(done) << done.error().message();
  }
  ASSERT_TRUE(
      database_->write_and_wait([&](db::Transaction& tx) { return journal.publish(tx, scope, clock_.now(), events); }));
  const std::string all = everything();
  EXPECT_THAT(all, HasSubstr("run.discarded"));
  EXPECT_THAT(all, HasSubstr(R"({"attempt":1})"));
  EXPECT_FALSE(all.contains(kSecret));
  EXPECT_FALSE(all.contains("tulip-7731"));
}

}  // namespace
}  // namespace fettle::api
