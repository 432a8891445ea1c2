// fettle redact: what redaction makes of a sample, line by line, and which rules did it.
#include <fmt/format.h>

#include <cstdio>
#include <fstream>
#include <iostream>
#include <string>

#include "redact/redactor.h"
#include "server/commands.h"

namespace fettle::server {

int run_redact(const RedactCommand& command) {
  auto redactor = redact::Redactor::compile(command.rules);
  if (!redactor) {
    fmt::print(stderr, "fettle: {}\n", redactor.error().message());
    return 2;
  }
  if (auto prepared = redact::Redactor::prepare(); !prepared) {
    fmt::print(stderr, "fettle: {}\n", prepared.error().message());
    return 1;
  }
  std::ifstream file;
  if (!command.file.empty()) {
    file.open(command.file, std::ios::binary);
    if (!file) {
      fmt::print(stderr, "fettle: cannot read '{}'\n", command.file.string());
      return 1;
    }
  }
  std::istream& in = command.file.empty() ? std::cin : file;
  redact::Scratch scratch;
  redact::RuleCounts counts;
  for (std::string line; std::getline(in, line);) {
    std::vector<redact::Finding> findings;
    const redact::Redactor::Subject subject{.text = line, .key = {}};
    (*redactor)->scan({&subject, 1}, scratch, findings, counts);
    fmt::print("{}\n", findings.empty() ? line : findings.front().replacement);
  }
  for (std::size_t rule = 0; rule < counts.size(); ++rule) {
    if (counts[rule] != 0) fmt::print(stderr, "{:>8}  {}\n", counts[rule], (*redactor)->rule_names()[rule]);
  }
  return 0;
}

}  // namespace fettle::server
