// One transaction's worth of this room's work: its store, whose data, who acts, when, and what it will tell others.
//
//   runs.write<Enqueued>(scope, actor, [](Unit& unit) { return enqueue(unit, requests); }, done);
//
// A FAILURE OF THE STORE STICKS: after it rows() answers nothing, execute() zero, and the whole transaction is undone
// with that failure whatever the body returns (db/transaction.h). So the room's functions return the errors of their
// own rules and need not repeat the store's after every statement. Lives on one thread, inside one body.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/rng.h"
#include "core/scope.h"
#include "db/transaction.h"
#include "ledger/identifiers.h"
#include "runs/types.h"

namespace fettle::runs {

// Who does it, for audits.
struct Actor {
  std::string type = "system";  // operator, agent, token, system
  std::string id = "fettle";
  std::string role;
  std::string request_id;
  std::string correlation_id;
  std::string trace_id;
  std::string span_id;
  bool runs_ai = true;  // may ask for the work of agents
};

// A snapshot's or a transaction's reads.
class View {
 public:
  View(db::Reader& reader, const Scope& scope, UnixNanos now) : reader_(reader), scope_(scope), now_(now) {}

  const Scope& scope() const { return scope_; }
  const WorkspaceId& workspace() const { return scope_.workspace; }
  UnixNanos now() const { return now_; }
  db::Dialect dialect() const { return reader_.dialect(); }
  // False for what belongs to a client that this scope does not see. Work without a client belongs to none.
  bool allows(std::string_view client) const;

  db::Rows rows(const db::Sql& sql, db::Params params = {});
  // The first row into variables; false when there is none.
  template <class... T>
  bool first(const db::Sql& sql, db::Params params, T&... out) {
    db::Rows found = rows(sql, params);
    return !found.empty() && read(found[0], out...);
  }
  template <class... T>
  bool read(const db::Row& row, T&... out) {
    if (auto done = row.into(out...); !done) return note(done.error());
    return true;
  }
  // For the questions of other rooms in the same snapshot.
  db::Reader& reader() { return reader_; }
  // What went wrong below, if anything did.
  const std::optional<Error>& failure() const { return failure_; }

 protected:
  bool note(Error error);

 private:
  db::Reader& reader_;
  const Scope& scope_;
  const UnixNanos now_;
  std::optional<Error> failure_;
};

// Time and randomness for one body, taken before it runs so that a repetition sees the same.
struct Stamp {
  UnixNanos now = 0;
  std::uint64_t seed = 0;
};

// Numbers that grow with time: milliseconds since 2020, a counter, the replica. Thread-safe.
class NumberSource {
 public:
  // `replica` is cut to 10 bits. Two replicas with the same one may, rarely, make the same number: kConflict, try
  // again.
  NumberSource(Clock& clock, std::uint64_t replica)
      : clock_(clock), replica_(static_cast<std::int64_t>(replica & 1'023)) {}
  std::int64_t next();
  // No number made at or after `t` is smaller.
  static std::int64_t least_at(UnixNanos t);

 private:
  Clock& clock_;
  const std::int64_t replica_;
  std::atomic<std::int64_t> next_{0};
};

using ledger::Identifier;
using ledger::Identifiers;

// A change of state as telemetry, the live stream and webhooks will see it.
struct Event {
  std::string type;  // "run.succeeded"
  Identifiers identifiers;
  std::string body;  // a JSON object
};

// What is audited (README.md): decisions, terminal outcomes, switches, approvals, side effects.
struct Audit {
  std::string action;  // "run.discard"
  std::string target_type;
  std::string target_id;
  std::vector<std::string> target_ids;  // instead of target_id: what the same was done to
  std::string result = "success";       // success, fail or blocked
  std::string reason;                   // as a code
  Identifiers identifiers;              // client_id, platform, surface and lane among them
  std::string summary;                  // prose: what a person wrote
  std::string before;                   // JSON
  std::string after;                    // JSON
  std::string payload_hash;
  std::string policy_snapshot_id;
  std::vector<std::string> proof;
};

// Where a body's audits and events go, inside its transaction. Thread-safe; outlives every Unit.
class Journal {
 public:
  virtual ~Journal() = default;
  virtual Result<void> record(db::Transaction& tx, const Scope& scope, const Actor& actor, UnixNanos now,
                              std::span<const Audit> audits) = 0;
  // One outbox row.
  virtual Result<void> publish(db::Transaction& tx, const Scope& scope, UnixNanos now,
                               std::span<const Event> events) = 0;
};

// Runs of a workflow that a worker of a pool may lease now, once the transaction is committed.
struct Wake {
  std::string pool;
  std::string workflow;
  std::size_t count = 0;
};

class Admission;

class Unit : public View {
 public:
  Unit(db::Transaction& tx, const Scope& scope, const Actor& actor, const Stamp& stamp, NumberSource& numbers,
       const SizeLimits& limits, const Admission* admission = nullptr);

  db::Transaction& tx() { return tx_; }
  const Actor& actor() const { return actor_; }
  const SizeLimits& limits() const { return limits_; }
  // What may run here (admission.h); null where nothing is limited.
  const Admission* admission() const { return admission_; }
  std::int64_t execute(const db::Sql& sql, db::Params params = {});
  std::int64_t execute_many(const db::Sql& sql, std::size_t width, std::span<const db::Value> values);

  // For a new row; a body that is repeated gets others.
  std::int64_t next_number() { return numbers_.next(); }
  // Uniform in [0, 2^64).
  std::uint64_t random();

  void event(std::string_view type, Identifiers identifiers, std::string body = {});
  void audit(Audit audit) { audits_.push_back(std::move(audit)); }
  void wake(std::string_view pool, std::string_view workflow, std::size_t count = 1);

  // Once it is committed, leases under kill switches are taken away until none is left (switches.h).
  void go_on_revoking() { revokes_ = true; }
  bool revokes() const { return revokes_; }

  // Adds to what the workspace used this month (usage.h).
  void add_usage(std::int64_t tokens, double cost_usd) {
    tokens_ += tokens;
    cost_usd_ += cost_usd;
  }

  // Writes audits, events and usage through the journal. Called once, last.
  Result<void> finish(Journal& journal);
  std::vector<Wake> take_wakes() { return std::move(wakes_); }

 private:
  db::Transaction& tx_;
  const Actor& actor_;
  NumberSource& numbers_;
  const SizeLimits& limits_;
  const Admission* admission_;
  Stamp stamp_;
  std::vector<Event> events_;
  std::vector<Audit> audits_;
  std::vector<Wake> wakes_;
  std::int64_t tokens_ = 0;
  double cost_usd_ = 0;
  bool revokes_ = false;
};

}  // namespace fettle::runs
