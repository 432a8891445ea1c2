// POST /api/v1/work/lease: work for a worker, at once or as soon as there is some.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <stop_token>
#include <vector>

#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/run_text.h"
#include "api/work.h"
#include "runs/queue.h"
#include "runs/steps.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::int32_t kLeasesMax = 500;
constexpr std::int64_t kWaitMsMax = 30'000;
constexpr std::size_t kWorkflowsMax = 100;
constexpr std::string_view kTimedOut = R"({"timed_out":true})";  // as the room has it

struct Wanted {
  runs::LeaseRequest request;
  std::int64_t wait_ms = 0;
  bool payloads = true;
};

Result<void> read_wanted(simdjson::dom::element element, Wanted& out) {
  const JsonPlace top;
  auto read = read_members(element, top, [&](Member& member) {
    return member.text("runner_id", out.request.worker.value) || member.text("pool", out.request.pool) ||
           member.texts("workflows", out.request.workflows, kWorkflowsMax) ||
           member.integer("max", out.request.runs_max, 1, kLeasesMax) ||
           member.integer("wait_ms", out.wait_ms, 0, kWaitMsMax) || member.boolean("payloads", out.payloads);
  });
  if (!read) return read;
  if (out.request.worker.value.empty()) return missing_member(top, "runner_id", "the worker's own name");
  return {};
}

void append_lease(std::string& out, const runs::LeasedRun& run, bool payloads, std::string_view steps) {
  ObjectText lease(out);
  lease.text("run_id", run.id.value).text("workflow", run.workflow);
  lease.number("attempt", run.attempt).number("fence", run.attempt);
  lease.number("retry_count", run.retry_count).number("max_retries", run.max_retries);
  lease.time("lease_expires_at", run.lease_until);
  if (!run.client.empty()) lease.text("client_id", run.client);
  if (!run.platform.empty()) lease.text("platform", run.platform);
  if (!run.lane.empty()) lease.text("lane", run.lane);
  if (!run.agent.empty()) lease.text("agent", run.agent);
  if (!run.limit_key.empty()) lease.text("concurrency_key", run.limit_key);
  if (payloads) lease.json("payload", run.payload);
  lease.members_of(run.context);
  lease.json("steps", steps);
  lease.end();
}

// Of the generation that the run is in: an attempt from scratch has no memo.
std::string memo_of(runs::View& view, const runs::RunId& id) {
  std::vector<runs::Step> steps = runs::list_steps(view, id);
  const auto run = runs::load_run(view, id);
  std::erase_if(steps, [&](const runs::Step& step) {
    return step.state != runs::StepState::kCompleted || !run || step.generation != run->generation;
  });
  std::string out;
  append_array(out, steps, [](std::string& text, const runs::Step& step) {
    const bool expired = step.result == kTimedOut;
    ObjectText object(text);
    object.text("name", step.step).text("status", "completed");
    object.json_or_null("result", expired ? std::optional<std::string>(R"({"expired":true})") : step.result).end();
  });
  return out;
}

std::string answer_text(const runs::Leased& leased, bool payloads, const std::vector<std::string>& memos) {
  std::string out;
  std::size_t bytes = 64;
  for (const runs::LeasedRun& run : leased.runs) bytes += run.payload.size() + run.context.size() + 320;
  out.reserve(bytes);
  out += R"({"leases":[)";
  for (std::size_t i = 0; i < leased.runs.size(); ++i) {
    if (i != 0) out += ',';
    append_lease(out, leased.runs[i], payloads, memos.empty() || memos[i].empty() ? "[]" : std::string_view(memos[i]));
  }
  out += R"(],"kill":)";
  append_array(out, leased.switches, append_switch);
  out += '}';
  return out;
}

void answer(Work& work, Exchange exchange, const Scope& scope, const runs::Actor& actor, runs::Leased leased,
            bool payloads) {
  const bool resumes = std::ranges::any_of(leased.runs, &runs::LeasedRun::has_steps);
  if (!resumes) return exchange.json(answer_text(leased, payloads, {}));
  // The few that go on after earlier attempts: what those did is read beside the queue's writer.
  const auto held = std::make_shared<const runs::Leased>(std::move(leased));
  work.rooms.runs->read(
      scope,
      [held, payloads](runs::View& view) -> Result<std::string> {
        std::vector<std::string> memos;
        memos.reserve(held->runs.size());
        for (const runs::LeasedRun& run : held->runs) {
          memos.push_back(run.has_steps ? memo_of(view, run.id) : std::string());
        }
        if (view.failure()) return std::unexpected(*view.failure());
        return answer_text(*held, payloads, memos);
      },
      runs::Runs::Done<std::string>(
          [&work, exchange = std::move(exchange), scope, actor, held](Result<std::string> text) mutable {
            if (!text) {
              // Nobody knows of these leases: they are not to run out and count as failures.
              work.rooms.runs->give_back_all(scope, actor, *held);
              return exchange.problem(text.error());
            }
            exchange.json(std::move(*text));
          }));
}

void lease(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  Wanted wanted;
  if (auto read = read_wanted(document->root(), wanted); !read) return exchange.problem(read.error());
  if (!is_open(work, exchange)) return;
  std::stop_source gone;
  exchange.on_close([gone]() mutable { gone.request_stop(); });
  Scope scope = exchange.scope();
  runs::Actor actor = actor_of(exchange);
  const std::string worker = wanted.request.worker.value;
  work.polls.add(scope.workspace, worker, gone);
  const auto deadline = work.clock.monotonic() + std::chrono::milliseconds(wanted.wait_ms);
  work.rooms.runs->lease_when_ready(
      scope, actor, std::move(wanted.request), deadline,
      runs::Runs::Done<runs::Leased>([&work, exchange = std::move(exchange), scope, actor, payloads = wanted.payloads,
                                      worker, gone](Result<runs::Leased> leased) mutable {
        work.polls.remove(scope.workspace, worker, gone);
        if (!leased) return exchange.problem(leased.error());
        answer(work, std::move(exchange), scope, actor, std::move(*leased), payloads);
      }),
      gone.get_token());
}

}  // namespace

void add_lease_routes(Router& router, Work& work) {
  add_post(router, "/api/v1/work/lease", Action::kWork, kOneBytesMax,
           [&work](Exchange exchange) { lease(work, std::move(exchange)); });
}

}  // namespace fettle::api
