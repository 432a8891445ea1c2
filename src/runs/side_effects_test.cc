#include "runs/side_effects.h"

#include <gtest/gtest.h>

#include "ledger/attachments.h"
#include "runs/observed.h"
#include "runs/policies.h"
#include "runs/switches.h"
#include "runs/testing.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

class SideEffectsTest : public RunsTestBase {
 protected:
  EffectRequest post(const LeasedRun& by, std::string token) {
    return {.client = "acme",
            .platform = "instagram",
            .action = "publish",
            .target = "feed",
            .payload_hash = "sha256:1",
            .token = std::move(token),
            .run = by.id,
            .attempt = by.attempt};
  }
  Reserved ask(const EffectRequest& request) {
    return run([&](Unit& unit) { return reserve(unit, request); });
  }
  Committed commit(const std::string& id, const std::string& token, Proof proof, std::string result = "7") {
    return run([&](Unit& unit) { return commit_effect(unit, id, token, {std::move(proof), std::move(result)}); });
  }
  EffectState verify(const std::string& id, Found found, Proof proof = {}) {
    return run([&](Unit& unit) { return verify_effect(unit, id, found, {std::move(proof), ""}, "looked"); });
  }
  std::size_t to_check() {
    return run([](Unit& unit) { return list_effects(unit, {.state = {}, .to_check = true, .run = {}}); }).items.size();
  }
  LeasedRun leased() {
    add_one();
    return take().at(0);
  }
  LeasedRun after_a_crash() {
    tick(10s);
    return take().at(0);
  }
};
FETTLE_FOR_BOTH_STORES(SideEffectsTest);

TEST_P(SideEffectsTest, ACommittedEffectIsNeverPerformedAgain) {
  const LeasedRun one = leased();
  const Reserved first = ask(post(one, "t1"));
  ASSERT_EQ(first.answer, EffectAnswer::kGo);
  EXPECT_EQ(commit(first.id, "t1", {{"url", "https://x/1"}}, R"({"id":1})").state, EffectState::kCommitted);
  const LeasedRun two = after_a_crash();
  const Reserved again = ask(post(two, "t2"));
  EXPECT_EQ(again.answer, EffectAnswer::kCommitted);
  EXPECT_EQ(again.result, R"({"id":1})");
  EXPECT_EQ(again.proof.at("url"), "https://x/1");
  EXPECT_EQ(journal.audits.back().action, "publish");
}

TEST_P(SideEffectsTest, ASwitchOnTheLaneOfItsWorkStopsIt) {
  run([](Unit& unit) {
    return start_observed(unit, {.run_id = "theirs", .workflow = "publish", .lane = "publishing", .executor = "x"});
  });
  run([](Unit& unit) { return throw_switch(unit, {.reach = {.lane = "publishing"}, .reason = "stop"}); });
  EffectRequest request = post({}, "t1");
  request.run = RunId{"theirs"};
  request.lane = "browser";
  EXPECT_EQ(ask(request).answer, EffectAnswer::kBlocked) << "the run is of that lane";
  request.run = RunId{};
  EXPECT_EQ(ask(request).answer, EffectAnswer::kGo);
  request.token = "t2";
  request.target = "story";
  request.work_lane = "publishing";
  EXPECT_EQ(ask(request).answer, EffectAnswer::kBlocked);
}

TEST_P(SideEffectsTest, AReservationWhoseWorkerDiedMustBeVerified) {
  const LeasedRun one = leased();
  const Reserved first = ask(post(one, "t1"));
  const LeasedRun two = after_a_crash();
  EXPECT_EQ(ask(post(two, "t2")).answer, EffectAnswer::kUnknown);
  EXPECT_EQ(to_check(), 1U);
  EXPECT_EQ(ask(post(two, "t2")).answer, EffectAnswer::kUnknown) << "until somebody looks";
  EXPECT_EQ(verify(first.id, Found::kCannotTell), EffectState::kUnknown);
  EXPECT_EQ(to_check(), 1U);
  EXPECT_EQ(verify(first.id, Found::kAbsent), EffectState::kReleased);
  EXPECT_EQ(to_check(), 0U);
  const Reserved second = ask(post(two, "t3"));
  EXPECT_EQ(second.answer, EffectAnswer::kGo);
  EXPECT_EQ(second.id, first.id);
  EXPECT_EQ(commit(second.id, "t3", {{"url", "u"}}).state, EffectState::kCommitted);
  EXPECT_TRUE(commit(first.id, "t1", {}).superseded) << "the dead worker comes back: it is audited, not applied";
}

TEST_P(SideEffectsTest, OneThatIsFoundIsCommittedWithItsProof) {
  const LeasedRun one = leased();
  const Reserved first = ask(post(one, "t1"));
  const LeasedRun two = after_a_crash();
  ask(post(two, "t2"));
  EXPECT_EQ(verify(first.id, Found::kPresent, {{"url", "u"}}), EffectState::kCommitted);
  EXPECT_EQ(ask(post(two, "t3")).answer, EffectAnswer::kCommitted);
  EXPECT_EQ(error_of([&](Unit& unit) { return verify_effect(unit, first.id, Found::kAbsent, {}); }),
            ErrorCode::kConflict);
}

TEST_P(SideEffectsTest, TheSameCallAgainGetsTheSameAnswerAndAnotherOneWaits) {
  const LeasedRun one = leased();
  EXPECT_EQ(ask(post(one, "t1")).answer, EffectAnswer::kGo);
  EXPECT_EQ(ask(post(one, "t1")).answer, EffectAnswer::kGo);
  EXPECT_EQ(ask(post(one, "t2")).answer, EffectAnswer::kInProgress);
  EffectRequest elsewhere = post(one, "t1");
  elsewhere.target = "stories";
  EXPECT_EQ(ask(elsewhere).answer, EffectAnswer::kGo) << "another effect";
  EffectRequest twice = post(one, "t1");
  twice.occurrence = "2";
  EXPECT_EQ(ask(twice).answer, EffectAnswer::kGo) << "meant to happen twice";
}

TEST_P(SideEffectsTest, APublishNeedsItsProofWithoutAnybodySettingARule) {
  const LeasedRun one = leased();
  const auto publish = [&](const std::string& lane, const std::string& action, const Proof& proof) {
    EffectRequest request = post(one, lane + action);
    request.lane = lane;
    request.action = action;
    request.occurrence = lane;
    const Reserved reserved = ask(request);
    return commit(reserved.id, request.token, proof).missing;
  };
  using Missing = std::vector<std::string>;
  EXPECT_EQ(publish("api", "publish", {}), Missing{"url"});
  EXPECT_EQ(publish("", "publish", {}), Missing{"url"});
  EXPECT_EQ(publish("feed", "publish", {{"url", "u"}}), Missing{});
  EXPECT_EQ(publish("browser", "publish", {{"url", "u"}}), Missing{"stored:screenshot"});
  EXPECT_EQ(publish("api", "crm.update", {}), Missing{}) << "others need none";
  EXPECT_EQ(to_check(), 3U);
  const auto rules = [&] {
    return run([](Unit& unit) -> Result<std::vector<ProofRule>> { return list_proof_rules(unit); });
  };
  ASSERT_EQ(rules().size(), 2U);
  EXPECT_TRUE(rules()[0].is_built_in);
  run([](Unit& unit) { return set_proof_rule(unit, {"publish", "browser", {"message_id"}}); });
  EXPECT_EQ(rules().size(), 2U) << "its own, and the built-in one for other lanes";
  EXPECT_EQ(publish("api2", "publish", {}), Missing{"url"});
  run([](Unit& unit) { return set_proof_rule(unit, {"publish", "", {}}); });
  EXPECT_EQ(rules().size(), 2U) << "both its own";
  EXPECT_EQ(publish("api3", "publish", {}), Missing{});
}

TEST_P(SideEffectsTest, WithoutTheProofThatItNeedsItIsUnverifiedAndListed) {
  run([](Unit& unit) { return set_proof_rule(unit, {"publish", "", {"url"}}); });
  run([](Unit& unit) { return set_proof_rule(unit, {"publish", "browser", {"url", "screenshot"}}); });
  const LeasedRun one = leased();
  EffectRequest request = post(one, "t1");
  request.lane = "browser";
  const Reserved reserved = ask(request);
  const Committed half = commit(reserved.id, "t1", {{"url", "u"}});
  EXPECT_EQ(half.state, EffectState::kUnverified);
  EXPECT_EQ(half.missing, std::vector<std::string>{"screenshot"});
  EXPECT_EQ(to_check(), 1U);
  request.token = "t2";
  EXPECT_EQ(ask(request).answer, EffectAnswer::kUnknown) << "it must not be done again";
  EXPECT_EQ(commit(reserved.id, "t1", {{"screenshot", "sha256:2"}}).state, EffectState::kCommitted);
  EXPECT_EQ(to_check(), 0U);
}

TEST_P(SideEffectsTest, AProofThatMustBeStoredCountsOnceItIs) {
  run([](Unit& unit) { return set_proof_rule(unit, {"publish", "", {"url", "stored:screenshot"}}); });
  const LeasedRun one = leased();
  const Reserved reserved = ask(post(one, "t1"));
  const std::string absent = "sha256:" + std::string(64, 'a');
  EXPECT_EQ(commit(reserved.id, "t1", {{"url", "u"}, {"screenshot", absent}}).missing,
            std::vector<std::string>{"stored:screenshot"});
  std::string reference;
  run([&](Unit& unit) -> Result<void> {
    auto stored = ledger::store_attachment(
        unit.tx(), unit.scope(),
        {.client_id = "", .media_type = "image/png", .content = "pixels", .created_at = unit.now()});
    if (!stored) return std::unexpected(stored.error());
    reference = *stored;
    return {};
  });
  EXPECT_EQ(commit(reserved.id, "t1", {{"screenshot", reference}}).state, EffectState::kCommitted);
}

TEST_P(SideEffectsTest, OneThatIsKnownNotToHaveHappenedMayBeTriedAgain) {
  const LeasedRun one = leased();
  const Reserved reserved = ask(post(one, "t1"));
  run([&](Unit& unit) { return release_effect(unit, reserved.id, "t1", "refused: 401"); });
  EXPECT_EQ(ask(post(one, "t2")).answer, EffectAnswer::kGo);
  EXPECT_EQ(error_of([&](Unit& unit) { return release_effect(unit, reserved.id, "t1", "x"); }), ErrorCode::kConflict);
}

TEST_P(SideEffectsTest, AnExecutorWithoutARunHasItsTime) {
  EffectRequest request{.client = "acme", .action = "dm_send", .payload_hash = "h", .token = "t1", .hold = 60s};
  const Reserved reserved = ask(request);
  EXPECT_EQ(tick(59s).unknown_effects, 0);
  EXPECT_EQ(tick(1s).unknown_effects, 1);
  EXPECT_EQ(to_check(), 1U);
  EXPECT_EQ(commit(reserved.id, "t1", {}).state, EffectState::kCommitted) << "it was only slow";
}

TEST_P(SideEffectsTest, ALateAttemptReservesNothing) {
  const LeasedRun one = leased();
  after_a_crash();
  EXPECT_EQ(ask(post(one, "t1")).answer, EffectAnswer::kLate);
  EXPECT_EQ(count("side_effects"), 0);
}

TEST_P(SideEffectsTest, ASwitchBlocksWhatIsNotYetDone) {
  const LeasedRun one = leased();
  run([](Unit& unit) {
    return throw_switch(unit, {.mode = SwitchMode::kPause, .reach = {.platform = "instagram"}, .reason = "outage"});
  });
  const Reserved blocked = ask(post(one, "t1"));
  EXPECT_EQ(blocked.answer, EffectAnswer::kBlocked);
  EXPECT_NE(blocked.reason.find("outage"), std::string::npos);
  EXPECT_EQ(journal.audits.back().result, "blocked");
}

TEST_P(SideEffectsTest, WhereThereArePoliciesEachEffectNamesAKnownOne) {
  const LeasedRun one = leased();
  const std::string id = run([](Unit& unit) { return store_policy_snapshot(unit, "no links on Sundays"); });
  EXPECT_EQ(run([](Unit& unit) { return store_policy_snapshot(unit, "no links on Sundays"); }), id);
  EXPECT_TRUE(id.starts_with("sha256:"));
  EffectRequest request = post(one, "t1");
  EXPECT_EQ(error_of([&](Unit& unit) { return reserve(unit, request); }), ErrorCode::kInvalidArgument);
  request.policy_snapshot_id = "sha256:00";
  EXPECT_EQ(error_of([&](Unit& unit) { return reserve(unit, request); }), ErrorCode::kInvalidArgument);
  request.policy_snapshot_id = id;
  EXPECT_EQ(ask(request).answer, EffectAnswer::kGo);
}

TEST_P(SideEffectsTest, APolicyBlockIsMarkedByAPerson) {
  const std::string id = run([](Unit& unit) {
    return record_policy_block(unit, {.policy = "brand-safety", .reason = "names a rival", .client = "acme"});
  });
  const auto open = [&] { return run([](Unit& unit) { return list_policy_blocks(unit); }).items; };
  ASSERT_EQ(open().size(), 1U);
  run([&](Unit& unit) { return decide_policy_block(unit, id, Verdict::kFalsePositive, "it is our own name"); });
  EXPECT_TRUE(open().empty());
  EXPECT_EQ(count("policy_blocks WHERE verdict = 'false_positive' AND decided_by = 'maya'"), 1);
  scope.clients = {ClientId{"other"}};
  EXPECT_EQ(error_of([&](Unit& unit) { return decide_policy_block(unit, id, Verdict::kKept, ""); }),
            ErrorCode::kNotFound);
}

TEST_P(SideEffectsTest, WhatIsMissingOrTooLargeIsRefused) {
  const auto refused = [&](EffectRequest request) {
    return error_of([&](Unit& unit) { return reserve(unit, request); });
  };
  EXPECT_EQ(refused({.payload_hash = "h", .token = "t"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({.action = "a", .token = "t"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({.action = "a", .payload_hash = "h"}), ErrorCode::kInvalidArgument);
  EXPECT_EQ(refused({.action = std::string(201, 'a'), .payload_hash = "h", .token = "t"}), ErrorCode::kTooLarge);
  EXPECT_EQ(refused({.action = "a", .payload_hash = "h", .token = "t", .hold = 0s}), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fettle::runs
