// Runs that begin by the clock: /api/v1/schedules.
#include "runs/schedules.h"

#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/run_request.h"
#include "api/work.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::size_t kReasonBytesMax = runs::SizeLimits{}.message_bytes_max;

void append_schedule(std::string& out, const runs::Schedule& one, bool reveals) {
  ObjectText object(out);
  object.text("name", one.name).text("cron", one.cron).text("time_zone", one.time_zone);
  object.boolean("paused", one.paused).boolean("catch_up", one.catch_up);
  object.time("next_at", one.next_at).time("last_at", one.last_at);
  object.text_or_null("last_run_id",
                      one.last_run_number ? runs::format_run_number(*one.last_run_number) : std::string());
  object.text_or_null("last_error", one.error);
  const runs::EnqueueRequest& request = one.run;
  ObjectText run(object.key("run"));
  run.text("workflow", request.workflow).text_or_null("client_id", request.client);
  run.text_or_null("platform", request.platform).text_or_null("lane", request.lane);
  run.text_or_null("agent", request.agent).text("pool", request.pool).number("priority", request.priority);
  run.text_or_null("concurrency_key", request.limit_key).number("max_retries", request.max_retries);
  if (reveals) run.json("payload", request.payload);
  run.json("context", request.context).end();
  object.end();
}

Result<runs::ScheduleRequest> read_schedule(std::string& body) {
  auto document = JsonDocument::parse(body);
  if (!document) return std::unexpected(std::move(document).error());
  runs::ScheduleRequest out;
  RunRequest run;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("name", out.name) || member.text("cron", out.cron) || member.text("time_zone", out.time_zone) ||
           member.boolean("catch_up", out.catch_up) ||
           member.object("run", [&](simdjson::dom::element value, const JsonPlace& place) {
             return read_run(value, place, run);
           });
  });
  if (!read) return std::unexpected(std::move(read).error());
  if (out.name.empty()) return missing_member(top, "name", "the schedule's name");
  if (out.cron.empty()) return missing_member(top, "cron", "a cron line");
  if (run.request.workflow.empty()) return missing_member(top, "run", "what is to run");
  if (run.observed || !run.idempotency_key.empty() || run.request.start_at) {
    return fail(ErrorCode::kInvalidArgument, "run: a schedule has no use for observed, idempotency_key or run_at");
  }
  out.run = std::move(run.request);
  return out;
}

void set(Work& work, Exchange exchange) {
  auto request = read_schedule(exchange.body());
  if (!request) return exchange.problem(request.error());
  const bool reveals = reveals_payloads(exchange);
  change(work, std::move(exchange), [request = std::move(*request), reveals](runs::Unit& unit) -> Result<Answer> {
    const bool is_new = !runs::get_schedule(unit, request.name);
    auto made = runs::set_schedule(unit, request);
    if (!made) return std::unexpected(std::move(made).error());
    Answer answer{.status = is_new ? 201 : 200, .body = {}};
    append_schedule(answer.body, *made, reveals);
    return answer;
  });
}

void list(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const bool reveals = reveals_payloads(exchange);
  look(work, std::move(exchange), [reveals](runs::View& view) -> Result<std::string> {
    const auto found = runs::list_schedules(view);
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), found,
                 [reveals](std::string& text, const runs::Schedule& one) { append_schedule(text, one, reveals); });
    object.json("next_cursor", "null").end();
    return out;
  });
}

std::unexpected<Error> no_such_schedule() { return fail(ErrorCode::kNotFound, "there is no such schedule"); }

void show(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const std::string name = exchange.parameter("schedule_id");
  const bool reveals = reveals_payloads(exchange);
  look(work, std::move(exchange), [name, reveals](runs::View& view) -> Result<std::string> {
    const auto found = runs::get_schedule(view, name);
    if (!found) return no_such_schedule();
    std::string out;
    append_schedule(out, *found, reveals);
    return out;
  });
}

void pause(Work& work, Exchange exchange, bool paused) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  std::string reason;
  const JsonPlace top;
  auto read = read_members(document->root(), top,
                           [&](Member& member) { return member.text("reason", reason, kReasonBytesMax); });
  if (!read) return exchange.problem(read.error());
  if (reason.empty()) return exchange.problem(missing_member(top, "reason", "why").error());
  const std::string name = exchange.parameter("schedule_id");
  const bool reveals = reveals_payloads(exchange);
  change(work, std::move(exchange), [name, paused, reason, reveals](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::pause_schedule(unit, name, paused, reason); !done) {
      return std::unexpected(std::move(done).error());
    }
    const auto found = runs::get_schedule(unit, name);
    if (!found) return no_such_schedule();
    Answer answer;
    append_schedule(answer.body, *found, reveals);
    return answer;
  });
}

void remove(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"reason"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  const std::string name = exchange.parameter("schedule_id");
  const std::string reason(query.get("reason"));
  change(work, std::move(exchange), [name, reason](runs::Unit& unit) -> Result<Answer> {
    if (auto good = runs::check_size("reason", reason, unit.limits().message_bytes_max); !good) {
      return std::unexpected(std::move(good).error());
    }
    if (auto done = runs::remove_schedule(unit, name, reason); !done) return std::unexpected(std::move(done).error());
    return Answer{.status = 200, .body = "{}"};
  });
}

}  // namespace

void add_schedule_routes(Router& router, Work& work) {
  add_post(router, "/api/v1/schedules", Action::kEditRules, kOneBytesMax,
           [&work](Exchange exchange) { set(work, std::move(exchange)); });
  add_get(router, "/api/v1/schedules", Action::kSee, [&work](Exchange exchange) { list(work, std::move(exchange)); });
  add_get(router, "/api/v1/schedules/{schedule_id}", Action::kSee,
          [&work](Exchange exchange) { show(work, std::move(exchange)); });
  add_delete(router, "/api/v1/schedules/{schedule_id}", Action::kEditRules,
             [&work](Exchange exchange) { remove(work, std::move(exchange)); });
  add_post(router, "/api/v1/schedules/{schedule_id}/pause", Action::kStop, kOneBytesMax,
           [&work](Exchange exchange) { pause(work, std::move(exchange), true); });
  add_post(router, "/api/v1/schedules/{schedule_id}/resume", Action::kEditRules, kOneBytesMax,
           [&work](Exchange exchange) { pause(work, std::move(exchange), false); });
}

}  // namespace fettle::api
