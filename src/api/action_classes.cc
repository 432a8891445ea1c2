// How may-I is answered for a class of actions, and what its askers do when nobody answers: /api/v1/action-classes.
#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/work.h"
#include "runs/switches.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::int64_t kCacheMillisMax = 3'600'000;

void append_class(std::string& out, const runs::ActionClass& one) {
  ObjectText object(out);
  object.text("name", one.name);
  object.number("cache_ms", std::chrono::duration_cast<std::chrono::milliseconds>(one.cache).count());
  object.text("on_unreachable", one.fail_open ? "allow" : "refuse").end();
}

// What is left out is as it is by default.
Result<runs::ActionClass> read_class(std::string& body) {
  auto document = JsonDocument::parse(body);
  if (!document) return std::unexpected(std::move(document).error());
  runs::ActionClass out;
  std::string on_unreachable = "refuse";
  std::optional<std::int64_t> cache_ms;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("name", out.name) || member.integer("cache_ms", cache_ms, 0, kCacheMillisMax) ||
           member.text("on_unreachable", on_unreachable);
  });
  if (!read) return std::unexpected(std::move(read).error());
  if (on_unreachable != "allow" && on_unreachable != "refuse") {
    return fail(ErrorCode::kInvalidArgument, "on_unreachable: expected allow or refuse");
  }
  out.fail_open = on_unreachable == "allow";
  if (cache_ms) out.cache = std::chrono::milliseconds(*cache_ms);
  return out;
}

void list(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  look(work, std::move(exchange), [](runs::View& view) -> Result<std::string> {
    const auto found = runs::list_action_classes(view);
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), found, append_class);
    append_class(object.key("default"), {});
    object.end();
    return out;
  });
}

void set(Work& work, Exchange exchange) {
  auto one = read_class(exchange.body());
  if (!one) return exchange.problem(one.error());
  // It holds for every client.
  if (auto allowed = check_reach(exchange.caller().grant, Action::kEditRules, ""); !allowed) {
    return exchange.problem(allowed.error());
  }
  change(work, std::move(exchange), [one = std::move(*one)](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::set_action_class(unit, one); !done) return std::unexpected(std::move(done).error());
    Answer answer;
    append_class(answer.body, one);
    return answer;
  });
}

void remove(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"name"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  const std::string name(query.get("name"));
  if (auto allowed = check_reach(exchange.caller().grant, Action::kEditRules, ""); !allowed) {
    return exchange.problem(allowed.error());
  }
  change(work, std::move(exchange), [name](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::remove_action_class(unit, name); !done) return std::unexpected(std::move(done).error());
    return Answer{.status = 200, .body = "{}"};
  });
}

}  // namespace

void add_action_class_routes(Router& router, Work& work) {
  add_get(router, "/api/v1/action-classes", Action::kSee,
          [&work](Exchange exchange) { list(work, std::move(exchange)); });
  add_put(router, "/api/v1/action-classes", Action::kEditRules, kOneBytesMax,
          [&work](Exchange exchange) { set(work, std::move(exchange)); });
  add_delete(router, "/api/v1/action-classes", Action::kEditRules,
             [&work](Exchange exchange) { remove(work, std::move(exchange)); });
}

}  // namespace fettle::api
