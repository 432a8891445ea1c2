#include "runs/runs.h"

#include <algorithm>
#include <map>
#include <utility>

#include "runs/switches.h"

#include "runs/workers.h"

namespace fettle::runs {
namespace {

constexpr std::size_t kTurnsMax = 10'000;
constexpr std::size_t kPurgedWorkspacesMax = 10'000;

}  // namespace

struct Runs::Poll {
  Scope scope;
  Actor actor;
  LeaseRequest request;
  std::chrono::nanoseconds deadline;
  Done<Leased> done;
  std::stop_token stop;
  std::unique_ptr<std::stop_callback<std::function<void()>>> on_stop = {};
};

Runs::Runs(db::Database& database, Clock& clock, Rng& rng, Journal& journal, Options options)
    : database_(database),
      clock_(clock),
      rng_(rng),
      journal_(journal),
      options_(std::move(options)),
      numbers_(clock, rng.next()),
      seed_(rng.next()) {}

Runs::~Runs() { close(); }

std::string Runs::TurnsOfWorkflows::of(const Waiters::Key& key) {
  MutexLock lock(mutex_);
  const auto found = after_.find(key);
  return found == after_.end() ? std::string() : found->second;
}

void Runs::TurnsOfWorkflows::note(const Waiters::Key& key, const std::string& after) {
  MutexLock lock(mutex_);
  if (after.empty()) {
    after_.erase(key);
  } else if (after_.size() < kTurnsMax || after_.contains(key)) {
    after_[key] = after;
  }
}

Stamp Runs::stamp() {
  // Odd steps visit every seed; what is drawn from one is mixed by Unit::random().
  return {clock_.now(), seed_.fetch_add(0x9E3779B97F4A7C15ULL * 2 + 1)};
}

void Runs::lease_when_ready(Scope scope, Actor actor, LeaseRequest request, std::chrono::nanoseconds deadline,
                            Done<Leased> done, std::stop_token stop) {
  if (request.workflows.empty())
    request.workflows_after = turns_of_workflows_.of({scope.workspace.value, request.pool});
  // Shared: between a transaction, a wait and the next transaction, one of which holds it at a time.
  auto made = std::make_shared<Poll>(Poll{.scope = std::move(scope),
                                          .actor = std::move(actor),
                                          .request = std::move(request),
                                          .deadline = deadline,
                                          .done = std::move(done),
                                          .stop = std::move(stop)});
  if (made->stop.stop_possible()) {
    std::function<void()> end_wait = [this, weak = std::weak_ptr(made)] {
      if (const auto held = weak.lock()) {
        waiters_.cancel({held->scope.workspace.value, held->request.pool}, held.get());
      }
    };
    made->on_stop = std::make_unique<std::stop_callback<std::function<void()>>>(made->stop, std::move(end_wait));
  }
  poll(std::move(made));
}

void Runs::give_back_all(const Scope& scope, const Actor& actor, const Leased& leased) {
  write(
      scope, actor,
      [runs = leased.runs](Unit& unit) -> Result<void> {
        for (const LeasedRun& run : runs) {
          if (auto done = give_back(unit, run.id, run.attempt); !done) return std::unexpected(done.error());
        }
        return {};
      },
      Done<void>([](Result<void>) {}));  // what fails comes back when its lease runs out
}

void Runs::poll(std::shared_ptr<Poll> poll) {
  const Waiters::Ticket ticket = waiters_.ticket(poll->scope.workspace, poll->request.pool);
  Scope scope = poll->scope;
  Actor actor = poll->actor;
  write(std::move(scope), std::move(actor),
        [poll](Unit& unit) -> Result<Leased> {
          if (poll->stop.stop_requested()) return Leased{};
          auto noted = note_asking(unit, poll->request);
          if (!noted) return std::unexpected(std::move(noted).error());
          if (noted->drain) return Leased{.drain = true};
          return lease(unit, poll->request);
        },
        Done<Leased>([this, poll, ticket](Result<Leased> leased) mutable {
          if (leased && poll->request.workflows.empty()) {
            turns_of_workflows_.note(ticket.key, leased->workflows_next);
            poll->request.workflows_after = std::move(leased->workflows_next);
          }
          if (poll->stop.stop_requested()) {
            if (leased && !leased->runs.empty()) give_back_all(poll->scope, poll->actor, *leased);
            return poll->done(Leased{});
          }
          if (!leased || leased->drain || !leased->runs.empty()) return poll->done(std::move(leased));
          if (clock_.monotonic() >= poll->deadline) return poll->done(std::move(leased));
          if (leased->more) return this->poll(std::move(poll));
          Waiters::Woken woken = [this, poll](bool work) {
            if (work) return this->poll(poll);
            poll->done(Leased{});
          };
          if (!waiters_.wait(ticket, poll->request.workflows, poll->request.runs_max, poll->deadline, poll.get(),
                             woken)) {
            return this->poll(std::move(poll));
          }
          // It may have stopped just before it was among the waiters.
          if (poll->stop.stop_requested()) waiters_.cancel(ticket.key, poll.get());
        }),
        {.joins = true});
}

// Others' transactions come in between: each piece is queued when the one before it is done. What fails is left to
// upkeep.
void Runs::revoke_next(const WorkspaceId& workspace) {
  if (is_closed_.load()) return;
  write(
      Scope{workspace, {}}, Actor{},
      [this](Unit& unit) -> Result<RevokedPiece> {
        RevokedPiece piece = revoke_switched(unit, options_.upkeep.items_max);
        if (piece.more) unit.go_on_revoking();
        return piece;
      },
      Done<RevokedPiece>([](Result<RevokedPiece>) {}));
}

Result<UpkeepReport> Runs::upkeep_and_wait() {
  waiters_.expire(clock_.monotonic());
  const Scope everywhere;  // reads nothing but where something is due
  // Every second: what runs is few, but not nothing.
  const std::int64_t monotonic = clock_.monotonic().count();
  const bool looks_at_refused = monotonic - refused_looked_at_.load() >= kNanosPerSecond;
  if (looks_at_refused) refused_looked_at_.store(monotonic);
  auto due = read_and_wait(everywhere, [this, looks_at_refused](View& view) -> Result<std::vector<WorkspaceId>> {
    return workspaces_due(view, options_.upkeep, looks_at_refused ? admission_.load() : nullptr);
  });
  if (!due) return std::unexpected(std::move(due).error().within("looking for runs that are due"));
  UpkeepReport report;
  std::optional<Error> failed;
  struct Turn {
    WorkspaceId workspace;
    UpkeepProgress progress;
  };
  std::vector<Turn> turns;
  for (WorkspaceId& workspace : *due) turns.push_back({std::move(workspace), {}});
  // A piece of each in turn: neither the writer nor a workspace waits for one that has much to do.
  for (std::int32_t round = 0; round < options_.upkeep.rounds_max && !turns.empty(); ++round) {
    std::vector<Turn> rest;
    for (Turn& turn : turns) {
      struct Piece {
        UpkeepReport report;
        UpkeepProgress progress;
      };
      auto piece = write_and_wait(Scope{turn.workspace, {}}, Actor{},
                                  [this, before = turn.progress](Unit& unit) -> Result<Piece> {
                                    Piece out{.report = {}, .progress = before};  // a body may be repeated
                                    out.report = upkeep(unit, options_.upkeep, out.progress);
                                    return out;
                                  });
      // The others are not to wait for one that cannot.
      if (!piece) {
        if (!failed) failed = std::move(piece).error().within("upkeep of workspace " + turn.workspace.value);
        continue;
      }
      turn.progress = std::move(piece->progress);
      const bool more = std::exchange(piece->report.more, false);
      report += piece->report;
      if (more) rest.push_back(std::move(turn));
    }
    turns = std::move(rest);
  }
  report.more = !turns.empty();
  // What another replica readied: nobody here was told.
  std::map<std::string, std::vector<std::string>> pools;
  for (auto& [workspace, pool] : waiters_.keys()) pools[workspace].push_back(pool);
  for (const auto& [workspace, names] : pools) {
    auto wakes = read_and_wait(Scope{WorkspaceId{workspace}, {}}, [&](View& view) -> Result<std::vector<Wake>> {
      std::vector<Wake> out;
      for (const std::string& pool : names) {
        for (const db::Row row :
             view.rows("SELECT workflow, count(*) FROM (SELECT workflow FROM runs WHERE workspace = $1"
                       " AND pool = $2 AND state = 0 LIMIT 1000) ready GROUP BY workflow",
                       {view.workspace(), pool})) {
          Wake wake{pool, "", 0};
          std::int64_t count = 0;
          if (view.read(row, wake.workflow, count)) {
            wake.count = static_cast<std::size_t>(count);
            out.push_back(std::move(wake));
          }
        }
      }
      return out;
    });
    if (!wakes) return std::unexpected(std::move(wakes).error().within("looking for runs that are ready"));
    waiters_.notify(WorkspaceId{workspace}, *wakes);
  }
  if (failed) return std::unexpected(std::move(*failed));
  return report;
}

Result<Purged> Runs::purge_and_wait(const PurgeOptions& options) {
  auto workspaces = read_and_wait(Scope{}, [](View& view) -> Result<std::vector<WorkspaceId>> {
    // One at a time, jumping over the runs of each; other tables hold no workspace that has made no run for long.
    std::vector<WorkspaceId> out;
    for (const char* table : {"runs", "records", "workflow_failures", "workers", "run_signals", "bulk_jobs"}) {
      const std::string sql =
          std::string("SELECT workspace FROM ") + table + " WHERE workspace > $1 ORDER BY workspace LIMIT 1";
      WorkspaceId at;
      while (out.size() < kPurgedWorkspacesMax && view.first(db::Sql::assembled(sql), {at}, at)) out.push_back(at);
    }
    std::ranges::sort(out);
    const auto doubles = std::ranges::unique(out);
    out.erase(doubles.begin(), doubles.end());
    return out;
  });
  if (!workspaces) return std::unexpected(std::move(workspaces).error().within("looking for what is over"));
  Purged all;
  for (const WorkspaceId& workspace : *workspaces) {
    std::int64_t after = 0;
    {
      MutexLock lock(mutex_);
      after = purged_up_to_[workspace.value];
    }
    struct Piece {
      Purged purged;
      std::int64_t after = 0;
    };
    auto piece = write_and_wait(Scope{workspace, {}}, Actor{}, [&options, after](Unit& unit) -> Result<Piece> {
      Piece out{.after = after};
      out.purged = purge(unit, options, out.after);
      return out;
    });
    if (!piece) return std::unexpected(std::move(piece).error().within("purging workspace " + workspace.value));
    all += piece->purged;
    MutexLock lock(mutex_);
    purged_up_to_[workspace.value] = piece->after;
  }
  return all;
}

}  // namespace fettle::runs
