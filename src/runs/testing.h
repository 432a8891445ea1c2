// What the tests of this room share: a ledger of either kind with its tables, a clock that stands still, and a journal
// that remembers.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "db/testing.h"
#include "ledger/schema.h"
#include "runs/runs.h"
#include "runs/schema.h"

namespace fettle::runs {

// Counts what was recorded. Of bodies that were repeated or undone as well.
class FakeJournal final : public Journal {
 public:
  Result<void> record(db::Transaction&, const Scope&, const Actor&, UnixNanos,
                      std::span<const Audit> records) override {
    audits.insert(audits.end(), records.begin(), records.end());
    return {};
  }
  Result<void> publish(db::Transaction&, const Scope&, UnixNanos, std::span<const Event> published) override {
    ++publications;
    largest = std::max(largest, published.size());
    events.insert(events.end(), published.begin(), published.end());
    return {};
  }
  std::vector<Audit> audits;
  std::vector<Event> events;
  int publications = 0;
  std::size_t largest = 0;  // publication, in events

  bool has_audit(std::string_view action) const {
    for (const Audit& audit : audits) {
      if (audit.action == action) return true;
    }
    return false;
  }
  bool has_event(std::string_view type) const {
    for (const Event& event : events) {
      if (event.type == type) return true;
    }
    return false;
  }
};

class RunsTestBase : public db::StoreTest {
 protected:
  static constexpr UnixNanos kStart = 1'800'000'000 * kNanosPerSecond;

  void SetUp() override {
    database = open();
    const auto ready = db::migrate(*database, {&ledger::migrations(), &migrations()});
    ASSERT_TRUE(ready.has_value()) << ready.error().message();
    // The journal is of this thread: nothing is written behind its back.
    runs = std::make_unique<Runs>(*database, clock, rng, journal, Runs::Options{.revokes_at_once = false});
  }
  void TearDown() override {
    if (runs) runs->close();
    if (database) database->close();
  }

  // A body's value, or a failed test.
  template <class Body, class T = typename std::invoke_result_t<Body&, Unit&>::value_type>
  T run(Body body) {
    Result<T> result = runs->write_and_wait(scope, actor, std::move(body));
    if (result) {
      if constexpr (!std::is_void_v<T>) return std::move(*result);
      return T();
    }
    ADD_FAILURE() << result.error().message();
    return T();
  }
  template <class Body, class T = typename std::invoke_result_t<Body&, Unit&>::value_type>
  ErrorCode error_of(Body body) {
    Result<T> result = runs->write_and_wait(scope, actor, std::move(body));
    if (result) {
      ADD_FAILURE() << "it succeeded";
      return ErrorCode::kInternal;
    }
    last_error = result.error().message();
    return result.error().code();
  }

  RunId add(EnqueueRequest request) {
    return run([&](Unit& unit) { return enqueue(unit, std::span(&request, 1)); }).at(0).id;
  }
  RunId add_one(std::string workflow = "publish") { return add(EnqueueRequest{.workflow = std::move(workflow)}); }
  std::vector<LeasedRun> take(std::int32_t runs_max = 1, std::string worker = "w1") {
    return run([&](Unit& unit) { return lease(unit, {.worker = WorkerId{worker}, .runs_max = runs_max}); }).runs;
  }
  Applied finish(const LeasedRun& leased, std::string result = {}) {
    const Completion completion{leased.id, leased.attempt, std::move(result)};
    return run([&](Unit& unit) { return complete(unit, std::span(&completion, 1)); }).at(0);
  }
  Failed break_off(const LeasedRun& leased, RunError error = {.message = "it broke"}) {
    return run([&](Unit& unit) { return fail_run(unit, {leased.id, leased.attempt, error}); });
  }
  UpkeepReport tick(std::chrono::nanoseconds by = std::chrono::nanoseconds(0)) {
    clock.advance(by);
    const auto report = runs->upkeep_and_wait();
    EXPECT_TRUE(report.has_value()) << report.error().message();
    return report.value_or(UpkeepReport{});
  }

  // What the store holds, read behind the room's back.
  std::string column(const RunId& id, const std::string& name) {
    const auto text = runs->read_and_wait(scope, [&](View& view) -> Result<std::string> {
      const std::string sql =
          "SELECT CAST(" + name + " AS TEXT) FROM runs WHERE workspace = $1 AND (id = $2 OR external_id = $3)";
      std::optional<std::string> value;
      view.first(db::Sql::assembled(sql), {view.workspace(), parse_run_number(id.value).value_or(-1), id}, value);
      return value.value_or("null");
    });
    return text ? *text : text.error().message();
  }
  RunState state_of(const RunId& id) { return static_cast<RunState>(std::stoi(column(id, "state"))); }
  std::int64_t count(const std::string& from_and_where) {
    const auto number = runs->read_and_wait(scope, [&](View& view) -> Result<std::int64_t> {
      std::int64_t value = -1;
      const std::string sql = "SELECT count(*) FROM " + from_and_where;
      view.first(db::Sql::assembled(sql), {}, value);
      return value;
    });
    return number ? *number : -1;
  }

  Scope scope{WorkspaceId{"acme"}, {}};
  Actor actor{.type = "user", .id = "maya", .role = "operator"};
  ManualClock clock{kStart};
  SeededRng rng{7};
  FakeJournal journal;
  std::unique_ptr<db::Database> database;
  std::unique_ptr<Runs> runs;
  std::string last_error;
};

}  // namespace fettle::runs
