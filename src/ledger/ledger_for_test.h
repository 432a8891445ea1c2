// A ledger of either store with everything that an audit record passes through.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "db/database.h"
#include "db/migration.h"
#include "db/testing.h"
#include "ledger/audit.h"
#include "ledger/audit_log.h"
#include "ledger/schema.h"
#include "ledger/sequencer.h"
#include "redact/redactor.h"

namespace fettle::ledger {

inline std::shared_ptr<const redact::Redactor> test_redactor() {
  static const auto redactor = redact::Redactor::compile().value();
  return redactor;
}

class LedgerTest : public db::StoreTest {
 protected:
  static constexpr UnixNanos kStart = 1'790'000'000 * kNanosPerSecond;

  LedgerTest() {
    store.clock = &clock;
    database = open();
    const auto ready = db::migrate(*database, {&migrations()});
    EXPECT_TRUE(ready) << ready.error().message();
    auditor = std::make_unique<Auditor>(test_redactor(), clock, store.registry);
    make_sequencer();
  }

  void make_sequencer(std::vector<Witness*> witnesses = {}, Sequencer::Options options = {}) {
    sequencer = std::make_unique<Sequencer>(
        *database, clock, rng, key, store.registry, [](db::Transaction&) { return Result<void>(); },
        std::move(witnesses), options);
  }

  AuditRecord record(std::string action = "publish") {
    AuditRecord made;
    made.at = clock.now();
    made.actor_type = "agent";
    made.actor_id = "agent-7";
    made.action = std::move(action);
    made.client_id = "acme";
    return made;
  }

  Result<void> write(const std::vector<AuditRecord>& records) { return write(scope, records); }
  Result<void> write(const Scope& whose, const std::vector<AuditRecord>& records) {
    return database->write_and_wait([&](db::Transaction& tx) { return auditor->record(tx, whose, records); });
  }
  // Records `count` of them, one call each hundred, and chains them.
  void grow(std::uint64_t count) {
    std::vector<AuditRecord> records;
    for (std::uint64_t i = 0; i < count; ++i) {
      AuditRecord& made = records.emplace_back(record());
      made.target_type = "post";
      made.target_id = "post-" + std::to_string(grown++);
      made.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
      if (grown % 2 == 0) made.payload = R"({"text":"hello"})";
      if (records.size() == 100 || i + 1 == count) {
        const auto written = write(records);
        ASSERT_TRUE(written) << written.error().message();
        records.clear();
      }
    }
    chain();
  }
  void chain() {
    for (;;) {
      const auto chained = sequencer->pass();
      ASSERT_TRUE(chained) << chained.error().message();
      if (*chained == 0) return;
    }
  }

  template <class Body>
  auto read(Body body) {
    return database->read_and_wait(std::move(body));
  }
  AuditPage find(const AuditQuery& query) { return find(scope, query); }
  AuditPage find(const Scope& whose, const AuditQuery& query) {
    auto page = read([&](db::Reader& reader) { return find_audits(reader, whose, query); });
    EXPECT_TRUE(page) << page.error().message();
    return page ? std::move(*page) : AuditPage();
  }
  // Runs a statement past every protection of the log, as somebody with the database's password would.
  void tamper(std::string sql) {
    const auto done = database->write_and_wait([&](db::Transaction& tx) -> Result<void> {
      const bool sqlite = tx.dialect() == db::Dialect::kSqlite;
      for (const char* table : {"audit_records", "audit_index"}) {
        for (const char* what : {"update", "delete"}) {
          const std::string drop =
              std::string("DROP TRIGGER IF EXISTS ") + table + "_" + what + (sqlite ? "" : std::string(" ON ") + table);
          if (auto gone = tx.execute(db::Sql::assembled(drop)); !gone) return std::unexpected(gone.error());
        }
      }
      for (const char* drop : {"DROP TRIGGER IF EXISTS audit_checkpoints_keep ON audit_checkpoints"}) {
        if (sqlite) continue;
        if (auto gone = tx.execute(db::Sql::assembled(drop)); !gone) return std::unexpected(gone.error());
      }
      if (sqlite) {
        for (const char* drop :
             {"DROP TRIGGER IF EXISTS audit_checkpoints_update", "DROP TRIGGER IF EXISTS audit_checkpoints_delete"}) {
          if (auto gone = tx.execute(db::Sql::assembled(drop)); !gone) return std::unexpected(gone.error());
        }
      }
      auto changed = tx.execute(db::Sql::assembled(sql));
      if (!changed) return std::unexpected(changed.error());
      return {};
    });
    ASSERT_TRUE(done) << done.error().message();
  }

  const Scope scope{.workspace = {"agency"}, .clients = {}};
  ManualClock clock{kStart};
  SeededRng rng{1};
  const SigningKey key = SigningKey::derive(Secret(std::string(32, 'k'))).value();
  std::unique_ptr<db::Database> database;
  std::unique_ptr<Auditor> auditor;
  std::unique_ptr<Sequencer> sequencer;
  std::uint64_t grown = 0;
};

}  // namespace fettle::ledger
