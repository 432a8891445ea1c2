#include "ledger/outbox.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "db/database.h"
#include "ledger/event_packing.h"

namespace fettle::ledger {
namespace {

constexpr std::size_t kConsumerBytesMax = 64;

// Rows behind $1.$2 that nothing can precede any more.
constexpr db::Sql kNextSizes(
    "SELECT transaction_id, id, length(events) FROM outbox WHERE id > $2 AND $1 >= 0 ORDER BY id LIMIT $3",
    "SELECT transaction_id, id, octet_length(events) FROM outbox WHERE (transaction_id, id) > ($1, $2) AND "
    "transaction_id "
    "< pg_snapshot_xmin(pg_current_snapshot())::text::bigint ORDER BY transaction_id, id LIMIT $3");
// Those up to $3.$4.
constexpr db::Sql kRows(
    "SELECT transaction_id, id, workspace, events FROM outbox WHERE id > $2 AND $1 >= 0 AND id <= $4 AND $3 >= 0 ORDER "
    "BY "
    "id",
    "SELECT transaction_id, id, workspace, events FROM outbox WHERE (transaction_id, id) > ($1, $2) AND "
    "(transaction_id, "
    "id) <= ($3, $4) ORDER BY transaction_id, id");
constexpr db::Sql kEnd("SELECT 0, COALESCE(MAX(id), 0) FROM outbox",
                       "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1, 9223372036854775807");
constexpr db::Sql kBehind(
    "SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE id > $2 AND $1 >= 0 LIMIT $3) AS behind",
    "SELECT COUNT(*) FROM (SELECT 1 FROM outbox WHERE (transaction_id, id) > ($1, $2) LIMIT $3) AS behind");
constexpr db::Sql kTrim(
    "DELETE FROM outbox WHERE id IN (SELECT id FROM outbox WHERE id <= $2 AND $1 >= 0 ORDER BY id LIMIT $3)",
    "DELETE FROM outbox WHERE (transaction_id, id) IN (SELECT transaction_id, id FROM outbox WHERE (transaction_id, "
    "id) <= "
    "($1, $2) ORDER BY transaction_id, id LIMIT $3)");

Result<OutboxCursor> end_of(db::Reader& reader) {
  OutboxCursor end;
  auto found = reader.fetch(kEnd, {}, end.transaction_id, end.id);
  if (!found) return std::unexpected(found.error());
  return end;
}

}  // namespace

std::string to_string(const OutboxCursor& cursor) { return fmt::format("{}.{}", cursor.transaction_id, cursor.id); }

std::optional<OutboxCursor> outbox_cursor_of(std::string_view text) {
  OutboxCursor cursor;
  const char* const end = text.data() + text.size();
  const auto [dot, first] = std::from_chars(text.data(), end, cursor.transaction_id);
  if (first != std::errc() || dot == end || *dot != '.') return std::nullopt;
  const auto [last, second] = std::from_chars(dot + 1, end, cursor.id);
  if (second != std::errc() || last != end || cursor.transaction_id < 0 || cursor.id < 0) return std::nullopt;
  return cursor;
}

bool is_visible(const WorkspaceId& workspace, const Event& event, const Scope& scope) {
  if (workspace != scope.workspace) return false;
  if (scope.clients.empty()) return true;
  const auto client = std::ranges::find(event.identifiers, "client_id", &Identifier::name);
  return client != event.identifiers.end() &&
         std::ranges::any_of(scope.clients, [&](const ClientId& id) { return id.value == client->value; });
}

Outbox::Outbox(db::Database& database, Clock& clock, metrics::Registry& registry, Options options)
    : database_(database), clock_(clock), registry_(registry), options_(options) {}
Outbox::Outbox(db::Database& database, Clock& clock, metrics::Registry& registry)
    : Outbox(database, clock, registry, Options()) {}

Result<void> Outbox::add_consumer(std::string_view name) {
  if (name.empty() || name.size() > kConsumerBytesMax) {
    return fail(ErrorCode::kInvalidArgument, "outbox: a consumer's name has 1 to 64 bytes");
  }
  return database_.write_and_wait([consumer = std::string(name)](db::Transaction& tx) -> Result<void> {
    auto end = end_of(tx);
    if (!end) return std::unexpected(end.error());
    auto added = tx.execute(
        "INSERT INTO outbox_consumers (name, transaction_id, id) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING",
        {consumer, end->transaction_id, end->id});
    if (!added) return std::unexpected(added.error());
    return {};
  });
}

Result<void> Outbox::remove_consumer(std::string_view name) {
  return database_.write_and_wait([consumer = std::string(name)](db::Transaction& tx) -> Result<void> {
    auto removed = tx.execute("DELETE FROM outbox_consumers WHERE name = $1", {consumer});
    if (!removed) return std::unexpected(removed.error());
    return {};
  });
}

Result<OutboxBatch> Outbox::read(db::Reader& reader, OutboxCursor after) const {
  OutboxBatch batch{.rows = {}, .end = after};
  // Sizes first: a row may hold one event or megabytes of them.
  auto sizes = reader.query(kNextSizes, {after.transaction_id, after.id, options_.rows_max});
  if (!sizes) return std::unexpected(std::move(sizes).error().within("reading the outbox"));
  std::uint64_t bytes = 0;
  for (const db::Row row : *sizes) {
    OutboxCursor cursor;
    std::uint64_t size = 0;
    if (auto got = row.into(cursor.transaction_id, cursor.id, size); !got) return std::unexpected(got.error());
    if (batch.end != after && bytes + size > options_.bytes_max) {
      batch.is_full = true;
      break;
    }
    bytes += size;
    batch.end = cursor;
  }
  if (batch.end == after) return batch;
  if (sizes->size() == static_cast<std::size_t>(options_.rows_max)) batch.is_full = true;
  auto read =
      reader.each(kRows, {after.transaction_id, after.id, batch.end.transaction_id, batch.end.id},
                  [&](const db::Row& row) -> Result<void> {
                    OutboxRow next;
                    db::BlobView packed;
                    if (auto got = row.into(next.cursor.transaction_id, next.cursor.id, next.workspace, packed); !got)
                      return got;
                    auto events = unpack_events(packed.bytes);
                    if (!events) return std::unexpected(std::move(events).error().within(to_string(next.cursor)));
                    next.events = std::move(*events);
                    batch.rows.push_back(std::move(next));
                    return {};
                  });
  if (!read) return std::unexpected(std::move(read).error().within("reading the outbox"));
  return batch;
}

Result<OutboxBatch> Outbox::next(std::string_view name) {
  return database_.read_and_wait([this, consumer = std::string(name)](db::Reader& reader) -> Result<OutboxBatch> {
    OutboxCursor cursor;
    auto found = reader.fetch("SELECT transaction_id, id FROM outbox_consumers WHERE name = $1", {consumer},
                              cursor.transaction_id, cursor.id);
    if (!found) return std::unexpected(found.error());
    if (!*found) return fail(ErrorCode::kNotFound, fmt::format("the outbox has no consumer '{}'", consumer));
    return read(reader, cursor);
  });
}

Result<void> Outbox::advance(std::string_view name, OutboxCursor to, const Fence& fence) {
  return database_.write_and_wait([consumer = std::string(name), to, &fence](db::Transaction& tx) -> Result<void> {
    if (fence) {
      if (auto mine = fence(tx); !mine) return mine;
    }
    auto moved = tx.execute(
        "UPDATE outbox_consumers SET transaction_id = $2, id = $3 WHERE name = $1 AND (transaction_id, id) < ($2, $3)",
        {consumer, to.transaction_id, to.id});
    if (!moved) return std::unexpected(moved.error());
    return {};
  });
}

Result<void> Outbox::pass_over(std::string_view name, OutboxCursor to) {
  auto is_behind = database_.read_and_wait([consumer = std::string(name)](db::Reader& reader) -> Result<bool> {
    OutboxCursor cursor;
    auto found = reader.fetch("SELECT transaction_id, id FROM outbox_consumers WHERE name = $1", {consumer},
                              cursor.transaction_id, cursor.id);
    if (!found) return std::unexpected(found.error());
    if (!*found) return fail(ErrorCode::kNotFound, fmt::format("the outbox has no consumer '{}'", consumer));
    auto next = reader.query(kNextSizes, {cursor.transaction_id, cursor.id, 1});
    if (!next) return std::unexpected(next.error());
    return !next->empty();
  });
  if (!is_behind) return std::unexpected(is_behind.error());
  return *is_behind ? advance(name, to) : Result<void>();
}

Result<OutboxBatch> Outbox::read_after(OutboxCursor after) {
  return database_.read_and_wait([this, after](db::Reader& reader) { return read(reader, after); });
}

Result<OutboxCursor> Outbox::end() {
  return database_.read_and_wait([](db::Reader& reader) { return end_of(reader); });
}

Result<std::int64_t> Outbox::trim() {
  auto end = this->end();
  if (!end) return std::unexpected(end.error());
  std::optional<OutboxCursor> old_enough;
  {
    const auto now = clock_.monotonic();
    MutexLock lock(mutex_);
    seen_.push_back({now, *end});
    // Of those that are old enough, the newest counts.
    while (seen_.size() > 1 && seen_[1].at + options_.tail_keep <= now) seen_.pop_front();
    if (seen_.front().at + options_.tail_keep <= now) old_enough = seen_.front().end;
  }
  if (!old_enough) return 0;
  return database_.write_and_wait(
      [until = *old_enough, rows_max = options_.trim_rows_max](db::Transaction& tx) -> Result<std::int64_t> {
        OutboxCursor least;
        auto found = tx.fetch("SELECT transaction_id, id FROM outbox_consumers ORDER BY transaction_id, id LIMIT 1", {},
                              least.transaction_id, least.id);
        if (!found) return std::unexpected(found.error());
        const OutboxCursor passed = *found ? std::min(least, until) : until;
        return tx.execute(kTrim, {passed.transaction_id, passed.id, rows_max});
      });
}

Result<std::vector<ConsumerStatus>> Outbox::status() {
  auto status = database_.read_and_wait([](db::Reader& reader) -> Result<std::vector<ConsumerStatus>> {
    auto rows = reader.query("SELECT name, transaction_id, id FROM outbox_consumers ORDER BY name");
    if (!rows) return std::unexpected(rows.error());
    std::vector<ConsumerStatus> consumers;
    for (const db::Row row : *rows) {
      ConsumerStatus& consumer = consumers.emplace_back();
      if (auto got = row.into(consumer.name, consumer.cursor.transaction_id, consumer.cursor.id); !got) {
        return std::unexpected(got.error());
      }
      auto counted = reader.fetch(kBehind, {consumer.cursor.transaction_id, consumer.cursor.id, kBacklogCountMax},
                                  consumer.rows_behind);
      if (!counted) return std::unexpected(counted.error());
    }
    return consumers;
  });
  if (status) {
    for (const ConsumerStatus& consumer : *status) {
      registry_
          .gauge("fettle_outbox_rows_behind", "Rows of domain events that a consumer has not been given.",
                 {{"consumer", consumer.name}})
          .set(static_cast<double>(consumer.rows_behind));
    }
  }
  return status;
}

Result<void> Outbox::recover() {
  if (database_.dialect() == db::Dialect::kSqlite) return {};
  return database_.write_and_wait(
      [](db::Transaction& tx) -> Result<void> {
        std::int64_t current = 0;
        std::int64_t highest = 0;
        auto found = tx.fetch(
            db::Sql("SELECT 0, 0",
                    "SELECT pg_current_xact_id()::text::bigint, GREATEST((SELECT COALESCE(MAX(transaction_id), 0) FROM "
                    "outbox), (SELECT COALESCE(MAX(transaction_id), 0) FROM outbox_consumers))"),
            {}, current, highest);
        if (!found) return std::unexpected(found.error());
        if (highest < current) return {};
        // Ids alone order what was there; a consumer goes on before the first row that it had not passed.
        auto moved = tx.execute(
            "UPDATE outbox_consumers SET transaction_id = 0, id = COALESCE((SELECT MIN(outbox.id) - 1 FROM outbox "
            "WHERE "
            "(outbox.transaction_id, outbox.id) > (outbox_consumers.transaction_id, outbox_consumers.id)), (SELECT "
            "MAX(outbox.id) FROM outbox), 0)");
        if (!moved) return std::unexpected(moved.error());
        auto renumbered = tx.execute("UPDATE outbox SET transaction_id = 0");
        if (!renumbered) return std::unexpected(renumbered.error());
        return {};
      },
      {.alone = true});
}

}  // namespace fettle::ledger
