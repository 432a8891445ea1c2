// The room's front: runs a body of work in a transaction, tells those who wait, and does what time asks for.
//
//   Runs runs(database, clock, rng, journal, {});
//   runs.write(scope, actor, [=](Unit& unit) { return enqueue(unit, requests); },
//              [](Result<std::vector<Enqueued>> made) { … });
//   runs.lease_when_ready(scope, actor, request, clock.monotonic() + 20s, [](Result<Leased> work) { … });
//   every 250 ms: runs.upkeep_and_wait();
//
// Bodies and completions run on the store's threads under its rules (db/database.h): bodies may be repeated.
// Thread-safe. close() before the database is closed.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/mutex.h"
#include "core/rng.h"
#include "db/database.h"
#include "runs/purge.h"
#include "runs/queue.h"
#include "runs/unit.h"
#include "runs/upkeep.h"
#include "runs/waiters.h"

namespace fettle::runs {

class Runs {
 public:
  struct Options {
    SizeLimits limits{};
    UpkeepOptions upkeep{};
    // What a kill switch takes away follows it piece by piece. False: it waits for upkeep.
    bool revokes_at_once = true;
  };
  template <class T>
  using Done = std::move_only_function<void(Result<T>)>;

  // The references outlive this.
  Runs(db::Database& database, Clock& clock, Rng& rng, Journal& journal, Options options);
  ~Runs();
  // From now on work is asked for and leased as far as this allows. Outlives this; set before anybody calls.
  void set_admission(const Admission* admission) { admission_.store(admission); }
  const Admission* admission() const { return admission_.load(); }
  Runs(const Runs&) = delete;
  Runs& operator=(const Runs&) = delete;

  // `body` is callable as Result<T>(Unit&).
  template <class Body, class T = typename std::invoke_result_t<Body&, Unit&>::value_type>
  void write(Scope scope, Actor actor, Body body, Done<T> done, db::WriteOptions options = {}) {
    auto then = std::make_shared<Then>();  // between the body and its completion
    const WorkspaceId workspace = scope.workspace;
    options.owner = workspace.value;
    database_.write(
        [this, then, workspace, stamp = stamp(), scope = std::move(scope), actor = std::move(actor),
         body = std::move(body)](db::Transaction& tx) mutable -> Result<T> {
          Unit unit(tx, scope, actor, stamp, numbers_, options_.limits, admission_.load());
          Result<T> result = body(unit);
          if (!result) return result;
          if (auto finished = unit.finish(journal_); !finished) return std::unexpected(finished.error());
          *then = {unit.take_wakes(), unit.revokes()};
          // Who waits for this work leases it in the same commit: one fsync less between the two.
          if (database_.joins() && !then->wakes.empty()) waiters_.notify(workspace, std::exchange(then->wakes, {}));
          return result;
        },
        db::Database::Done<T>([this, then, workspace, done = std::move(done)](Result<T> result) mutable {
          if (result && !then->wakes.empty()) waiters_.notify(workspace, then->wakes);
          if (result && then->revokes && options_.revokes_at_once) revoke_next(workspace);
          done(std::move(result));
        }),
        std::move(options));
  }
  template <class Body, class T = typename std::invoke_result_t<Body&, Unit&>::value_type>
  Result<T> write_and_wait(const Scope& scope, const Actor& actor, Body body) {
    std::promise<Result<T>> promise;
    write(scope, actor, std::move(body), Done<T>([&](Result<T> result) { promise.set_value(std::move(result)); }));
    return promise.get_future().get();
  }
  // `body` is callable as Result<T>(View&).
  template <class Body, class T = typename std::invoke_result_t<Body&, View&>::value_type>
  void read(Scope scope, Body body, Done<T> done) {
    const db::ReadOptions options{.deadline = {}, .owner = scope.workspace.value};
    database_.read(
        [now = clock_.now(), scope = std::move(scope),
         body = std::move(body)](db::Reader& reader) mutable -> Result<T> {
          View view(reader, scope, now);
          return body(view);
        },
        db::Database::Done<T>(std::move(done)), options);
  }
  template <class Body, class T = typename std::invoke_result_t<Body&, View&>::value_type>
  Result<T> read_and_wait(const Scope& scope, Body body) {
    std::promise<Result<T>> promise;
    read(scope, std::move(body), Done<T>([&](Result<T> result) { promise.set_value(std::move(result)); }));
    return promise.get_future().get();
  }

  // Answers with work as soon as there is some, or with none at `deadline` (Clock::monotonic, give or take an upkeep),
  // to a worker that is to drain, or once `stop` is requested: the one who asked has gone. Work that was leased to them
  // just then is given back. The worker counts as seen (workers.h, note_asking).
  void lease_when_ready(Scope scope, Actor actor, LeaseRequest request, std::chrono::nanoseconds deadline,
                        Done<Leased> done, std::stop_token stop = {});

  // Gives back what was leased and could not be handed over; what fails comes back when its lease runs out.
  void give_back_all(const Scope& scope, const Actor& actor, const Leased& leased);

  // Upkeep of all workspaces, in turn piece by piece until nothing is due or each had rounds_max pieces. Blocks on the
  // store; call it on a thread of its own, every 250 ms. Several replicas may do it at once.
  Result<UpkeepReport> upkeep_and_wait();

  // Removes one bounded piece of what is over and old of every workspace (purge.h). Blocks on the store; by the leader.
  Result<Purged> purge_and_wait(const PurgeOptions& options);

  // Ends the long polls. Idempotent.
  void close() {
    is_closed_.store(true);
    waiters_.close();
  }
  std::size_t waiting() const { return waiters_.size(); }

 private:
  struct Poll;
  // Where the workers for every workflow of a pool go on among the workflows. Thread-safe.
  class TurnsOfWorkflows {
   public:
    std::string of(const Waiters::Key& key);
    void note(const Waiters::Key& key, const std::string& after);

   private:
    Mutex mutex_;
    std::map<Waiters::Key, std::string> after_ FETTLE_GUARDED_BY(mutex_);
  };
  // What a transaction left to do.
  struct Then {
    std::vector<Wake> wakes;
    bool revokes = false;
  };
  Stamp stamp();
  void revoke_next(const WorkspaceId& workspace);
  void poll(std::shared_ptr<Poll> poll);

  // Constant after construction.
  db::Database& database_;
  Clock& clock_;
  Rng& rng_;
  Journal& journal_;
  const Options options_;
  // Self-synchronised.
  NumberSource numbers_;
  std::atomic<const Admission*> admission_{nullptr};
  std::atomic<std::int64_t> refused_looked_at_{0};  // Clock::monotonic
  std::atomic<std::uint64_t> seed_;
  std::atomic<bool> is_closed_{false};
  Waiters waiters_;
  TurnsOfWorkflows turns_of_workflows_;

  Mutex mutex_;
  std::map<std::string, std::int64_t> purged_up_to_ FETTLE_GUARDED_BY(mutex_);  // by workspace: a run's number
};

}  // namespace fettle::runs
