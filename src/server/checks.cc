#include "server/checks.h"

#include <fmt/format.h>

#include <chrono>
#include <string>

#include "core/json.h"

namespace fettle::server {
namespace {

using health::CheckResult;
using health::CheckStatus;

constexpr std::chrono::milliseconds kPingTimeMax{2'000};
constexpr std::chrono::seconds kLagDegraded{30};
constexpr double kSpoolDegraded = 0.8;
constexpr double kDiskDegraded = 0.10;
constexpr double kDiskDown = 0.02;

std::string in_ms(std::chrono::nanoseconds duration) {
  return fmt::format("{:.1f}", std::chrono::duration<double, std::milli>(duration).count());
}

std::string json_text(std::string_view text) {
  std::string json;
  append_json_string(json, text);
  return json;
}

}  // namespace

health::Check store_check(telemetry::Reader& reader, const Store& store) {
  return {.name = "store", .is_critical = true, .run = [&reader, &store](const std::stop_token& stop) {
            CheckResult result;
            const auto [state, restarts] = store.engine_state();
            result.fields.emplace_back("engine", json_text(state));
            result.fields.emplace_back("restarts", std::to_string(restarts));
            if (auto open = store.opening().check(); !open) {
              result.status = CheckStatus::kDown;
              result.message = open.error().message() + "; what arrives meanwhile waits in the spool";
            } else if (auto answered = reader.ping({.stop = stop, .time_max = kPingTimeMax}); !answered) {
              result.status = CheckStatus::kDown;
              result.message = "the telemetry store does not answer; what arrives meanwhile waits in the spool";
            }
            return result;
          }};
}

health::Check ledger_check(const Ledger& ledger) {
  return {.name = "ledger", .is_critical = true, .run = [&ledger](const std::stop_token&) {
            CheckResult result;
            const Ledger::Status status = ledger.status();
            result.fields.emplace_back("leader", status.is_leader ? "true" : "false");
            if (!status.down.empty()) {
              result.status = CheckStatus::kDown;
              result.message = "the ledger's store does not work: " + status.down;
            } else if (!status.upkeep_error.empty()) {
              result.status = CheckStatus::kDegraded;
              result.message = "the ledger's upkeep fails: " + status.upkeep_error;
            }
            return result;
          }};
}

health::Check audit_check(const Ledger& ledger) {
  return {.name = "audit", .is_critical = false, .run = [&ledger](const std::stop_token&) {
            CheckResult result;
            const ledger::SequencerStatus audit = ledger.status().audit;
            result.fields = {{"chained", std::to_string(audit.chained_total)},
                             {"oldest_unchained_ms", in_ms(audit.oldest_unchained_age)}};
            if (audit.is_late) {
              result.status = CheckStatus::kDegraded;
              result.message = "audit records wait to be chained" + (audit.error.empty() ? "" : ": " + audit.error);
            } else if (!audit.witness_error.empty()) {
              result.status = CheckStatus::kDegraded;
              result.message = "the audit's witness was not reached: " + audit.witness_error;
            }
            return result;
          }};
}

health::Check spool_check(const ingest::Spool& spool) {
  return {.name = "spool", .is_critical = true, .run = [&spool](const std::stop_token&) {
            CheckResult result;
            const ingest::SpoolStatus status = spool.status();
            const double filled = static_cast<double>(status.bytes) / static_cast<double>(status.bytes_max);
            result.fields = {{"bytes", std::to_string(status.bytes)},
                             {"bytes_max", std::to_string(status.bytes_max)},
                             {"rows", std::to_string(status.rows)},
                             {"losses", std::to_string(status.losses_total)}};
            if (status.disk_full || filled >= 1) {
              result.status = CheckStatus::kDown;
              result.message = status.disk_full ? "the disk is full: senders are told to wait; free some space"
                                                : "the spool is at its budget: senders are told to wait";
            } else if (filled >= kSpoolDegraded) {
              result.status = CheckStatus::kDegraded;
              result.message = "the spool is filling up; see the checks store and writer";
            } else if (status.losses_total != 0) {
              result.status = CheckStatus::kDegraded;
              result.message = "damaged records were found in the spool; the server's log names them";
            }
            return result;
          }};
}

health::Check writer_check(const ingest::Spool& spool, const ingest::Writer& writer) {
  return {.name = "writer", .is_critical = false, .run = [&spool, &writer](const std::stop_token&) {
            CheckResult result;
            const std::chrono::nanoseconds lag = spool.status().oldest_age;
            const std::uint64_t refused = writer.refused_rows();
            result.fields.emplace_back("lag_ms", in_ms(lag));
            result.fields.emplace_back("refused_rows", std::to_string(refused));
            if (writer.failing_for() > std::chrono::seconds(5) || lag > kLagDegraded) {
              result.status = CheckStatus::kDegraded;
              result.message = "what arrives is safe in the spool but not readable yet";
            } else if (refused != 0) {
              result.status = CheckStatus::kDegraded;
              result.message = "the store refused rows for good; they are in spool/refused";
            }
            return result;
          }};
}

health::Check parts_check(const PartsWatch& watch) {
  return {.name = "parts", .is_critical = false, .run = [&watch](const std::stop_token&) {
            CheckResult result;
            const auto parts = watch.latest();
            result.fields.emplace_back("detached", std::to_string(telemetry::total(parts)));
            if (!parts.empty()) {
              result.status = CheckStatus::kDegraded;
              result.message = fmt::format(
                  "the store put parts of tables aside and does not read them ({}); the operating manual says what to "
                  "do about detached parts",
                  telemetry::to_text(parts));
            }
            return result;
          }};
}

health::Check disk_check(std::filesystem::path folder) {
  return {.name = "disk", .is_critical = true, .run = [folder = std::move(folder)](const std::stop_token&) {
            CheckResult result;
            std::error_code error;
            const std::filesystem::space_info space = std::filesystem::space(folder, error);
            if (error || space.capacity == 0) {
              return CheckResult{
                  .status = CheckStatus::kDegraded, .message = "the free space is not known", .fields = {}};
            }
            const double free = static_cast<double>(space.available) / static_cast<double>(space.capacity);
            result.fields.emplace_back("free_bytes", std::to_string(space.available));
            result.fields.emplace_back("free_ratio", fmt::format("{:.3f}", free));
            if (free < kDiskDegraded) {
              result.status = free < kDiskDown ? CheckStatus::kDown : CheckStatus::kDegraded;
              result.message = "little disk space is left: free some, or shorten retention";
            }
            return result;
          }};
}

}  // namespace fettle::server
