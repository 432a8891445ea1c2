// What is retried, how often and when: /api/v1/retry-policies.
#include "runs/retry_policies.h"

#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/work.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::int64_t kMillisMax = 366LL * 24 * 3'600'000;

std::int64_t millis(std::chrono::nanoseconds time) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
}

void append_policy(std::string& out, const runs::SetPolicy& one) {
  const runs::RetryPolicy& policy = one.policy;
  ObjectText object(out);
  object.text_or_null("workflow", one.workflow).text_or_null("step", one.step);
  object.number("max_retries", policy.max_retries).number("base_ms", millis(policy.base));
  object.number("factor", policy.factor).number("cap_ms", millis(policy.cap));
  object.number("elapsed_max_ms", millis(policy.elapsed_max));
  object.number("retry_after_max_ms", millis(policy.retry_after_max)).end();
}

// What is left out is as it is by default.
Result<runs::SetPolicy> read_policy(std::string& body) {
  auto document = JsonDocument::parse(body);
  if (!document) return std::unexpected(std::move(document).error());
  runs::SetPolicy out;
  std::optional<std::int64_t> base_ms, cap_ms, elapsed_max_ms, retry_after_max_ms;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("workflow", out.workflow) || member.text("step", out.step) ||
           member.integer("max_retries", out.policy.max_retries, 0, 1'000) ||
           member.integer("base_ms", base_ms, 0, kMillisMax) || member.number("factor", out.policy.factor) ||
           member.integer("cap_ms", cap_ms, 0, kMillisMax) ||
           member.integer("elapsed_max_ms", elapsed_max_ms, 0, kMillisMax) ||
           member.integer("retry_after_max_ms", retry_after_max_ms, 0, kMillisMax);
  });
  if (!read) return std::unexpected(std::move(read).error());
  if (base_ms) out.policy.base = std::chrono::milliseconds(*base_ms);
  if (cap_ms) out.policy.cap = std::chrono::milliseconds(*cap_ms);
  if (elapsed_max_ms) out.policy.elapsed_max = std::chrono::milliseconds(*elapsed_max_ms);
  if (retry_after_max_ms) out.policy.retry_after_max = std::chrono::milliseconds(*retry_after_max_ms);
  return out;
}

void list(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  look(work, std::move(exchange), [](runs::View& view) -> Result<std::string> {
    const auto found = runs::list_policies(view);
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), found, append_policy);
    append_policy(object.key("default"), {});
    object.end();
    return out;
  });
}

void set(Work& work, Exchange exchange) {
  auto one = read_policy(exchange.body());
  if (!one) return exchange.problem(one.error());
  // It holds for every client.
  if (auto allowed = check_reach(exchange.caller().grant, Action::kEditRules, ""); !allowed) {
    return exchange.problem(allowed.error());
  }
  change(work, std::move(exchange), [one = std::move(*one)](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::set_policy(unit, one.workflow, one.step, one.policy); !done) {
      return std::unexpected(std::move(done).error());
    }
    Answer answer;
    append_policy(answer.body, one);
    return answer;
  });
}

void remove(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"workflow", "step"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  const std::string workflow(query.get("workflow")), step(query.get("step"));
  if (auto allowed = check_reach(exchange.caller().grant, Action::kEditRules, ""); !allowed) {
    return exchange.problem(allowed.error());
  }
  change(work, std::move(exchange), [workflow, step](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::remove_policy(unit, workflow, step); !done) return std::unexpected(std::move(done).error());
    return Answer{.status = 200, .body = "{}"};
  });
}

}  // namespace

void add_retry_policy_routes(Router& router, Work& work) {
  add_get(router, "/api/v1/retry-policies", Action::kSee,
          [&work](Exchange exchange) { list(work, std::move(exchange)); });
  add_put(router, "/api/v1/retry-policies", Action::kEditRules, kOneBytesMax,
          [&work](Exchange exchange) { set(work, std::move(exchange)); });
  add_delete(router, "/api/v1/retry-policies", Action::kEditRules,
             [&work](Exchange exchange) { remove(work, std::move(exchange)); });
}

}  // namespace fettle::api
