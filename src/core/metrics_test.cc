#include "core/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fettle::metrics {
namespace {

using testing::HasSubstr;

TEST(Registry, SameNameAndLabelsAreOneMetric) {
  Registry registry;
  registry.counter("a_total", "A.", {{"k", "v"}}).add(2);
  registry.counter("a_total", "A.", {{"k", "v"}}).add(3);
  EXPECT_EQ(registry.counter("a_total", "A.", {{"k", "v"}}).value(), 5);
  EXPECT_EQ(registry.counter("a_total", "A.", {{"k", "w"}}).value(), 0);
}

TEST(Registry, RendersTextAndJson) {
  Registry registry;
  registry.counter("a_total", "A.", {{"k", "v\"w"}}).add(2);
  registry.gauge("depth", "D.").set(1.5);
  registry.histogram("took_seconds", "T.", {0.1, 1}).observe(0.5);
  EXPECT_THAT(registry.prometheus_text(), HasSubstr("a_total{k=\"v\\\"w\"} 2"));
  EXPECT_THAT(registry.prometheus_text(), HasSubstr("took_seconds_bucket{le=\"1\"} 1"));
  EXPECT_THAT(registry.json(),
              HasSubstr(R"("a_total":{"type":"counter","help":"A.","samples":[{"labels":{"k":"v\"w"},"value":2}]})"));
  EXPECT_THAT(registry.json(), HasSubstr(R"("buckets":[[0.1,0],[1,1],["Infinity",1]])"));
}

}  // namespace
}  // namespace fettle::metrics
