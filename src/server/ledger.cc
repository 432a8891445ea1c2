#include "server/ledger.h"

#include <fmt/format.h>
#include <pthread.h>

#include <chrono>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "access/accounts.h"
#include "access/schema.h"
#include "core/log.h"
#include "core/mutex.h"
#include "db/database.h"
#include "db/lease.h"
#include "db/migration.h"
#include "http/message.h"
#include "ledger/audit.h"
#include "ledger/checkpoint.h"
#include "ledger/idempotency.h"
#include "ledger/outbox.h"
#include "ledger/schema.h"
#include "ledger/webhook_events.h"
#include "ledger/witness.h"
#include "notify/schema.h"
#include "notify/secret_box.h"
#include "runs/ledger_journal.h"
#include "runs/runs.h"
#include "runs/schema.h"
#include "server/config_audit.h"
#include "server/secret_file.h"

namespace fettle::server {
namespace {

constexpr std::chrono::milliseconds kUpkeepEvery{250};
constexpr std::uint64_t kLogBytes = 32ULL << 20;
// A lease of ten seconds is prolonged three times before it ends.
constexpr std::chrono::seconds kLeaseEvery{3};
constexpr std::chrono::seconds kTidyEvery{5};
constexpr std::chrono::seconds kCheckpointEvery{60};
// How long sessions, links and tokens that have ended can still be looked up.
constexpr UnixNanos kEndedKept = 30 * kNanosPerDay;
constexpr std::size_t kSecretBytes = 32;
constexpr std::chrono::seconds kPurgeEvery{60};

}  // namespace

Result<Secret> ledger_url(const Config::Ledger& config, const std::filesystem::path& data_dir) {
  if (config.url.empty()) {
    if (!config.password_file.empty()) {
      return fail(ErrorCode::kInvalidArgument, "ledger.password_file: there is no ledger.url to use it for");
    }
    return Secret("sqlite:" + (data_dir / "ledger.db").string());
  }
  if (config.password_file.empty()) return Secret(config.url);
  auto password = read_secret_file(config.password_file);
  if (!password) return std::unexpected(std::move(password).error().within("ledger.password_file"));
  const std::size_t user_at = config.url.find("://") + 3;
  const std::size_t host_at = config.url.find('@', user_at);
  if (host_at == std::string::npos || config.url.substr(user_at, host_at - user_at).contains(':')) {
    return fail(ErrorCode::kInvalidArgument,
                "ledger.url: expected a user without a password before '@', for ledger.password_file to be its own");
  }
  return Secret(config.url.substr(0, host_at) + ":" + http::percent_encode(password->reveal()) +
                config.url.substr(host_at));
}

std::vector<const db::Migrations*> ledger_rooms() {
  return {&db::lease_migrations(), &ledger::migrations(), &access::migrations(),
          &runs::migrations(),     &notify::migrations(), &config_migrations()};
}

// Members that use others stand below them.
struct Ledger::Parts {
  Parts(Clock& its_clock, Rng& rng, metrics::Registry& metrics, std::shared_ptr<const redact::Redactor> redactor,
        std::unique_ptr<db::Database> its_database, ledger::SigningKey its_key, notify::SecretBox its_box,
        std::chrono::seconds runs_kept, const std::filesystem::path& witness_file)
      : clock(its_clock),
        database(std::move(its_database)),
        auditor(std::move(redactor), clock, metrics),
        journal(auditor),
        runs(*database, clock, rng, journal, {}),
        outbox(*database, clock, metrics),
        lease(*database, clock, {.name = "leader", .holder = to_hex(rng.bytes(16))}),
        key(std::move(its_key)),
        box(std::move(its_box)),
        purging{.runs_kept = runs_kept},
        upkeep_failures(metrics.counter("fettle_ledger_upkeep_failures_total",
                                        "Rounds of the ledger's upkeep that did not come to their end.")) {
    std::vector<ledger::Witness*> witnesses;
    witnesses.push_back(&event_witness.emplace(*database, clock));
    if (!witness_file.empty()) witnesses.push_back(&witness.emplace(witness_file));
    sequencer.emplace(
        *database, clock, rng, key, metrics, [this](db::Transaction& tx) { return lease.check(tx); },
        std::move(witnesses), ledger::Sequencer::Options{.checkpoint_interval = kCheckpointEvery});
  }

  void start() {
    keeper = std::jthread([this](const std::stop_token& stop) {
      ::pthread_setname_np(::pthread_self(), "ledger-keeper");
      keep(stop);
    });
    sequencing = std::jthread([this](const std::stop_token& stop) {
      ::pthread_setname_np(::pthread_self(), "sequencer");
      sequencer->run(stop, [this] { return lease.held(); });
    });
  }

  // One thread does what is due, so that a slow store is never asked twice at a time.
  void keep(const std::stop_token& stop) {
    std::chrono::nanoseconds lease_at{0}, tidy_at{0}, purge_at{0};
    do {
      const auto now = clock.monotonic();
      Result<void> round;
      if (now >= lease_at) {
        lease_at = now + kLeaseEvery;
        if (auto mine = lease.acquire(); !mine) round = std::unexpected(std::move(mine).error().within("leader lease"));
      }
      if (auto done = runs.upkeep_and_wait(); !done) round = std::unexpected(std::move(done).error().within("runs"));
      if (now >= tidy_at && lease.held()) {
        tidy_at = now + kTidyEvery;
        if (auto tidied = tidy(); !tidied) round = std::unexpected(std::move(tidied).error().within("outbox"));
      }
      // A piece in each round while there is something to remove, so that nothing else is late for it. What two leaders
      // remove at the same time is removed once: nothing has to fence them.
      if (now >= purge_at && lease.held()) {
        auto gone = runs.purge_and_wait(purging);
        if (!gone) round = std::unexpected(gone.error().within("purging"));
        if (!gone || gone->total() == 0) purge_at = now + kPurgeEvery;
      }
      note(round);
    } while (clock.wait_for(kUpkeepEvery, stop));
  }

  Result<void> tidy() {
    if (auto trimmed = outbox.trim(); !trimmed) return std::unexpected(std::move(trimmed).error());
    // For the metric of how far behind each consumer is.
    if (auto counted = outbox.status(); !counted) return std::unexpected(std::move(counted).error());
    auto purged = database->write_and_wait([this, now = clock.now()](db::Transaction& tx) -> Result<std::int64_t> {
      if (auto mine = lease.check(tx); !mine) return std::unexpected(std::move(mine).error());
      if (auto ended = access::purge_ended(tx, now - kEndedKept); !ended) return ended;
      const UnixNanos before = now - std::chrono::nanoseconds(purging.runs_kept).count();
      if (auto old = ledger::purge_webhook_events(tx, before); !old) return old;
      return ledger::purge_idempotency_keys(tx, now);
    });
    if (!purged) return std::unexpected(std::move(purged).error());
    return {};
  }

  void note(const Result<void>& round) {
    std::string error = round ? std::string() : round.error().message();
    if (!round) upkeep_failures.add();
    MutexLock lock(mutex);
    // Once for each cause: a store that is down stays so for many rounds.
    if (!error.empty() && error != upkeep_error) log::warning("ledger_upkeep_failed", {{"error", error}});
    upkeep_error = std::move(error);
  }

  void stop() {
    runs.close();
    keeper.request_stop();
    sequencing.request_stop();
    if (keeper.joinable()) keeper.join();
    if (sequencing.joinable()) sequencing.join();
    if (auto released = lease.release(); !released) {
      log::warning("leader_lease_not_released", {{"error", released.error().message()}});
    }
    database->close();
  }

  Clock& clock;
  std::unique_ptr<db::Database> database;
  ledger::Auditor auditor;
  runs::LedgerJournal journal;
  runs::Runs runs;
  ledger::Outbox outbox;
  db::LeaderLease lease;
  const ledger::SigningKey key;
  const notify::SecretBox box;
  const runs::PurgeOptions purging;
  metrics::Counter& upkeep_failures;
  std::optional<ledger::EventWitness> event_witness;
  std::optional<ledger::FileWitness> witness;
  std::optional<ledger::Sequencer> sequencer;

  mutable Mutex mutex;
  std::string upkeep_error FETTLE_GUARDED_BY(mutex);
  bool is_stopped = false;

  std::jthread keeper, sequencing;  // last: they use everything above
};

Ledger::Ledger(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Ledger::~Ledger() { stop(); }

Result<std::unique_ptr<Ledger>> Ledger::open(const Config::Ledger& config, std::chrono::seconds runs_kept,
                                             const std::filesystem::path& data_dir,
                                             std::shared_ptr<const redact::Redactor> redactor, Clock& clock, Rng& rng,
                                             metrics::Registry& metrics) {
  auto url = ledger_url(config, data_dir);
  if (!url) return std::unexpected(std::move(url).error());
  auto secret = secret_of_server(data_dir / "secret.key", kSecretBytes, rng);
  if (!secret) return std::unexpected(std::move(secret).error());
  auto key = ledger::SigningKey::derive(*secret);
  if (!key) return std::unexpected(std::move(key).error().within("secret.key"));
  auto box = notify::SecretBox::derive(*secret);
  if (!box) return std::unexpected(std::move(box).error().within("secret.key"));
  db::Options store;
  // The longer the log, the fewer times a page that changes all the time is copied out of it.
  store.wal_bytes_target = kLogBytes;
  auto database = db::open(*url, store, clock, metrics);
  if (!database) return std::unexpected(std::move(database).error().within("opening the ledger"));
  auto ready = db::migrate(**database, ledger_rooms());
  if (!ready) return std::unexpected(std::move(ready).error().within("bringing the ledger up to date"));
  auto parts = std::make_unique<Parts>(clock, rng, metrics, std::move(redactor), std::move(*database), std::move(*key),
                                       std::move(*box), runs_kept, config.witness_file);
  if (auto recovered = parts->outbox.recover(); !recovered) {
    return std::unexpected(std::move(recovered).error().within("opening the ledger's outbox"));
  }
  // Before anybody can cause an event: telemetry may open hours later, and is to get them all.
  for (const std::string_view consumer : {"telemetry", "webhooks"}) {
    if (auto added = parts->outbox.add_consumer(consumer); !added) {
      return std::unexpected(std::move(added).error().within("opening the ledger's outbox"));
    }
  }
  return std::unique_ptr<Ledger>(new Ledger(std::move(parts)));
}

void Ledger::start() { parts_->start(); }

db::Database& Ledger::database() { return *parts_->database; }
ledger::Auditor& Ledger::auditor() { return parts_->auditor; }
ledger::Outbox& Ledger::outbox() { return parts_->outbox; }
runs::Runs& Ledger::runs() { return parts_->runs; }
ledger::Outbox::Fence Ledger::leader_fence() const {
  return [lease = &parts_->lease](db::Transaction& tx) { return lease->check(tx); };
}
const notify::SecretBox& Ledger::secret_box() const { return parts_->box; }
const ledger::PublicKey& Ledger::public_key() const { return parts_->key.public_key(); }

Ledger::Status Ledger::status() const {
  Status status{.down = parts_->database->status().down,
                .is_leader = parts_->lease.held(),
                .epoch = parts_->lease.epoch(),
                .audit = parts_->sequencer->status(),
                .upkeep_error = {}};
  MutexLock lock(parts_->mutex);
  status.upkeep_error = parts_->upkeep_error;
  return status;
}

void Ledger::stop() {
  if (std::exchange(parts_->is_stopped, true)) return;
  parts_->stop();
}

}  // namespace fettle::server
