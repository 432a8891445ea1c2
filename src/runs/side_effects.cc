#include "runs/side_effects.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>

#include "ledger/attachments.h"
#include "runs/json.h"
#include "runs/listing.h"
#include "runs/policies.h"
#include "runs/run.h"
#include "runs/switches.h"

namespace fettle::runs {
namespace {

constexpr std::string_view kPrefix = "fx_";
constexpr std::array<std::string_view, 5> kStates = {"reserved", "committed", "unknown", "unverified", "released"};
constexpr std::array<std::string_view, 6> kAnswers = {"go", "committed", "unknown", "in_progress", "blocked", "late"};
constexpr std::size_t kProofsMax = 16;

#define FETTLE_EFFECT_COLUMNS                                                                               \
  "id, state, client, platform, surface, lane, action, target, payload_hash, payload_summary, occurrence, " \
  "policy_snapshot_id, run, attempt, reservations, reserved_at, settled_at, proof, missing, result, note, " \
  "token, expires_at"

struct Row : SideEffect {
  std::int64_t number = 0;
  std::string token;
  UnixNanos expires_at = 0;
};

Row row_from(View& view, const db::Row& row) {
  Row out;
  std::uint8_t state = 0;
  std::optional<std::string> proof, missing, result, note;
  view.read(row, out.number, state, out.client, out.platform, out.surface, out.lane, out.action, out.target,
            out.payload_hash, out.payload_summary, out.occurrence, out.policy_snapshot_id, out.run_number, out.attempt,
            out.reservations, out.reserved_at, out.settled_at, proof, missing, result, note, out.token, out.expires_at);
  out.id = format_number(kPrefix, out.number);
  out.state = static_cast<EffectState>(state);
  if (proof) out.proof = proof_from_json(*proof);
  out.missing = missing.value_or("");
  out.result = result.value_or("");
  out.note = note.value_or("");
  return out;
}

// Names hold no control characters, so parts cannot run into each other.
std::string key_of(const EffectRequest& request) {
  return fmt::format("{1}{0}{2}{0}{3}{0}{4}{0}{5}{0}{6}", '\x1f', request.client, request.platform, request.action,
                     request.target, request.payload_hash, request.occurrence);
}

std::optional<Row> find_by_key(Unit& unit, const std::string& key) {
  const db::Rows rows =
      unit.rows("SELECT " FETTLE_EFFECT_COLUMNS " FROM side_effects WHERE workspace = $1 AND effect_key = $2",
                {unit.workspace(), key});
  if (rows.empty()) return std::nullopt;
  return row_from(unit, rows[0]);
}

std::optional<Row> find_by_id(View& view, std::string_view id) {
  const auto number = parse_number(kPrefix, id);
  if (!number) return std::nullopt;
  const db::Rows rows = view.rows("SELECT " FETTLE_EFFECT_COLUMNS " FROM side_effects WHERE workspace = $1 AND id = $2",
                                  {view.workspace(), *number});
  if (rows.empty()) return std::nullopt;
  Row row = row_from(view, rows[0]);
  if (!view.allows(row.client)) return std::nullopt;
  return row;
}

std::unexpected<Error> no_such_effect(std::string_view id) {
  return fail(ErrorCode::kNotFound, fmt::format("there is no side effect {}", id));
}

Identifiers identifiers_of(const SideEffect& effect) {
  Identifiers out;
  const auto add = [&](std::string_view name, const std::string& value) {
    if (!value.empty()) out.push_back({std::string(name), value});
  };
  add("client_id", effect.client);
  add("platform", effect.platform);
  add("surface", effect.surface);
  add("execution_lane", effect.lane);
  if (effect.run_number) out.push_back({"run_id", format_run_number(*effect.run_number)});
  return out;
}

// The action of the audit is the effect's own ("publish"), the phase is in the details.
void tell(Unit& unit, const SideEffect& effect, std::string_view phase, std::string_view result,
          std::string_view note) {
  JsonObject body;
  body.add("effect_id", effect.id).add("phase", phase).add("state", to_string(effect.state));
  body.add("action", effect.action).add_text("target", effect.target).add_text("missing", effect.missing);
  if (!effect.proof.empty()) body.add_json("proof", proof_json(effect.proof));
  const std::string text = std::move(body).text();
  unit.event(fmt::format("side_effect.{}", phase), identifiers_of(effect), text);
  Audit audit;
  audit.action = effect.action;
  audit.target_type = "side_effect";
  audit.target_id = effect.id;
  audit.result = result;
  audit.reason = phase;
  audit.identifiers = identifiers_of(effect);
  audit.summary = note.empty() ? effect.payload_summary : std::string(note);
  audit.after = text;
  audit.payload_hash = effect.payload_hash;
  audit.policy_snapshot_id = effect.policy_snapshot_id;
  for (const auto& [kind, value] : effect.proof) audit.proof.push_back(value);
  unit.audit(std::move(audit));
}

Result<void> check_request(Unit& unit, const EffectRequest& request) {
  for (const auto& [field, value, required] : {std::tuple{"action", &request.action, true},
                                               {"payload_hash", &request.payload_hash, true},
                                               {"token", &request.token, true},
                                               {"client", &request.client, false},
                                               {"platform", &request.platform, false},
                                               {"surface", &request.surface, false},
                                               {"lane", &request.lane, false},
                                               {"occurrence", &request.occurrence, false},
                                               {"tool", &request.tool, false},
                                               {"agent", &request.agent, false},
                                               {"policy_snapshot_id", &request.policy_snapshot_id, false}}) {
    if (!required && value->empty()) continue;
    if (auto good = check_name(field, *value, unit.limits()); !good) return good;
  }
  SizeLimits wide = unit.limits();
  wide.name_bytes_max = 2'000;  // targets are URLs
  if (!request.target.empty()) {
    if (auto good = check_name("target", request.target, wide); !good) return good;
  }
  if (auto good = check_size("payload_summary", request.payload_summary, unit.limits().message_bytes_max); !good) {
    return good;
  }
  if (request.hold < std::chrono::seconds(1) || request.hold > std::chrono::hours(24)) {
    return fail(ErrorCode::kInvalidArgument, "hold must be from 1 s to 24 h");
  }
  if (!unit.scope().clients.empty() && !unit.allows(request.client)) {
    return fail(ErrorCode::kPermissionDenied, "this client is outside of what you may see");
  }
  return {};
}

Result<void> check_outcome(const Unit& unit, const EffectOutcome& outcome) {
  if (auto good = check_count("proof", outcome.proof.size(), kProofsMax); !good) return good;
  for (const auto& [kind, value] : outcome.proof) {
    if (auto good = check_name("proof", kind, unit.limits()); !good) return good;
    if (auto good = check_size("proof", value, 1'024); !good) return good;
  }
  return check_size("result", outcome.result, unit.limits().result_bytes_max);
}

std::vector<std::string> words_of(std::string_view text) {
  std::vector<std::string> out;
  while (!text.empty()) {
    const std::size_t end = text.find(' ');
    if (end != 0) out.emplace_back(text.substr(0, end));
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return out;
}

constexpr std::string_view kStored = "stored:";

// What holds while nobody says otherwise.
struct BuiltInRule {
  std::string_view action, lane, proofs;
};
constexpr std::array kBuiltInRules = {BuiltInRule{"publish", "", "url"},
                                      BuiltInRule{"publish", "browser", "url stored:screenshot"}};

std::string_view built_in_proofs(std::string_view action, std::string_view lane) {
  std::string_view proofs;
  for (const BuiltInRule& rule : kBuiltInRules) {  // a lane's own rule after the one for every lane
    if (rule.action == action && (rule.lane.empty() || rule.lane == lane)) proofs = rule.proofs;
  }
  return proofs;
}

std::vector<std::string> missing_proofs(View& view, const SideEffect& effect, const Proof& proof) {
  std::string wanted;
  if (!view.first("SELECT proofs FROM proof_rules WHERE workspace = $1 AND action = $2 AND lane IN ($3, '')"
                  " ORDER BY lane DESC LIMIT 1",
                  {view.workspace(), effect.action, effect.lane}, wanted)) {
    wanted = built_in_proofs(effect.action, effect.lane);
  }
  std::vector<std::string> missing = words_of(wanted);
  std::erase_if(missing, [&](const std::string& wanted_kind) {
    std::string_view kind = wanted_kind;
    const bool is_stored = kind.starts_with(kStored);
    if (is_stored) kind.remove_prefix(kStored.size());
    const auto found = proof.find(std::string(kind));
    if (found == proof.end() || found->second.empty()) return false;
    // What is no reference at all is not stored either.
    return !is_stored || ledger::has_attachment(view.reader(), view.scope(), found->second).value_or(false);
  });
  return missing;
}

std::string joined(const std::vector<std::string>& words) { return fmt::format("{}", fmt::join(words, " ")); }

void save(Unit& unit, const Row& row) {
  const std::string proof = proof_json(row.proof);
  unit.execute(
      "UPDATE side_effects SET state = $3, token = $4, run = $5, attempt = $6, reservations = $7, reserved_at = $8,"
      " expires_at = $9, settled_at = $10, proof = $11, missing = $12, result = $13, note = $14,"
      " policy_snapshot_id = $15 WHERE workspace = $1 AND id = $2",
      {unit.workspace(), row.number, static_cast<int>(row.state), row.token, row.run_number, row.attempt,
       row.reservations, row.reserved_at, row.expires_at, row.settled_at,
       row.proof.empty() ? db::Value() : db::Value(proof), row.missing, row.result, row.note, row.policy_snapshot_id});
}

// Performed, they say: committed when the proof is enough.
Committed settle(Unit& unit, Row& row, const EffectOutcome& outcome, std::string_view note) {
  for (const auto& [kind, value] : outcome.proof) row.proof[kind] = value;
  if (!outcome.result.empty()) row.result = outcome.result;
  if (!note.empty()) row.note = note;
  Committed out;
  out.missing = missing_proofs(unit, row, row.proof);
  if (!outcome.seen) out.missing.emplace_back("visible");
  out.state = out.missing.empty() ? EffectState::kCommitted : EffectState::kUnverified;
  row.state = out.state;
  row.missing = joined(out.missing);
  row.settled_at = unit.now();
  save(unit, row);
  const bool proven = out.state == EffectState::kCommitted;
  tell(unit, row, proven ? "committed" : "unverified", proven ? "success" : "fail", note);
  return out;
}

// Who reserved is gone: the attempt is not the running one, or the time is over.
bool owner_is_gone(Unit& unit, const Row& row) {
  if (!row.run_number) return row.expires_at <= unit.now();
  const std::optional<Run> run = load_run(unit, *row.run_number);
  if (!run) return true;
  if (run->kind == RunKind::kObserved) return is_terminal(run->state) || row.expires_at <= unit.now();
  return !is_live(*run, row.attempt.value_or(0));
}

void make_unknown(Unit& unit, Row& row, std::string_view why) {
  row.state = EffectState::kUnknown;
  row.note = why;
  save(unit, row);
  tell(unit, row, "unknown", "fail", why);
}

}  // namespace

std::string_view to_string(EffectState state) { return kStates.at(static_cast<std::size_t>(state)); }
std::string_view to_string(EffectAnswer answer) { return kAnswers.at(static_cast<std::size_t>(answer)); }

std::optional<EffectState> effect_state_named(std::string_view name) {
  const auto found = std::ranges::find(kStates, name);
  if (found == kStates.end()) return std::nullopt;
  return static_cast<EffectState>(found - kStates.begin());
}

std::string proof_json(const Proof& proof) {
  JsonObject out;
  for (const auto& [kind, value] : proof) out.add(kind, value);
  return std::move(out).text();
}

Proof proof_from_json(std::string_view json) {
  Proof out;
  boost::system::error_code error;
  const boost::json::value parsed = boost::json::parse(boost::json::string_view(json.data(), json.size()), error);
  if (error || !parsed.is_object()) return out;
  for (const auto& member : parsed.get_object()) {
    if (const auto* text = member.value().if_string()) out.emplace(member.key(), *text);
  }
  return out;
}

Result<Reserved> reserve(Unit& unit, const EffectRequest& request) {
  if (auto good = check_request(unit, request); !good) return std::unexpected(good.error());
  if (auto good = check_policy_snapshot(unit, request.policy_snapshot_id); !good) return std::unexpected(good.error());
  std::optional<Run> run;
  if (!request.run.value.empty()) {
    run = load_run(unit, request.run);
    if (!run) return no_such_run(request.run);
    const bool live =
        run->kind == RunKind::kObserved ? run->state == RunState::kRunning : is_live(*run, request.attempt);
    if (!live) return Reserved{.answer = EffectAnswer::kLate, .reason = "the attempt is not the running one"};
  }
  const std::string key = key_of(request);
  std::optional<Row> row = find_by_key(unit, key);
  if (row && row->state == EffectState::kCommitted) {
    return Reserved{EffectAnswer::kCommitted, row->id, row->result, row->proof, ""};
  }
  if (row && row->state == EffectState::kReserved) {
    if (row->token == request.token && !owner_is_gone(unit, *row))
      return Reserved{.answer = EffectAnswer::kGo, .id = row->id};
    if (!owner_is_gone(unit, *row)) return Reserved{.answer = EffectAnswer::kInProgress, .id = row->id};
    make_unknown(unit, *row, "whoever reserved it is gone");
  }
  if (row && (row->state == EffectState::kUnknown || row->state == EffectState::kUnverified)) {
    return Reserved{EffectAnswer::kUnknown, row->id, row->result, row->proof, row->note};
  }
  // What is done is done, what is not yet done may be stopped.
  const ActiveSwitches switches(unit);
  Reach work{request.client, request.platform, request.work_lane, "", request.tool, request.agent};
  if (run) {
    work.workflow = run->workflow;
    if (work.lane.empty()) work.lane = run->lane;
    if (work.agent.empty()) work.agent = run->agent;
  }
  const Switch* stop = switches.stops(work);
  if (stop == nullptr && !request.lane.empty()) {
    // A switch may name the lane that carries the work out instead.
    work.lane = request.lane;
    stop = switches.stops(work);
  }
  if (stop != nullptr) {
    Audit audit;
    audit.action = request.action;
    audit.target_type = "side_effect";
    if (request.target.size() <= ledger::kIdentifierValueBytesMax) audit.target_id = request.target;
    audit.result = "blocked";
    audit.reason = stop->id;
    audit.identifiers = {
        {"client_id", request.client}, {"platform", request.platform}, {"execution_lane", request.lane}};
    audit.payload_hash = request.payload_hash;
    audit.policy_snapshot_id = request.policy_snapshot_id;
    unit.audit(std::move(audit));
    return Reserved{.answer = EffectAnswer::kBlocked, .reason = fmt::format("{}: {}", stop->id, stop->reason)};
  }
  const bool fresh = !row;
  if (fresh) {
    row.emplace();
    row->number = unit.next_number();
    row->id = format_number(kPrefix, row->number);
    row->client = request.client;
    row->platform = request.platform;
    row->surface = request.surface;
    row->lane = request.lane;
    row->action = request.action;
    row->target = request.target;
    row->payload_hash = request.payload_hash;
    row->payload_summary = request.payload_summary;
    row->occurrence = request.occurrence;
  }
  row->state = EffectState::kReserved;
  row->token = request.token;
  row->run_number = run ? std::optional(run->number) : std::nullopt;
  row->attempt = run ? std::optional(request.attempt) : std::nullopt;
  ++row->reservations;
  row->reserved_at = unit.now();
  row->expires_at = unit.now() + request.hold.count();
  row->settled_at.reset();
  row->policy_snapshot_id = request.policy_snapshot_id;
  row->note.clear();
  if (fresh) {
    unit.execute(
        "INSERT INTO side_effects (workspace, id, effect_key, state, client, platform, surface, lane, action, target,"
        " payload_hash, payload_summary, occurrence, policy_snapshot_id, token, run, attempt, reservations, "
        "reserved_at,"
        " expires_at) VALUES ($1, $2, $3, 0, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19)",
        {unit.workspace(), row->number, key, row->client, row->platform, row->surface, row->lane, row->action,
         row->target, row->payload_hash, row->payload_summary, row->occurrence, row->policy_snapshot_id, row->token,
         row->run_number, row->attempt, row->reservations, row->reserved_at, row->expires_at});
  } else {
    save(unit, *row);
  }
  tell(unit, *row, "reserved", "success", {});
  return Reserved{.answer = EffectAnswer::kGo, .id = row->id};
}

Result<Committed> commit_effect(Unit& unit, std::string_view id, std::string_view token, const EffectOutcome& outcome) {
  if (auto good = check_outcome(unit, outcome); !good) return std::unexpected(good.error());
  std::optional<Row> row = find_by_id(unit, id);
  if (!row) return no_such_effect(id);
  if (row->token != token) {
    // Somebody else was let go on after this reservation was given up: it may have happened twice.
    row->note = "said to be done under a reservation that was given up";
    row->proof = outcome.proof;
    tell(unit, *row, "superseded", "fail", row->note);
    return Committed{.state = row->state, .superseded = true};
  }
  // The same call again, or one whose owner was given up meanwhile but did perform it: the proof counts.
  if (row->state == EffectState::kCommitted) return Committed{.state = row->state};
  if (row->state == EffectState::kReleased) {
    make_unknown(unit, *row, "said to be done after it was said not to have happened");
    return Committed{.state = row->state};
  }
  return settle(unit, *row, outcome, {});
}

Result<void> release_effect(Unit& unit, std::string_view id, std::string_view token, std::string_view reason) {
  if (auto good = check_size("reason", reason, unit.limits().message_bytes_max); !good) return good;
  std::optional<Row> row = find_by_id(unit, id);
  if (!row) return no_such_effect(id);
  if (row->token != token) {
    return fail(ErrorCode::kConflict, fmt::format("side effect {} was reserved again by somebody else", id));
  }
  if (row->state == EffectState::kReleased) return {};
  if (row->state == EffectState::kCommitted || row->state == EffectState::kUnverified) {
    return fail(ErrorCode::kConflict, fmt::format("side effect {} is {}", id, to_string(row->state)));
  }
  row->state = EffectState::kReleased;
  row->settled_at = unit.now();
  row->note = reason;
  save(unit, *row);
  tell(unit, *row, "released", "fail", reason);
  return {};
}

Result<EffectState> verify_effect(Unit& unit, std::string_view id, Found found, const EffectOutcome& outcome,
                                  std::string_view note) {
  if (auto good = check_outcome(unit, outcome); !good) return std::unexpected(good.error());
  if (auto good = check_size("note", note, unit.limits().message_bytes_max); !good)
    return std::unexpected(good.error());
  std::optional<Row> row = find_by_id(unit, id);
  if (!row) return no_such_effect(id);
  if (row->state == EffectState::kReserved && owner_is_gone(unit, *row)) {
    make_unknown(unit, *row, "whoever reserved it is gone");
  }
  if (row->state != EffectState::kUnknown && row->state != EffectState::kUnverified) {
    return fail(ErrorCode::kConflict, fmt::format("side effect {} is {}", id, to_string(row->state)));
  }
  switch (found) {
    case Found::kPresent: return settle(unit, *row, outcome, note).state;
    case Found::kAbsent:
      row->state = EffectState::kReleased;
      row->settled_at = unit.now();
      row->note = note;
      row->proof.clear();
      row->missing.clear();
      save(unit, *row);
      tell(unit, *row, "verified_absent", "fail", note);
      return row->state;
    case Found::kCannotTell:
      row->note = note;
      save(unit, *row);
      tell(unit, *row, "cannot_tell", "fail", note);
      return row->state;
  }
  return row->state;
}

std::optional<SideEffect> get_effect(View& view, std::string_view id) { return find_by_id(view, id); }

Result<PageOf<SideEffect>> list_effects(View& view, const EffectFilter& filter, const PageRequest& page) {
  Where where(view);
  where.add_scope(view);
  Keyset order{.unique = "id"};
  std::optional<Run> run;
  if (!filter.run.value.empty()) {
    run = load_run(view, filter.run);
    if (!run) return PageOf<SideEffect>();
    where.add("run = {}", run->number);
    order.newest_first = false;
  }
  if (filter.to_check) {
    // The first two say what the index of open ones holds.
    where.add_literal("state <> 1 AND state <> 4 AND (state = 2 OR state = 3)");
    order.newest_first = false;
  }
  if (filter.state) where.add("state = {}", static_cast<int>(*filter.state));
  return page_of<SideEffect>(view, FETTLE_EFFECT_COLUMNS, "side_effects", where, order, page,
                             [](View& at, const db::Row& row) -> SideEffect { return row_from(at, row); });
}

Result<void> set_proof_rule(Unit& unit, const ProofRule& rule) {
  if (auto good = check_name("action", rule.action, unit.limits()); !good) return good;
  if (!rule.lane.empty()) {
    if (auto good = check_name("lane", rule.lane, unit.limits()); !good) return good;
  }
  if (auto good = check_count("proofs", rule.proofs.size(), kProofsMax); !good) return good;
  for (const std::string& kind : rule.proofs) {
    if (auto good = check_name("proof", kind, unit.limits()); !good) return good;
    if (kind.contains(' ')) return fail(ErrorCode::kInvalidArgument, "the name of a proof holds no blank");
  }
  unit.execute(
      "INSERT INTO proof_rules (workspace, action, lane, proofs) VALUES ($1, $2, $3, $4)"
      " ON CONFLICT (workspace, action, lane) DO UPDATE SET proofs = excluded.proofs",
      {unit.workspace(), rule.action, rule.lane, joined(rule.proofs)});
  JsonObject after;
  after.add("proofs", joined(rule.proofs));
  Audit audit;
  audit.action = "proof_rule.set";
  audit.target_type = "proof_rule";
  audit.target_id = fmt::format("{}/{}", rule.action, rule.lane);
  audit.after = std::move(after).text();
  unit.audit(std::move(audit));
  return {};
}

std::vector<ProofRule> list_proof_rules(View& view) {
  std::vector<ProofRule> out;
  for (const db::Row row : view.rows("SELECT action, lane, proofs FROM proof_rules WHERE workspace = $1"
                                     " ORDER BY action, lane",
                                     {view.workspace()})) {
    ProofRule rule;
    std::string proofs;
    view.read(row, rule.action, rule.lane, proofs);
    rule.proofs = words_of(proofs);
    out.push_back(std::move(rule));
  }
  const auto end = std::ssize(out);
  for (const BuiltInRule& built_in : kBuiltInRules) {
    const bool is_replaced = std::any_of(out.begin(), out.begin() + end, [&](const ProofRule& rule) {
      return rule.action == built_in.action && (rule.lane.empty() || rule.lane == built_in.lane);
    });
    if (is_replaced) continue;
    out.push_back({std::string(built_in.action), std::string(built_in.lane), words_of(built_in.proofs), true});
  }
  return out;
}

std::int64_t expire_reservations(Unit& unit, std::int32_t& left) {
  std::int64_t expired = 0;
  const std::int32_t items_max = left;
  for (const db::Row row : unit.rows("SELECT " FETTLE_EFFECT_COLUMNS
                                     " FROM side_effects WHERE expires_at <= $2 AND state = 0 AND workspace = $1"
                                     " ORDER BY expires_at LIMIT $3",
                                     {unit.workspace(), unit.now(), items_max})) {
    --left;
    Row one = row_from(unit, row);
    if (owner_is_gone(unit, one)) {
      make_unknown(unit, one, "whoever reserved it is gone");
      ++expired;
    } else {
      // Its attempt goes on: look again later.
      one.expires_at = unit.now() + std::chrono::nanoseconds(std::chrono::minutes(1)).count();
      save(unit, one);
    }
  }
  return expired;
}

}  // namespace fettle::runs
