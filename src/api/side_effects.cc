// Side effects at most once: reserve, commit, verify, release; the rules of proof.
#include <fmt/format.h>

#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/pages.h"
#include "api/work.h"
#include "core/rng.h"
#include "runs/inspect.h"
#include "runs/side_effects.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::size_t kProofBytesMax = 1'024;
constexpr std::size_t kTokenDigits = 24;

// What a reservation is settled by: the effect's id and who reserved it, in one text that its owner gets.
std::string reservation_id(const std::string& effect, const std::string& token) { return effect + '.' + token; }
struct Reservation {
  std::string effect, token;
};
Reservation reservation_of(std::string_view id) {
  const std::size_t point = id.find('.');
  if (point == std::string_view::npos) return {std::string(id), {}};
  return {std::string(id.substr(0, point)), std::string(id.substr(point + 1))};
}

// One for each call: the tries of a call share its Idempotency-Key, and with it the reservation.
std::string token_for(const Exchange& exchange) {
  const std::string_view key = exchange.request().headers.get("Idempotency-Key");
  if (key.empty()) return to_hex(SystemRng().bytes(kTokenDigits / 2));
  return ledger::payload_fingerprint(key).substr(0, kTokenDigits);
}

Result<void> read_proof(simdjson::dom::element element, const JsonPlace& place, runs::EffectOutcome& out) {
  return read_members(element, place, [&](Member& member) {
    const std::string kind(member.name());
    if (kind == "visible" && member.value().is_bool()) return member.boolean(kind, out.seen);
    if (member.value().is_string()) return member.text(kind, out.proof[kind], kProofBytesMax);
    if (member.value().is_null()) return true;
    return member.json(kind, out.proof[kind], kProofBytesMax);
  });
}

std::string_view decision_of(runs::EffectAnswer answer) {
  switch (answer) {
    case runs::EffectAnswer::kGo: return "go_on";
    case runs::EffectAnswer::kCommitted: return "committed";
    case runs::EffectAnswer::kUnknown: return "unknown";
    case runs::EffectAnswer::kInProgress: return "in_progress";
    case runs::EffectAnswer::kBlocked:
    case runs::EffectAnswer::kLate: return "refused";
  }
  return "refused";
}

Answer late_answer(runs::Unit& unit, const runs::EffectRequest& request) {
  const runs::LeaseGone gone = runs::why_lease_gone(unit, request.run, request.attempt);
  Answer answer{.status = 409, .body = {}};
  ObjectText problem(answer.body);
  problem.text("type", "about:blank").text("title", "Conflict").number("status", 409).text("detail", gone.reason);
  problem.text("code", "late").boolean("cancel", gone.cancelled).end();
  return answer;
}

void append_proof(std::string& out, const runs::Proof& proof) {
  ObjectText object(out);
  for (const auto& [kind, value] : proof) {
    std::string name;
    append_json_string(name, kind);
    object.text(std::string_view(name).substr(1, name.size() - 2), value);
  }
  object.end();
}

void reserve(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::EffectRequest request;
  std::string step;
  std::int64_t hold_ms = 0;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("client_id", request.client) || member.text("platform", request.platform) ||
           member.text("surface", request.surface) || member.text("execution_lane", request.lane) ||
           member.text("lane", request.work_lane) || member.text("action", request.action) ||
           member.text("target", request.target) || member.text("payload_hash", request.payload_hash) ||
           member.text("payload_summary", request.payload_summary) || member.text("occurrence", request.occurrence) ||
           member.text("tool", request.tool) || member.text("agent", request.agent) ||
           member.text("policy_snapshot_id", request.policy_snapshot_id) || member.text("run_id", request.run.value) ||
           member.fence("fence", request.attempt) || member.text("step", step) ||
           member.integer("hold_ms", hold_ms, 1'000, 24 * 3'600'000);
  });
  if (!read) return exchange.problem(read.error());
  for (const auto& [name, value] :
       {std::pair{"action", &request.action}, {"target", &request.target}, {"payload_hash", &request.payload_hash}}) {
    if (value->empty()) return exchange.problem(missing_member(top, name, "a text").error());
  }
  if (hold_ms != 0) request.hold = std::chrono::milliseconds(hold_ms);
  // No stored answer: what a repetition is told depends on what has become of the reservation since. The key makes its
  // token, by which a repetition is known while the reservation lasts.
  request.token = token_for(exchange);
  change(
      work, std::move(exchange),
      [request](runs::Unit& unit) -> Result<Answer> {
        auto reserved = runs::reserve(unit, request);
        if (!reserved) return std::unexpected(std::move(reserved).error());
        if (reserved->answer == runs::EffectAnswer::kLate) return late_answer(unit, request);
        Answer answer;
        ObjectText object(answer.body);
        const bool is_ours = reserved->answer == runs::EffectAnswer::kGo;
        object.text_or_null("side_effect_id", is_ours ? reservation_id(reserved->id, request.token) : reserved->id);
        object.text("decision", decision_of(reserved->answer)).text_or_null("reason", reserved->reason);
        if (reserved->answer == runs::EffectAnswer::kCommitted) {
          ObjectText earlier(object.key("earlier"));
          earlier.json("result", reserved->result.empty() ? std::string_view("null") : reserved->result);
          append_proof(earlier.key("proof"), reserved->proof);
          earlier.end();
        } else {
          object.json("earlier", "null");
        }
        object.end();
        return answer;
      },
      Keyed::kNo);
}

void commit(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::EffectOutcome outcome;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.json("result", outcome.result, runs::SizeLimits{}.result_bytes_max) ||
           member.object("proof", [&](simdjson::dom::element value, const JsonPlace& place) {
             return read_proof(value, place, outcome);
           });
  });
  if (!read) return exchange.problem(read.error());
  const Reservation reservation = reservation_of(exchange.parameter("side_effect_id"));
  change(work, std::move(exchange), [reservation, outcome](runs::Unit& unit) -> Result<Answer> {
    auto committed = runs::commit_effect(unit, reservation.effect, reservation.token, outcome);
    if (!committed) return std::unexpected(std::move(committed).error());
    Answer answer;
    ObjectText object(answer.body);
    object.text("state", to_string(committed->state)).boolean("superseded", committed->superseded);
    append_array(object.key("missing"), committed->missing,
                 [](std::string& out, const std::string& kind) { append_json_string(out, kind); });
    object.end();
    return answer;
  });
}

void verify(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::EffectOutcome outcome;
  std::optional<bool> visible;
  bool says = false;
  std::string note;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    if (member.name() == "visible") says = true;
    return member.boolean("visible", visible) || member.text("note", note, 4'096) ||
           member.json("result", outcome.result, runs::SizeLimits{}.result_bytes_max) ||
           member.object("proof", [&](simdjson::dom::element value, const JsonPlace& place) {
             return read_proof(value, place, outcome);
           });
  });
  if (!read) return exchange.problem(read.error());
  if (!says) return exchange.problem(missing_member(top, "visible", "true, false, or null: cannot tell").error());
  if (outcome.result == "null") outcome.result.clear();
  const runs::Found found = !visible   ? runs::Found::kCannotTell
                            : *visible ? runs::Found::kPresent
                                       : runs::Found::kAbsent;
  const Reservation reservation = reservation_of(exchange.parameter("side_effect_id"));
  change(work, std::move(exchange),
         [effect = reservation.effect, found, outcome, note](runs::Unit& unit) -> Result<Answer> {
           auto state = runs::verify_effect(unit, effect, found, outcome, note);
           if (!state) return std::unexpected(std::move(state).error());
           Answer answer;
           ObjectText(answer.body).text("state", to_string(*state)).end();
           return answer;
         });
}

void release(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  std::string reason;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) { return member.text("reason", reason); });
  if (!read) return exchange.problem(read.error());
  reason.resize(std::min(reason.size(), runs::SizeLimits{}.message_bytes_max));
  const Reservation reservation = reservation_of(exchange.parameter("side_effect_id"));
  change(work, std::move(exchange), [reservation, reason = to_utf8(reason)](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::release_effect(unit, reservation.effect, reservation.token, reason); !done) {
      return std::unexpected(std::move(done).error());
    }
    return Answer{.status = 200, .body = R"({"state":"released"})"};
  });
}

void append_effect(std::string& out, const runs::SideEffect& effect, bool reveals) {
  ObjectText object(out);
  object.text("side_effect_id", effect.id).text("state", to_string(effect.state));
  object.text_or_null("client_id", effect.client).text_or_null("platform", effect.platform);
  object.text_or_null("surface", effect.surface).text_or_null("execution_lane", effect.lane);
  object.text("action", effect.action).text("target", effect.target).text("payload_hash", effect.payload_hash);
  object.text_or_null("payload_summary", effect.payload_summary).text_or_null("occurrence", effect.occurrence);
  object.text_or_null("policy_snapshot_id", effect.policy_snapshot_id);
  object.text_or_null("run_id", effect.run_number ? runs::format_run_number(*effect.run_number) : std::string());
  object.number("fence", effect.attempt).number("reservations", effect.reservations);
  object.time("reserved_at", effect.reserved_at).time("settled_at", effect.settled_at);
  append_proof(object.key("proof"), effect.proof);
  object.text_or_null("missing_proof", effect.missing).text_or_null("note", effect.note);
  if (reveals) object.json("result", effect.result.empty() ? std::string_view("null") : effect.result);
  object.end();
}

void list(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"state", "run_id", "to_check", "limit", "cursor"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  auto page = page_of_list(query);
  if (!page) return exchange.problem(page.error());
  runs::EffectFilter filter{
      .state = {}, .to_check = query.get("to_check") == "true", .run = {std::string(query.get("run_id"))}};
  if (const std::string* name = query.find("state")) {
    filter.state = runs::effect_state_named(*name);
    if (!filter.state) {
      return exchange.problem(
          Error(ErrorCode::kInvalidArgument,
                "parameter 'state': expected reserved, committed, unknown, unverified or released"));
    }
  }
  const bool reveals = reveals_payloads(exchange);
  look(work, std::move(exchange),
       [filter = std::move(filter), reveals, page = std::move(*page)](runs::View& view) -> Result<std::string> {
         auto found = runs::list_effects(view, filter, page);
         if (!found) return std::unexpected(std::move(found).error());
         return list_text(*found,
                          [&](std::string& text, const runs::SideEffect& one) { append_effect(text, one, reveals); });
       });
}

void show(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const Reservation reservation = reservation_of(exchange.parameter("side_effect_id"));
  const bool reveals = reveals_payloads(exchange);
  look(work, std::move(exchange), [id = reservation.effect, reveals](runs::View& view) -> Result<std::string> {
    const auto found = runs::get_effect(view, id);
    if (!found) return fail(ErrorCode::kNotFound, "there is no such side effect");
    std::string out;
    append_effect(out, *found, reveals);
    return out;
  });
}

void set_rule(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::ProofRule rule;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("action", rule.action) || member.text("execution_lane", rule.lane) ||
           member.texts("proofs", rule.proofs, 16);
  });
  if (!read) return exchange.problem(read.error());
  // It holds for every client.
  if (auto allowed = check_reach(exchange.caller().grant, Action::kEditRules, ""); !allowed) {
    return exchange.problem(allowed.error());
  }
  change(work, std::move(exchange), [rule](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::set_proof_rule(unit, rule); !done) return std::unexpected(std::move(done).error());
    return Answer{.status = 200, .body = "{}"};
  });
}

void list_rules(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  look(work, std::move(exchange), [](runs::View& view) -> Result<std::string> {
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), runs::list_proof_rules(view), [](std::string& text, const runs::ProofRule& rule) {
      ObjectText one(text);
      one.text("action", rule.action).text_or_null("execution_lane", rule.lane);
      one.boolean("built_in", rule.is_built_in);
      append_array(one.key("proofs"), rule.proofs,
                   [](std::string& names, const std::string& kind) { append_json_string(names, kind); });
      one.end();
    });
    object.json("next_cursor", "null").end();
    return out;
  });
}

}  // namespace

void add_side_effect_routes(Router& router, Work& work) {
  const auto post = [&](std::string_view path, Action right, void (*handle)(Work&, Exchange)) {
    add_post(router, path, right, kOneBytesMax,
             [&work, handle](Exchange exchange) { handle(work, std::move(exchange)); });
  };
  const auto get = [&](std::string_view path, void (*handle)(Work&, Exchange)) {
    add_get(router, path, Action::kSee, [&work, handle](Exchange exchange) { handle(work, std::move(exchange)); });
  };
  post("/api/v1/side-effects/reserve", Action::kWork, reserve);
  post("/api/v1/side-effects/{side_effect_id}/commit", Action::kWork, commit);
  post("/api/v1/side-effects/{side_effect_id}/verify", Action::kWork, verify);
  post("/api/v1/side-effects/{side_effect_id}/release", Action::kWork, release);
  get("/api/v1/side-effects", list);
  get("/api/v1/side-effects/{side_effect_id}", show);
  post("/api/v1/proof-rules", Action::kEditRules, set_rule);
  get("/api/v1/proof-rules", list_rules);
}

}  // namespace fettle::api
