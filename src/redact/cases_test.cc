// Runs tests/cases/redaction/*.test: `in` must become `out`, by the rule named last before it, and `out` must stay.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "redact/redactor.h"

namespace fettle::redact {
namespace {

struct Case {
  std::string place;
  std::string rule;
  std::string in;
  std::string out;
};

std::vector<Case> read_cases() {
  std::vector<std::filesystem::path> files;
  for (const auto& entry : std::filesystem::directory_iterator(FETTLE_REDACTION_CASES)) {
    if (entry.path().extension() == ".test") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  std::vector<Case> cases;
  for (const auto& file : files) {
    std::ifstream stream(file);
    Case next;
    int number = 0;
    for (std::string line; std::getline(stream, line);) {
      ++number;
      if (line.empty() || line[0] == '#') continue;
      if (line.starts_with("rule ")) {
        next.rule = line.substr(5);
      } else if (line.starts_with("in  ")) {
        next.in = line.substr(4);
        next.place = file.filename().string() + ":" + std::to_string(number);
      } else if (line.starts_with("out ")) {
        next.out = line.substr(4);
        cases.push_back(next);
      } else {
        ADD_FAILURE() << file << ":" << number << ": not a comment, rule, in or out: " << line;
      }
    }
  }
  return cases;
}

TEST(RedactionCases, EachStringBecomesWhatItsCaseSays) {
  const auto redactor = Redactor::compile();
  ASSERT_TRUE(redactor) << redactor.error().message();
  const std::vector<Case> cases = read_cases();
  ASSERT_GE(cases.size(), 100U);
  Scratch scratch;
  for (const Case& c : cases) {
    SCOPED_TRACE(c.place);
    EXPECT_EQ((*redactor)->redact(c.in), c.out);
    EXPECT_EQ((*redactor)->redact(c.out), c.out) << "a second time";
    if (c.in == c.out) continue;
    const Redactor::Subject subject{c.in, {}};
    std::vector<Finding> findings;
    RuleCounts counts;
    (*redactor)->scan({&subject, 1}, scratch, findings, counts);
    const auto names = (*redactor)->rule_names();
    const auto rule = std::ranges::find(names, c.rule);
    ASSERT_NE(rule, names.end()) << c.rule;
    EXPECT_GT(counts[static_cast<std::size_t>(rule - names.begin())], 0U) << "masked, but not by " << c.rule;
  }
}

TEST(RedactionCases, OrdinaryStringsStayAsTheyAre) {
  const auto redactor = Redactor::compile();
  ASSERT_TRUE(redactor);
  std::ifstream stream(std::filesystem::path(FETTLE_REDACTION_CASES) / "clean.txt");
  int lines = 0;
  std::string whole;
  for (std::string line; std::getline(stream, line);) {
    if (line.empty() || line[0] == '#') continue;
    ++lines;
    EXPECT_EQ((*redactor)->redact(line), line);
    EXPECT_EQ((*redactor)->redact(line, "message"), line);
    whole += line + "\n";
  }
  EXPECT_GE(lines, 150);
  // And all of them as one text of many lines.
  EXPECT_EQ((*redactor)->redact(whole), whole);
}

TEST(RedactionCases, EveryBuiltInRuleHasACase) {
  const auto redactor = Redactor::compile();
  ASSERT_TRUE(redactor);
  const std::vector<Case> cases = read_cases();
  for (const std::string& name : (*redactor)->rule_names()) {
    // Reached only by a configured rule that feeds on itself; redactor_test.cc has that.
    if (name == "unstable") continue;
    EXPECT_TRUE(std::ranges::any_of(cases, [&](const Case& c) { return c.rule == name && c.in != c.out; })) << name;
  }
}

}  // namespace
}  // namespace fettle::redact
