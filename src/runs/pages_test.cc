// Lists page through what the caller may see, and through nothing else.
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <set>

#include "runs/approvals.h"
#include "runs/bulk.h"
#include "runs/policies.h"
#include "runs/records.h"
#include "runs/side_effects.h"
#include "runs/switches.h"
#include "runs/testing.h"
#include "runs/workers.h"

namespace fettle::runs {
namespace {

using namespace std::chrono_literals;

// A list as this test sees it: makes one for a client, and pages through the ids.
struct Listed {
  std::string name;
  std::function<Result<void>(Unit&, const std::string& client, int number)> make;
  std::function<Result<PageOf<std::string>>(View&, const PageRequest&)> page;
};

template <class T, class Id>
Result<PageOf<std::string>> ids_of(Result<PageOf<T>> found, Id id) {
  if (!found) return std::unexpected(std::move(found).error());
  PageOf<std::string> out{.items = {}, .next = std::move(found->next)};
  for (const T& one : found->items) out.items.push_back(id(one));
  return out;
}
template <class T>
Result<PageOf<std::string>> ids_of(Result<PageOf<T>> found) {
  return ids_of(std::move(found), [](const T& one) { return one.id; });
}
template <class T>
Result<void> done(const Result<T>& result) {
  if (!result) return std::unexpected(result.error());
  return {};
}

Listed records_of(Collection collection) {
  return {
      std::string(to_string(collection)),
      [collection](Unit& unit, const std::string& client, int) {
        return done(write_record(unit, collection, "", R"({"clientId":")" + client + R"(","message":"m"})"));
      },
      [collection](View& view, const PageRequest& page) { return ids_of(list_records(view, collection, {}, page)); }};
}

std::vector<Listed> lists() {
  std::vector<Listed> out;
  const auto add = [&](Listed one) { out.push_back(std::move(one)); };
  for (const bool open : {true, false}) {
    add({open ? "open approvals" : "approvals",
         [](Unit& unit, const std::string& client, int number) {
           ApprovalRequest request{.title = "?", .client = client, .expires_in = {}};
           // Some share a time, some have none.
           if (number % 3 != 0) request.expires_in = std::chrono::hours(1 + number % 2);
           return done(open_approval(unit, request));
         },
         [open](View& view, const PageRequest& page) { return ids_of(list_approvals(view, open, page)); }});
    add({open ? "open escalations" : "escalations",
         [](Unit& unit, const std::string& client, int number) {
           return done(open_escalation(
               unit, {.subject = "!", .severity = number % 3, .owner = {}, .client = client, .run = {}}));
         },
         [open](View& view, const PageRequest& page) { return ids_of(list_escalations(view, open, page)); }});
    add({open ? "open blocks" : "blocks",
         [](Unit& unit, const std::string& client, int) {
           return done(record_policy_block(unit, {.policy = "p", .reason = "r", .client = client}));
         },
         [open](View& view, const PageRequest& page) { return ids_of(list_policy_blocks(view, open, page)); }});
    add({open ? "switches that are on" : "switches",
         [](Unit& unit, const std::string& client, int) {
           return done(throw_switch(unit, {SwitchMode::kPause, {.client = client}, "r"}));
         },
         [open](View& view, const PageRequest& page) { return ids_of(list_switches(view, open, page)); }});
  }
  add({"side effects",
       [](Unit& unit, const std::string& client, int number) {
         return done(reserve(
             unit, {.client = client, .action = "write", .payload_hash = std::to_string(number), .token = "t"}));
       },
       [](View& view, const PageRequest& page) { return ids_of(list_effects(view, {}, page)); }});
  add({"bulk jobs",
       [](Unit& unit, const std::string& client, int) {
         return done(start_bulk(unit, {.filter = {.client = client}, .reason = "r"}));
       },
       [](View& view, const PageRequest& page) { return ids_of(list_bulk(view, page)); }});
  for (const Collection one :
       {Collection::kAgentRuns, Collection::kAgentLogs, Collection::kWorkflowTriggers, Collection::kWorkflowFailures}) {
    add(records_of(one));
  }
  add({"what is in flight",
       [](Unit& unit, const std::string& client, int) -> Result<void> {
         const EnqueueRequest request{.workflow = "w", .client = client};
         if (auto made = enqueue(unit, std::span(&request, 1)); !made) return std::unexpected(made.error());
         return done(lease(unit, {.worker = WorkerId{"w1"}}));
       },
       [](View& view, const PageRequest& page) {
         return ids_of(list_in_flight(view, {}, page), [](const InFlight& one) { return one.run.value; });
       }});
  return out;
}

class PagesTest : public RunsTestBase {
 protected:
  // Every id, page by page; each page but the last is full.
  std::vector<std::string> all(const Listed& list, const Scope& as, std::int32_t limit) {
    std::vector<std::string> out;
    PageRequest page{.limit = limit};
    do {
      auto found = runs->read_and_wait(as, [&](View& view) { return list.page(view, page); });
      EXPECT_TRUE(found.has_value()) << list.name << ": " << found.error().message();
      if (!found) return out;
      if (!found->next.empty()) {
        EXPECT_EQ(std::ssize(found->items), limit) << list.name;
      }
      out.insert(out.end(), found->items.begin(), found->items.end());
      page.cursor = found->next;
    } while (!page.cursor.empty() && out.size() < 1'000);
    return out;
  }
};
FETTLE_FOR_BOTH_STORES(PagesTest);

TEST_P(PagesTest, AMemberOfSomeClientsPagesThroughTheseAlone) {
  int number = 0;
  for (const Listed& list : lists()) {
    scope.workspace = WorkspaceId{"w" + std::to_string(number++)};
    // Ten of another client after each of one's own: a page cut before the scope would be empty.
    for (int i = 0; i < 5; ++i) {
      run([&](Unit& unit) { return list.make(unit, "mine", i); });
      clock.advance(1ms);
      for (int k = 0; k < 10; ++k) {
        run([&](Unit& unit) { return list.make(unit, "theirs", 100 * i + k + 10); });
        clock.advance(1ms);
      }
    }
    const Scope mine{scope.workspace, {ClientId{"mine"}, ClientId{"nobody"}}};
    const auto own = all(list, mine, 2);
    EXPECT_EQ(own.size(), 5U) << list.name;
    const auto everything = all(list, scope, 1'000);
    EXPECT_EQ(everything.size(), 55U) << list.name;
    // In the order of the whole list, none twice.
    EXPECT_EQ(std::set<std::string>(own.begin(), own.end()).size(), own.size()) << list.name;
    std::vector<std::string> in_order;
    std::ranges::copy_if(everything, std::back_inserter(in_order),
                         [&](const std::string& id) { return std::ranges::find(own, id) != own.end(); });
    EXPECT_EQ(own, in_order) << list.name;
    EXPECT_EQ(all(list, scope, 7), everything) << list.name;
  }
}

TEST_P(PagesTest, ACursorThatNoListGaveIsRefused) {
  for (const Listed& list : lists()) {
    for (const char* cursor : {"x", "12", "0000000000000.x", "!!!!!!!!!!!!!", "0000000000000.0000000000000.0"}) {
      const auto found = runs->read_and_wait(scope, [&](View& view) { return list.page(view, {.cursor = cursor}); });
      ASSERT_FALSE(found.has_value()) << list.name << " " << cursor;
      EXPECT_EQ(found.error().code(), ErrorCode::kInvalidArgument) << list.name;
    }
  }
}

TEST_P(PagesTest, EffectsToCheckAreThoseOfOnesOwnClients) {
  for (int i = 0; i < 6; ++i) {
    const EffectRequest request{.client = i % 3 == 0 ? "mine" : "theirs",
                                .action = "write",
                                .payload_hash = std::to_string(i),
                                .token = "t",
                                .run = {},
                                .hold = 1s};
    run([&](Unit& unit) { return reserve(unit, request); });
  }
  tick(2s);
  scope.clients = {ClientId{"mine"}};
  const EffectFilter filter{.state = {}, .to_check = true, .run = {}};
  const auto first = run([&](Unit& unit) { return list_effects(unit, filter, {.limit = 1}); });
  ASSERT_EQ(first.items.size(), 1U);
  const auto second = run([&](Unit& unit) { return list_effects(unit, filter, {.limit = 1, .cursor = first.next}); });
  ASSERT_EQ(second.items.size(), 1U);
  EXPECT_EQ(second.next, "");
  EXPECT_LT(first.items[0].id, second.items[0].id) << "the oldest first";
}

TEST_P(PagesTest, ASwitchForAllIsSeenByEverybodyWithNoMoreThanWhatItTookOfTheirs) {
  for (const char* client : {"mine", "theirs", "theirs"}) add({.workflow = "w", .client = client});
  take(3);
  const Switch thrown = run([](Unit& unit) { return throw_switch(unit, {.reason = "everything"}); });
  EXPECT_EQ(thrown.in_flight, 3);
  scope.clients = {ClientId{"mine"}};
  const auto look = [&] {
    return *run([&](Unit& unit) -> Result<std::optional<Switch>> { return get_switch(unit, thrown.id); });
  };
  EXPECT_EQ(look().in_flight, 1);
  tick();
  EXPECT_EQ(look().revoked, 1);
  EXPECT_EQ(look().in_flight, 0);
  scope.clients = {};
  EXPECT_EQ(look().revoked, 3);
}

// ---- workers -------------------------------------------------------------------------------------------------------

TEST_P(PagesTest, WorkersAreSeenByThoseWhoseRunsTheyHold) {
  for (const char* id : {"w1", "w2", "w3"}) {
    run([&](Unit& unit) { return register_worker(unit, {.id = WorkerId{id}, .capacity = 4}); });
  }
  for (const char* client : {"mine", "theirs", "theirs"}) add({.workflow = "w", .client = client});
  take(2, "w1");  // one of each
  take(1, "w2");
  const auto seen = [&](std::string_view as) {
    return run([&](Unit& unit) -> Result<PageOf<Worker>> { return list_workers(unit, as); }).items;
  };
  EXPECT_EQ(seen("").size(), 3U);
  scope.clients = {ClientId{"mine"}};
  const auto mine = seen("");
  ASSERT_EQ(mine.size(), 1U);
  EXPECT_EQ(mine[0].id.value, "w1");
  EXPECT_EQ(mine[0].in_use, 1) << "the other lease is another client's";
  const auto pools = run([](Unit& unit) -> Result<std::vector<PoolCapacity>> { return pool_capacity(unit); });
  ASSERT_EQ(pools.size(), 1U);
  EXPECT_EQ(pools[0].workers, 1);
  EXPECT_EQ(pools[0].in_use, 1);
  EXPECT_EQ(seen(actor.id).size(), 3U) << "and those that one registered oneself";
  const auto first =
      run([&](Unit& unit) -> Result<PageOf<Worker>> { return list_workers(unit, actor.id, {.limit = 2}); });
  EXPECT_EQ(first.items.size(), 2U);
  const auto rest = run([&](Unit& unit) -> Result<PageOf<Worker>> {
    return list_workers(unit, actor.id, {.limit = 2, .cursor = first.next});
  });
  ASSERT_EQ(rest.items.size(), 1U);
  EXPECT_EQ(rest.items[0].id.value, "w3");
  EXPECT_EQ(rest.next, "");
}

TEST_P(PagesTest, AWorkerIsDrainedAndRemovedByItsOwnTokenOrByOperatorsOfEveryClient) {
  actor = {.type = "token", .id = "tok_a", .role = ""};
  run([](Unit& unit) { return register_worker(unit, {.id = WorkerId{"w1"}}); });
  const auto drain = [](Unit& unit) { return drain_worker(unit, WorkerId{"w1"}, true, "update"); };
  const auto remove = [](Unit& unit) { return remove_worker(unit, WorkerId{"w1"}); };
  run(drain);
  actor = {.type = "token", .id = "tok_b", .role = ""};
  EXPECT_EQ(error_of(drain), ErrorCode::kPermissionDenied);
  EXPECT_EQ(error_of(remove), ErrorCode::kPermissionDenied);
  actor = {.type = "user", .id = "maya", .role = "viewer"};
  EXPECT_EQ(error_of(drain), ErrorCode::kPermissionDenied);
  actor.role = "operator";
  scope.clients = {ClientId{"mine"}};
  EXPECT_EQ(error_of(drain), ErrorCode::kPermissionDenied) << "others' runs are there as well";
  scope.clients = {};
  run(drain);
  actor = {.type = "token", .id = "tok_a", .role = ""};
  run(remove);
  EXPECT_EQ(count("workers"), 0);
  EXPECT_EQ(error_of(remove), ErrorCode::kNotFound);
}

}  // namespace
}  // namespace fettle::runs
