// fettle backup, fettle restore.
#include <fmt/format.h>

#include <cstdio>
#include <stop_token>
#include <string>

#include "core/json.h"
#include "core/log.h"
#include "server/backup.h"
#include "server/commands.h"
#include "server/show.h"
#include "server/signals.h"

namespace fettle::server {
namespace {

std::string in_mebibytes(std::uint64_t bytes) {
  return fmt::format("{:.1f} MiB", static_cast<double>(bytes) / (1 << 20));
}

void print_json(const BackupReport& report, const std::string& folder) {
  std::string out = "{\"folder\":";
  append_json_string(out, folder);
  out += fmt::format(R"(,"taken_at":"{}","files":{},"bytes":{},"ledger":"{}","ledger_rows":{},"telemetry":"{}"}})",
                     format_rfc3339(report.taken_at), report.files, report.bytes, report.ledger, report.ledger_rows,
                     report.telemetry);
  fmt::print("{}\n", out);
}

}  // namespace

int run_backup(const Config& config, const BackupCommand& command) {
  SystemClock clock;
  // Whoever presses Ctrl-C gets the disk's room back.
  std::stop_source stopping;
  const Signals signals(stopping);
  auto report = command.verify_only ? verify_backup(command.folder, clock)
                                    : take_backup(config, command.folder, clock, stopping.get_token());
  if (!report) return complain(report.error());
  const std::string folder = command.folder.string();
  if (command.json) {
    print_json(*report, folder);
    return 0;
  }
  fmt::print("{}: good, {} in {} files\n", folder, in_mebibytes(report->bytes), report->files);
  fmt::print("  ledger     {}, {} rows, every one verified\n", report->ledger, report->ledger_rows);
  fmt::print("  telemetry  {}\n", report->telemetry == "embedded"
                                      ? "the embedded store"
                                      : "not in it: back up the store of telemetry.url by its own means");
  if (!command.verify_only) {
    fmt::print("  not in it  {} (signs the audit log): keep a copy apart\n", (config.data / "secret.key").string());
  }
  return 0;
}

int run_restore(const Config& config, const RestoreCommand& command) {
  SystemClock clock;
  log::set_level(log::Level::kWarning);  // the engine's start is no news here
  std::stop_source stopping;
  const Signals signals(stopping);
  auto report = restore_backup(config, command.folder, command.secret_key, clock, stopping.get_token());
  if (!report) {
    const int code = complain(report.error());
    return report.error().code() == ErrorCode::kInvalidArgument ? 2 : code;
  }
  if (command.json) {
    print_json(*report, config.data.string());
    return 0;
  }
  fmt::print("restored to {} what {} held at {}\n", config.data.string(), command.folder.string(),
             short_time(format_rfc3339(report->taken_at)));
  fmt::print("  ledger     {}, {} rows\n", report->ledger, report->ledger_rows);
  fmt::print("  telemetry  {}\n",
             report->telemetry == "embedded" ? "the embedded store" : "not restored: it is elsewhere");
  if (command.secret_key.empty()) {
    fmt::print(
        "  secret.key none: the server makes a new one and signs with it from now on; earlier signatures stay\n"
        "             good under the old key. To keep that one: --secret-key FILE\n");
  }
  fmt::print("start it with: fettle serve --data {}\n", config.data.string());
  return 0;
}

}  // namespace fettle::server
