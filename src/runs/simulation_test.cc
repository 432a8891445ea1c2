// Thousands of histories of the run engine, each from a seed: workers that crash, messages that are lost, repeated and
// late, a clock that jumps, switches, limits, people. After every action the invariants of README.md are looked up in
// the store; at the end of a history everything is let go, and every run must end.
//
// FETTLE_SIMULATION_HISTORIES sets how many, FETTLE_SIMULATION_SEED where to begin; a failure names its seed.
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "runs/limits.h"
#include "runs/operate.h"
#include "runs/retry_policies.h"
#include "runs/run.h"
#include "runs/steps.h"
#include "runs/switches.h"
#include "runs/testing.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

// Under a sanitizer each history takes ten times as long.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::uint64_t kHistories = 200;
#else
constexpr std::uint64_t kHistories = 2'000;
#endif

std::uint64_t number_from(const char* name, std::uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

// A store in memory that looks like a disk: nothing here is about fsync.
struct World {
  World() {
    const std::filesystem::path memory = "/dev/shm";
    folder = (std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path()) /
             fmt::format("fettle-simulation-{}", getpid());
    std::filesystem::create_directory(folder);
    database = std::move(*db::open(Secret("sqlite:" + (folder / "ledger.db").string()), {}, clock, registry));
    EXPECT_TRUE(db::migrate(*database, {&migrations()}).has_value());
    runs = std::make_unique<Runs>(*database, clock, rng, journal, Runs::Options{.revokes_at_once = false});
  }
  ~World() {
    runs.reset();
    database->close();
    database.reset();
    std::filesystem::remove_all(folder);
  }
  std::filesystem::path folder;
  metrics::Registry registry;
  ManualClock clock{1'800'000'000 * kNanosPerSecond};
  SeededRng rng{1};
  FakeJournal journal;
  std::unique_ptr<db::Database> database;
  std::unique_ptr<Runs> runs;
};

// What a worker holds, as far as it knows.
struct Held {
  RunId run;
  std::int32_t attempt = 0;
  std::string client;
  int worker = 0;
};

struct Message {
  enum class Kind { kComplete, kFail, kExtend, kStep, kGiveBack, kSleep } kind = Kind::kComplete;
  Held held;
  std::string step, result;
};

class History {
 public:
  History(World& world, std::uint64_t seed) : world_(world), rng_(seed) {
    scope_.workspace.value = fmt::format("h{}", seed);
    actor_ = {"operator", "sim"};
  }

  void run() {
    policy_.max_retries = static_cast<std::int32_t>(below(4));
    policy_.base = 1s;
    policy_.cap = 8s;
    (void)write([&](Unit& unit) { return set_policy(unit, "w", "", policy_); });
    if (below(2) == 0) {
      concurrency_max_ = static_cast<std::int32_t>(1 + below(2));
      (void)write([&](Unit& unit) {
        return set_limit(unit, {.dimension = LimitDimension::kClient, .concurrency_max = concurrency_max_});
      });
    }
    const std::uint64_t actions = 20 + below(60);
    for (std::uint64_t i = 0; i < actions && !::testing::Test::HasFailure(); ++i) {
      act();
      check();
    }
    if (!::testing::Test::HasFailure()) let_everything_end();
  }

 private:
  std::uint64_t below(std::uint64_t count) { return rng_.next() % count; }
  template <class T>
  T& any(std::vector<T>& of) {
    return of[below(of.size())];
  }
  template <class Body, class T = typename std::invoke_result_t<Body&, Unit&>::value_type>
  Result<T> write(Body body) {
    auto result = world_.runs->write_and_wait(scope_, actor_, std::move(body));
    // Rules may refuse; the store may not.
    if (!result) {
      EXPECT_TRUE(result.error().code() == ErrorCode::kConflict || result.error().code() == ErrorCode::kNotFound)
          << result.error().message();
    }
    return result;
  }
  template <class Body>
  auto look(Body body) {
    return *world_.runs->read_and_wait(scope_, std::move(body));
  }

  void act() {
    switch (below(17)) {
      case 0:
      case 1: enqueue_some(); break;
      case 2:
      case 3:
      case 4: lease_some(static_cast<int>(below(3))); break;
      case 5:
      case 6: send(); break;
      case 7:
      case 8:
      case 9: deliver(); break;
      case 10: world_.clock.advance(std::chrono::milliseconds(below(4'000))); break;
      case 11: world_.clock.advance(std::chrono::milliseconds(below(30'000))); break;
      case 12:
      case 13: upkeep_now(); break;
      case 14: throw_or_lift(); break;
      case 15: crash(); break;
      default: person(); break;
    }
  }

  void enqueue_some() {
    if (runs_.size() >= 8) return;
    EnqueueRequest request{.workflow = "w", .client = below(2) == 0 ? "a" : "b"};
    if (below(5) == 0) request.start_at = world_.clock.now() + static_cast<std::int64_t>(below(20)) * kNanosPerSecond;
    if (below(3) == 0) request.run_id = fmt::format("named-{}", below(4));
    auto made = write([&](Unit& unit) { return enqueue(unit, std::span(&request, 1)); });
    if (made && made->at(0).made) runs_.push_back(made->at(0).id);
  }

  void lease_some(int worker) {
    LeaseRequest request{.worker = WorkerId{fmt::format("w{}", worker)},
                         .runs_max = static_cast<std::int32_t>(1 + below(3))};
    auto leased = write([&](Unit& unit) { return lease(unit, request); });
    if (!leased) return;
    for (const LeasedRun& run : leased->runs) {
      EXPECT_GT(run.attempt, attempts_[run.id.value]) << "an attempt was given out twice";
      attempts_[run.id.value] = run.attempt;
      for (const auto& [id, client] : switches_) EXPECT_NE(client, run.client) << "leased behind a switch";
      held_.push_back({run.id, run.attempt, run.client, worker});
    }
  }

  void send() {
    if (held_.empty()) return;
    Message message;
    message.held = any(held_);
    switch (below(8)) {
      case 0:
      case 1: message.kind = Message::Kind::kComplete; break;
      case 2: message.kind = Message::Kind::kFail; break;
      case 3: message.kind = Message::Kind::kExtend; break;
      case 4: message.kind = Message::Kind::kGiveBack; break;
      case 5: message.kind = Message::Kind::kSleep; break;
      default:
        message.kind = Message::Kind::kStep;
        message.step = fmt::format("s{}", below(3));
        // Each attempt would write something else: an overwritten result shows.
        message.result = fmt::format("\"{} {}\"", message.held.attempt, rng_.next());
        break;
    }
    network_.push_back(message);
    if (below(5) == 0) network_.push_back(message);
  }

  void deliver() {
    if (network_.empty()) return;
    const std::size_t at = below(network_.size());
    const Message message = network_[at];
    network_.erase(network_.begin() + static_cast<std::ptrdiff_t>(at));
    if (below(6) == 0) return;  // lost
    handle(message);
  }

  void handle(const Message& message) {
    const Held& held = message.held;
    const bool newest = attempts_[held.run.value] == held.attempt;
    const auto before = look([&](View& view) -> Result<std::optional<Run>> { return load_run(view, held.run); });
    ASSERT_TRUE(before.has_value());
    const bool was_live = is_live(*before, held.attempt);
    EXPECT_TRUE(newest || !was_live);
    Applied applied = Applied::kUnknown;
    switch (message.kind) {
      case Message::Kind::kComplete: {
        const Completion call{held.run, held.attempt, "1"};
        applied = write([&](Unit& unit) { return complete(unit, std::span(&call, 1)); })->at(0);
        break;
      }
      case Message::Kind::kFail: {
        const Failure call{held.run, held.attempt, {.message = "broke", .http_status = below(8) == 0 ? 400 : 503}};
        const auto failed = write([&](Unit& unit) { return fail_run(unit, call); });
        applied = failed->applied;
        if (was_live && failed->will_retry) {
          EXPECT_LE(failed->retry_at - world_.clock.now(), delay_max(policy_, before->chain_retries).count());
        }
        break;
      }
      case Message::Kind::kExtend: {
        const Extension call{held.run, held.attempt, below(2) == 0};
        applied = write([&](Unit& unit) { return extend(unit, std::span(&call, 1)); })->at(0).applied;
        break;
      }
      case Message::Kind::kGiveBack:
        applied = *write([&](Unit& unit) { return give_back(unit, held.run, held.attempt); });
        break;
      case Message::Kind::kSleep: {
        const auto slept = write([&](Unit& unit) {
          return sleep_step(unit, {held.run, held.attempt, "sleep"}, unit.now() + 5 * kNanosPerSecond);
        });
        applied = slept->state == StepAnswer::kLate ? Applied::kLate : Applied::kApplied;
        break;
      }
      case Message::Kind::kStep: {
        const StepCall call{held.run, held.attempt, message.step};
        const auto begun = write([&](Unit& unit) { return begin_step(unit, call); });
        if (begun && begun->state == StepAnswer::kDone) {
          EXPECT_EQ(begun->result, results_.at({held.run.value, before->generation, message.step}));
        }
        applied =
            *write([&](Unit& unit) { return complete_step(unit, call, {.result = message.result, .tokens = 1}); });
        if (applied == Applied::kApplied) {
          results_.try_emplace({held.run.value, before->generation, message.step}, message.result);
        }
        break;
      }
    }
    if (was_live) {
      EXPECT_EQ(applied, Applied::kApplied);
    } else {
      const auto after = look([&](View& view) -> Result<std::optional<Run>> { return load_run(view, held.run); });
      EXPECT_EQ(after->state, before->state) << "a late call changed the run";
      EXPECT_EQ(after->attempt, before->attempt);
      EXPECT_EQ(after->retry_count, before->retry_count);
      EXPECT_EQ(after->tokens, before->tokens);
    }
  }

  void upkeep_now() {
    (void)write([&](Unit& unit) -> Result<UpkeepReport> {
      UpkeepProgress progress;
      return upkeep(unit, {}, progress);
    });
  }

  // A kill or pause for one client; each client has one at most.
  void throw_or_lift() {
    if (!switches_.empty() && below(2) == 0) {
      const std::string id = switches_.begin()->first;
      EXPECT_TRUE(write([&](Unit& unit) { return lift_switch(unit, id, "over"); }).has_value());
      switches_.erase(id);
      return;
    }
    const std::string client = below(2) == 0 ? "a" : "b";
    for (const auto& [id, stopped] : switches_) {
      if (stopped == client) return;
    }
    const SwitchMode mode = below(3) == 0 ? SwitchMode::kPause : SwitchMode::kKill;
    auto thrown = write(
        [&](Unit& unit) { return throw_switch(unit, {.mode = mode, .reach = {.client = client}, .reason = "stop"}); });
    switches_[thrown->id] = client;
    if (mode == SwitchMode::kKill) {
      upkeep_now();
      const auto flying = look([&](View& view) { return list_in_flight(view, {.client = client}); });
      EXPECT_TRUE(flying.items.empty()) << "a lease survived a kill";
    }
  }

  void crash() {
    const int worker = static_cast<int>(below(3));
    std::erase_if(held_, [&](const Held& held) { return held.worker == worker; });
  }

  void person() {
    if (runs_.empty()) return;
    const RunId run = any(runs_);
    switch (below(6)) {
      case 0: (void)write([&](Unit& unit) { return cancel_run(unit, run, "no"); }); break;
      case 1: {
        const RetryFrom from = below(2) == 0 ? RetryFrom::kScratch : RetryFrom::kFailedStep;
        (void)write([&](Unit& unit) { return retry_run(unit, run, from, "again"); });
        break;
      }
      case 2: (void)write([&](Unit& unit) { return pause_run(unit, run, "wait"); }); break;
      case 3: (void)write([&](Unit& unit) { return resume_run(unit, run, "go"); }); break;
      case 4: (void)write([&](Unit& unit) { return discard_run(unit, run, "gone"); }); break;
      default:
        // Set back or forth: NTP, a restored snapshot. Not far back, or nothing would be due in this history.
        world_.clock.advance(std::chrono::milliseconds(static_cast<std::int64_t>(below(20'000)) - 5'000));
        break;
    }
  }

  void check() {
    const auto all = look([&](View& view) -> Result<std::vector<Run>> {
      std::vector<Run> out;
      for (const db::Row row :
           view.rows("SELECT " FETTLE_RUN_COLUMNS " FROM runs r WHERE r.workspace = $1", {view.workspace()})) {
        out.push_back(run_from(view, row));
      }
      EXPECT_FALSE(view.failure().has_value());
      return out;
    });
    EXPECT_EQ(all.size(), runs_.size()) << "a run is lost";
    std::map<std::string, int> running, slots;
    for (const Run& run : all) {
      if (run.state == RunState::kRunning) ++running[run.client];
      if (run.slots) ++slots[*run.slots];
      EXPECT_LE(run.chain_retries, run.max_retries);
      EXPECT_LE(run.chain_retries, run.retry_count);
      EXPECT_EQ(run.max_retries, policy_.max_retries);
      EXPECT_EQ(run.state == RunState::kRunning, run.lease_until.has_value());
      EXPECT_EQ(is_terminal(run.state), run.finished_at.has_value());
      EXPECT_LE(run.attempt, attempts_[run.shown_id()]);
      EXPECT_TRUE(run.state != RunState::kWaiting || run.due_at.has_value());
    }
    if (concurrency_max_ > 0) {
      for (const auto& [client, count] : running) EXPECT_LE(count, concurrency_max_) << "over the limit of " << client;
    }
    const auto in_use = look([&](View& view) -> Result<std::map<std::string, int>> {
      std::map<std::string, int> out;
      for (const db::Row row :
           view.rows("SELECT slot, in_use FROM run_slots WHERE workspace = $1 AND in_use <> 0", {view.workspace()})) {
        std::string slot;
        int used = 0;
        if (view.read(row, slot, used)) out[slot] = used;
      }
      return out;
    });
    EXPECT_EQ(in_use, slots) << "slots and runs disagree";
  }

  // No more faults: whatever the history left, an honest worker and upkeep bring every run to its end.
  void let_everything_end() {
    for (const auto& [id, client] : switches_) (void)write([&](Unit& unit) { return lift_switch(unit, id, "end"); });
    switches_.clear();
    for (const RunId& run : runs_) (void)write([&](Unit& unit) { return resume_run(unit, run, "end"); });
    held_.clear();
    network_.clear();
    std::size_t open = runs_.size();
    for (int round = 0; round < 40 && open > 0; ++round) {
      world_.clock.advance(11s);
      upkeep_now();
      const std::size_t before = held_.size();
      lease_some(0);
      for (std::size_t i = before; i < held_.size(); ++i) {
        handle({Message::Kind::kStep, held_[i], "s0", fmt::format("\"end {}\"", i)});
        handle({Message::Kind::kComplete, held_[i], "", ""});
      }
      check();
      open = look([&](View& view) -> Result<std::size_t> {
        std::int64_t count = 0;
        view.first("SELECT count(*) FROM runs WHERE workspace = $1 AND state < 4", {view.workspace()}, count);
        return static_cast<std::size_t>(count);
      });
    }
    EXPECT_EQ(open, 0U) << "a run never ends";
    for (const auto& [key, result] : results_) {
      const auto& [run, generation, step] = key;
      const auto steps = look([&](View& view) -> Result<std::vector<Step>> { return list_steps(view, RunId{run}); });
      for (const Step& one : steps) {
        if (one.step == step && one.generation == generation) {
          EXPECT_EQ(one.result, result) << "a step's result was overwritten";
        }
      }
    }
  }

  World& world_;
  SeededRng rng_;
  Scope scope_;
  Actor actor_;
  RetryPolicy policy_;
  std::int32_t concurrency_max_ = 0;
  std::vector<RunId> runs_;
  std::vector<Held> held_;
  std::vector<Message> network_;
  std::map<std::string, std::int32_t> attempts_;  // the last given out
  std::map<std::string, std::string> switches_;   // id → client
  std::map<std::tuple<std::string, std::int32_t, std::string>, std::string> results_;
};

// A test for each quarter of the histories, so that they use all cores and none takes long.
constexpr std::uint64_t kQuarters = 4;
class SimulationTest : public testing::TestWithParam<std::uint64_t> {};
INSTANTIATE_TEST_SUITE_P(Quarter, SimulationTest, testing::Range(std::uint64_t{0}, kQuarters));

TEST_P(SimulationTest, NoHistoryBreaksTheInvariants) {
  World world;
  const std::uint64_t first = number_from("FETTLE_SIMULATION_SEED", 1);
  const std::uint64_t count = number_from("FETTLE_SIMULATION_HISTORIES", kHistories);
  const std::uint64_t begin = first + count * GetParam() / kQuarters;
  const std::uint64_t end = first + count * (GetParam() + 1) / kQuarters;
  for (std::uint64_t seed = begin; seed < end; ++seed) {
    SCOPED_TRACE(fmt::format("FETTLE_SIMULATION_SEED={} FETTLE_SIMULATION_HISTORIES=1", seed));
    History(world, seed).run();
    if (HasFailure()) break;
    world.journal.events.clear();
    world.journal.audits.clear();
  }
}

}  // namespace
}  // namespace fettle::runs
