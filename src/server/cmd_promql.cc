// fettle promql test: runs test scripts of Prometheus' own format, and says which cases failed.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <map>
#include <sstream>
#include <string>

#include "promql/script.h"
#include "server/commands.h"

namespace fettle::server {

int run_promql_test(const PromqlTestCommand& command) {
  std::size_t passed = 0;
  std::size_t failed = 0;
  std::map<std::string, std::size_t> skipped;
  std::size_t skips = 0;
  for (const std::filesystem::path& path : command.files) {
    std::ifstream file(path, std::ios::binary);
    if (!file) {
      fmt::print(stderr, "fettle: cannot read '{}'\n", path.string());
      return 1;
    }
    std::ostringstream text;
    text << file.rdbuf();
    for (const promql::ScriptCase& result : promql::run_script(text.str())) {
      switch (result.outcome) {
        case promql::ScriptCase::Outcome::kPassed: ++passed; break;
        case promql::ScriptCase::Outcome::kSkipped:
          ++skips;
          ++skipped[result.reason];
          break;
        case promql::ScriptCase::Outcome::kFailed:
          ++failed;
          fmt::print("{}:{}: {}\n  {}\n", path.string(), result.line, result.statement, result.reason);
          break;
      }
    }
  }
  for (const auto& [reason, count] : skipped) fmt::print("{} skipped: {}\n", count, reason);
  fmt::print("{} passed, {} failed, {} skipped\n", passed, failed, skips);
  return failed == 0 ? 0 : 1;
}

}  // namespace fettle::server
