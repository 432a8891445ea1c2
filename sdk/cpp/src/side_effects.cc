#include "side_effects.h"

#include "problem.h"

namespace fettle::sdk {

namespace {

// A verification that fails tells nothing.
Seen verified(const Verify& verify) {
  if (!verify) return {};
  return guarded<Seen>([&]() -> Result<Seen> { return verify(); }).value_or(Seen{});
}

std::unexpected<Error> unknown(const std::string& id, std::string message) {
  return fail({.kind = ErrorKind::kEffectUnknown,
               .code = "effect_unknown",
               .message = std::move(message),
               .side_effect_id = id});
}

bool unverified(const Json& answer) { return answer["state"].as_string() == "unverified"; }

}  // namespace

Result<SideEffectResult> SideEffects::run(const SideEffect& effect, const Perform& perform, const Verify& verify,
                                          const EffectOwner& owner) {
  const std::string what = effect.action + " on " + effect.target;
  Result<Json> reserved = reserve(effect, owner);
  if (reserved && (*reserved)["decision"].as_string() == "unknown") {
    const auto settled = settle_earlier(what, *reserved, verify);
    if (!settled) return fail(settled.error());
    if (*settled) return **settled;
    reserved = reserve(effect, owner);
  }
  if (!reserved) return fail(reserved.error());
  const std::string id((*reserved)["side_effect_id"].as_string());
  const std::string_view decision = (*reserved)["decision"].as_string();
  if (decision == "committed") {
    return SideEffectResult{.side_effect_id = id, .result = (*reserved)["earlier"]["result"], .earlier = true};
  }
  if (decision == "refused") {
    return fail({.kind = ErrorKind::kRefused,
                 .code = "refused",
                 .message = what + " is refused: " + std::string((*reserved)["reason"].as_string("by rule")),
                 .details = std::make_shared<const Json>(*reserved)});
  }
  if (decision == "in_progress") return fail(retryable_error(what + " is under way elsewhere", "in_progress"));
  if (decision != "go_on") return unknown(id, what + ": still unknown after it was verified");
  // The lease may have gone while the reservation was under way: then the effect belongs to another worker.
  if (const auto stopped = owner.stop_reason ? owner.stop_reason() : std::nullopt) {
    release(id, "the worker stopped before it began");
    return fail(*stopped);
  }
  return this->perform(id, what, perform, verify);
}

Result<SideEffectResult> SideEffects::perform(const std::string& id, const std::string& what, const Perform& perform,
                                              const Verify& verify) {
  Result<Performed> done = guarded<Performed>(perform);
  if (!done) {
    const Error& error = done.error();
    const Seen seen =
        error.kind == ErrorKind::kNotPerformed ? Seen{.visible = false, .proof = {}, .result = {}} : verified(verify);
    if (!seen.visible) return unknown(id, what + " failed in doubt: " + error.message);
    if (*seen.visible) return commit(id, {seen.result, seen.proof});
    release(id, error.message);
    return fail(error);
  }
  if (verify) {
    const Seen seen = verified(verify);
    for (const Json::Member& member : seen.proof.members()) done->proof.set(member.name, member.value);
    // Performed but not seen (yet) must never count as proven, and must not be done again either.
    if (seen.visible == false) done->proof.set("visible", false);
  }
  return commit(id, *done);
}

Result<std::optional<SideEffectResult>> SideEffects::settle_earlier(const std::string& what, const Json& reserved,
                                                                    const Verify& verify) {
  const std::string id(reserved["side_effect_id"].as_string());
  if (!verify) return unknown(id, what + ": an earlier try may have done it, and there is no way to verify");
  const Seen seen = verified(verify);
  if (!seen.visible) return unknown(id, what + ": an earlier try may have done it; verifying did not tell");
  Json body = Json::object({{"visible", *seen.visible}});
  if (seen.proof.is_object()) body.set("proof", seen.proof);
  if (!seen.result.is_null()) body.set("result", seen.result);
  const Result<Json> answer = post(id, "verify", body);
  if (!answer) return fail(answer.error());
  if (!*seen.visible) return std::optional<SideEffectResult>();
  return std::optional(SideEffectResult{.side_effect_id = id,
                                        .result = seen.result.is_null() ? reserved["earlier"]["result"] : seen.result,
                                        .earlier = true,
                                        .unverified = unverified(*answer)});
}

Result<Json> SideEffects::reserve(const SideEffect& effect, const EffectOwner& owner) {
  Json body = Json::object({{"action", effect.action}, {"target", effect.target}});
  body.set("payload_hash", effect.payload_hash.empty() ? payload_hash(effect.payload) : effect.payload_hash);
  body.set_if("client_id", effect.client_id).set_if("platform", effect.platform).set_if("surface", effect.surface);
  body.set_if("execution_lane", effect.execution_lane).set_if("tool", effect.tool).set_if("agent", effect.agent);
  body.set_if("payload_summary", effect.summary).set_if("occurrence", effect.occurrence);
  body.set_if("run_id", owner.run_id);
  if (!owner.fence.is_null()) body.set("fence", owner.fence);
  body.set_if("policy_snapshot_id", effect.policy_snapshot_id);
  return caller_.post("/api/v1/side-effects/reserve", body.text(), {.stop = owner.stop});
}

Result<SideEffectResult> SideEffects::commit(const std::string& id, const Performed& performed) {
  Json body = Json::object();
  if (performed.proof.is_object()) body.set("proof", performed.proof);
  body.set("result", performed.result);
  const Result<Json> answer = post(id, "commit", body);
  // Done, but not on record: the next try is told "unknown" and verifies.
  if (!answer) return unknown(id, "performed, but the commit failed: " + answer.error().message);
  return SideEffectResult{.side_effect_id = id, .result = performed.result, .unverified = unverified(*answer)};
}

void SideEffects::release(const std::string& id, std::string_view reason) {
  // Best effort: a reservation that stays is "unknown" to the next try, which is safe.
  (void)post(id, "release", Json::object({{"reason", reason}}));
}

Result<Json> SideEffects::post(const std::string& id, std::string_view verb, const Json& body) {
  return caller_.post("/api/v1/side-effects/" + url_encoded(id) + "/" + std::string(verb), body.text());
}

}  // namespace fettle::sdk
