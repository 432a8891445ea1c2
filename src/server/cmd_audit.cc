// fettle audit verify: whether an audit log is what was recorded, as a bundle or in the store itself. Without a server:
// it needs the file or the store alone, and is worth more with a checkpoint from elsewhere.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>

#include "core/json.h"
#include "ledger/bundle.h"
#include "ledger/witness.h"
#include "server/commands.h"
#include "server/ledger.h"
#include "server/live_store.h"
#include "server/show.h"

namespace fettle::server {
namespace {

constexpr std::size_t kSecretBytes = 32;

void print_for_people(const ledger::VerifyReport& report, double seconds) {
  if (report.bad) {
    const std::string of = report.workspace.value.empty() ? "" : fmt::format(" of '{}'", report.workspace.value);
    if (report.bad->position == 0) {
      fmt::print("NOT GOOD{}: {}\n", of, report.bad->what);
    } else {
      fmt::print("NOT GOOD{}, from record {} on: {}\n", of, report.bad->position, report.bad->what);
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

// Nothing, and complained, when something is not understood (2) or cannot be read (1).
std::optional<ledger::VerifyOptions> options_of(const AuditVerifyCommand& command, int& exit_code) {
  ledger::VerifyOptions options;
  options.is_whole = !command.part;
  for (const std::string& hex : command.keys) {
    const auto key = ledger::digest_of_hex(hex);
    if (!key) {
      fmt::print(stderr, "fettle: '{}' is not a public key: 64 hexadecimal digits\n", hex);
      exit_code = 2;
      return std::nullopt;
    }
    options.public_keys.push_back(*key);
  }
  for (const std::filesystem::path& file : command.witnesses) {
    auto held = ledger::read_witness_file(file);
    if (!held) {
      exit_code = complain(held.error());
      return std::nullopt;
    }
    options.witnessed.insert(options.witnessed.end(), held->begin(), held->end());
  }
  return options;
}

// The key with which the server of this folder signs; nothing when its secret cannot be read.
std::optional<ledger::PublicKey> own_key(const std::filesystem::path& data_dir) {
  std::ifstream file(data_dir / "secret.key", std::ios::binary);
  const std::string bytes(std::istreambuf_iterator<char>(file), {});
  if (bytes.size() < kSecretBytes) return std::nullopt;
  auto key = ledger::SigningKey::derive(Secret(bytes.substr(0, kSecretBytes)));
  if (!key) return std::nullopt;
  return key->public_key();
}

// True when it is good.
bool tell(const AuditVerifyCommand& command, const ledger::VerifyReport& report, double seconds,
          const std::optional<ledger::PublicKey>& own) {
  if (command.json) {
    print_json(report);
  } else {
    print_for_people(report, seconds);
  }
  // Whoever made the log can have signed it, too: only a key from elsewhere tells.
  if (!report.bad && command.keys.empty()) {
    for (const auto& key : report.keys) {
      fmt::print(stderr, "signed by {}{}\n", ledger::to_hex(key),
                 own == key ? ", the key of this folder's server"
                            : "; compare it with the key that the server shows, or give it with --key");
    }
  }
  return !report.bad;
}

double seconds_since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

int verify_file(const AuditVerifyCommand& command, const ledger::VerifyOptions& options) {
  const auto begin = std::chrono::steady_clock::now();
  auto report = ledger::verify_bundle(command.file, options);
  if (!report) return complain(report.error());
  return tell(command, *report, seconds_since(begin), std::nullopt) ? 0 : 1;
}

int verify_store(const AuditVerifyCommand& command, const ledger::VerifyOptions& options) {
  Config::Ledger config;
  config.url = command.ledger_url;
  config.password_file = command.password_file;
  auto url = ledger_url(config, command.data_dir);
  if (!url) return complain(url.error());
  SystemClock clock;
  metrics::Registry metrics;
  auto store = LiveStore::open(*url, clock, metrics);
  if (!store) return complain(store.error());
  if (!store->damage().empty()) {
    fmt::print(stderr, "fettle: the store is damaged ({}); what is left of it is verified\n", store->damage());
  }
  auto workspaces = ledger::workspaces_to_verify(store->database());
  if (!workspaces && workspaces.error().code() != ErrorCode::kDataLoss) return complain(workspaces.error());
  std::vector<WorkspaceId> named;
  if (!command.workspace.empty()) {
    named.push_back({command.workspace});
  } else if (workspaces) {
    named = std::move(*workspaces);
    // A log that is gone altogether is found missing by who holds a checkpoint of it.
    for (const ledger::Checkpoint& held : options.witnessed) {
      if (std::ranges::find(named, held.workspace) == named.end()) named.push_back(held.workspace);
    }
  } else {
    return complain(workspaces.error().within("name a --workspace"));
  }
  if (named.empty()) fmt::print(stderr, "fettle: nothing was ever recorded there\n");
  const auto own = command.ledger_url.empty() ? own_key(command.data_dir) : std::nullopt;
  bool is_good = store->damage().empty();
  for (const WorkspaceId& workspace : named) {
    const auto begin = std::chrono::steady_clock::now();
    auto report = ledger::verify_log(store->database(), workspace, options);
    if (!report) return complain(report.error());
    is_good = tell(command, *report, seconds_since(begin), own) && is_good;
  }
  return is_good ? 0 : 1;
}

}  // namespace

int run_audit_verify(const AuditVerifyCommand& command) {
  const int places = static_cast<int>(!command.file.empty()) + static_cast<int>(!command.data_dir.empty()) +
                     static_cast<int>(!command.ledger_url.empty());
  if (places != 1) {
    fmt::print(stderr, "fettle: name one of a bundle's file, --data-dir and --ledger-url\n");
    return 2;
  }
  int exit_code = 0;
  const auto options = options_of(command, exit_code);
  if (!options) return exit_code;
  return command.file.empty() ? verify_store(command, *options) : verify_file(command, *options);
}

}  // namespace fettle::server
