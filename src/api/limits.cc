// How much runs at once, and how fast: /api/v1/limits.
#include "runs/limits.h"

#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/work.h"

namespace fettle::api {
namespace {

using access::Action;
using runs::LimitDimension;
using runs::LimitRule;

constexpr std::int64_t kCountMax = 1'000'000;
constexpr std::int64_t kPeriodMillisMax = 31LL * 24 * 3'600'000;

void append_limit(std::string& out, const LimitRule& one) {
  ObjectText object(out);
  object.text("dimension", to_string(one.dimension)).text("value", one.value);
  object.number("concurrency_max", one.concurrency_max).number("rate_max", one.rate_max);
  if (one.rate_max) {
    object.number("rate_period_ms", std::chrono::duration_cast<std::chrono::milliseconds>(one.rate_period).count());
  } else {
    object.json("rate_period_ms", "null");
  }
  object.end();
}

// What is limited for the workspace as a whole is its plan's to say.
Result<LimitDimension> dimension_named(std::string_view name) {
  const auto dimension = runs::limit_dimension_named(name);
  if (!dimension || *dimension == LimitDimension::kWorkspace) {
    return fail(ErrorCode::kInvalidArgument, "dimension: expected client, platform, workflow or key");
  }
  return *dimension;
}

Result<LimitRule> read_limit(std::string& body) {
  auto document = JsonDocument::parse(body);
  if (!document) return std::unexpected(std::move(document).error());
  LimitRule out;
  std::string dimension;
  std::optional<std::int64_t> period_ms;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("dimension", dimension) || member.text("value", out.value) ||
           member.integer("concurrency_max", out.concurrency_max, 1, kCountMax) ||
           member.integer("rate_max", out.rate_max, 1, kCountMax) ||
           member.integer("rate_period_ms", period_ms, 1, kPeriodMillisMax);
  });
  if (!read) return std::unexpected(std::move(read).error());
  auto known = dimension_named(dimension);
  if (!known) return std::unexpected(std::move(known).error());
  out.dimension = *known;
  if (period_ms) out.rate_period = std::chrono::milliseconds(*period_ms);
  return out;
}

// One client's limit is that client's affair; every other one holds for all of them.
Result<void> check_may_set(const access::Grant& caller, LimitDimension dimension, std::string_view value) {
  const bool is_one_client = dimension == LimitDimension::kClient && value != "*";
  return check_reach(caller, Action::kEditRules, is_one_client ? value : std::string_view());
}

void list(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  look(work, std::move(exchange), [](runs::View& view) -> Result<std::string> {
    auto found = runs::list_limits(view);
    // Other clients' names are not for a caller limited to some; a key may be made of such a name.
    if (!view.scope().clients.empty()) {
      std::erase_if(found, [&](const LimitRule& one) {
        if (one.value == "*") return false;
        if (one.dimension == LimitDimension::kKey) return true;
        return one.dimension == LimitDimension::kClient && !view.allows(one.value);
      });
    }
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), found, append_limit);
    object.end();
    return out;
  });
}

void set(Work& work, Exchange exchange) {
  auto one = read_limit(exchange.body());
  if (!one) return exchange.problem(one.error());
  if (auto allowed = check_may_set(exchange.caller().grant, one->dimension, one->value); !allowed) {
    return exchange.problem(allowed.error());
  }
  change(work, std::move(exchange), [one = std::move(*one)](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::set_limit(unit, one); !done) return std::unexpected(std::move(done).error());
    Answer answer;
    append_limit(answer.body, one);
    return answer;
  });
}

void remove(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"dimension", "value"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  auto dimension = dimension_named(query.get("dimension"));
  if (!dimension) return exchange.problem(dimension.error());
  const std::string value(query.find("value") == nullptr ? "*" : query.get("value"));
  if (auto allowed = check_may_set(exchange.caller().grant, *dimension, value); !allowed) {
    return exchange.problem(allowed.error());
  }
  change(work, std::move(exchange), [dimension = *dimension, value](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::remove_limit(unit, dimension, value); !done) {
      return std::unexpected(std::move(done).error());
    }
    return Answer{.status = 200, .body = "{}"};
  });
}

}  // namespace

void add_limit_routes(Router& router, Work& work) {
  add_get(router, "/api/v1/limits", Action::kSee, [&work](Exchange exchange) { list(work, std::move(exchange)); });
  add_put(router, "/api/v1/limits", Action::kEditRules, kOneBytesMax,
          [&work](Exchange exchange) { set(work, std::move(exchange)); });
  add_delete(router, "/api/v1/limits", Action::kEditRules,
             [&work](Exchange exchange) { remove(work, std::move(exchange)); });
}

}  // namespace fettle::api
