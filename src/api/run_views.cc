// GET /api/v1/runs, /runs/failed and /runs/{id}.
#include <fmt/format.h>

#include "api/filters.h"
#include "api/json_object.h"
#include "api/run_text.h"
#include "api/times.h"
#include "api/work.h"
#include "runs/inspect.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::uint32_t kLimitUsual = 100;

constexpr std::string_view kKnown[] = {"state",          "workflow", "client_id", "platform", "lane",
                                       "agent",          "pool",     "runner_id", "from",     "to",
                                       "correlation_id", "trace_id", "limit",     "cursor",   "failure_reason"};

Result<runs::RunQuery> filter_of(const http::Query& query, UnixNanos now) {
  if (auto known = only_parameters(query, kKnown); !known) return std::unexpected(std::move(known).error());
  runs::RunQuery filter;
  for (const auto& [name, value] : query) {
    if (value.size() > kFilterValueBytesMax) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("parameter '{}' has {} bytes, at most {} fit", name, value.size(), kFilterValueBytesMax));
    }
    if (name != "state") continue;
    const auto state = runs::run_state_named(value);
    if (!state) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("parameter 'state': '{}' is none of ready, waiting, held, running, succeeded, failed, "
                              "dead, cancelled, discarded",
                              value.substr(0, 64)));
    }
    filter.states.push_back(*state);
  }
  filter.workflow = query.get("workflow");
  filter.client = query.get("client_id");
  filter.platform = query.get("platform");
  filter.lane = query.get("lane");
  filter.agent = query.get("agent");
  filter.pool = query.get("pool");
  filter.worker = query.get("runner_id");
  filter.failure_reason = query.get("failure_reason");
  filter.correlation_id = query.get("correlation_id");
  filter.trace_id = query.get("trace_id");
  for (const auto& [name, target] : {std::pair{"from", &filter.created_from}, {"to", &filter.created_to}}) {
    const std::string* text = query.find(name);
    if (text == nullptr) continue;
    auto time = parse_time(*text, now);
    if (!time) return std::unexpected(std::move(time).error().within(fmt::format("parameter '{}'", name)));
    *target = *time;
  }
  auto limit = number_parameter(query, "limit", 1, kPageRowsMax, kLimitUsual);
  if (!limit) return std::unexpected(std::move(limit).error());
  filter.limit = static_cast<std::int32_t>(*limit);
  if (const std::string* cursor = query.find("cursor")) {
    filter.before = runs::parse_number("", *cursor);
    if (!filter.before) return fail(ErrorCode::kInvalidArgument, "parameter 'cursor': this is none of ours");
  }
  return filter;
}

void list(Work& work, Exchange exchange, bool failed) {
  auto filter = filter_of(exchange.request().query, work.clock.now());
  if (!filter) return exchange.problem(filter.error());
  filter->failed = failed;
  look(work, std::move(exchange), [filter = std::move(*filter)](runs::View& view) -> Result<std::string> {
    const runs::RunPage page = runs::find_runs(view, filter);
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), page.runs, append_run);
    if (page.next) {
      object.text("next_cursor", runs::format_number("", *page.next));
    } else {
      object.json("next_cursor", "null");
    }
    object.end();
    return out;
  });
}

void show(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const runs::RunId id{exchange.parameter("run_id")};
  const bool reveals = reveals_payloads(exchange);
  look(work, std::move(exchange), [id, reveals](runs::View& view) -> Result<std::string> {
    const auto detail = runs::run_detail(view, id);
    if (!detail) return runs::no_such_run(id);
    std::string out;
    append_run_detail(out, *detail, runs::list_steps(view, id), runs::past_attempts(view, detail->run.number), reveals,
                      view.now());
    return out;
  });
}

}  // namespace

void add_run_view_routes(Router& router, Work& work) {
  add_get(router, "/api/v1/runs", Action::kSee, [&work](Exchange exchange) { list(work, std::move(exchange), false); });
  // Before {run_id}: the router takes the first that fits.
  add_get(router, "/api/v1/runs/failed", Action::kSee,
          [&work](Exchange exchange) { list(work, std::move(exchange), true); });
  add_get(router, "/api/v1/runs/{run_id}", Action::kSee,
          [&work](Exchange exchange) { show(work, std::move(exchange)); });
}

}  // namespace fettle::api
