// Which policy an action was taken under, and what a policy blocked.
//
// A snapshot is stored once, under the hash of its content; side effects name it. A block is a record that a person
// marks as kept or as a false positive.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runs/page.h"
#include "runs/unit.h"

namespace fettle::runs {

// "sha256:<hex>" of the content; the same content is stored once.
Result<std::string> store_policy_snapshot(Unit& unit, std::string_view content);
std::optional<std::string> get_policy_snapshot(View& view, std::string_view id);

struct PolicyBlockRequest {
  std::string policy, reason;  // required
  std::string content_ref;     // where what was blocked can be looked at; not the content
  std::string policy_snapshot_id;
  std::string client, platform, lane, agent;
  RunId run;  // may be empty
};

enum class Verdict : std::uint8_t { kKept, kFalsePositive };

struct PolicyBlock {
  std::string id;  // "block_…"
  std::string policy, reason, content_ref, policy_snapshot_id, client, platform, lane, agent;
  std::optional<std::int64_t> run_number;
  UnixNanos blocked_at = 0;
  std::optional<std::string> verdict;  // "kept" or "false_positive"
  std::string decided_by, note;
  std::optional<UnixNanos> decided_at;
};

Result<std::string> record_policy_block(Unit& unit, const PolicyBlockRequest& request);
// May be changed by a later decision; each is audited.
Result<void> decide_policy_block(Unit& unit, std::string_view id, Verdict verdict, std::string_view note);
// Newest first.
Result<PageOf<PolicyBlock>> list_policy_blocks(View& view, bool only_open = true, const PageRequest& page = {});

// ---- inside the room -----------------------------------------------------------------------------------------------

// kInvalidArgument for one that nobody stored, or for none where the workspace has stored any.
Result<void> check_policy_snapshot(Unit& unit, std::string_view id);

}  // namespace fettle::runs
