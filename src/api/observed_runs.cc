// Runs executed elsewhere and reported by plain calls: POST /api/v1/runs/{run_id}/start, steps and end.
#include <algorithm>
#include <memory>
#include <vector>

#include "api/json_object.h"
#include "api/report.h"
#include "api/run_request.h"
#include "api/work.h"
#include "runs/observed.h"
#include "runs/operate.h"
#include "runs/run.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr runs::SizeLimits kLimits;

Answer state_answer(runs::Unit& unit, const runs::RunId& id, const runs::Reported& reported) {
  Answer answer;
  ObjectText object(answer.body);
  const auto run = runs::load_run(unit, id);
  object.text("run_id", id.value).text("state", run ? to_string(run->state) : std::string_view("unknown"));
  object.text_or_null("stop_reason", reported.stop_reason).end();
  return answer;
}

void start(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  RunRequest run;
  const JsonPlace top;
  if (auto read = read_run(document->root(), top, run); !read) return exchange.problem(read.error());
  runs::ObservedStart started = observed_of(std::move(run));
  started.run_id = exchange.parameter("run_id");
  change(work, std::move(exchange), [started](runs::Unit& unit) -> Result<Answer> {
    auto id = runs::start_observed(unit, started);
    if (!id) return std::unexpected(std::move(id).error());
    return state_answer(unit, *id, {});
  });
}

Result<void> read_step(simdjson::dom::element element, const JsonPlace& place, const redact::Redactor& redactor,
                       runs::ObservedStep& out) {
  std::string status = "succeeded";
  std::optional<std::int64_t> ordinal;
  auto read = read_members(element, place, [&](Member& member) {
    return member.text("name", out.step) || member.integer("step", ordinal, 0, 1'000'000) ||
           member.text("status", status, 16) || member.time("started_at", out.started_at) ||
           member.time("finished_at", out.finished_at) ||
           member.integer("duration_ms", out.duration_ms, 0, std::numeric_limits<std::int32_t>::max()) ||
           member.integer("tokens", out.tokens, 0, kTokensMax) ||
           member.number("cost_usd", out.cost_usd, kCostUsdMax) ||
           member.json("result", out.result, kLimits.result_bytes_max) ||
           member.integer("retry_count", out.retry_count, 0, 1'000'000) ||
           member.object("error", [&](simdjson::dom::element value, const JsonPlace& inner) {
             return read_error(value, inner, redactor, out.error);
           });
  });
  if (!read) return read;
  if (out.step.empty() && ordinal) out.step = std::to_string(*ordinal);
  if (out.step.empty()) return missing_member(place, "name", "the step's name");
  if (status != "running" && status != "succeeded" && status != "failed") {
    return fail(ErrorCode::kInvalidArgument, place.text_of("status") + ": expected running, succeeded or failed");
  }
  out.done = status != "running";
  out.succeeded = status == "succeeded";
  if (out.duration_ms && out.finished_at && !out.started_at) {
    out.started_at = std::max<UnixNanos>(0, *out.finished_at - *out.duration_ms * kNanosPerMilli);
  }
  return {};
}

struct Steps {
  std::size_t count = 0;
  std::vector<std::pair<std::size_t, runs::ObservedStep>> steps;
  std::vector<std::pair<std::size_t, Error>> refused;
};

std::string tell(runs::Unit& unit, const runs::ObservedStep& step) {
  std::string out;
  auto reported = runs::report_step(unit, step);
  if (!reported) {
    append_refusal(out, reported.error());
  } else if (reported->applied == runs::Applied::kUnknown) {
    append_refusal(out, runs::no_such_run({step.run_id}).error());
  } else if (reported->applied == runs::Applied::kLate) {
    append_refusal(out, Error(ErrorCode::kConflict, "the run has ended: kept, not applied"));
  } else {
    ObjectText(out).boolean("ok", true).text_or_null("stop_reason", reported->stop_reason).end();
  }
  return out;
}

void report_steps(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  const std::string id = exchange.parameter("run_id");
  auto batch = std::make_unique<Steps>();
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.array("steps", kBatchItemsMax, [&](simdjson::dom::element item, const JsonPlace& place) {
      runs::ObservedStep step;
      step.run_id = id;
      if (auto one = read_step(item, place, work.redactor, step); one) {
        batch->steps.emplace_back(batch->count++, std::move(step));
      } else {
        batch->refused.emplace_back(batch->count++, std::move(one).error());
      }
      return Result<void>();
    });
  });
  if (!read) return exchange.problem(read.error());
  change(work, std::move(exchange), [batch = std::move(batch)](runs::Unit& unit) -> Result<Answer> {
    std::vector<std::string> answers(batch->count);
    for (const auto& [place, error] : batch->refused) append_refusal(answers[place], error);
    for (const auto& [place, step] : batch->steps) answers[place] = tell(unit, step);
    Answer answer;
    answer.body = R"({"results":)";
    append_array(answer.body, answers, [](std::string& out, const std::string& one) { out += one; });
    answer.body += '}';
    return answer;
  });
}

void end(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::ObservedEnd ended;
  std::string status;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("status", status, 16) || member.json("result", ended.result, kLimits.result_bytes_max) ||
           member.integer("tokens", ended.tokens, 0, kTokensMax) ||
           member.number("cost_usd", ended.cost_usd, kCostUsdMax) || member.time("finished_at", ended.finished_at) ||
           member.integer("retry_count", ended.retry_count, 0, 1'000'000) ||
           member.object("error", [&](simdjson::dom::element value, const JsonPlace& inner) {
             return read_error(value, inner, work.redactor, ended.error);
           });
  });
  if (!read) return exchange.problem(read.error());
  if (status != "succeeded" && status != "failed" && status != "cancelled") {
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "status: expected succeeded, failed or cancelled"));
  }
  ended.run_id = exchange.parameter("run_id");
  ended.succeeded = status == "succeeded";
  change(work, std::move(exchange), [ended, status](runs::Unit& unit) -> Result<Answer> {
    const runs::RunId id{ended.run_id};
    if (status == "cancelled") {
      // A managed one is cancelled by people, or by whoever holds its lease.
      const auto run = runs::load_run(unit, id);
      if (!run || run->kind != runs::RunKind::kObserved) return runs::no_such_run(id);
      if (auto done = runs::cancel_run(unit, id, "its executor says so"); !done) {
        return std::unexpected(std::move(done).error());
      }
      return state_answer(unit, id, {});
    }
    auto reported = runs::end_observed(unit, ended);
    if (!reported) return std::unexpected(std::move(reported).error());
    if (reported->applied == runs::Applied::kUnknown) return runs::no_such_run(id);
    if (reported->applied == runs::Applied::kLate) {
      return fail(ErrorCode::kConflict, "the run has ended otherwise already");
    }
    return state_answer(unit, id, *reported);
  });
}

}  // namespace

runs::ObservedStart observed_of(RunRequest run) {
  runs::EnqueueRequest& request = run.request;
  runs::ObservedStart out;
  out.workflow = std::move(request.workflow);
  out.client = std::move(request.client);
  out.platform = std::move(request.platform);
  out.lane = std::move(request.lane);
  out.agent = std::move(request.agent);
  out.payload = std::move(request.payload);
  out.context = std::move(request.context);
  out.correlation_id = std::move(request.correlation_id);
  out.trace_id = std::move(request.trace_id);
  return out;
}

void add_observed_routes(Router& router, Work& work) {
  const auto post = [&](std::string_view path, std::size_t bytes_max, void (*handle)(Work&, Exchange)) {
    add_post(router, path, Action::kWork, bytes_max,
             [&work, handle](Exchange exchange) { handle(work, std::move(exchange)); });
  };
  post("/api/v1/runs/{run_id}/start", kOneBytesMax, start);
  post("/api/v1/runs/{run_id}/steps", kBatchBytesMax, report_steps);
  post("/api/v1/runs/{run_id}/end", kOneBytesMax, end);
}

}  // namespace fettle::api
