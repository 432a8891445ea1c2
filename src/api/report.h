// What a worker says of its runs, read: the parts of POST /api/v1/work/report, in the order in which the room is told.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "api/json_reader.h"
#include "core/error.h"
#include "redact/redactor.h"
#include "runs/queue.h"

namespace fettle::api {

// Of one report: sums of a month stay far from overflowing.
constexpr std::int64_t kTokensMax = 1'000'000'000'000;
constexpr double kCostUsdMax = 1e9;

enum class ReportOp : std::uint8_t { kStepStart, kStepComplete, kStepFail, kFail, kRelease, kSleep, kWait, kLog };

// One report of another kind than completions and heartbeats.
struct Report {
  std::size_t place = 0;
  ReportOp op = ReportOp::kStepStart;
  runs::RunId run;
  std::int32_t attempt = 0;
  std::string step;
  std::string json;  // the result of a step, the payload of a log
  std::int64_t tokens = 0;
  double cost_usd = 0;
  std::optional<std::int64_t> duration_ms;
  runs::RunError error;
  std::optional<UnixNanos> until;  // of a sleep; of a wait, when it has an end
  std::string event, key;          // of a wait
  std::string level, message;      // of a log; a release's reason
};

// Heartbeats, then everything else in its order, then completions: the first and the last are one call each, however
// many they are. Nothing in one part follows the completion of its own run.
struct ReportPart {
  std::vector<runs::Extension> beats;
  std::vector<std::size_t> beat_places;
  std::vector<Report> others;
  std::vector<runs::Completion> completions;
  std::vector<std::size_t> completion_places;
};

struct ReportBatch {
  std::string runner_id;
  std::size_t count = 0;
  std::vector<ReportPart> parts;
  std::vector<std::pair<std::size_t, Error>> refused;
};

// kInvalidArgument when the body as a whole cannot be read; what is wrong with one report is in `refused`.
// Secrets are masked in errors, lines of logs and their payloads; results and progress are work, and stay as they are.
Result<ReportBatch> read_reports(std::string& body, const redact::Redactor& redactor);

// An error as its sender has it, with its secrets masked; what is too long is cut.
Result<void> read_error(simdjson::dom::element element, const JsonPlace& place, const redact::Redactor& redactor,
                        runs::RunError& out);

}  // namespace fettle::api
