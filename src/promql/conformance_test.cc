// Prometheus' own test scripts, each as one test. They are not part of this repository: FETTLE_CONFORMANCE_DATA names
// the folder that holds promqltest/ ("none" when there is none on purpose); without it they are looked for beside the
// checkout.
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <optional>
#include <sstream>
#include <string>

#include "promql/script.h"

namespace fettle::promql {
namespace {

constexpr const char* kFiles[] = {"at_modifier", "duration_expression", "functions", "histograms",    "info", "limit",
                                  "literals",    "operators",           "staleness", "trig_functions"};

std::string setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The folder of the scripts, or nothing when their absence was explained.
std::optional<std::filesystem::path> scripts() {
  const std::string given = setting("FETTLE_CONFORMANCE_DATA");
  const std::filesystem::path root = given.empty()
                                         ? std::filesystem::path(FETTLE_PROJECT_DIR) / ".." / "shared" / "reference"
                                         : std::filesystem::path(given);
  std::filesystem::path folder = root / "promqltest";
  if (given != "none" && std::filesystem::is_directory(folder)) return folder;
  std::cout << std::size(kFiles) << " conformance files did not run: no test scripts in " << folder << "\n";
  EXPECT_TRUE(given == "none" || setting("CI").empty())
      << "set FETTLE_CONFORMANCE_DATA to the test scripts, or to 'none' to go without";
  return std::nullopt;
}

class Conformance : public testing::TestWithParam<const char*> {};

TEST_P(Conformance, EveryCaseOfTheFilePasses) {
  const auto folder = scripts();
  if (!folder) return;
  const std::string name = std::string(GetParam()) + ".test";
  std::ifstream file(*folder / name);
  std::ostringstream content;
  content << file.rdbuf();
  ASSERT_FALSE(content.str().empty()) << name;
  std::size_t passed = 0;
  for (const ScriptCase& result : run_script(content.str())) {
    EXPECT_EQ(result.outcome, ScriptCase::Outcome::kPassed)
        << name << ":" << result.line << ": " << result.statement << "\n  " << result.reason;
    if (result.outcome == ScriptCase::Outcome::kPassed) ++passed;
  }
  EXPECT_GT(passed, 0U);
}

INSTANTIATE_TEST_SUITE_P(Prometheus, Conformance, testing::ValuesIn(kFiles),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace fettle::promql
