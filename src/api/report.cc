#include "api/report.h"

#include <fmt/format.h>

#include <array>
#include <unordered_set>

#include "api/work.h"
#include "core/json.h"
#include "ledger/cleaning.h"

namespace fettle::api {
namespace {

constexpr runs::SizeLimits kLimits;

constexpr std::array<std::pair<std::string_view, ReportOp>, 8> kOps = {{
    {"step_start", ReportOp::kStepStart},
    {"step_complete", ReportOp::kStepComplete},
    {"step_fail", ReportOp::kStepFail},
    {"fail", ReportOp::kFail},
    {"release", ReportOp::kRelease},
    {"sleep", ReportOp::kSleep},
    {"wait", ReportOp::kWait},
    {"log", ReportOp::kLog},
}};

// A failure is worth more than the end of its stack: what is too long is cut, not refused.
void cut(std::string& text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return;
  text.resize(bytes_max);
  while (!text.empty() && !is_utf8(text)) text.pop_back();
}

// What every report has.
template <class One>
bool reads_lease(Member& member, One& one) {
  return member.name() == "op" || member.text("run_id", one.run.value) || member.fence("fence", one.attempt);
}

template <class One>
Result<void> check_lease(const JsonPlace& place, const One& one) {
  if (one.run.value.empty()) return missing_member(place, "run_id", "the id of a leased run");
  if (one.attempt == 0) return missing_member(place, "fence", "the fence that the lease gave");
  return {};
}

template <class One>
bool reads_usage(Member& member, One& one) {
  return member.integer("tokens", one.tokens, 0, kTokensMax) || member.number("cost_usd", one.cost_usd, kCostUsdMax);
}

Result<void> read_completion(simdjson::dom::element element, const JsonPlace& place, runs::Completion& out) {
  auto read = read_members(element, place, [&](Member& member) {
    return reads_lease(member, out) || member.json("result", out.result, kLimits.result_bytes_max) ||
           reads_usage(member, out);
  });
  if (!read) return read;
  return check_lease(place, out);
}

Result<void> read_beat(simdjson::dom::element element, const JsonPlace& place, bool extends, runs::Extension& out) {
  std::optional<std::int64_t> lease_ms;
  auto read = read_members(element, place, [&](Member& member) {
    return reads_lease(member, out) || (extends ? member.integer("lease_ms", lease_ms, 1'000, 3'600'000)
                                                : member.json("progress", out.progress, kLimits.context_bytes_max));
  });
  if (!read) return read;
  if (out.progress == "null") out.progress.clear();
  out.progressed = !out.progress.empty();
  if (lease_ms) out.duration = std::chrono::milliseconds(*lease_ms);
  return check_lease(place, out);
}

bool reads_more(Member& member, const JsonPlace& place, const redact::Redactor& redactor, Report& out) {
  const auto reads_error = [&] {
    return member.object("error", [&](simdjson::dom::element value, const JsonPlace& inner) {
      return read_error(value, inner, redactor, out.error);
    });
  };
  switch (out.op) {
    case ReportOp::kStepStart: return false;
    case ReportOp::kStepComplete:
      return member.json("result", out.json, kLimits.result_bytes_max) || reads_usage(member, out) ||
             member.integer("duration_ms", out.duration_ms, 0, std::numeric_limits<std::int32_t>::max());
    case ReportOp::kStepFail: {
      bool will_retry = false;  // said for the reader of the request; the room decides by the step's policy
      return reads_error() || member.boolean("will_retry", will_retry) || reads_usage(member, out) ||
             member.integer("duration_ms", out.duration_ms, 0, std::numeric_limits<std::int32_t>::max());
    }
    case ReportOp::kFail: return reads_error() || reads_usage(member, out);
    case ReportOp::kRelease: return member.text("reason", out.message) || reads_usage(member, out);
    case ReportOp::kSleep: return member.time("until", out.until) || reads_usage(member, out);
    case ReportOp::kWait:
      return member.text("event", out.event) || member.text("key", out.key) || member.time("expires_at", out.until) ||
             reads_usage(member, out);
    case ReportOp::kLog:
      return member.text("level", out.level, 16) || member.text("message", out.message, kLimits.message_bytes_max) ||
             member.json("payload", out.json, kLimits.message_bytes_max);
  }
  static_cast<void>(place);
  return false;
}

bool has_step(ReportOp op) { return op != ReportOp::kFail && op != ReportOp::kRelease; }

Result<void> read_other(simdjson::dom::element element, const JsonPlace& place, const redact::Redactor& redactor,
                        Report& out) {
  std::optional<std::int64_t> ordinal;
  auto read = read_members(element, place, [&](Member& member) {
    return reads_lease(member, out) ||
           (has_step(out.op) && (member.integer("step", ordinal, 0, 1'000'000) || member.text("name", out.step))) ||
           reads_more(member, place, redactor, out);
  });
  if (!read) return read;
  if (auto good = check_lease(place, out); !good) return good;
  if (has_step(out.op) && out.step.empty() && ordinal) out.step = std::to_string(*ordinal);
  if (has_step(out.op) && out.step.empty() && out.op != ReportOp::kLog) {
    return missing_member(place, "name", "the step's name");
  }
  if (out.op == ReportOp::kLog || out.op == ReportOp::kRelease) {
    out.message = redactor.redact(out.message);
    if (out.op == ReportOp::kLog && !out.json.empty()) {
      if (auto done = ledger::redact_json(out.json, place.text_of("payload"), redactor); !done) return done;
    }
  }
  if (out.op == ReportOp::kSleep && !out.until) return missing_member(place, "until", "an RFC 3339 time");
  if (out.op == ReportOp::kWait && out.event.empty()) return missing_member(place, "event", "the event's name");
  return {};
}

// Sorts reports into parts as they are read.
class Sorter {
 public:
  Sorter(ReportBatch& batch, const redact::Redactor& redactor) : batch_(batch), redactor_(redactor) {}

  Result<void> add(simdjson::dom::element element, const JsonPlace& place) {
    std::string_view op;
    if (!element.is_object()) return not_an_object(place);
    if (element["op"].get(op) != simdjson::SUCCESS) return missing_member(place, "op", "what is reported");
    if (op == "complete") {
      runs::Completion one;
      if (auto read = read_completion(element, place, one); !read) return read;
      ReportPart& part = part_for_completion();
      part.completions.push_back(std::move(one));
      part.completion_places.push_back(batch_.count++);
      return {};
    }
    if (op == "heartbeat" || op == "extend") {
      runs::Extension one;
      if (auto read = read_beat(element, place, op == "extend", one); !read) return read;
      ReportPart& part = part_for(one.run);
      part.beats.push_back(std::move(one));
      part.beat_places.push_back(batch_.count++);
      return {};
    }
    for (const auto& [name, value] : kOps) {
      if (name != op) continue;
      Report one;
      one.op = value;
      if (auto read = read_other(element, place, redactor_, one); !read) return read;
      one.place = batch_.count;
      part_for(one.run).others.push_back(std::move(one));
      ++batch_.count;
      return {};
    }
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{}: '{}' is no operation", place.text_of("op"), op.substr(0, 64)));
  }

 private:
  ReportPart& current() {
    if (batch_.parts.empty()) batch_.parts.emplace_back();
    return batch_.parts.back();
  }
  // For a completion: the same once more is told in the same call.
  ReportPart& part_for_completion() { return current(); }
  // For anything else: behind the completion of its run, if there was one.
  ReportPart& part_for(const runs::RunId& run) {
    ReportPart& part = current();
    for (; indexed_ < part.completions.size(); ++indexed_) completed_.insert(part.completions[indexed_].run.value);
    if (!completed_.contains(run.value)) return part;
    completed_.clear();
    indexed_ = 0;
    return batch_.parts.emplace_back();
  }

  ReportBatch& batch_;
  const redact::Redactor& redactor_;
  std::unordered_set<std::string> completed_;
  std::size_t indexed_ = 0;
};

}  // namespace

Result<void> read_error(simdjson::dom::element element, const JsonPlace& place, const redact::Redactor& redactor,
                        runs::RunError& out) {
  std::optional<std::int64_t> retry_after_ms;
  auto read = read_members(element, place, [&](Member& member) {
    constexpr std::size_t kReadMax = 1024 * 1024;
    return member.prose("message", out.message, kReadMax) || member.prose("type", out.name, kReadMax) ||
           member.prose("code", out.code, kReadMax) || member.prose("stack", out.stack, kReadMax) ||
           member.integer("status", out.http_status, 0, 999) || member.boolean("retryable", out.retryable) ||
           member.integer("retry_after_ms", retry_after_ms, 0, 366LL * 24 * 3'600'000);
  });
  if (!read) return read;
  // Before anything is cut: half a secret is not known as one.
  out.message = redactor.redact(out.message);
  out.stack = redactor.redact(out.stack);
  out.name = redactor.redact(out.name);
  out.code = redactor.redact(out.code);
  cut(out.message, kLimits.message_bytes_max);
  cut(out.stack, kLimits.message_bytes_max);
  cut(out.name, kLimits.name_bytes_max);
  cut(out.code, kLimits.name_bytes_max);
  if (retry_after_ms) out.retry_after = std::chrono::milliseconds(*retry_after_ms);
  return {};
}

Result<ReportBatch> read_reports(std::string& body, const redact::Redactor& redactor) {
  auto document = JsonDocument::parse(body);
  if (!document) return std::unexpected(std::move(document).error());
  ReportBatch batch;
  Sorter sorter(batch, redactor);
  const JsonPlace top;
  bool has_reports = false;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("runner_id", batch.runner_id) ||
           (member.name() == "reports" && (has_reports = true) &&
            member.array("reports", kBatchItemsMax, [&](simdjson::dom::element item, const JsonPlace& place) {
              if (auto one = sorter.add(item, place); !one) {
                batch.refused.emplace_back(batch.count++, std::move(one).error());
              }
              return Result<void>();
            }));
  });
  if (!read) return std::unexpected(std::move(read).error());
  if (batch.runner_id.empty()) return missing_member(top, "runner_id", "the worker's own name");
  if (!has_reports) return missing_member(top, "reports", "an array of reports");
  return batch;
}

}  // namespace fettle::api
