// Fairness: how many runs of a client, platform, workflow or key of the caller's own may run at once, and how many may
// start in a time.
//
//   set_limit(unit, {LimitDimension::kClient, "*", .concurrency_max = 5});     // each client by itself
//   set_limit(unit, {LimitDimension::kPlatform, "tiktok", .rate_max = 30, .rate_period = 1min});
//
// A run that a limit stops moves out of the ready index, held under the limit's key, and comes back when a slot is
// free: leasing never scans what is blocked. A rule for a value replaces the one for '*' in its dimension.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runs/unit.h"

namespace fettle::runs {

struct Run;

// kWorkspace has one value, "all": how much runs here at all, as a plan allows it.
enum class LimitDimension : std::uint8_t { kClient, kPlatform, kWorkflow, kKey, kWorkspace };
std::string_view to_string(LimitDimension dimension);
std::optional<LimitDimension> limit_dimension_named(std::string_view name);

struct LimitRule {
  LimitDimension dimension = LimitDimension::kClient;
  std::string value = "*";
  std::optional<std::int32_t> concurrency_max;
  std::optional<std::int32_t> rate_max;  // starts in each period, all at once if need be
  std::chrono::nanoseconds rate_period = std::chrono::minutes(1);
};

// kInvalidArgument for a rule that limits nothing or less than one. Audited. What is held under the old rule is looked
// at again by upkeep.
Result<void> set_limit(Unit& unit, const LimitRule& rule);
// kNotFound when there is none.
Result<void> remove_limit(Unit& unit, LimitDimension dimension, std::string_view value);
std::vector<LimitRule> list_limits(View& view);

// ---- inside the room -----------------------------------------------------------------------------------------------

// The rules and what is in use, for one lease call.
class Slots {
 public:
  explicit Slots(Unit& unit);
  // The key of a limit that has no room for the run; nothing when it may start.
  std::optional<std::string> blocked_by(const Run& run);
  // Takes a slot under each of the run's limits. What Run::slots is to be.
  std::optional<std::string> take(const Run& run);
  // Writes what was taken.
  void flush();
  // How many runs may start now under a key (of blocked_by); nothing when no rule limits it any more.
  std::optional<std::int64_t> room_under(std::string_view slot);

 private:
  struct Use {
    std::int64_t in_use = 0;
    UnixNanos free_at = 0;
    bool changed = false;
  };
  const LimitRule* rule_for(LimitDimension dimension, std::string_view value) const;
  Use& use_of(const std::string& slot);
  std::int64_t room(const LimitRule& rule, const Use& use) const;
  template <class Each>
  bool each_limit(const Run& run, Each each);

  Unit& unit_;
  std::vector<LimitRule> rules_;
  std::map<std::string, Use, std::less<>> uses_;
};

// Gives back what Run::slots names, and readies as many runs that are held under the same keys.
void release_slots(Unit& unit, std::string_view slots);
// Readies at most `count` of the runs held under `hold_key`, most urgent first. How many there were.
std::int64_t ready_held(Unit& unit, std::string_view hold_key, std::int64_t count);
std::string hold_key_of_slot(std::string_view slot);

}  // namespace fettle::runs
