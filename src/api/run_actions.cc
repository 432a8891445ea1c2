// POST /api/v1/runs/{run_id}/retry, discard, cancel, force, pause and resume; POST /api/v1/events.
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/work.h"
#include "runs/operate.h"
#include "runs/run.h"
#include "runs/steps.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::size_t kReasonBytesMax = runs::SizeLimits{}.message_bytes_max;

struct Asked {
  std::string reason, from = "failed_step", state;
};

// What the action takes besides its reason.
enum class Takes : std::uint8_t { kReason, kFrom, kState };

// What people write down is redacted as it comes: it is stored with the run.
Result<Asked> read_asked(const Work& work, std::string& body, Takes takes) {
  auto document = JsonDocument::parse(body);
  if (!document) return std::unexpected(std::move(document).error());
  Asked asked;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("reason", asked.reason, kReasonBytesMax) ||
           (takes == Takes::kFrom && member.text("from", asked.from, 32)) ||
           (takes == Takes::kState && member.text("state", asked.state, 32));
  });
  if (!read) return std::unexpected(std::move(read).error());
  asked.reason = work.redactor.redact(asked.reason);
  return asked;
}

using Step = std::function<Result<void>(runs::Unit&, const runs::RunId&)>;

// Does it and answers with the state that the run is in then.
void act(Work& work, Exchange exchange, Step step) {
  const runs::RunId id{exchange.parameter("run_id")};
  change(work, std::move(exchange), [id, step = std::move(step)](runs::Unit& unit) -> Result<Answer> {
    if (auto done = step(unit, id); !done) return std::unexpected(std::move(done).error());
    const auto run = runs::load_run(unit, id);
    if (!run) return runs::no_such_run(id);
    Answer answer;
    ObjectText object(answer.body);
    object.text("run_id", run->shown_id()).text("state", to_string(run->state));
    object.number("retry_count", run->retry_count).end();
    return answer;
  });
}

void retry(Work& work, Exchange exchange) {
  auto asked = read_asked(work, exchange.body(), Takes::kFrom);
  if (!asked) return exchange.problem(asked.error());
  if (asked->from != "failed_step" && asked->from != "start") {
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "from: expected 'failed_step' or 'start'"));
  }
  const auto from = asked->from == "start" ? runs::RetryFrom::kScratch : runs::RetryFrom::kFailedStep;
  act(work, std::move(exchange), [from, reason = asked->reason](runs::Unit& unit, const runs::RunId& id) {
    return runs::retry_run(unit, id, from, reason);
  });
}

void force(Work& work, Exchange exchange) {
  auto asked = read_asked(work, exchange.body(), Takes::kState);
  if (!asked) return exchange.problem(asked.error());
  const auto state = runs::run_state_named(asked->state);
  if (!state)
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "state: expected the name of a terminal state"));
  act(work, std::move(exchange), [state = *state, reason = asked->reason](runs::Unit& unit, const runs::RunId& id) {
    return runs::force_run(unit, id, state, reason);
  });
}

template <auto Function>
void with_reason(Work& work, Exchange exchange) {
  auto asked = read_asked(work, exchange.body(), Takes::kReason);
  if (!asked) return exchange.problem(asked.error());
  act(work, std::move(exchange),
      [reason = asked->reason](runs::Unit& unit, const runs::RunId& id) { return Function(unit, id, reason); });
}

void post_event(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  std::string name, key, payload = "null";
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("name", name) || member.text("key", key) ||
           member.json("payload", payload, runs::SizeLimits{}.payload_bytes_max);
  });
  if (!read) return exchange.problem(read.error());
  if (name.empty()) return exchange.problem(missing_member(top, "name", "the event's name").error());
  // Wrapped, so that a wait tells an event without a payload from one that never came.
  payload = R"({"payload":)" + payload + "}";
  change(work, std::move(exchange), [name, key, payload](runs::Unit& unit) -> Result<Answer> {
    auto woken = runs::signal(unit, name, key, payload);
    if (!woken) return std::unexpected(std::move(woken).error());
    Answer answer;
    ObjectText(answer.body).number("woken", *woken).end();
    return answer;
  });
}

}  // namespace

void add_run_action_routes(Router& router, Work& work) {
  const auto post = [&](std::string_view path, Action right, void (*handle)(Work&, Exchange)) {
    add_post(router, path, right, kOneBytesMax,
             [&work, handle](Exchange exchange) { handle(work, std::move(exchange)); });
  };
  post("/api/v1/runs/{run_id}/retry", Action::kRetry, retry);
  post("/api/v1/runs/{run_id}/force", Action::kDiscard, force);
  post("/api/v1/runs/{run_id}/discard", Action::kDiscard, with_reason<runs::discard_run>);
  post("/api/v1/runs/{run_id}/cancel", Action::kDiscard, with_reason<runs::cancel_run>);
  post("/api/v1/runs/{run_id}/pause", Action::kStop, with_reason<runs::pause_run>);
  post("/api/v1/runs/{run_id}/resume", Action::kRetry, with_reason<runs::resume_run>);
  add_post(router, "/api/v1/events", Action::kWork, kOneBytesMax,
           [&work](Exchange exchange) { post_event(work, std::move(exchange)); });
}

}  // namespace fettle::api
