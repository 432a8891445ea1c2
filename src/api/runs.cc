// POST /api/v1/runs: one run, or up to a thousand in one transaction.
#include <fmt/format.h>

#include <iterator>
#include <memory>
#include <vector>

#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/run_request.h"
#include "api/work.h"
#include "ledger/idempotency.h"
#include "runs/queue.h"
#include "runs/run.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::string_view kRunsPath = "/api/v1/runs";

// What was asked for, apart: the runs without a key of their own are made in one call.
struct Batch {
  std::string actor;
  std::size_t count = 0;
  std::vector<runs::EnqueueRequest> plain;
  std::vector<std::size_t> plain_places;
  std::vector<std::pair<std::size_t, RunRequest>> single;  // with a key of their own, or executed elsewhere
  std::vector<std::pair<std::size_t, Error>> refused;
};

// What became of it.
struct Made {
  std::string run_id;
  std::string_view state;
  bool created = true;
};

struct Outcome {
  std::optional<Made> made;
  std::optional<Error> refused;
  std::string stored_hash, given_hash;  // of a key that was used with another payload
};

void append_made(std::string& out, const Made& made, bool in_batch) {
  ObjectText object(out);
  if (in_batch) object.boolean("ok", true);
  object.text("run_id", made.run_id).text("state", made.state).boolean("created", made.created);
  object.end();
}

void append_outcome(std::string& out, const Outcome& outcome) {
  if (outcome.made) return append_made(out, *outcome.made, true);
  if (outcome.given_hash.empty()) return append_refusal(out, *outcome.refused);
  out += R"({"ok":false,"error":{"type":"about:blank","title":"Unprocessable Content","status":422,"detail":)"
         R"("this idempotency_key was used with another payload","code":"idempotency_conflict",)";
  fmt::format_to(std::back_inserter(out), R"("stored_payload_sha256":"{}","given_payload_sha256":"{}"}}}})",
                 outcome.stored_hash, outcome.given_hash);
}

ledger::IdempotencyKey key_of(const Batch& batch, const RunRequest& run) {
  return {.actor = batch.actor, .method = "POST", .path = "/api/v1/runs#run", .key = run.idempotency_key};
}

std::string_view state_of(const runs::Unit& unit, const runs::EnqueueRequest& request) {
  return request.start_at && *request.start_at > unit.now() ? "waiting" : "ready";
}

Result<Made> make_one(runs::Unit& unit, const RunRequest& run) {
  if (run.observed) {
    auto id = runs::start_observed(unit, observed_of(run));
    if (!id) return std::unexpected(std::move(id).error());
    return Made{std::move(id->value), "running", true};
  }
  auto made = runs::enqueue(unit, std::span(&run.request, 1));
  if (!made) return std::unexpected(std::move(made).error());
  return Made{std::move(made->front().id.value), state_of(unit, run.request), true};
}

// A run with a key of its own, by itself.
Result<Outcome> make_single(runs::Unit& unit, const Batch& batch, const RunRequest& run) {
  Outcome out;
  if (run.idempotency_key.empty()) {
    auto made = make_one(unit, run);
    if (made) {
      out.made = std::move(*made);
    } else {
      out.refused = std::move(made).error();
    }
    return out;
  }
  const std::string hash = payload_hash_of(run);
  const ledger::IdempotencyKey key = key_of(batch, run);
  auto begun = ledger::begin(unit.tx(), unit.scope(), key, hash, unit.now());
  if (!begun) return std::unexpected(std::move(begun).error());
  switch (begun->state) {
    case ledger::IdempotencyState::kReplay:
      out.made = Made{begun->answer.body, "unknown", false};
      if (auto known = runs::load_run(unit, runs::RunId{begun->answer.body})) out.made->state = to_string(known->state);
      return out;
    case ledger::IdempotencyState::kConflict:
      out.stored_hash = std::move(begun->stored_fingerprint);
      out.given_hash = std::move(begun->given_fingerprint);
      return out;
    case ledger::IdempotencyState::kRunning:
      out.refused = Error(ErrorCode::kConflict, "a request with this idempotency_key is still running");
      return out;
    case ledger::IdempotencyState::kFirst: break;
  }
  auto made = make_one(unit, run);
  if (!made) {
    out.refused = std::move(made).error();
    if (auto gone = ledger::forget(unit.tx(), unit.scope(), key, hash); !gone) return std::unexpected(gone.error());
    return out;
  }
  out.made = std::move(*made);
  auto kept =
      ledger::finish(unit.tx(), unit.scope(), key, hash, {.status = 201, .headers = {}, .body = out.made->run_id});
  if (!kept) return std::unexpected(std::move(kept).error());
  return out;
}

Result<std::vector<Outcome>> make_all(runs::Unit& unit, const Batch& batch) {
  std::vector<Outcome> out(batch.count);
  for (const auto& [place, error] : batch.refused) out[place].refused = error;
  for (const auto& [place, run] : batch.single) {
    auto made = make_single(unit, batch, run);
    if (!made) return std::unexpected(std::move(made).error());
    out[place] = std::move(*made);
  }
  if (batch.plain.empty()) return out;
  const auto add = [&](std::span<const runs::EnqueueRequest> requests, std::size_t at) -> std::optional<Error> {
    auto made = runs::enqueue(unit, requests);
    if (!made) return std::move(made).error();
    for (std::size_t i = 0; i < requests.size(); ++i) {
      out[batch.plain_places[at + i]].made = Made{std::move((*made)[i].id.value), state_of(unit, requests[i]), true};
    }
    return std::nullopt;
  };
  const std::span<const runs::EnqueueRequest> all(batch.plain);
  if (!add(all, 0)) return out;
  // One of them breaks a rule of the room, which then takes none: each by itself.
  for (std::size_t i = 0; i < all.size(); ++i) out[batch.plain_places[i]].refused = add(all.subspan(i, 1), i);
  return out;
}

Result<Answer> answer_batch(runs::Unit& unit, const Batch& batch) {
  auto made = make_all(unit, batch);
  if (!made) return std::unexpected(std::move(made).error());
  Answer answer;
  answer.body.reserve(24 + made->size() * 80);
  answer.body = R"({"results":)";
  append_array(answer.body, *made, append_outcome);
  answer.body += '}';
  return answer;
}

Result<Answer> answer_one(runs::Unit& unit, const Batch& batch) {
  auto made = make_all(unit, batch);
  if (!made) return std::unexpected(std::move(made).error());
  const Outcome& outcome = made->front();
  Answer answer;
  if (outcome.made) {
    answer.status = outcome.made->created ? 201 : 200;
    append_made(answer.body, *outcome.made, false);
    return answer;
  }
  if (outcome.given_hash.empty()) return std::unexpected(*outcome.refused);
  // Nothing was written, so the answer may be kept for a replay like any other.
  std::string refusal;
  append_outcome(refusal, outcome);
  constexpr std::string_view kBefore = R"({"ok":false,"error":)";
  answer.status = 422;
  answer.body = refusal.substr(kBefore.size(), refusal.size() - kBefore.size() - 1);
  return answer;
}

// Adds the run to the batch, or nothing.
Result<void> read_into(Batch& batch, simdjson::dom::element element, const JsonPlace& place) {
  RunRequest run;
  if (auto read = read_run(element, place, run); !read) return read;
  if (run.observed && !run.status.empty() && run.status != "running") {
    return fail(ErrorCode::kInvalidArgument, place.text_of("status") + ": an observed run begins as 'running'");
  }
  const std::size_t at = batch.count++;
  if (run.idempotency_key.empty() && !run.observed) {
    batch.plain.push_back(std::move(run.request));
    batch.plain_places.push_back(at);
  } else {
    batch.single.emplace_back(at, std::move(run));
  }
  return {};
}

void enqueue(Work& work, Exchange exchange) {
  // The body is read to its end here; what the transaction needs is copied out of it.
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  auto batch = std::make_unique<Batch>();
  batch->actor = exchange.caller().grant.actor_id;
  const JsonPlace top;
  simdjson::dom::element list;
  const bool many = document->root()["runs"].get(list) == simdjson::SUCCESS;
  if (!many) {
    if (auto good = read_into(*batch, document->root(), top); !good) return exchange.problem(good.error());
  } else {
    auto read = read_members(document->root(), top, [&](Member& member) {
      return member.array("runs", kBatchItemsMax, [&](simdjson::dom::element item, const JsonPlace& place) {
        if (auto one = read_into(*batch, item, place); !one) {
          batch->refused.emplace_back(batch->count++, std::move(one).error());
        }
        return Result<void>();
      });
    });
    if (!read) return exchange.problem(read.error());
  }
  change(work, std::move(exchange), [batch = std::move(batch), many](runs::Unit& unit) {
    return many ? answer_batch(unit, *batch) : answer_one(unit, *batch);
  });
}

}  // namespace

void add_run_routes(Router& router, Work& work) {
  add_post(router, kRunsPath, Action::kEnqueue, kBatchBytesMax,
           [&work](Exchange exchange) { enqueue(work, std::move(exchange)); });
}

}  // namespace fettle::api
