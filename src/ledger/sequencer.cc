#include "ledger/sequencer.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <future>
#include <tuple>

#include "core/log.h"
#include "db/database.h"
#include "ledger/audit.h"
#include "ledger/checkpoint_store.h"
#include "ledger/entry.h"
#include "ledger/pending.h"

namespace fettle::ledger {
namespace {

constexpr std::size_t kChainsCachedMax = 10'000;
constexpr std::size_t kSaltBytes = 16;
constexpr std::uint64_t kPieceBytes = 256 << 10;

std::int64_t stored(std::uint64_t number) { return static_cast<std::int64_t>(number); }
db::BlobView blob(std::string_view bytes) { return {bytes}; }
// Of rows in the order of their ids.
template <class PendingRow>
bool contains_id(const std::vector<PendingRow>& rows, std::int64_t id) {
  return std::ranges::binary_search(rows, id, {}, &PendingRow::id);
}
// What takes the place of a row that cannot be read: the log moves on, and says what was there.
AuditRecord unreadable(std::string_view bytes, UnixNanos recorded_at) {
  AuditRecord record;
  record.at = std::max<UnixNanos>(recorded_at, 1);
  record.actor_type = "system";
  record.action = "audit.unreadable";
  record.result = AuditResult::kFail;
  record.payload_hash = to_hex(sha256(bytes));
  return record;
}

}  // namespace

struct Sequencer::PendingRow {
  std::int64_t id = 0;
  std::string workspace;
  UnixNanos recorded_at = 0;
  std::vector<AuditRecord> records;
};

// One transaction's worth of records. Its values point into its own members, so it stays where it is.
struct Sequencer::Batch {
  struct Head {
    WorkspaceId workspace;
    std::uint64_t size_before = 0;
    Digest hash_before{};
    bool is_new = false;
    Chain chain;
    std::string peaks;
  };
  struct Details {
    std::string salt;
    std::string text;
  };
  struct Segment {
    std::string workspace;
    std::uint64_t number = 0;
    UnixNanos last_recorded_at = 0;
    Digest root{};
  };
  struct Key {
    std::string_view workspace;
    std::int64_t hash = 0;
    std::uint64_t position = 0;
    auto order() const { return std::tuple(workspace, index_bucket(position), hash, position); }
  };

  std::vector<PendingRow> rows;
  std::map<std::string, Head> heads;
  std::uint64_t count = 0;
  UnixNanos oldest = 0;

  std::deque<std::string> entries;
  std::deque<Digest> hashes;
  std::deque<Details> details;
  std::vector<Key> keys;
  std::deque<Segment> segments;
  std::deque<Checkpoint> checkpoints;

  std::vector<db::Value> ids;
  std::string id_list;  // the same as PostgreSQL writes an array: a statement for each row would cost it more
  std::vector<db::Value> record_values;
  std::vector<db::Value> detail_values;
  std::vector<db::Value> key_values;
};

Sequencer::Sequencer(db::Database& database, Clock& clock, Rng& rng, const SigningKey& key, metrics::Registry& registry,
                     Fence fence, std::vector<Witness*> witnesses, Options options)
    : database_(database),
      clock_(clock),
      rng_(rng),
      key_(key),
      fence_(std::move(fence)),
      witnesses_(std::move(witnesses)),
      options_(options),
      chained_(registry.counter("fettle_audit_chained_total", "Audit records that were given their place in a chain.")),
      age_(registry.gauge("fettle_audit_unchained_age_seconds", "Age of the oldest audit record not yet chained.")),
      late_(registry.gauge("fettle_audit_unchained_late", "1 while an audit record waits longer than it should.")),
      witness_failures_(
          registry.counter("fettle_audit_witness_failures_total", "Checkpoints that a witness did not take.")) {}

Sequencer::~Sequencer() = default;

Result<void> Sequencer::read(Batch& batch, const Batch* before) {
  const std::vector<PendingRow> none;
  const auto& taken = before != nullptr ? before->rows : none;
  return database_.read_and_wait([&](db::Reader& reader) -> Result<void> {
    // A body may run again.
    batch = Batch();
    // Sizes first: a row may hold one record or megabytes of them.
    auto sizes = reader.query(db::Sql("SELECT id, length(records) FROM audit_pending ORDER BY id LIMIT $1",
                                      "SELECT id, octet_length(records) FROM audit_pending ORDER BY id LIMIT $1"),
                              {stored(options_.records_target + taken.size())});
    if (!sizes) return std::unexpected(sizes.error());
    // In pieces, because only the rows themselves say how many records they hold: what is beyond the target is not
    // read.
    std::int64_t first = 0;  // of the piece; 0: it is empty
    std::int64_t last = 0;
    std::uint64_t bytes = 0;
    std::uint64_t piece_end = kPieceBytes;
    const auto read_piece = [&]() -> Result<void> {
      if (first == 0) return {};
      return read_rows(reader, std::exchange(first, 0), last, taken, batch);
    };
    for (const db::Row row : *sizes) {
      std::uint64_t size = 0;
      std::int64_t id = 0;
      if (auto got = row.into(id, size); !got) return got;
      if (contains_id(taken, id)) continue;
      if (bytes != 0 && bytes + size > options_.bytes_target) break;
      if (first == 0) first = id;
      bytes += size;
      last = id;
      if (bytes < piece_end) continue;
      piece_end = bytes + kPieceBytes;
      if (auto read = read_piece(); !read) return read;
      if (batch.count >= options_.records_target) break;
    }
    if (auto read = read_piece(); !read) return read;
    return load_chains(reader, batch);
  });
}

Result<void> Sequencer::read_rows(db::Reader& reader, std::int64_t first, std::int64_t last,
                                  const std::vector<PendingRow>& taken, Batch& batch) {
  return reader.each(
      "SELECT id, workspace, recorded_at, records FROM audit_pending WHERE id >= $1 AND id <= $2 ORDER BY id",
      {first, last}, [&](const db::Row& row) -> Result<void> {
        if (batch.count >= options_.records_target) return {};
        PendingRow next;
        db::BlobView packed;
        if (auto got = row.into(next.id, next.workspace, next.recorded_at, packed); !got) return got;
        if (contains_id(taken, next.id)) return {};
        auto records = unpack_records(packed.bytes);
        if (records) {
          next.records = std::move(*records);
        } else {
          log::error("audit_row_unreadable", {{"id", next.id}, {"error", records.error().message()}});
          next.records = {unreadable(packed.bytes, next.recorded_at)};
        }
        if (batch.rows.empty()) batch.oldest = next.recorded_at;
        batch.count += next.records.size();
        batch.rows.push_back(std::move(next));
        return {};
      });
}

Result<void> Sequencer::load_chains(db::Reader& reader, Batch& batch) {
  for (const PendingRow& row : batch.rows) {
    if (batch.heads.contains(row.workspace)) continue;
    const WorkspaceId workspace{row.workspace};
    Batch::Head head{.workspace = workspace, .chain = Chain(workspace), .peaks = {}};
    if (const auto known = chains_.find(row.workspace); known != chains_.end()) {
      head.chain = known->second;
    } else {
      std::int64_t size = 0;
      db::Blob hash;
      db::Blob peaks;
      auto found = reader.fetch("SELECT size, hash, peaks FROM audit_chains WHERE workspace = $1", {workspace}, size,
                                hash, peaks);
      if (!found) return std::unexpected(found.error());
      if (*found) {
        auto tree = MerkleTree::resume(static_cast<std::uint64_t>(size), peaks.bytes);
        const auto last = digest_of_bytes(hash.bytes);
        if (!tree || !last) {
          return fail(ErrorCode::kDataLoss,
                      fmt::format("the head of the audit chain of '{}' is damaged", workspace.value));
        }
        head.chain = Chain(*last, std::move(*tree));
      }
    }
    head.is_new = head.chain.size() == 0;
    head.size_before = head.chain.size();
    head.hash_before = head.chain.hash();
    batch.heads.emplace(row.workspace, std::move(head));
  }
  return {};
}

void Sequencer::link(Batch& batch) {
  const UnixNanos now = clock_.now();
  for (const PendingRow& row : batch.rows) {
    Batch::Head& head = batch.heads.find(row.workspace)->second;
    for (const AuditRecord& record : row.records) {
      const std::uint64_t position = head.chain.size() + 1;
      std::optional<Digest> digest;
      if (std::string text = details_of(record); !text.empty()) {
        Batch::Details& details = batch.details.emplace_back(rng_.bytes(kSaltBytes), std::move(text));
        digest = details_hash(details.salt, details.text);
        batch.detail_values.insert(batch.detail_values.end(),
                                   {head.workspace, stored(position), blob(details.salt), details.text});
      }
      std::string& entry = batch.entries.emplace_back();
      append_entry(entry, head.workspace, position, row.recorded_at, record, digest);
      const auto segment_root = head.chain.append(entry);
      const Digest& hash = batch.hashes.emplace_back(head.chain.hash());
      batch.record_values.insert(batch.record_values.end(),
                                 {head.workspace, stored(position), record.at, entry, blob(bytes_of(hash))});
      for (const std::int64_t hash_of_key : index_hashes(record)) {
        batch.keys.push_back({head.workspace.value, hash_of_key, position});
      }
      if (segment_root) {
        batch.segments.push_back({row.workspace, position / kSegmentRecords - 1, row.recorded_at, *segment_root});
        batch.checkpoints.push_back(key_.sign(
            {.workspace = head.workspace, .size = position, .at = now, .hash = hash, .root = head.chain.root()}));
      }
    }
    batch.ids.emplace_back(row.id);
    fmt::format_to(std::back_inserter(batch.id_list), "{}{}", batch.id_list.empty() ? '{' : ',', row.id);
  }
  batch.id_list += '}';
  for (auto& [name, head] : batch.heads) head.peaks = head.chain.tree().peaks();
  // In the order of the index: neighbours land on the same pages.
  std::ranges::sort(batch.keys, [](const auto& a, const auto& b) { return a.order() < b.order(); });
  for (const Batch::Key& key : batch.keys) {
    batch.key_values.insert(batch.key_values.end(),
                            {key.workspace, index_bucket(key.position), key.hash, stored(key.position)});
  }
}

Result<void> Sequencer::write(db::Transaction& tx, const Batch& batch) {
  if (auto mine = fence_(tx); !mine) return mine;
  for (const auto& [name, head] : batch.heads) {
    const auto moved =
        head.is_new
            ? tx.execute(
                  "INSERT INTO audit_chains (workspace, size, hash, peaks, pruned) VALUES ($1, $2, $3, $4, 0) ON "
                  "CONFLICT (workspace) DO NOTHING",
                  {head.workspace, stored(head.chain.size()), blob(bytes_of(head.chain.hash())), blob(head.peaks)})
            : tx.execute(
                  "UPDATE audit_chains SET size = $2, hash = $3, peaks = $4 WHERE workspace = $1 AND size = $5 AND "
                  "hash = $6",
                  {head.workspace, stored(head.chain.size()), blob(bytes_of(head.chain.hash())), blob(head.peaks),
                   stored(head.size_before), blob(bytes_of(head.hash_before))});
    if (!moved) return std::unexpected(moved.error());
    if (*moved != 1) {
      return fail(ErrorCode::kConflict, fmt::format("the audit chain of '{}' was moved by somebody else", name));
    }
  }
  const auto insert = [&tx](const db::Sql& sql, std::size_t width, std::span<const db::Value> values) -> Result<void> {
    if (values.empty()) return {};
    auto done = tx.execute_many(sql, width, values);
    if (!done) return std::unexpected(done.error());
    return {};
  };
  if (auto done = insert("INSERT INTO audit_records (workspace, position, at, entry, hash) VALUES ($1, $2, $3, $4, $5)",
                         5, batch.record_values);
      !done) {
    return done;
  }
  if (auto done = insert("INSERT INTO audit_index (workspace, bucket, hash, position) VALUES ($1, $2, $3, $4)", 4,
                         batch.key_values);
      !done) {
    return done;
  }
  if (auto done = insert("INSERT INTO audit_details (workspace, position, salt, details) VALUES ($1, $2, $3, $4)", 4,
                         batch.detail_values);
      !done) {
    return done;
  }
  for (const Batch::Segment& segment : batch.segments) {
    auto sealed =
        tx.execute("INSERT INTO audit_segments (workspace, number, last_recorded_at, root) VALUES ($1, $2, $3, $4)",
                   {segment.workspace, stored(segment.number), segment.last_recorded_at, blob(bytes_of(segment.root))});
    if (!sealed) return std::unexpected(sealed.error());
  }
  for (const Checkpoint& checkpoint : batch.checkpoints) {
    if (auto kept = insert_checkpoint(tx, checkpoint); !kept) return kept;
  }
  auto removed = tx.dialect() == db::Dialect::kPostgres
                     ? tx.execute("DELETE FROM audit_pending WHERE id = ANY (CAST($1 AS BIGINT[]))", {batch.id_list})
                     : tx.execute_many("DELETE FROM audit_pending WHERE id = $1", 1, batch.ids);
  if (!removed) return std::unexpected(removed.error());
  if (*removed != stored(batch.ids.size())) {
    return fail(ErrorCode::kConflict, "pending audit records were chained by somebody else");
  }
  return {};
}

Result<void> Sequencer::prepare(Batch& batch, const Batch* before) {
  auto done = read(batch, before);
  if (done && batch.count > 0) link(batch);
  return done;
}

// While the store writes, the next batch is made ready, if there is a whole one: the store's time and this thread's
// are then not added up.
Result<void> Sequencer::commit(const Batch& batch) {
  std::promise<Result<void>> promise;
  database_.write([&](db::Transaction& tx) { return write(tx, batch); },
                  db::Database::Done<void>([&](Result<void> done) { promise.set_value(std::move(done)); }));
  if (chains_.size() > kChainsCachedMax) chains_.clear();
  for (const auto& [name, head] : batch.heads) chains_.insert_or_assign(name, head.chain);
  if (batch.count >= options_.records_target) {
    next_ = std::make_unique<Batch>();
    // A failure shows again when it is read once more.
    if (!prepare(*next_, &batch) || next_->count < options_.records_target) next_.reset();
  }
  return promise.get_future().get();
}

Result<std::uint64_t> Sequencer::pass() {
  Result<void> outcome;
  std::unique_ptr<Batch> batch = std::move(next_);
  if (batch == nullptr) {
    batch = std::make_unique<Batch>();
    outcome = prepare(*batch, nullptr);
  }
  if (outcome && batch->count > 0) outcome = commit(*batch);
  note_pass(*batch, outcome);
  if (outcome) return batch->count;
  forget();
  return std::unexpected(std::move(outcome).error().within("chaining audit records"));
}

// Where the chains are, the store knows better: after a failure, and when somebody else may have moved them.
void Sequencer::forget() {
  chains_.clear();
  next_.reset();
}

void Sequencer::note_pass(const Batch& batch, const Result<void>& outcome) {
  const UnixNanos now = clock_.now();
  const std::chrono::nanoseconds age(batch.rows.empty() ? 0 : std::max<UnixNanos>(0, now - batch.oldest));
  // Late is also what has just been chained too late: a sequencer that lags must be seen between its passes.
  const bool is_late = age > options_.alarm_after;
  age_.set(std::chrono::duration<double>(age).count());
  late_.set(is_late ? 1 : 0);
  if (outcome) chained_.add(static_cast<double>(batch.count));
  MutexLock lock(mutex_);
  status_.oldest_unchained_age = age;
  status_.is_late = is_late;
  status_.last_pass_at = now;
  status_.error = outcome ? "" : outcome.error().message();
  if (outcome) status_.chained_total += batch.count;
}

Result<void> Sequencer::checkpoint() {
  struct Head {
    WorkspaceId workspace;
    std::int64_t size = 0;
    db::Blob hash;
    db::Blob peaks;
  };
  auto heads = database_.read_and_wait([](db::Reader& reader) -> Result<std::vector<Head>> {
    auto rows = reader.query(
        "SELECT workspace, size, hash, peaks FROM audit_chains WHERE size > COALESCE((SELECT MAX(size) FROM "
        "audit_checkpoints WHERE audit_checkpoints.workspace = audit_chains.workspace), 0)");
    if (!rows) return std::unexpected(rows.error());
    std::vector<Head> grown;
    for (const db::Row row : *rows) {
      Head& head = grown.emplace_back();
      if (auto got = row.into(head.workspace, head.size, head.hash, head.peaks); !got)
        return std::unexpected(got.error());
    }
    return grown;
  });
  if (!heads) return std::unexpected(std::move(heads).error().within("looking for checkpoints that are due"));
  std::vector<Checkpoint> made;
  for (const Head& head : *heads) {
    const auto size = static_cast<std::uint64_t>(head.size);
    auto tree = MerkleTree::resume(size, head.peaks.bytes);
    const auto hash = digest_of_bytes(head.hash.bytes);
    if (!tree || !hash) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("the head of the audit chain of '{}' is damaged", head.workspace.value));
    }
    made.push_back(key_.sign(
        {.workspace = head.workspace, .size = size, .at = clock_.now(), .hash = *hash, .root = tree->root()}));
  }
  if (!made.empty()) {
    auto kept = database_.write_and_wait([&](db::Transaction& tx) -> Result<void> {
      if (auto mine = fence_(tx); !mine) return mine;
      for (const Checkpoint& checkpoint : made) {
        if (auto inserted = insert_checkpoint(tx, checkpoint); !inserted) return inserted;
      }
      return {};
    });
    if (!kept) return std::unexpected(std::move(kept).error().within("keeping audit checkpoints"));
  }
  return deliver();
}

Result<void> Sequencer::deliver() {
  if (witnesses_.empty()) return {};
  auto newest = database_.read_and_wait([](db::Reader& reader) -> Result<std::vector<Checkpoint>> {
    auto rows = reader.query(
        "SELECT workspace, size, at, hash, root, public_key, signature FROM audit_checkpoints AS c WHERE size = "
        "(SELECT "
        "MAX(size) FROM audit_checkpoints AS n WHERE n.workspace = c.workspace) ORDER BY workspace");
    if (!rows) return std::unexpected(rows.error());
    std::vector<Checkpoint> checkpoints;
    for (const db::Row row : *rows) {
      auto checkpoint = checkpoint_of(row);
      if (!checkpoint) return std::unexpected(checkpoint.error());
      checkpoints.push_back(std::move(*checkpoint));
    }
    return checkpoints;
  });
  if (!newest) return std::unexpected(std::move(newest).error().within("reading audit checkpoints"));
  std::string trouble;
  for (Witness* const witness : witnesses_) {
    for (const Checkpoint& checkpoint : *newest) {
      std::uint64_t& size = delivered_[{std::string(witness->name()), checkpoint.workspace.value}];
      if (size >= checkpoint.size) continue;
      if (auto taken = witness->deliver(checkpoint); taken) {
        size = checkpoint.size;
      } else {
        witness_failures_.add();
        trouble = fmt::format("{}: {}", witness->name(), taken.error().message());
        log::warning("audit_witness_failed", {{"witness", witness->name()}, {"error", trouble}});
      }
    }
  }
  MutexLock lock(mutex_);
  status_.witness_error = std::move(trouble);
  return {};
}

void Sequencer::run(const std::stop_token& stop, const std::function<bool()>& is_leader) {
  auto checkpoint_due = clock_.monotonic();
  while (!stop.stop_requested()) {
    bool more = false;
    if (is_leader()) {
      auto chained = pass();
      if (!chained) log::error("audit_chaining_failed", {{"error", chained.error().message()}});
      more = chained && *chained >= options_.records_target;
      if (clock_.monotonic() >= checkpoint_due) {
        checkpoint_due = clock_.monotonic() + options_.checkpoint_interval;
        if (auto done = checkpoint(); !done) {
          log::error("audit_checkpoint_failed", {{"error", done.error().message()}});
        }
      }
    } else {
      forget();
    }
    if (!more) std::ignore = clock_.wait_for(options_.interval, stop);
  }
}

SequencerStatus Sequencer::status() const {
  MutexLock lock(mutex_);
  return status_;
}

Result<std::chrono::nanoseconds> oldest_unchained_age(db::Reader& reader, UnixNanos now) {
  UnixNanos recorded_at = 0;
  auto found = reader.fetch("SELECT recorded_at FROM audit_pending ORDER BY id LIMIT 1", {}, recorded_at);
  if (!found) return std::unexpected(found.error());
  return std::chrono::nanoseconds(*found ? std::max<UnixNanos>(0, now - recorded_at) : 0);
}

}  // namespace fettle::ledger
