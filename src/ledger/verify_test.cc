#include "ledger/verify.h"

#include <algorithm>

#include "ledger/bundle.h"
#include "ledger/entry.h"
#include "ledger/ledger_for_test.h"
#include "ledger/proofs.h"
#include "ledger/retention.h"

namespace fettle::ledger {
namespace {

class VerifyTest : public LedgerTest {
 protected:
  VerifyReport verify(const VerifyOptions& options = {}) {
    auto report = verify_log(*database, scope.workspace, options);
    EXPECT_TRUE(report) << report.error().message();
    return report ? std::move(*report) : VerifyReport();
  }
  void expect_bad(std::uint64_t position, const VerifyOptions& options = {}) {
    const VerifyReport report = verify(options);
    ASSERT_TRUE(report.bad);
    EXPECT_EQ(report.bad->position, position) << report.bad->what;
  }
};
FETTLE_FOR_BOTH_STORES(VerifyTest);

TEST_P(VerifyTest, AnUntouchedLogIsGoodAndSaysHowFarItIsVouchedFor) {
  grow(30);
  ASSERT_TRUE(sequencer->checkpoint());
  grow(5);
  const VerifyReport report = verify({.public_keys = {key.public_key()}});
  ASSERT_FALSE(report.bad) << report.bad->what;
  EXPECT_EQ(report.to, 35U);
  EXPECT_EQ(report.vouched, 30U);
  EXPECT_EQ(report.checkpoints, 1U);
  EXPECT_EQ(report.keys, std::vector{key.public_key()});
}

TEST_P(VerifyTest, AWorkspaceWithoutRecordsIsGood) {
  EXPECT_FALSE(verify().bad);
  EXPECT_EQ(verify().to, 0U);
}

TEST_P(VerifyTest, AChangedEntryIsNamed) {
  grow(20);
  tamper("UPDATE audit_records SET entry = replace(entry, 'publish', 'publisH') WHERE position = 11");
  expect_bad(11);
}

TEST_P(VerifyTest, AChangedHashIsNamed) {
  grow(20);
  tamper("UPDATE audit_records SET hash = (SELECT hash FROM audit_records WHERE position = 3) WHERE position = 12");
  expect_bad(12);
}

TEST_P(VerifyTest, ARemovedRecordIsNamed) {
  grow(20);
  tamper("DELETE FROM audit_records WHERE position = 13");
  expect_bad(13);
}

TEST_P(VerifyTest, SwappedRecordsAreNamed) {
  grow(20);
  tamper("UPDATE audit_records SET position = 1000 WHERE position = 5");
  tamper("UPDATE audit_records SET position = 5 WHERE position = 6");
  tamper("UPDATE audit_records SET position = 6 WHERE position = 1000");
  expect_bad(5);
}

TEST_P(VerifyTest, ACutEndIsNamed) {
  grow(20);
  tamper("DELETE FROM audit_records WHERE position > 17");
  expect_bad(18);
}

TEST_P(VerifyTest, ACutThatAlsoRewindsTheHeadIsFoundByTheCheckpoint) {
  grow(10);
  const auto hash = read([&](db::Reader& reader) { return audit_head(reader, scope.workspace); })->hash;
  grow(10);
  ASSERT_TRUE(sequencer->checkpoint());
  std::vector<Checkpoint> held;
  FileWitness witness(store.folder() / "w");
  make_sequencer({&witness});
  ASSERT_TRUE(sequencer->checkpoint());
  held = read_witness_file(store.folder() / "w").value();
  ASSERT_EQ(held.size(), 1U);
  tamper("DELETE FROM audit_records WHERE position > 10");
  ASSERT_TRUE(database->write_and_wait([&](db::Transaction& tx) {
    return tx.execute("UPDATE audit_chains SET size = 10, hash = $1", {db::BlobView{bytes_of(hash)}});
  }));
  expect_bad(11);
  // With the checkpoints gone as well, only the one that was handed out tells.
  tamper("DELETE FROM audit_checkpoints");
  expect_bad(11, {.witnessed = held, .check_index = false});
}

TEST_P(VerifyTest, AWholeChainThatWasComputedAnewIsFoundByTheCheckpoint) {
  grow(8);
  ASSERT_TRUE(sequencer->checkpoint());
  grow(8);
  // Everything from record 3 on is rewritten with good hashes, as somebody with the code would.
  AuditQuery all;
  AuditPage page = find(all);
  std::ranges::sort(page.audits, {}, &FoundAudit::position);
  Chain chain(scope.workspace);
  for (FoundAudit& audit : page.audits) {
    if (audit.position == 3) audit.entry.replace(audit.entry.find("publish"), 7, "publisH");
    chain.append(audit.entry);
    audit.hash = chain.hash();
  }
  tamper("DELETE FROM audit_records");
  ASSERT_TRUE(database->write_and_wait([&](db::Transaction& tx) -> Result<std::int64_t> {
    for (const FoundAudit& audit : page.audits) {
      auto done =
          tx.execute("INSERT INTO audit_records (workspace, position, at, entry, hash) VALUES ($1, $2, $3, $4, $5)",
                     {scope.workspace, static_cast<std::int64_t>(audit.position), audit.at, audit.entry,
                      db::BlobView{bytes_of(audit.hash)}});
      if (!done) return done;
    }
    return tx.execute("UPDATE audit_chains SET hash = $1", {db::BlobView{bytes_of(chain.hash())}});
  }));
  expect_bad(1);  // nothing since the last checkpoint that agrees can be trusted, and there is none
}

TEST_P(VerifyTest, ADamagedOrForeignCheckpointIsFound) {
  grow(5);
  ASSERT_TRUE(sequencer->checkpoint());
  const SigningKey other = SigningKey::derive(Secret(std::string(32, 'o'))).value();
  expect_bad(1, {.public_keys = {other.public_key()}});
  EXPECT_FALSE(verify({.public_keys = {other.public_key(), key.public_key()}}).bad);
  tamper("UPDATE audit_checkpoints SET at = at + 1");
  expect_bad(1);
}

TEST_P(VerifyTest, AKeyThatWasChangedRemovedOrAddedIsNamed) {
  grow(20);
  EXPECT_FALSE(verify().bad);
  const std::string target = std::to_string(index_hash("target_id", "post-6"));
  const std::string trace = std::to_string(index_hash("trace_id", "4bf92f3577b34da6a3ce929d0e0e4736"));
  tamper("UPDATE audit_index SET hash = 5 WHERE hash = " + target);
  expect_bad(7);
  EXPECT_FALSE(verify({.check_index = false}).bad);
  tamper("UPDATE audit_index SET hash = " + target + " WHERE hash = 5");
  EXPECT_FALSE(verify().bad);
  tamper("DELETE FROM audit_index WHERE hash = " + trace + " AND position = 9");
  expect_bad(9);
  tamper("INSERT INTO audit_index SELECT workspace, 0, " + trace + ", position FROM audit_records WHERE position = 9");
  EXPECT_FALSE(verify().bad);
  tamper("INSERT INTO audit_index SELECT workspace, 0, 77, position FROM audit_records WHERE position = 4");
  expect_bad(4);
  // What stands in another bucket is not found by what its entry says.
  tamper("DELETE FROM audit_index WHERE hash = 77");
  tamper("UPDATE audit_index SET bucket = 1 WHERE hash = " + target);
  expect_bad(7);
}

TEST_P(VerifyTest, ChangedDetailsAndTimesAreNamed) {
  grow(20);
  tamper("UPDATE audit_records SET at = at + 1 WHERE position = 3");
  expect_bad(3);
  tamper("UPDATE audit_records SET at = at - 1 WHERE position = 3");
  tamper("UPDATE audit_details SET details = replace(details, 'hello', 'hallo') WHERE position = 8");
  expect_bad(8);
}

TEST_P(VerifyTest, ErasedDetailsLeaveAGoodLog) {
  grow(20);
  const auto with_details = [&] {
    AuditQuery query;
    query.with_details = true;
    const AuditPage page = find(query);
    return std::ranges::count_if(page.audits, [](const FoundAudit& audit) { return !audit.details.empty(); });
  };
  EXPECT_EQ(with_details(), 10);
  const auto erased = database->write_and_wait(
      [&](db::Transaction& tx) { return erase_details(tx, scope, std::vector<std::uint64_t>{2, 4, 5}); });
  EXPECT_EQ(*erased, 2);
  EXPECT_EQ(with_details(), 8);
  const auto of_client =
      database->write_and_wait([&](db::Transaction& tx) { return erase_client_details(tx, scope, {"acme"}); });
  EXPECT_EQ(*of_client, 8);
  EXPECT_EQ(with_details(), 0);
  EXPECT_FALSE(verify().bad);
}

TEST_P(VerifyTest, ProofsHoldAgainstTheNewestCheckpoint) {
  grow(kSegmentRecords + 100);
  ASSERT_TRUE(sequencer->checkpoint());
  for (const std::uint64_t position :
       {std::uint64_t{1}, std::uint64_t{500}, kSegmentRecords, kSegmentRecords + 1, kSegmentRecords + 100}) {
    auto proof = read([&](db::Reader& reader) { return prove_inclusion(reader, scope, position); });
    ASSERT_TRUE(proof) << proof.error().message();
    EXPECT_EQ(proof->checkpoint.size, kSegmentRecords + 100);
    EXPECT_TRUE(is_proven(*proof)) << position;
    proof->entry[20] ^= 1;
    EXPECT_FALSE(is_proven(*proof));
  }
  const Scope other{.workspace = scope.workspace, .clients = {{"other"}}};
  EXPECT_EQ(read([&](db::Reader& reader) { return prove_inclusion(reader, other, 1); }).error().code(),
            ErrorCode::kNotFound);
  grow(1);
  EXPECT_EQ(
      read([&](db::Reader& reader) { return prove_inclusion(reader, scope, kSegmentRecords + 101); }).error().code(),
      ErrorCode::kNotFound);
}

TEST_P(VerifyTest, AnArchivedSegmentLeavesItsHashesAndEveryProof) {
  std::filesystem::create_directory(store.folder() / "archive");
  FileWitness witness(store.folder() / "w");
  make_sequencer({&witness});
  grow(700);
  ASSERT_TRUE(sequencer->checkpoint());
  clock.advance(std::chrono::hours(1));
  grow(kSegmentRecords);
  ASSERT_TRUE(sequencer->checkpoint());
  clock.advance(std::chrono::hours(1));
  const auto fence = [](db::Transaction&) { return Result<void>(); };
  RetentionOptions options{.archive = store.folder() / "archive",
                           .recorded_before = clock.now() - 7200 * kNanosPerSecond};
  EXPECT_EQ(archive_segments(*database, clock, scope.workspace, options, fence).value(), 0U);
  options.recorded_before = clock.now();
  const auto archived = archive_segments(*database, clock, scope.workspace, options, fence);
  ASSERT_TRUE(archived) << archived.error().message();
  EXPECT_EQ(*archived, 1U);

  const auto head = read([&](db::Reader& reader) { return audit_head(reader, scope.workspace); });
  EXPECT_EQ(head->pruned, kSegmentRecords);
  const auto left = read([&](db::Reader& reader) { return reader.query("SELECT COUNT(*) FROM audit_records"); });
  EXPECT_EQ((*left)[0].get<std::uint64_t>(0).value(), 700U);
  const auto keys = read([&](db::Reader& reader) {
    return reader.query("SELECT COUNT(*) FROM audit_index WHERE position <= $1",
                        {static_cast<std::int64_t>(kSegmentRecords)});
  });
  EXPECT_EQ((*keys)[0].get<std::uint64_t>(0).value(), 0U);

  const auto held = read_witness_file(store.folder() / "w").value();
  const VerifyReport report = verify({.public_keys = {key.public_key()}, .witnessed = held});
  ASSERT_FALSE(report.bad) << report.bad->what;
  EXPECT_EQ(report.pruned, kSegmentRecords);
  EXPECT_EQ(report.from, kSegmentRecords + 1);
  EXPECT_EQ(report.to, kSegmentRecords + 700);

  // The log that the first checkpoint saw, whose records are pruned, is still provably continued.
  const auto path =
      read([&](db::Reader& reader) { return prove_consistency(reader, scope.workspace, 700, kSegmentRecords + 700); });
  ASSERT_TRUE(path) << path.error().message();
  EXPECT_TRUE(verify_consistency(700, held[0].root, kSegmentRecords + 700, held[1].root, *path));

  const auto segments = read([&](db::Reader& reader) { return archived_segments(reader, scope.workspace); });
  ASSERT_EQ(segments->size(), 1U);
  const auto bundle =
      verify_bundle(store.folder() / "archive" / (*segments)[0].file, {.witnessed = held, .is_whole = false});
  ASSERT_TRUE(bundle);
  EXPECT_FALSE(bundle->bad) << bundle->bad->what;
  EXPECT_EQ(bundle->to, kSegmentRecords);

  tamper("UPDATE audit_segments SET leaves = NULL");
  expect_bad(1);
}

TEST_P(VerifyTest, PositionsAreReadFromTheTopLevelAlone) {
  EXPECT_EQ(stated_position(R"({"identifiers":{"a":"b","position":"7"},"position":12,"role":"x"})"), 12U);
  EXPECT_EQ(stated_position(R"({"actor_id":"x,\"position\":5","position":12})"), 12U);
  EXPECT_EQ(stated_position("{}"), 0U);
}

}  // namespace
}  // namespace fettle::ledger
