// fettle audit verify: whether an exported audit log is what was recorded. Offline: it needs the file alone, and is
// worth more with a checkpoint from elsewhere.
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <string>

#include "core/json.h"
#include "ledger/bundle.h"
#include "ledger/witness.h"
#include "server/commands.h"

namespace fettle::server {
namespace {

void print_for_people(const ledger::VerifyReport& report, double seconds) {
  if (report.bad) {
    if (report.bad->position == 0) {
      fmt::print("NOT GOOD: {}\n", report.bad->what);
    } else {
      fmt::print("NOT GOOD, from record {} on: {}\n", report.bad->position, report.bad->what);
    }
    return;
  }
  fmt::print("good: records {} to {} of '{}', {} checkpoints, {:.1f} s\n", report.from, report.to,
             report.workspace.value, report.checkpoints, seconds);
}

void print_json(const ledger::VerifyReport& report) {
  std::string out = fmt::format(R"({{"good":{},"from":{},"to":{},"vouched":{},"checkpoints":{},"workspace":)",
                                !report.bad, report.from, report.to, report.vouched, report.checkpoints);
  append_json_string(out, report.workspace.value);
  out += ",\"keys\":[";
  for (std::size_t i = 0; i < report.keys.size(); ++i) {
    out += fmt::format("{}\"{}\"", i == 0 ? "" : ",", ledger::to_hex(report.keys[i]));
  }
  out += ']';
  if (report.bad) {
    out += fmt::format(R"(,"first_bad":{{"position":{},"what":)", report.bad->position);
    append_json_string(out, report.bad->what);
    out += '}';
  }
  fmt::print("{}}}\n", out);
}

}  // namespace

int run_audit_verify(const AuditVerifyCommand& command) {
  ledger::VerifyOptions options;
  options.is_whole = !command.part;
  for (const std::string& hex : command.keys) {
    const auto key = ledger::digest_of_hex(hex);
    if (!key) {
      fmt::print(stderr, "fettle: '{}' is not a public key: 64 hexadecimal digits\n", hex);
      return 2;
    }
    options.public_keys.push_back(*key);
  }
  for (const std::filesystem::path& file : command.witnesses) {
    auto held = ledger::read_witness_file(file);
    if (!held) {
      fmt::print(stderr, "fettle: {}\n", held.error().message());
      return 1;
    }
    options.witnessed.insert(options.witnessed.end(), held->begin(), held->end());
  }
  const auto begin = std::chrono::steady_clock::now();
  auto report = ledger::verify_bundle(command.file, options);
  if (!report) {
    fmt::print(stderr, "fettle: {}\n", report.error().message());
    return 1;
  }
  if (command.json) {
    print_json(*report);
  } else {
    print_for_people(*report, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  // Whoever made the file can have signed it, too: only a key from elsewhere tells.
  if (!report->bad && command.keys.empty()) {
    for (const auto& key : report->keys) {
      fmt::print(stderr, "signed by {}; compare it with the key that the server shows, or give it with --key\n",
                 ledger::to_hex(key));
    }
  }
  return report->bad ? 1 : 0;
}

}  // namespace fettle::server
