// Limits and action classes over the wire: who sets them, what they do, and what is written down.
#include <gmock/gmock.h>

#include "api/work_for_test.h"

namespace fettle::api {
namespace {

using boost::json::value;
using testing::HasSubstr;

std::string text(const value& one) { return std::string(one.as_string()); }

class LimitsTest : public WorkTest {
 protected:
  int put(const std::string& path, const std::string& body, const std::string& by = "manager") {
    return send("PUT", path, body, {}, by).status;
  }
  std::size_t leased() {
    return post("/api/v1/work/lease", R"({"runner_id":"w1","max":10})").at("leases").as_array().size();
  }
};

TEST_F(LimitsTest, ALimitThatIsSetHoldsWhatIsOverItAndIsAuditedWithBeforeAndAfter) {
  const char* one = R"({"dimension":"client","value":"acme","concurrency_max":1})";
  EXPECT_EQ(put("/api/v1/limits", one, "reader"), 403);
  EXPECT_EQ(put("/api/v1/limits", one), 200);
  add_run();
  add_run();
  EXPECT_EQ(leased(), 1U);
  EXPECT_EQ(put("/api/v1/limits", R"({"dimension":"client","value":"acme","rate_max":9,"rate_period_ms":1000})"), 200);
  EXPECT_EQ(journal_.audits.back().action, "limit.set");
  EXPECT_THAT(journal_.audits.back().before, HasSubstr(R"("concurrency_max":1)"));
  EXPECT_THAT(journal_.audits.back().after, HasSubstr(R"("rate_max":9)"));
  const auto list = get("/api/v1/limits").at("items");
  ASSERT_EQ(list.as_array().size(), 1U);
  EXPECT_EQ(list.at(0), boost::json::parse(R"({"dimension":"client","value":"acme","concurrency_max":null,"rate_max":9,
                                              "rate_period_ms":1000})"));
  EXPECT_TRUE(json_of(send("GET", "/api/v1/limits", "", {}, "other"), 200).at("items").as_array().empty());

  EXPECT_EQ(send("DELETE", "/api/v1/limits?dimension=client&value=acme", "", {}, "reader").status, 403);
  EXPECT_EQ(send("DELETE", "/api/v1/limits?dimension=client&value=acme", "", {}, "other").status, 404);
  EXPECT_EQ(send("DELETE", "/api/v1/limits?dimension=client&value=acme").status, 200);
  EXPECT_EQ(journal_.audits.back().action, "limit.remove");
  EXPECT_THAT(journal_.audits.back().before, HasSubstr(R"("rate_max":9)"));
  EXPECT_EQ(send("DELETE", "/api/v1/limits?dimension=client&value=acme").status, 404);
}

TEST_F(LimitsTest, WhatIsNoLimitIsRefused) {
  for (const char* body :
       {R"({"value":"acme","concurrency_max":1})", R"({"dimension":"planet","concurrency_max":1})",
        R"({"dimension":"workspace","concurrency_max":1})", R"({"dimension":"client"})",
        R"({"dimension":"client","concurrency_max":0})", R"({"dimension":"client","rate_max":1,"rate_period_ms":0})",
        R"({"dimension":"client","value":"","rate_max":1})", R"({"dimension":"client","rate_max":1,"burst":2})"}) {
    EXPECT_EQ(put("/api/v1/limits", body), 400) << body;
  }
  EXPECT_EQ(send("DELETE", "/api/v1/limits?value=acme").status, 400);
}

TEST_F(LimitsTest, WhoeverIsLimitedToSomeClientsSetsTheirsAndSeesNoOthers) {
  EXPECT_EQ(put("/api/v1/limits", R"({"dimension":"client","value":"c1","concurrency_max":2})", "limited"), 200);
  EXPECT_EQ(put("/api/v1/limits", R"({"dimension":"client","value":"acme","concurrency_max":2})", "limited"), 404);
  EXPECT_EQ(put("/api/v1/limits", R"({"dimension":"client","concurrency_max":2})", "limited"), 403);
  EXPECT_EQ(put("/api/v1/limits", R"({"dimension":"workflow","value":"w","concurrency_max":2})", "limited"), 403);
  EXPECT_EQ(put("/api/v1/limits", R"({"dimension":"client","value":"acme","concurrency_max":3})"), 200);
  EXPECT_EQ(put("/api/v1/limits", R"({"dimension":"key","value":"acme:tiktok","rate_max":3})"), 200);
  EXPECT_EQ(put("/api/v1/limits", R"({"dimension":"client","concurrency_max":9})"), 200);
  const auto seen = send("GET", "/api/v1/limits", "", {}, "limited").body;
  EXPECT_FALSE(seen.contains("acme")) << seen;
  EXPECT_EQ(boost::json::parse(seen).at("items").as_array().size(), 2U) << "their own, and what holds for all";
}

TEST_F(LimitsTest, AnActionClassDecidesHowMayIIsAnswered) {
  const char* open = R"({"name":"read_only","cache_ms":60000,"on_unreachable":"allow"})";
  EXPECT_EQ(put("/api/v1/action-classes", open, "reader"), 403);
  EXPECT_EQ(put("/api/v1/action-classes", open, "limited"), 403) << "it holds for every client";
  EXPECT_EQ(put("/api/v1/action-classes", open), 200);
  const auto answer = get("/api/v1/may-i?client_id=acme&action_class=read_only");
  EXPECT_EQ(answer.at("cache_ms").as_int64(), 60'000);
  EXPECT_EQ(text(answer.at("on_unreachable")), "allow");
  EXPECT_EQ(text(get("/api/v1/may-i?client_id=acme").at("on_unreachable")), "refuse") << "another class";

  EXPECT_EQ(put("/api/v1/action-classes", R"({"name":"read_only"})"), 200);
  EXPECT_EQ(journal_.audits.back().action, "action_class.set");
  EXPECT_THAT(journal_.audits.back().before, HasSubstr(R"("fail_open":true)"));
  EXPECT_THAT(journal_.audits.back().after, HasSubstr(R"("fail_open":false)"));
  const auto list = get("/api/v1/action-classes");
  EXPECT_EQ(list.at("items").as_array().size(), 1U);
  EXPECT_EQ(list.at("default"), boost::json::parse(R"({"name":"default","cache_ms":5000,"on_unreachable":"refuse"})"));

  EXPECT_EQ(put("/api/v1/action-classes", R"({"name":"x","on_unreachable":"maybe"})"), 400);
  EXPECT_EQ(put("/api/v1/action-classes", R"({"name":"x","cache_ms":3600001})"), 400);
  EXPECT_EQ(send("DELETE", "/api/v1/action-classes?name=read_only", "", {}, "other").status, 404);
  EXPECT_EQ(send("DELETE", "/api/v1/action-classes?name=read_only").status, 200);
  EXPECT_EQ(journal_.audits.back().action, "action_class.remove");
  EXPECT_EQ(send("DELETE", "/api/v1/action-classes?name=read_only").status, 404);
}

}  // namespace
}  // namespace fettle::api
