// Approvals by the role that they ask for, until they expire; escalations with owner and age.
#include <gmock/gmock.h>

#include "api/work_for_test.h"

namespace fettle::api {
namespace {

using boost::json::value;
using testing::HasSubstr;

std::string text(const value& one) { return std::string(one.as_string()); }

class DecisionTest : public WorkTest {
 protected:
  std::string ask(const std::string& more) {
    return text(post("/api/v1/approvals", R"({"title":"Publish?")" + more + "}", 201).at("id"));
  }
  int decide(const std::string& id, const std::string& by, const std::string& body = R"({"decision":"approve"})") {
    return send("POST", "/api/v1/approvals/" + id + "/decide", body, {}, by).status;
  }
};

TEST_F(DecisionTest, AnApprovalIsDecidedByTheLeastRoleItNamesOrAbove) {
  const std::string id = ask(R"(,"role":"admin")");
  EXPECT_EQ(decide(id, "reader"), 403);
  const auto refused = send("POST", "/api/v1/approvals/" + id + "/decide", R"({"decision":"approve"})", {}, "manager");
  EXPECT_EQ(refused.status, 403);
  EXPECT_THAT(refused.body, HasSubstr("admin"));
  EXPECT_EQ(text(get("/api/v1/approvals/" + id).at("state")), "open");
  EXPECT_EQ(decide(id, "worker"), 200);
  EXPECT_EQ(decide(ask(R"(,"role":"manager")"), "manager"), 200);
  EXPECT_EQ(decide(ask(""), "manager"), 200) << "operators and above, unless it says otherwise";
  EXPECT_EQ(send("POST", "/api/v1/approvals", R"({"title":"x","role":"king"})").status, 400);
  EXPECT_EQ(decide(ask(""), "other"), 404) << "another workspace's";
}

TEST_F(DecisionTest, TheNoteAndTheEditReachTheStepAndTheTrail) {
  add_run();
  const auto lease = lease_one();
  post("/api/v1/approvals", R"({"title":"Publish?","step":"approve","role":"manager",)" + named(lease) + "}");
  const std::string id = text(get("/api/v1/approvals").at("items").at(0).at("id"));
  EXPECT_EQ(decide(id, "manager", R"({"decision":"approve","note":"without emoji","edited":{"caption":"x"}})"), 200);
  const auto result = lease_one().at("steps").at(0).at("result");
  EXPECT_EQ(text(result.at("decision")), "approved");
  EXPECT_EQ(text(result.at("note")), "without emoji");
  EXPECT_EQ(text(result.at("edited").at("caption")), "x");
  EXPECT_EQ(text(result.at("by")), "config:manager");
  EXPECT_EQ(journal_.audits.back().action, "approval.approved");
  EXPECT_EQ(journal_.audits.back().summary, "without emoji");
}

TEST_F(DecisionTest, AnApprovalThatExpiredIsNobodysAndTheRunGoesOn) {
  add_run();
  const auto lease = lease_one();
  post("/api/v1/approvals",
       R"({"title":"Publish?","step":"approve","expires_at":"2027-01-15T08:10:00Z",)" + named(lease) + "}");
  const std::string id = text(get("/api/v1/approvals").at("items").at(0).at("id"));
  clock_.advance(std::chrono::minutes(10));
  EXPECT_EQ(decide(id, "worker"), 409) << "at its time, whether or not somebody has looked";
  tick(std::chrono::seconds(1));
  EXPECT_EQ(text(get("/api/v1/approvals/" + id).at("state")), "expired");
  EXPECT_TRUE(get("/api/v1/approvals").at("items").as_array().empty());
  EXPECT_EQ(text(lease_one().at("steps").at(0).at("result").at("decision")), "expired");
}

TEST_F(DecisionTest, AnEscalationHasAnOwnerAndAnAge) {
  const auto made =
      post("/api/v1/escalations", R"({"subject":"captcha","severity":0,"owner":"maya","client_id":"acme"})", 201);
  post("/api/v1/escalations", R"({"subject":"typo","severity":3})", 201);
  tick(std::chrono::minutes(5));
  const auto open = get("/api/v1/escalations").at("items").as_array();
  ASSERT_EQ(open.size(), 2U);
  EXPECT_EQ(text(open[0].at("subject")), "captcha") << "the worst first";
  EXPECT_EQ(text(open[0].at("owner")), "maya");
  EXPECT_EQ(open[0].at("age_ms").as_int64(), 300'000);
  EXPECT_TRUE(open[1].at("owner").is_null());
  const std::string path = "/api/v1/escalations/" + text(made.at("id"));
  EXPECT_EQ(send("POST", path + "/assign", R"({"owner":"ben"})", {}, "reader").status, 403);
  post(path + "/assign", R"({"owner":"ben"})");
  post(path + "/resolve", R"({"note":"solved by hand"})");
  tick(std::chrono::minutes(5));
  const auto all = get("/api/v1/escalations?all=true");
  for (const value& one : all.at("items").as_array()) {
    if (one.at("id") != made.at("id")) continue;
    EXPECT_EQ(one.at("age_ms").as_int64(), 300'000) << "it ended with its resolution";
    EXPECT_EQ(text(one.at("owner")), "ben");
    EXPECT_EQ(text(one.at("resolved_by")), "config:worker");
    EXPECT_EQ(text(one.at("note")), "solved by hand");
  }
  EXPECT_EQ(get("/api/v1/escalations").at("items").as_array().size(), 1U);
}

}  // namespace
}  // namespace fettle::api
