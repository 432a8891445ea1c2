// Kill switches and pauses, what is in flight under them, and "may I?" for executors that Fettle does not lease to.
#include "runs/switches.h"
#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/pages.h"
#include "api/run_text.h"
#include "api/work.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::size_t kReasonBytesMax = runs::SizeLimits{}.message_bytes_max;

bool reads_reach(Member& member, runs::Reach& reach) {
  return member.text("client_id", reach.client) || member.text("platform", reach.platform) ||
         member.text("lane", reach.lane) || member.text("workflow", reach.workflow) ||
         member.text("tool", reach.tool) || member.text("agent", reach.agent);
}

// What names any part is no switch for the whole workspace, though it may reach every client.
Result<void> check_switch(const access::Grant& caller, Action action, const runs::Reach& reach) {
  const bool is_part = reach != runs::Reach{};
  if (is_part && reach.client.empty() && caller.scope.clients.empty())
    return check_reach(caller, action, "every client");
  return check_reach(caller, action, reach.client);
}

void throw_one(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::SwitchRequest request;
  std::string mode = "kill";
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("mode", mode, 16) || member.text("reason", request.reason, kReasonBytesMax) ||
           reads_reach(member, request.reach);
  });
  if (!read) return exchange.problem(read.error());
  if (mode != "kill" && mode != "pause") {
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "mode: expected 'kill' or 'pause'"));
  }
  request.mode = mode == "kill" ? runs::SwitchMode::kKill : runs::SwitchMode::kPause;
  const access::Grant caller = exchange.caller().grant;
  change(work, std::move(exchange), [request, caller](runs::Unit& unit) -> Result<Answer> {
    auto thrown = runs::throw_switch(unit, request);
    if (!thrown) return std::unexpected(std::move(thrown).error());
    // Refused, it is undone with the transaction.
    if (auto allowed = check_switch(caller, Action::kStop, request.reach); !allowed) {
      return std::unexpected(std::move(allowed).error());
    }
    Answer answer{.status = 201, .body = {}};
    append_switch(answer.body, *thrown);
    return answer;
  });
}

void resume(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  std::string reason;
  const JsonPlace top;
  auto read = read_members(document->root(), top,
                           [&](Member& member) { return member.text("reason", reason, kReasonBytesMax); });
  if (!read) return exchange.problem(read.error());
  const std::string id = exchange.parameter("switch_id");
  const access::Grant caller = exchange.caller().grant;
  change(work, std::move(exchange), [id, reason, caller](runs::Unit& unit) -> Result<Answer> {
    auto lifted = runs::lift_switch(unit, id, reason);
    if (!lifted) return std::unexpected(std::move(lifted).error());
    // Refused, it is undone with the transaction.
    if (auto allowed = check_switch(caller, Action::kResume, lifted->reach); !allowed) {
      return std::unexpected(std::move(allowed).error());
    }
    Answer answer;
    append_switch(answer.body, *lifted);
    return answer;
  });
}

void list(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"all", "limit", "cursor"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  auto page = page_of_list(query);
  if (!page) return exchange.problem(page.error());
  const bool only_on = query.get("all") != "true";
  look(work, std::move(exchange), [only_on, page = std::move(*page)](runs::View& view) -> Result<std::string> {
    auto found = runs::list_switches(view, only_on, page);
    if (!found) return std::unexpected(std::move(found).error());
    return list_text(*found, append_switch);
  });
}

std::unexpected<Error> no_such_switch() { return fail(ErrorCode::kNotFound, "there is no such switch"); }

void show(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const std::string id = exchange.parameter("switch_id");
  look(work, std::move(exchange), [id](runs::View& view) -> Result<std::string> {
    const auto found = runs::get_switch(view, id);
    if (!found) return no_such_switch();
    std::string out;
    append_switch(out, *found);
    return out;
  });
}

void append_in_flight(std::string& out, const runs::InFlight& one) {
  ObjectText(out)
      .text("run_id", one.run.value)
      .text("workflow", one.workflow)
      .text_or_null("client_id", one.client)
      .text_or_null("runner_id", one.worker)
      .time("leased_at", one.leased_at)
      .time("last_progress_at", one.progress_at)
      .end();
}

void in_flight(Work& work, Exchange exchange) {
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kPageParameters); !known) return exchange.problem(known.error());
  auto page = page_of_list(query);
  if (!page) return exchange.problem(page.error());
  const std::string id = exchange.parameter("switch_id");
  look(work, std::move(exchange), [id, page = std::move(*page)](runs::View& view) -> Result<std::string> {
    const auto found = runs::get_switch(view, id);
    if (!found) return no_such_switch();
    auto running = runs::list_in_flight(view, found->reach, page);
    if (!running) return std::unexpected(std::move(running).error());
    return list_text(*running, append_in_flight);
  });
}

void ask_may_i(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"client_id", "platform", "lane",        "workflow",
                                              "tool",      "agent",    "action_class"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  const auto text = [&](std::string_view name) { return std::string(query.get(name)); };
  const runs::Reach reach{.client = text("client_id"),
                          .platform = text("platform"),
                          .lane = text("lane"),
                          .workflow = text("workflow"),
                          .tool = text("tool"),
                          .agent = text("agent")};
  const std::string action_class = text("action_class");
  if (!is_open(work, exchange)) return;
  look(work, std::move(exchange),
       [reach, action_class, admission = work.rooms.runs->admission()](runs::View& view) -> Result<std::string> {
         auto answer =
             runs::may_i(view, reach, action_class.empty() ? std::string_view("default") : action_class, admission);
         if (!answer) return std::unexpected(std::move(answer).error());
         std::string out;
         ObjectText object(out);
         object.boolean("allowed", answer->allowed).text_or_null("reason", answer->reason);
         if (answer->switch_id.empty()) {
           object.json("switch", "null");
         } else {
           ObjectText(object.key("switch")).text("id", answer->switch_id).text("reason", answer->reason).end();
         }
         object.number("cache_ms",
                       std::chrono::duration_cast<std::chrono::milliseconds>(answer->action_class.cache).count());
         object.text("on_unreachable", answer->action_class.fail_open ? "allow" : "refuse").end();
         return out;
       });
}

}  // namespace

void add_switch_routes(Router& router, Work& work) {
  add_get(router, "/api/v1/may-i", Action::kWork, [&work](Exchange exchange) { ask_may_i(work, std::move(exchange)); });
  add_get(router, "/api/v1/switches", Action::kSee, [&work](Exchange exchange) { list(work, std::move(exchange)); });
  add_post(router, "/api/v1/switches", Action::kStop, kOneBytesMax,
           [&work](Exchange exchange) { throw_one(work, std::move(exchange)); });
  add_get(router, "/api/v1/switches/{switch_id}", Action::kSee,
          [&work](Exchange exchange) { show(work, std::move(exchange)); });
  add_post(router, "/api/v1/switches/{switch_id}/resume", Action::kResume, kOneBytesMax,
           [&work](Exchange exchange) { resume(work, std::move(exchange)); });
  add_get(router, "/api/v1/switches/{switch_id}/in-flight", Action::kSee,
          [&work](Exchange exchange) { in_flight(work, std::move(exchange)); });
}

}  // namespace fettle::api
