// Test scripts of Prometheus' own format: load series, evaluate queries, compare with what is expected.
//
//   load 5m
//     http_requests_total{path="/foo"} 0+10x10
//   eval instant at 50m increase(http_requests_total[50m])
//     {path="/foo"} 100
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fettle::promql {

struct ScriptCase {
  enum class Outcome : std::uint8_t { kPassed, kFailed, kSkipped };
  Outcome outcome = Outcome::kPassed;
  std::size_t line = 0;  // of the eval, from 1
  std::string statement;
  std::string reason;  // of a failure or a skip
};

// One case for each eval of `text`, and one that failed for each statement that cannot be read. Every instant query is
// evaluated a second time as one step of a range query, which must agree. Pure and thread-safe.
std::vector<ScriptCase> run_script(std::string_view text);

}  // namespace fettle::promql
