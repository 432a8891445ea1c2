#include "runs/gauges.h"

#include <gtest/gtest.h>

#include <map>

#include "runs/testing.h"
#include "runs/workers.h"

namespace fettle::runs {
namespace {

class GaugesTest : public RunsTestBase {
 protected:
  // "queue_depth queue=default workflow=publish" and its value.
  std::map<std::string, double> gauges(std::int32_t series_max = 1'000) {
    std::map<std::string, double> out;
    for (const WorkGauge& one :
         run([&](Unit& unit) -> Result<std::vector<WorkGauge>> { return work_gauges(unit, series_max); })) {
      std::string key(one.name);
      for (const auto& [name, value] : one.labels) key += " " + name + "=" + value;
      EXPECT_TRUE(out.emplace(key, one.value).second) << key;
    }
    return out;
  }
};
FETTLE_FOR_BOTH_STORES(GaugesTest);

TEST_P(GaugesTest, WhatWaitsIsCountedByQueueAndWorkflowAndWhatIsInUseByPool) {
  for (int i = 0; i < 3; ++i) add_one("publish");
  add_one("reply");
  add({.workflow = "publish", .pool = "browser"});
  run([](Unit& unit) { return register_worker(unit, {.id = WorkerId{"w1"}, .capacity = 4}); });
  take(1, "w1");
  EXPECT_EQ(gauges(), (std::map<std::string, double>{{"queue_depth queue=browser workflow=publish", 1},
                                                     {"queue_depth queue=default workflow=publish", 2},
                                                     {"queue_depth queue=default workflow=reply", 1},
                                                     {"runner_capacity_in_use runner_pool=default", 0.25}}));
  EXPECT_EQ(gauges(1), (std::map<std::string, double>{{"queue_depth queue=browser workflow=publish", 1},
                                                      {"queue_depth queue=default", 3},
                                                      {"runner_capacity_in_use runner_pool=default", 0.25}}))
      << "what is beyond the bound is added up";
}

TEST_P(GaugesTest, EachWorkspaceIsCountedByItself) {
  add_one();
  scope.workspace = WorkspaceId{"other"};
  EXPECT_TRUE(gauges().empty());
  run([](Unit& unit) { return register_worker(unit, {.id = WorkerId{"w1"}}); });
  scope.workspace = WorkspaceId{"third"};
  add({.workflow = "later", .start_at = kStart + kNanosPerDay});
  const auto found = runs->read_and_wait(
      Scope{}, [](View& view) -> Result<std::vector<WorkspaceId>> { return workspaces_with_work(view); });
  EXPECT_EQ(*found, (std::vector<WorkspaceId>{WorkspaceId{"acme"}, WorkspaceId{"other"}}));
}

}  // namespace
}  // namespace fettle::runs
