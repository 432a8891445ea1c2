#include "api/run_text.h"

#include <algorithm>

#include "api/json_object.h"

namespace fettle::api {
namespace {

// The members that every view of a run has.
void add_run(ObjectText& object, const runs::Run& run) {
  object.text("run_id", run.shown_id()).text("state", to_string(run.state));
  object.text("kind", run.kind == runs::RunKind::kManaged ? "managed" : "observed");
  object.boolean("dead_letter", run.state == runs::RunState::kDead);
  object.text("workflow", run.workflow).text_or_null("client_id", run.client);
  object.text_or_null("platform", run.platform).text_or_null("lane", run.lane).text_or_null("agent", run.agent);
  object.text("pool", run.pool).number("priority", run.priority);
  object.text_or_null("concurrency_key", run.limit_key);
  object.number("attempt", run.attempt).number("retry_count", run.retry_count).number("max_retries", run.max_retries);
  object.text_or_null("failure_reason", run.failure_reason);
  object.text_or_null("waits_for", run.wait == runs::WaitKind::kNone ? std::string_view() : to_string(run.wait));
  object.text_or_null("held_by", run.hold_key).time("due_at", run.due_at);
  object.time("created_at", run.created_at).time("started_at", run.started_at).time("finished_at", run.finished_at);
  object.number("tokens", run.tokens).number("cost_usd", run.cost_usd).number("open_failures", run.open_failures);
}

void append_step(std::string& out, const runs::Step& step, bool reveals) {
  ObjectText object(out);
  object.number("step", step.position).text("name", step.step).number("generation", step.generation);
  object.text("status", to_string(step.state)).number("attempt", step.attempt);
  object.number("retry_count", step.retry_count);
  object.time("started_at", step.started_at).time("finished_at", step.finished_at).time("until", step.until);
  ObjectText metrics(object.key("metrics"));
  metrics.number("duration_ms", step.duration_ms);
  metrics.number("tokens", step.tokens).number("cost_usd", step.cost_usd).end();
  if (reveals) object.json_or_null("result", step.result);
  object.json_or_null("error", step.error);
  object.end();
}

void append_attempt(std::string& out, const runs::PastAttempt& attempt, bool reveals) {
  ObjectText object(out);
  object.number("attempt", attempt.attempt);
  object.text_or_null("ended", attempt.ended ? to_string(*attempt.ended) : std::string_view());
  object.text_or_null("runner_id", attempt.worker).time("leased_at", attempt.leased_at);
  object.time("ended_at", attempt.ended_at).text_or_null("error_class", attempt.error_class);
  // A sentence, or the error object of a worker.
  if (attempt.error && attempt.error->starts_with('{')) {
    object.json("error", *attempt.error);
  } else {
    object.text_or_null("error", attempt.error);
  }
  if (attempt.late_call) {
    ObjectText late(object.key("late"));
    late.text("call", *attempt.late_call).time("at", attempt.late_at);
    if (reveals) late.json_or_null("body", attempt.late_body);
    late.end();
  }
  object.end();
}

}  // namespace

void append_switch(std::string& out, const runs::Switch& one) {
  ObjectText object(out);
  object.text("id", one.id).text("mode", to_string(one.mode)).text("reason", one.reason);
  object.text_or_null("client_id", one.reach.client).text_or_null("platform", one.reach.platform);
  object.text_or_null("lane", one.reach.lane).text_or_null("workflow", one.reach.workflow);
  object.text_or_null("tool", one.reach.tool).text_or_null("agent", one.reach.agent);
  object.text("thrown_by", one.thrown_by).time("thrown_at", one.thrown_at).number("revoked", one.revoked);
  object.boolean("revoking", one.is_revoking).number("in_flight", one.in_flight);
  object.text_or_null("resumed_by", one.lifted_by).time("resumed_at", one.lifted_at);
  object.text_or_null("resume_reason", one.lift_reason);
  object.end();
}

void append_run(std::string& out, const runs::ListedRun& listed) {
  ObjectText object(out);
  add_run(object, listed.run);
  object.text_or_null("correlation_id", listed.correlation_id).text_or_null("trace_id", listed.trace_id);
  object.json_or_null("last_error", listed.error);
  object.end();
}

void append_run_detail(std::string& out, const runs::RunDetail& detail, const std::vector<runs::Step>& steps,
                       const std::vector<runs::PastAttempt>& attempts, bool reveals, UnixNanos now) {
  const runs::Run& run = detail.run;
  ObjectText object(out);
  add_run(object, run);
  object.text_or_null("correlation_id", detail.correlation_id).text_or_null("trace_id", detail.trace_id);
  object.json_or_null("last_error", detail.error);
  const bool runs_now = run.state == runs::RunState::kRunning && run.leased_at.has_value();
  if (runs_now) {
    ObjectText lease(object.key("lease"));
    lease.text_or_null("runner_id", run.worker).time("leased_at", run.leased_at);
    lease.time("lease_expires_at", run.lease_until).time("last_progress_at", run.progress_at);
    lease.number("age_ms", std::max<std::int64_t>(0, now - *run.leased_at) / kNanosPerMilli);
    lease.boolean("stalled", run.is_stalled()).end();
  } else {
    object.json("lease", "null");
  }
  object.number("generation", run.generation);
  object.json("context", detail.context);
  if (reveals) {
    object.json("payload", detail.payload)
        .json_or_null("result", detail.result)
        .json_or_null("progress", detail.progress);
  }
  append_array(object.key("steps"), steps,
               [&](std::string& text, const runs::Step& step) { append_step(text, step, reveals); });
  append_array(object.key("attempts"), attempts,
               [&](std::string& text, const runs::PastAttempt& attempt) { append_attempt(text, attempt, reveals); });
  object.end();
}

}  // namespace fettle::api
