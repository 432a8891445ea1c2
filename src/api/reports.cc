// POST /api/v1/work/report: what up to a thousand of a worker's runs have come to, in one transaction.
#include <fmt/format.h>

#include <iterator>
#include <memory>
#include <vector>

#include "api/json_object.h"
#include "api/report.h"
#include "api/run_text.h"
#include "api/work.h"
#include "runs/inspect.h"
#include "runs/queue.h"
#include "runs/records.h"
#include "runs/steps.h"
#include "runs/workers.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::string_view kRunning = R"({"ok":true,"state":"running","cancel":false,"stop":null})";
constexpr std::string_view kSucceeded = R"({"ok":true,"state":"succeeded","cancel":false,"stop":null})";

// The answers, by place: one of the usual ones, or a text of its own.
class Answers {
 public:
  explicit Answers(std::size_t count) : usual_(count), own_(count) {}
  void set(std::size_t place, std::string_view usual) { usual_[place] = usual; }
  void set(std::size_t place, std::string own) {
    own_[place] = std::make_unique<std::string>(std::move(own));
    usual_[place] = *own_[place];
  }
  void refuse(std::size_t place, const Error& error) {
    std::string text;
    append_refusal(text, error);
    set(place, std::move(text));
  }
  std::string text() const {
    std::string out = R"({"results":)";
    out.reserve(usual_.size() * (kSucceeded.size() + 1) + 32);
    append_array(out, usual_, [](std::string& text, std::string_view one) { text += one; });
    out += '}';
    return out;
  }

 private:
  std::vector<std::string_view> usual_;
  std::vector<std::unique_ptr<std::string>> own_;
};

// The attempt does not hold the lease any more: it is told why, as far as somebody decided it.
std::string late_text(runs::Unit& unit, const runs::RunId& run, std::int32_t attempt) {
  const runs::LeaseGone gone = runs::why_lease_gone(unit, run, attempt);
  std::string out = R"({"ok":false,"error":{"type":"about:blank","title":"Conflict","status":409,"detail":)";
  append_json_string(out, gone.reason);
  out += R"(,"code":"late","cancel":)";
  out += gone.cancelled ? "true" : "false";
  out += R"(,"stop":)";
  if (gone.stop) {
    append_switch(out, *gone.stop);
  } else {
    out += "null";
  }
  out += "}}";
  return out;
}

void set_applied(runs::Unit& unit, Answers& answers, std::size_t place, runs::Applied applied, std::string_view usual,
                 const runs::RunId& run, std::int32_t attempt) {
  switch (applied) {
    case runs::Applied::kApplied: return answers.set(place, usual);
    case runs::Applied::kLate: return answers.set(place, late_text(unit, run, attempt));
    case runs::Applied::kUnknown: return answers.refuse(place, runs::no_such_run(run).error());
  }
}

std::string state_text(std::string_view state) {
  return fmt::format(R"({{"ok":true,"state":"{}","cancel":false,"stop":null}})", state);
}

// ---- many at once

void tell_beats(runs::Unit& unit, const ReportPart& part, Answers& answers) {
  const auto tell = [&](std::span<const runs::Extension> beats, std::size_t at) -> std::optional<Error> {
    auto extended = runs::extend(unit, beats);
    if (!extended) return std::move(extended).error();
    for (std::size_t i = 0; i < beats.size(); ++i) {
      const runs::Extended& one = (*extended)[i];
      const std::size_t place = part.beat_places[at + i];
      if (one.applied != runs::Applied::kApplied) {
        set_applied(unit, answers, place, one.applied, kRunning, beats[i].run, beats[i].attempt);
        continue;
      }
      std::string text = R"({"ok":true,"state":"running","cancel":false,"stop":null,"lease_expires_at":")";
      append_time_ms(text, one.lease_until);
      answers.set(place, std::move(text += "\"}"));
    }
    return std::nullopt;
  };
  const std::span<const runs::Extension> all(part.beats);
  if (all.empty() || !tell(all, 0)) return;
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (auto error = tell(all.subspan(i, 1), i)) answers.refuse(part.beat_places[i], *error);
  }
}

void tell_completions(runs::Unit& unit, const ReportPart& part, Answers& answers) {
  const auto tell = [&](std::span<const runs::Completion> completions, std::size_t at) -> std::optional<Error> {
    auto applied = runs::complete(unit, completions);
    if (!applied) return std::move(applied).error();
    for (std::size_t i = 0; i < completions.size(); ++i) {
      set_applied(unit, answers, part.completion_places[at + i], (*applied)[i], kSucceeded, completions[i].run,
                  completions[i].attempt);
    }
    return std::nullopt;
  };
  const std::span<const runs::Completion> all(part.completions);
  if (all.empty() || !tell(all, 0)) return;
  // One of them breaks a rule of the room, which then takes none: each by itself.
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (auto error = tell(all.subspan(i, 1), i)) answers.refuse(part.completion_places[i], *error);
  }
}

// ---- one at a time

// A wait that was over before it began: its worker has left the handler, so the run is to be leased again.
std::string go_on(runs::Unit& unit, const Report& report, const runs::StepBegun& begun) {
  switch (begun.state) {
    case runs::StepAnswer::kParked: return state_text("waiting");
    case runs::StepAnswer::kDone:
    case runs::StepAnswer::kTimedOut: {
      auto returned = runs::give_back(unit, report.run, report.attempt);
      return state_text(returned && *returned == runs::Applied::kApplied ? "ready" : "waiting");
    }
    default: return {};
  }
}

Result<std::string> answer_step(runs::Unit& unit, const Report& report, const Result<runs::StepBegun>& begun) {
  if (!begun) return std::unexpected(begun.error());
  if (begun->state == runs::StepAnswer::kLate) return late_text(unit, report.run, report.attempt);
  if (begun->state == runs::StepAnswer::kUnknown) return runs::no_such_run(report.run);
  if (report.op != ReportOp::kStepStart) return go_on(unit, report, *begun);
  if (begun->state == runs::StepAnswer::kGo) return std::string();
  // Done by an earlier attempt: the step's result, instead of doing it again.
  std::string out;
  ObjectText object(out);
  object.boolean("ok", true).text("state", "running").boolean("cancel", false).json("stop", "null");
  object.text("step", to_string(begun->state)).json("result", begun->result.empty() ? "null" : begun->result).end();
  return out;
}

Result<std::string> answer_applied(runs::Unit& unit, const Report& report, runs::Applied applied,
                                   std::string_view state) {
  if (applied == runs::Applied::kLate) return late_text(unit, report.run, report.attempt);
  if (applied == runs::Applied::kUnknown) return runs::no_such_run(report.run);
  return state_text(state);
}

Result<std::string> tell_step_failure(runs::Unit& unit, const Report& report, const runs::StepCall& call) {
  auto failed = runs::fail_step(unit, call, report.error, report.tokens, report.cost_usd, report.duration_ms);
  if (!failed) return std::unexpected(std::move(failed).error());
  if (failed->applied != runs::Applied::kApplied) return answer_applied(unit, report, failed->applied, "running");
  std::string out;
  ObjectText object(out);
  object.boolean("ok", true).text("state", "running").boolean("cancel", false).json("stop", "null");
  object.boolean("will_retry", failed->will_retry);
  object.number("retry_after_ms", std::chrono::duration_cast<std::chrono::milliseconds>(failed->delay).count());
  object.text("error_class", to_string(failed->error_class)).end();
  return out;
}

Result<std::string> tell_failure(runs::Unit& unit, const Report& report) {
  auto failed = runs::fail_run(unit, {.run = report.run,
                                      .attempt = report.attempt,
                                      .error = report.error,
                                      .tokens = report.tokens,
                                      .cost_usd = report.cost_usd});
  if (!failed) return std::unexpected(std::move(failed).error());
  if (failed->applied != runs::Applied::kApplied) return answer_applied(unit, report, failed->applied, "");
  std::string out;
  ObjectText object(out);
  const auto run = runs::load_run(unit, report.run);
  object.boolean("ok", true).text("state", run ? to_string(run->state) : std::string_view("unknown"));
  object.boolean("cancel", false).json("stop", "null").boolean("will_retry", failed->will_retry);
  if (failed->will_retry) object.time("retry_at", failed->retry_at);
  object.text("error_class", to_string(failed->error_class)).text_or_null("failure_reason", failed->reason).end();
  return out;
}

// A line of the worker's own, kept among the records of agents. Of a lost lease as well: it says what happened.
Result<std::string> tell_log(runs::Unit& unit, const Report& report) {
  const auto run = runs::load_run(unit, report.run);
  if (!run) return runs::no_such_run(report.run);
  std::string fields;
  ObjectText object(fields);
  object.text("run_id", run->shown_id()).text("workflow", run->workflow);
  object.text("level", report.level.empty() ? "info" : report.level).text("message", report.message);
  object.number("attempt", report.attempt);
  if (!report.step.empty()) object.text("step_id", report.step);
  if (!run->client.empty()) object.text("client_id", run->client);
  if (!run->agent.empty()) object.text("agent", run->agent);
  object.json("payload", report.json.empty() ? "null" : report.json).end();
  auto record = runs::write_record(unit, runs::Collection::kAgentLogs, {}, fields);
  if (!record) return std::unexpected(std::move(record).error());
  return state_text(to_string(run->state));
}

// Counts what the attempt used, once the call by which it left was taken.
Result<void> count_use(runs::Unit& unit, const Report& report) {
  if (report.tokens == 0 && report.cost_usd == 0) return {};
  return runs::add_use(unit, report.run, report.attempt, report.tokens, report.cost_usd);
}

Result<std::string> answer_left(runs::Unit& unit, const Report& report, const Result<runs::StepBegun>& begun) {
  const bool taken = begun && begun->state != runs::StepAnswer::kLate && begun->state != runs::StepAnswer::kUnknown;
  auto counted = taken ? count_use(unit, report) : Result<void>();
  if (!counted) return std::unexpected(std::move(counted).error());
  return answer_step(unit, report, begun);
}

// Empty: the usual answer.
Result<std::string> tell(runs::Unit& unit, const Report& report) {
  const runs::StepCall call{report.run, report.attempt, report.step};
  switch (report.op) {
    case ReportOp::kStepStart: return answer_step(unit, report, runs::begin_step(unit, call));
    case ReportOp::kStepComplete: {
      auto done = runs::complete_step(unit, call,
                                      {.result = report.json,
                                       .tokens = report.tokens,
                                       .cost_usd = report.cost_usd,
                                       .duration_ms = report.duration_ms});
      if (!done) return std::unexpected(std::move(done).error());
      if (*done == runs::Applied::kApplied) return std::string();
      return answer_applied(unit, report, *done, "running");
    }
    case ReportOp::kStepFail: return tell_step_failure(unit, report, call);
    case ReportOp::kFail: return tell_failure(unit, report);
    case ReportOp::kRelease: {
      auto returned = runs::give_back(unit, report.run, report.attempt);
      if (!returned) return std::unexpected(std::move(returned).error());
      if (*returned == runs::Applied::kApplied) {
        if (auto counted = count_use(unit, report); !counted) return std::unexpected(std::move(counted).error());
      }
      return answer_applied(unit, report, *returned, "ready");
    }
    case ReportOp::kSleep: return answer_left(unit, report, runs::sleep_step(unit, call, *report.until));
    case ReportOp::kWait: {
      std::optional<std::chrono::nanoseconds> timeout;
      if (report.until) timeout = std::chrono::nanoseconds(std::max<std::int64_t>(0, *report.until - unit.now()));
      return answer_left(unit, report, runs::wait_signal(unit, call, report.event, report.key, timeout));
    }
    case ReportOp::kLog: return tell_log(unit, report);
  }
  return std::string();
}

Answer tell_all(runs::Unit& unit, const ReportBatch& batch) {
  Answers answers(batch.count);
  // Whoever reports is alive. One that is not registered may report all the same.
  static_cast<void>(runs::beat_worker(unit, runs::WorkerId{batch.runner_id}, true));
  for (const auto& [place, error] : batch.refused) answers.refuse(place, error);
  for (const ReportPart& part : batch.parts) {
    tell_beats(unit, part, answers);
    for (const Report& report : part.others) {
      auto text = tell(unit, report);
      if (!text) {
        answers.refuse(report.place, text.error());
      } else if (text->empty()) {
        answers.set(report.place, kRunning);
      } else {
        answers.set(report.place, std::move(*text));
      }
    }
    tell_completions(unit, part, answers);
  }
  return {.status = 200, .body = answers.text()};
}

void report(Work& work, Exchange exchange) {
  auto read = read_reports(exchange.body(), work.redactor);
  if (!read) return exchange.problem(read.error());
  // Fenced: told again it is answered the same or "late", so no answer has to be kept.
  change(
      work, std::move(exchange),
      [batch = std::move(*read)](runs::Unit& unit) -> Result<Answer> { return tell_all(unit, batch); }, Keyed::kNo);
}

}  // namespace

void add_report_routes(Router& router, Work& work) {
  add_post(router, "/api/v1/work/report", Action::kWork, kBatchBytesMax,
           [&work](Exchange exchange) { report(work, std::move(exchange)); });
}

}  // namespace fettle::api
