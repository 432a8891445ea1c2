// The ledger as the server has it: its store, opened and brought up to date; the server's secret; the rooms that live
// in it; and the threads that keep them: who leads, what time does to runs, the audit's sequencer, the outbox's end.
//
//   auto ledger = Ledger::open(config.ledger, data_dir.path(), redactor, clock, rng, metrics);
//   (*ledger)->runs().set_admission(…);
//   (*ledger)->start();
//   (*ledger)->runs().write(…);
//   (*ledger)->stop();       // after the API; before the store of anything that reads the outbox
//
// Thread-safe once open.
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/rng.h"
#include "core/secret.h"
#include "db/migration.h"
#include "ledger/outbox.h"
#include "ledger/sequencer.h"
#include "redact/redactor.h"
#include "server/config.h"

namespace fettle::db {
class Database;
}
namespace fettle::ledger {
class Auditor;
}  // namespace fettle::ledger
namespace fettle::notify {
class SecretBox;
}
namespace fettle::runs {
class Runs;
}

namespace fettle::server {

// Where the store is, with its password in place. kInvalidArgument for a configuration that cannot work.
Result<Secret> ledger_url(const Config::Ledger& config, const std::filesystem::path& data_dir);
// The steps of every room that keeps tables in the ledger.
std::vector<const db::Migrations*> ledger_rooms();

class Ledger {
 public:
  // Blocks until the schema is current. kInvalidArgument for a configuration that cannot work, kUnsupported for a
  // ledger of a newer Fettle, kDataLoss for a damaged file, kUnavailable for a server that does not answer. Messages
  // hold no password.
  static Result<std::unique_ptr<Ledger>> open(const Config::Ledger& config, std::chrono::seconds runs_kept,
                                              const std::filesystem::path& data_dir,
                                              std::shared_ptr<const redact::Redactor> redactor, Clock& clock, Rng& rng,
                                              metrics::Registry& metrics);
  // What is due from here on is done: after whatever decides what may run has been set.
  void start();
  ~Ledger();
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;

  db::Database& database();
  ledger::Auditor& auditor();
  ledger::Outbox& outbox();
  runs::Runs& runs();
  // Inside a transaction: refuses what is not, or not any more, the leader's to do. Valid as long as this.
  ledger::Outbox::Fence leader_fence() const;
  // For secrets that the ledger keeps and the server must use again.
  const notify::SecretBox& secret_box() const;
  // Of the key that signs checkpoints.
  const ledger::PublicKey& public_key() const;

  struct Status {
    std::string down;        // empty while the store works
    bool is_leader = false;  // of all replicas on this store
    std::int64_t epoch = 0;  // grows with each new leader
    ledger::SequencerStatus audit;
    std::string upkeep_error;  // of the last round; empty when it went well
  };
  Status status() const;

  // Ends long polls, threads and the store, in this order; the leader's place is free at once. Idempotent.
  void stop();

 private:
  struct Parts;
  explicit Ledger(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace fettle::server
