#include "api/run_request.h"

#include <fmt/format.h>

#include "api/json_object.h"
#include "ledger/idempotency.h"

namespace fettle::api {
namespace {

constexpr std::size_t kPayloadBytesMax = runs::SizeLimits{}.payload_bytes_max;
constexpr std::size_t kContextBytesMax = runs::SizeLimits{}.context_bytes_max;
constexpr std::int32_t kPriorityUsual = 5;

// The context's members, in one text.
struct Carried {
  std::string request_id, job_id, model, traceparent, tracestate, baggage, trigger, retry;
  std::int64_t timeout_ms = 0;
};

void add_if(ObjectText& object, std::string_view name, const std::string& value) {
  if (!value.empty()) object.text(name, value);
}

std::string context_of(const Carried& carried, const std::string& correlation_id) {
  std::string out;
  ObjectText object(out);
  add_if(object, "request_id", carried.request_id);
  add_if(object, "correlation_id", correlation_id);
  add_if(object, "job_id", carried.job_id);
  add_if(object, "model", carried.model);
  add_if(object, "traceparent", carried.traceparent);
  add_if(object, "tracestate", carried.tracestate);
  add_if(object, "baggage", carried.baggage);
  if (!carried.trigger.empty()) object.json("trigger", carried.trigger);
  if (!carried.retry.empty()) object.json("retry", carried.retry);
  if (carried.timeout_ms != 0) object.number("timeout_ms", carried.timeout_ms);
  object.end();
  return out;
}

// "00-<32 hex>-<16 hex>-<2 hex>"
std::string trace_id_of(std::string_view traceparent) {
  if (traceparent.size() < 55 || traceparent[2] != '-' || traceparent[35] != '-') return {};
  const std::string_view id = traceparent.substr(3, 32);
  return is_hex(id) ? std::string(id) : std::string();
}

// Shown as it was given, beside what the room obeys.
Result<void> read_retry(simdjson::dom::element element, const JsonPlace& place, std::string& out,
                        runs::RetryOverride& own) {
  std::optional<std::int64_t> base_ms, cap_ms, elapsed_max_ms;
  double factor = 0;
  constexpr std::int64_t kMillisMax = 366LL * 24 * 3'600'000;
  auto read = read_members(element, place, [&](Member& member) {
    return member.integer("base_ms", base_ms, 0, kMillisMax) || member.integer("cap_ms", cap_ms, 0, kMillisMax) ||
           member.integer("elapsed_max_ms", elapsed_max_ms, 0, kMillisMax) || member.number("factor", factor);
  });
  if (!read) return read;
  if (base_ms) own.base = std::chrono::milliseconds(*base_ms);
  if (cap_ms) own.cap = std::chrono::milliseconds(*cap_ms);
  if (elapsed_max_ms) own.elapsed_max = std::chrono::milliseconds(*elapsed_max_ms);
  if (factor != 0) own.factor = factor;
  if (auto good = runs::check(own.over({})); !good)
    return std::unexpected(std::move(good).error().within(place.text()));
  ObjectText object(out);
  if (base_ms) object.number("base_ms", *base_ms);
  if (cap_ms) object.number("cap_ms", *cap_ms);
  if (elapsed_max_ms) object.number("elapsed_max_ms", *elapsed_max_ms);
  if (factor != 0) object.number("factor", factor);
  object.end();
  return {};
}

}  // namespace

Result<void> read_run(simdjson::dom::element element, const JsonPlace& place, RunRequest& out) {
  runs::EnqueueRequest& request = out.request;
  request.priority = kPriorityUsual;
  Carried carried;
  auto read = read_members(element, place, [&](Member& member) {
    return member.text("workflow", request.workflow) || member.json("payload", request.payload, kPayloadBytesMax) ||
           member.text("client_id", request.client) || member.text("platform", request.platform) ||
           member.text("lane", request.lane) || member.text("agent", request.agent) ||
           member.text("model", carried.model) || member.text("pool", request.pool) ||
           member.text("traceparent", carried.traceparent) || member.text("tracestate", carried.tracestate) ||
           member.text("baggage", carried.baggage, kContextBytesMax) ||
           member.text("correlation_id", request.correlation_id) || member.text("job_id", carried.job_id) ||
           member.text("request_id", carried.request_id) || member.integer("priority", request.priority, 0, 9) ||
           member.time("run_at", request.start_at) || member.text("concurrency_key", request.limit_key) ||
           member.text("idempotency_key", out.idempotency_key, ledger::kIdempotencyKeyBytesMax) ||
           member.integer("timeout_ms", carried.timeout_ms, 1, 7LL * 24 * 3'600'000) ||
           member.integer("max_retries", request.max_retries, 0, 1'000) ||
           member.object("retry",
                         [&](simdjson::dom::element value, const JsonPlace& inner) {
                           return read_retry(value, inner, carried.retry, request.retry);
                         }) ||
           member.object("trigger",
                         [&](simdjson::dom::element value, const JsonPlace& inner) {
                           std::string source, event_key;
                           auto good = read_members(value, inner, [&](Member& part) {
                             return part.text("source", source, 200) || part.text("event_key", event_key, 200);
                           });
                           ObjectText object(carried.trigger);
                           object.text("source", source).text_or_null("event_key", event_key).end();
                           return good;
                         }) ||
           member.boolean("observed", out.observed) || member.text("status", out.status, 32);
  });
  if (!read) return read;
  if (request.workflow.empty()) return missing_member(place, "workflow", "the name of a workflow");
  if (request.pool.empty()) return missing_member(place, "pool", "a name, or no member 'pool'");
  if (carried.timeout_ms != 0) request.timeout = std::chrono::milliseconds(carried.timeout_ms);
  request.context = context_of(carried, request.correlation_id);
  request.trace_id = trace_id_of(carried.traceparent);
  return {};
}

std::string payload_hash_of(const RunRequest& run) {
  const runs::EnqueueRequest& request = run.request;
  std::string text;
  ObjectText object(text);
  object.text("workflow", request.workflow).text("client_id", request.client).text("platform", request.platform);
  object.text("lane", request.lane).text("agent", request.agent).text("pool", request.pool);
  object.text("concurrency_key", request.limit_key).number("priority", request.priority);
  object.time("run_at", request.start_at).number("max_retries", request.max_retries);
  object.json("payload", request.payload);
  object.end();
  return ledger::payload_fingerprint(text);
}

}  // namespace fettle::api
