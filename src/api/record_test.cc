// Workers, observed runs and the records of agents over the wire.
#include <gmock/gmock.h>

#include <thread>

#include "api/work_for_test.h"

namespace fettle::api {
namespace {

using boost::json::value;
using testing::HasSubstr;

std::string text(const value& one) { return std::string(one.as_string()); }

class RecordTest : public WorkTest {};

TEST_F(RecordTest, WorkersAreListedWithTheirPoolsAndLeases) {
  const auto terms =
      post("/api/v1/workers",
           R"({"runner_id":"w1","pool":"default","capacity":4,"workflows":["a"],"name":"n","version":"1"})");
  EXPECT_EQ(terms, boost::json::parse(R"({"lease_ms":10000,"heartbeat_ms":3000})"));
  EXPECT_EQ(send("POST", "/api/v1/workers", R"({"pool":"p"})").status, 400);
  add_run();
  lease_one();
  const auto list = get("/api/v1/workers");
  ASSERT_EQ(list.at("items").as_array().size(), 1U);
  EXPECT_EQ(list.at("items").at(0).at("in_use").as_int64(), 1);
  EXPECT_EQ(list.at("items").at(0).at("capacity").as_int64(), 4);
  EXPECT_EQ(text(list.at("items").at(0).at("labels").at("workflows").at(0)), "a");
  EXPECT_EQ(list.at("pools").at(0).at("in_use").as_int64(), 1);
  EXPECT_EQ(json_of(send("GET", "/api/v1/workers", "", {}, "other"), 200).at("items").as_array().size(), 0U);
}

TEST_F(RecordTest, AListIsReadPageByPageWithinTheCallersClients) {
  for (int i = 0; i < 3; ++i) {
    post("/api/v1/agent_logs", R"({"client_id":"c1","message":"mine"})", 201);
    for (int k = 0; k < 5; ++k) post("/api/v1/agent_logs", R"({"client_id":"c2","message":"theirs"})", 201);
  }
  const auto page = [&](const std::string& query) {
    return json_of(send("GET", "/api/v1/agent_logs" + query, "", {}, "limited"), 200);
  };
  const auto first = page("?limit=2");
  ASSERT_EQ(first.at("items").as_array().size(), 2U);
  const auto second = page("?limit=2&cursor=" + text(first.at("next_cursor")));
  ASSERT_EQ(second.at("items").as_array().size(), 1U);
  EXPECT_TRUE(second.at("next_cursor").is_null());
  for (const char* list : {"agent_logs", "approvals", "escalations", "switches", "side-effects", "policies/blocks",
                           "bulk-jobs", "workflow_failures"}) {
    EXPECT_EQ(send("GET", std::string("/api/v1/") + list + "?cursor=other").status, 400) << list;
    EXPECT_EQ(send("GET", std::string("/api/v1/") + list + "?limit=0").status, 400) << list;
  }
}

TEST_F(RecordTest, AWorkerThatEndsWellLeavesTheList) {
  post("/api/v1/workers", R"({"runner_id":"w1"})");
  EXPECT_EQ(send("DELETE", "/api/v1/workers/w1", "", {}, "other").status, 404);
  EXPECT_EQ(send("DELETE", "/api/v1/workers/w1", "", {}, "reader").status, 403);
  EXPECT_EQ(send("DELETE", "/api/v1/workers/w1", "", {}, "limited").status, 403) << "it works for others as well";
  EXPECT_EQ(send("POST", "/api/v1/workers/w1/drain", "{}", {}, "limited").status, 403);
  EXPECT_EQ(send("DELETE", "/api/v1/workers/w1").status, 200);
  EXPECT_TRUE(get("/api/v1/workers").at("items").as_array().empty());
  EXPECT_EQ(send("DELETE", "/api/v1/workers/w1").status, 404);
}

TEST_F(RecordTest, AWorkerThatDrainsIsAnsweredAtOnce) {
  post("/api/v1/workers", R"({"runner_id":"w1"})");
  std::string body;
  std::thread waiting([&] { body = send("POST", "/api/v1/work/lease", R"({"runner_id":"w1","wait_ms":30000})").body; });
  while (runs_->waiting() != 1) std::this_thread::yield();
  EXPECT_EQ(text(post("/api/v1/workers/w1/drain", "{}").at("state")), "draining");
  waiting.join();
  EXPECT_TRUE(boost::json::parse(body).at("leases").as_array().empty());
  EXPECT_EQ(text(get("/api/v1/workers").at("items").at(0).at("state")), "draining");
  EXPECT_EQ(send("POST", "/api/v1/workers/nobody/drain", "{}").status, 404);
}

TEST_F(RecordTest, AnObservedRunIsReportedByPlainCalls) {
  const auto made =
      post("/api/v1/runs", R"({"workflow":"lead-intake","client_id":"acme","observed":true,"status":"running"})", 201);
  EXPECT_EQ(text(made.at("state")), "running");
  const std::string path = "/api/v1/runs/" + text(made.at("run_id"));
  const auto steps = post(path + "/steps", R"({"steps":[
      {"step":1,"name":"parseEmail","status":"running","started_at":"2027-01-15T08:00:00Z"},
      {"step":1,"name":"parseEmail","status":"succeeded","finished_at":"2027-01-15T08:00:01Z","duration_ms":1000,
       "tokens":156,"cost_usd":0.01},
      {"step":2,"name":"createCRMRecord","status":"failed","error":{"message":"API_TIMEOUT: Connection timeout after 5s"}},
      {"status":"succeeded"},{"name":"x","status":"maybe"}]})");
  const auto& results = steps.at("results").as_array();
  ASSERT_EQ(results.size(), 5U);
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(results[i].at("ok").as_bool()) << results[i];
  EXPECT_THAT(text(results[3].at("error").at("detail")), HasSubstr("steps[3].name"));
  EXPECT_THAT(text(results[4].at("error").at("detail")), HasSubstr("steps[4].status"));
  const auto ended =
      post(path + "/end", R"({"status":"failed","error":{"message":"API_TIMEOUT: Connection timeout after 5s"}})");
  EXPECT_EQ(text(ended.at("state")), "failed");
  const auto shown = get(path);
  EXPECT_EQ(text(shown.at("kind")), "observed");
  EXPECT_EQ(shown.at("steps").at(0).at("metrics").at("tokens").as_int64(), 156);
  EXPECT_EQ(get("/api/v1/runs/failed").at("items").as_array().size(), 1U);
  EXPECT_EQ(send("POST", path + "/end", R"({"status":"done"})").status, 400);
}

TEST_F(RecordTest, AnObservedRunMayHaveANameOfItsOwn) {
  EXPECT_EQ(text(post("/api/v1/runs/run_xyz789/start", R"({"workflow":"lead-intake"})").at("state")), "running");
  EXPECT_EQ(text(post("/api/v1/runs/run_xyz789/end", R"({"status":"succeeded","result":{"crm":1}})").at("state")),
            "succeeded");
  EXPECT_EQ(text(get("/api/v1/runs/run_xyz789").at("run_id")), "run_xyz789");
}

TEST_F(RecordTest, RecordsComeBackUnderTheNamesTheyWereSentWith) {
  const auto made = post("/api/v1/agent_logs",
                         R"({"records":[{"level":"error","message":"no","run_id":"r1"},5,{"message":"second"}]})");
  EXPECT_TRUE(made.at("results").at(0).at("ok").as_bool());
  EXPECT_THAT(text(made.at("results").at(1).at("error").at("detail")), HasSubstr("records[1]"));
  const auto list = get("/api/v1/agent_logs");
  ASSERT_EQ(list.at("items").as_array().size(), 2U);
  EXPECT_EQ(text(list.at("items").at(1).at("message")), "no");
  EXPECT_EQ(text(list.at("items").at(1).at("id")), text(made.at("results").at(0).at("id")));
  const auto one = post("/api/v1/workflow_triggers", R"({"source":"mail","eventKey":"e1","status":"received"})", 201);
  EXPECT_EQ(get("/api/v1/workflow_triggers?ref=e1").at("items").as_array().size(), 1U);
  post("/api/v1/workflow_triggers", R"({"id":")" + text(one.at("id")) + R"(","status":"done"})", 201);
  EXPECT_EQ(text(get("/api/v1/workflow_triggers").at("items").at(0).at("status")), "done");
  EXPECT_EQ(json_of(send("GET", "/api/v1/agent_logs", "", {}, "other"), 200).at("items").as_array().size(), 0U);
}

TEST_F(RecordTest, AFailedStepIsAWorkflowFailureUntilItsRunSucceeds) {
  add_run();
  const auto lease = lease_one();
  report(lease, "step_fail", R"("name":"send","error":{"message":"API_TIMEOUT: Connection timeout after 5s"})");
  EXPECT_EQ(get("/api/v1/workflow_failures?status=open").at("items").as_array().size(), 1U);
  report(lease, "complete");
  EXPECT_TRUE(get("/api/v1/workflow_failures?status=open").at("items").as_array().empty());
}

TEST_F(RecordTest, WebhookEventsAreWrittenAgainToSayThatTheyWereProcessed) {
  post("/api/v1/webhook_events", R"({"id":"e1","event_type":"invoice.paid","trace_id":"t1","status":"received"})", 201);
  post(
      "/api/v1/webhook_events",
      R"({"id":"e1","event_type":"invoice.paid","trace_id":"t1","status":"done","processed_at":"2027-01-15T08:00:05Z"})",
      201);
  const auto list = get("/api/v1/webhook_events?trace_id=t1");
  ASSERT_EQ(list.at("items").as_array().size(), 1U);
  EXPECT_EQ(text(list.at("items").at(0).at("status")), "done");
  EXPECT_EQ(send("POST", "/api/v1/webhook_events", R"({"event":"x"})").status, 400);
}

TEST_F(RecordTest, AuditRecordsAreChecked) {
  EXPECT_EQ(send("POST", "/api/v1/audit_logs", R"({"action":"publish","result":"maybe"})").status, 400);
  EXPECT_EQ(send("POST", "/api/v1/audit_logs", R"({"actor":"x"})").status, 400);
  const auto made = post("/api/v1/audit_logs",
                         R"({"records":[{"action":"publish","client_id":"acme","result":"success","proof":["https://x"],
                             "before":{"a":1},"trace_id":"t1","run_id":"r1","at":"2027-01-15T08:00:00Z"},{"result":"fail"}]})");
  EXPECT_TRUE(made.at("results").at(0).at("ok").as_bool()) << made;
  EXPECT_TRUE(get("/api/v1/audit?trace_id=t1").at("items").as_array().empty()) << "not before it is chained";
  EXPECT_EQ(send("GET", "/api/v1/audit?cursor=!").status, 400);
}

}  // namespace
}  // namespace fettle::api
