// Workers: register, drain, and who there is.
#include "runs/workers.h"
#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/pages.h"
#include "api/work.h"

namespace fettle::api {
namespace {

using access::Action;

// A lease, and how often a worker extends it: what one that asks for nothing else gets.
constexpr int kLeaseMs = 10'000;
constexpr int kHeartbeatMs = 3'000;
constexpr std::size_t kWorkflowsMax = 100;

void enter(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::WorkerRegistration registration;
  std::string name;
  std::vector<std::string> workflows;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("runner_id", registration.id.value) || member.text("pool", registration.pool) ||
           member.integer("capacity", registration.capacity, 1, 10'000) ||
           member.texts("workflows", workflows, kWorkflowsMax) || member.text("name", name) ||
           member.text("version", registration.version);
  });
  if (!read) return exchange.problem(read.error());
  if (registration.id.value.empty()) {
    return exchange.problem(missing_member(top, "runner_id", "the worker's own name").error());
  }
  registration.labels.clear();
  ObjectText labels(registration.labels);
  labels.text_or_null("name", name);
  append_array(labels.key("workflows"), workflows,
               [](std::string& out, const std::string& workflow) { append_json_string(out, workflow); });
  labels.end();
  change(work, std::move(exchange), [registration](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::register_worker(unit, registration); !done) return std::unexpected(std::move(done).error());
    Answer answer;
    ObjectText(answer.body).number("lease_ms", kLeaseMs).number("heartbeat_ms", kHeartbeatMs).end();
    return answer;
  });
}

void drain(Work& work, Exchange exchange) {
  std::string reason;
  if (!exchange.body().empty()) {
    auto document = JsonDocument::parse(exchange.body());
    if (!document) return exchange.problem(document.error());
    const JsonPlace top;
    auto read = read_members(document->root(), top, [&](Member& member) { return member.text("reason", reason); });
    if (!read) return exchange.problem(read.error());
  }
  const runs::WorkerId id{exchange.parameter("runner_id")};
  change(work, std::move(exchange), [&work, id, reason](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::drain_worker(unit, id, true, reason); !done) return std::unexpected(std::move(done).error());
    // Once it is known to be allowed; a repeated body ends nothing more.
    work.polls.end_of(unit.workspace(), id.value);
    return Answer{.status = 200, .body = R"({"state":"draining"})"};
  });
}

void append_worker(std::string& out, const runs::Worker& worker) {
  ObjectText object(out);
  object.text("runner_id", worker.id.value).text("pool", worker.pool).text("state", to_string(worker.state));
  object.number("capacity", worker.capacity).number("in_use", worker.in_use);
  object.text_or_null("version", worker.version).json("labels", worker.labels);
  object.time("registered_at", worker.registered_at).time("seen_at", worker.seen_at);
  object.time("last_progress_at", worker.progress_at).time("oldest_lease_at", worker.oldest_lease_at).end();
}

void append_pool(std::string& out, const runs::PoolCapacity& pool) {
  ObjectText object(out);
  object.text("pool", pool.pool).number("workers", pool.workers).number("lost", pool.lost);
  object.number("draining", pool.draining).number("capacity", pool.capacity).number("in_use", pool.in_use);
  const double share = pool.capacity == 0 ? 0 : static_cast<double>(pool.in_use) / static_cast<double>(pool.capacity);
  object.number("runner_capacity_in_use", share).end();
}

void list(Work& work, Exchange exchange) {
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kPageParameters); !known) return exchange.problem(known.error());
  auto page = page_of_list(query, kPageRowsMax);
  if (!page) return exchange.problem(page.error());
  const std::string actor = exchange.caller().grant.actor_id;
  look(work, std::move(exchange), [actor, page = std::move(*page)](runs::View& view) -> Result<std::string> {
    const auto found = runs::list_workers(view, actor, page);
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), found.items, append_worker);
    append_array(object.key("pools"), runs::pool_capacity(view, actor), append_pool);
    object.text_or_null("next_cursor", found.next).end();
    return out;
  });
}

void leave(Work& work, Exchange exchange) {
  const runs::WorkerId id{exchange.parameter("runner_id")};
  change(work, std::move(exchange), [id](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::remove_worker(unit, id); !done) return std::unexpected(std::move(done).error());
    return Answer{.status = 200, .body = "{}"};
  });
}

}  // namespace

void add_worker_routes(Router& router, Work& work) {
  add_post(router, "/api/v1/workers", Action::kWork, kOneBytesMax,
           [&work](Exchange exchange) { enter(work, std::move(exchange)); });
  add_get(router, "/api/v1/workers", Action::kSee, [&work](Exchange exchange) { list(work, std::move(exchange)); });
  // The right that operators and tokens for work share; whose worker it is, is looked at in the transaction.
  add_delete(router, "/api/v1/workers/{runner_id}", Action::kEnqueue,
             [&work](Exchange exchange) { leave(work, std::move(exchange)); });
  add_post(router, "/api/v1/workers/{runner_id}/drain", Action::kEnqueue, kOneBytesMax,
           [&work](Exchange exchange) { drain(work, std::move(exchange)); });
}

}  // namespace fettle::api
