#include "ledger/sequencer.h"

#include <algorithm>
#include <atomic>
#include <set>
#include <thread>

#include "ledger/entry.h"
#include "ledger/ledger_for_test.h"
#include "ledger/outbox.h"

namespace fettle::ledger {
namespace {

class SequencerTest : public LedgerTest {};
FETTLE_FOR_BOTH_STORES(SequencerTest);

TEST_P(SequencerTest, RecordsGetTheirPlacesInTheOrderTheyWereWritten) {
  ASSERT_TRUE(write({record("first"), record("second")}));
  ASSERT_TRUE(write({record("third")}));
  chain();
  Chain expected(scope.workspace);
  const AuditPage page = find({});
  ASSERT_EQ(page.audits.size(), 3U);
  const char* actions[] = {"first", "second", "third"};
  for (std::uint64_t i = 0; i < 3; ++i) {
    const FoundAudit& audit = page.audits[2 - i];
    EXPECT_EQ(audit.position, i + 1);
    EXPECT_EQ(read_entry(audit.entry)->record.action, actions[i]);
    expected.append(audit.entry);
    EXPECT_EQ(audit.hash, expected.hash());
  }
  const auto head = read([&](db::Reader& reader) { return audit_head(reader, scope.workspace); });
  EXPECT_EQ(head->size, 3U);
  EXPECT_EQ(head->hash, expected.hash());
  EXPECT_EQ(head->root, expected.root());
}

TEST_P(SequencerTest, WorkspacesHaveChainsOfTheirOwn) {
  ASSERT_TRUE(write({.workspace = {"a"}, .clients = {}}, {record()}));
  ASSERT_TRUE(write({.workspace = {"b"}, .clients = {}}, {record()}));
  chain();
  for (const char* name : {"a", "b"}) {
    const AuditPage page = find({.workspace = {name}, .clients = {}}, {});
    ASSERT_EQ(page.audits.size(), 1U);
    EXPECT_EQ(page.audits[0].position, 1U);
    EXPECT_EQ(page.audits[0].hash, next_link(first_link({name}), 1, sha256(page.audits[0].entry)));
  }
}

TEST_P(SequencerTest, AnotherSequencerGoesOnWhereTheFirstDied) {
  grow(5);
  ASSERT_TRUE(write({record("after")}));  // committed, not chained: the process dies here
  database = open();
  auditor = std::make_unique<Auditor>(test_redactor(), clock, store.registry);
  make_sequencer();
  chain();
  const AuditPage page = find({});
  ASSERT_EQ(page.audits.size(), 6U);
  const auto last = std::ranges::max_element(page.audits, {}, &FoundAudit::position);
  EXPECT_EQ(last->position, 6U);
  EXPECT_EQ(read_entry(last->entry)->record.action, "after");
}

TEST_P(SequencerTest, ASecondSequencerCannotForkTheChain) {
  grow(3);
  Sequencer other(*database, clock, rng, key, store.registry, [](db::Transaction&) { return Result<void>(); }, {}, {});
  ASSERT_TRUE(write({record("x")}));
  ASSERT_EQ(other.pass().value(), 1U);
  ASSERT_TRUE(write({record("y")}));
  // It still believes the chain to end at 3: the write is refused, the next pass reads anew.
  EXPECT_EQ(sequencer->pass().error().code(), ErrorCode::kConflict);
  EXPECT_EQ(sequencer->pass().value(), 1U);
  EXPECT_EQ(read([&](db::Reader& reader) { return audit_head(reader, scope.workspace); })->size, 5U);
}

// Small batches, so that each is made ready while the one before it is written.
TEST_P(SequencerTest, ABatchThatWasMadeReadyIsDroppedWhenSomebodyElseMovedTheChain) {
  const auto open_sequencer = [&] {
    return Sequencer(*database, clock, rng, key, store.registry, [](db::Transaction&) { return Result<void>(); }, {},
                     {.records_target = 2});
  };
  Sequencer one = open_sequencer();
  Sequencer other = open_sequencer();
  for (int i = 0; i < 10; ++i) ASSERT_TRUE(write({record(std::to_string(i))}));
  ASSERT_EQ(one.pass().value(), 2U);
  ASSERT_EQ(other.pass().value(), 2U);
  EXPECT_EQ(one.pass().error().code(), ErrorCode::kConflict);
  for (int i = 0; i < 3; ++i) EXPECT_EQ(one.pass().value(), 2U);
  EXPECT_EQ(one.pass().value(), 0U);
  AuditPage page = find({});
  ASSERT_EQ(page.audits.size(), 10U);
  std::ranges::sort(page.audits, {}, &FoundAudit::position);
  Chain expected(scope.workspace);
  for (std::size_t i = 0; i < 10; ++i) {
    EXPECT_EQ(page.audits[i].position, i + 1);
    EXPECT_EQ(read_entry(page.audits[i].entry)->record.action, std::to_string(i));
    expected.append(page.audits[i].entry);
    EXPECT_EQ(page.audits[i].hash, expected.hash());
  }
}

TEST_P(SequencerTest, ManyRecordsInARowAreReadInPiecesAndNoneTwice) {
  // Rows of many records, each longer than a piece, and rows of one.
  std::vector<AuditRecord> many(1'000, record("many"));
  for (AuditRecord& one : many) one.target_id = std::string(250, 't');
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(write(many));
    ASSERT_TRUE(write({record("single")}));
  }
  chain();
  AuditQuery singles;
  singles.match = {{"action", "single"}};
  EXPECT_EQ(find(singles).audits.size(), 6U);
  EXPECT_EQ(read([&](db::Reader& reader) { return audit_head(reader, scope.workspace); })->size, 6U * 1'001U);
}

TEST_P(SequencerTest, NothingIsChainedWithoutTheLease) {
  Sequencer fenced(*database, clock, rng, key, store.registry,
                   [](db::Transaction&) -> Result<void> { return fail(ErrorCode::kUnavailable, "not the leader"); }, {},
                   {});
  ASSERT_TRUE(write({record()}));
  EXPECT_EQ(fenced.pass().error().code(), ErrorCode::kUnavailable);
  EXPECT_TRUE(find({}).audits.empty());
  chain();
  EXPECT_EQ(find({}).audits.size(), 1U);
}

TEST_P(SequencerTest, ARecordThatWaitsLongerThanASecondRaisesTheAlarm) {
  ASSERT_TRUE(write({record()}));
  clock.advance(std::chrono::milliseconds(1'500));
  const auto age = read([&](db::Reader& reader) { return oldest_unchained_age(reader, clock.now()); });
  EXPECT_EQ(*age, std::chrono::milliseconds(1'500));
  ASSERT_TRUE(sequencer->pass());
  EXPECT_TRUE(sequencer->status().is_late);
  ASSERT_TRUE(sequencer->pass());
  EXPECT_FALSE(sequencer->status().is_late);
  EXPECT_EQ(sequencer->status().chained_total, 1U);
}

TEST_P(SequencerTest, ARowThatCannotBeReadIsSaidSoAndPassed) {
  ASSERT_TRUE(database->write_and_wait([&](db::Transaction& tx) {
    return tx.execute("INSERT INTO audit_pending (workspace, recorded_at, records) VALUES ($1, $2, $3)",
                      {scope.workspace, clock.now(), db::BlobView{"\x01\x02garbage"}});
  }));
  ASSERT_TRUE(write({record("next")}));
  chain();
  const AuditPage page = find({});
  ASSERT_EQ(page.audits.size(), 2U);
  AuditQuery unreadable;
  unreadable.match = {{"action", "audit.unreadable"}};
  EXPECT_EQ(find(unreadable).audits.size(), 1U);
}

TEST_P(SequencerTest, ASegmentIsSealedWithACheckpointWhenItIsFull) {
  grow(kSegmentRecords + 10);
  const auto checkpoints = read([&](db::Reader& reader) {
    return reader.query("SELECT size FROM audit_checkpoints WHERE workspace = $1", {scope.workspace});
  });
  ASSERT_EQ(checkpoints->size(), 1U);
  EXPECT_EQ((*checkpoints)[0].get<std::uint64_t>(0).value(), kSegmentRecords);
  const auto segments = read([&](db::Reader& reader) {
    return reader.query("SELECT number FROM audit_segments WHERE workspace = $1", {scope.workspace});
  });
  EXPECT_EQ(segments->size(), 1U);
}

class CollectingWitness final : public Witness {
 public:
  std::string_view name() const override { return "collecting"; }
  Result<void> deliver(const Checkpoint& checkpoint) override {
    if (is_down) return fail(ErrorCode::kUnavailable, "down");
    taken.push_back(checkpoint);
    return {};
  }
  bool is_down = false;
  std::vector<Checkpoint> taken;
};

TEST_P(SequencerTest, ACheckpointIsSignedAndReachesTheWitnessOnceItIsUp) {
  CollectingWitness witness;
  make_sequencer({&witness});
  grow(7);
  witness.is_down = true;
  ASSERT_TRUE(sequencer->checkpoint());
  EXPECT_FALSE(sequencer->status().witness_error.empty());
  witness.is_down = false;
  ASSERT_TRUE(sequencer->checkpoint());
  ASSERT_TRUE(sequencer->checkpoint());  // nothing new: nothing told
  ASSERT_EQ(witness.taken.size(), 1U);
  EXPECT_TRUE(sequencer->status().witness_error.empty());
  const auto head = read([&](db::Reader& reader) { return audit_head(reader, scope.workspace); });
  EXPECT_EQ(witness.taken[0].size, 7U);
  EXPECT_EQ(witness.taken[0].hash, head->hash);
  EXPECT_EQ(witness.taken[0].root, head->root);
  EXPECT_EQ(witness.taken[0].public_key, key.public_key());
  EXPECT_TRUE(is_signed(witness.taken[0]));
}

TEST_P(SequencerTest, TheFileWitnessKeepsWhatItWasTold) {
  FileWitness witness(store.folder() / "witness.jsonl");
  make_sequencer({&witness});
  grow(2);
  ASSERT_TRUE(sequencer->checkpoint());
  grow(2);
  ASSERT_TRUE(sequencer->checkpoint());
  const auto kept = read_witness_file(store.folder() / "witness.jsonl");
  ASSERT_TRUE(kept) << kept.error().message();
  ASSERT_EQ(kept->size(), 2U);
  EXPECT_EQ((*kept)[1].size, 4U);
  EXPECT_TRUE(is_signed((*kept)[1]));
}

TEST_P(SequencerTest, TheEventWitnessTellsOfEachCheckpoint) {
  Outbox outbox(*database, clock, store.registry);
  ASSERT_TRUE(outbox.add_consumer("webhooks"));
  EventWitness witness(*database, clock);
  make_sequencer({&witness});
  grow(3);
  ASSERT_TRUE(sequencer->checkpoint());
  ASSERT_TRUE(sequencer->checkpoint());
  const auto batch = outbox.next("webhooks");
  ASSERT_TRUE(batch) << batch.error().message();
  ASSERT_EQ(batch->rows.size(), 1U);
  EXPECT_EQ(batch->rows[0].events[0].type, "audit.checkpoint");
  const auto told = parse_checkpoint(batch->rows[0].events[0].body);
  ASSERT_TRUE(told) << told.error().message();
  EXPECT_EQ(told->size, 3U);
  EXPECT_TRUE(is_signed(*told));
}

TEST_P(SequencerTest, TheLogRefusesChangesAndRemovals) {
  grow(2);
  for (const char* sql :
       {"UPDATE audit_records SET entry = 'x'", "UPDATE audit_records SET hash = NULL", "DELETE FROM audit_records",
        "UPDATE audit_index SET hash = 1", "DELETE FROM audit_index", "DELETE FROM audit_records WHERE position = 2"}) {
    const auto done =
        database->write_and_wait([&](db::Transaction& tx) { return tx.execute(db::Sql::assembled(sql)); });
    ASSERT_FALSE(done) << sql;
    EXPECT_EQ(done.error().code(), ErrorCode::kInvalidArgument) << sql << ": " << done.error().message();
  }
  EXPECT_EQ(find({}).audits.size(), 2U);
}

// Writers on several threads while the sequencer runs: everything is chained once, and what one writer wrote after its
// earlier record was committed stands behind it.
TEST_P(SequencerTest, NothingIsLostDoubledOrOvertakenWhileManyWrite) {
  constexpr int kWriters = 4;
  constexpr int kEach = 60;
  SystemClock real;
  Auditor real_auditor(test_redactor(), real, store.registry);
  Sequencer running(*database, real, rng, key, store.registry, [](db::Transaction&) { return Result<void>(); }, {},
                    {.interval = std::chrono::milliseconds(1), .records_target = 2});
  std::jthread thread([&](const std::stop_token& stop) { running.run(stop, [] { return true; }); });
  std::vector<std::thread> writers;
  std::atomic<int> failures = 0;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < kEach; ++i) {
        AuditRecord made = record();
        made.actor_id = "writer-" + std::to_string(writer);
        made.target_id = std::to_string(i);
        const auto done =
            database->write_and_wait([&](db::Transaction& tx) { return real_auditor.record(tx, scope, made); });
        if (!done) ++failures;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  thread.request_stop();
  thread.join();
  ASSERT_EQ(failures, 0);
  chain();
  AuditQuery query;
  query.rows_max = kAuditPageRowsMax;
  AuditPage page = find(query);
  ASSERT_EQ(page.audits.size(), static_cast<std::size_t>(kWriters * kEach));
  std::ranges::sort(page.audits, {}, &FoundAudit::position);
  std::map<std::string, int> next;
  Chain expected(scope.workspace);
  for (std::size_t i = 0; i < page.audits.size(); ++i) {
    EXPECT_EQ(page.audits[i].position, i + 1);
    expected.append(page.audits[i].entry);
    EXPECT_EQ(page.audits[i].hash, expected.hash());
    const auto entry = read_entry(page.audits[i].entry);
    EXPECT_EQ(entry->record.target_id, std::to_string(next[entry->record.actor_id]++)) << entry->record.actor_id;
  }
}

}  // namespace
}  // namespace fettle::ledger
