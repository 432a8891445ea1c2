// Reading the audit log: by who, what, which identifier and when; and erasing what may be erased.
//
//   AuditQuery query;  query.match = {{"trace_id", trace}, {"action", "publish"}};
//   Result<AuditPage> page = find_audits(reader, scope, query);
//
// Records that are not chained yet (at most a second old) are not found. A scope that is limited to clients sees the
// records of those clients, and none that belong to no client.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/scope.h"
#include "ledger/hash.h"
#include "ledger/identifiers.h"

namespace fettle::db {
class Reader;
class Transaction;
}  // namespace fettle::db

namespace fettle::ledger {

struct AuditQuery {
  // All of them hold. Names: action, actor_id, target_id, client_id, audit_id, request_id, correlation_id, trace_id,
  // span_id, policy_snapshot_id, and whatever identifiers records carry.
  Identifiers match;
  // These hold, too, and are looked for among what the others leave: actor_type, role, target_type, platform, surface,
  // lane, result, reason. They are not in the index, because most records share their values.
  Identifiers where;
  std::optional<UnixNanos> from;  // of `at`, inclusive
  std::optional<UnixNanos> to;    // exclusive
  std::string cursor;             // AuditPage::next of the page before
  std::int32_t rows_max = 100;    // at most kAuditPageRowsMax
  // How many records a search with `where` looks at before its page ends, full or not: the next goes on from there.
  std::size_t scan_max = 50'000;
  std::uint64_t bytes_max = 1 << 20;
  bool with_details = false;  // for those who may see payloads
};
constexpr std::int32_t kAuditPageRowsMax = 1'000;
constexpr std::size_t kAuditMatchMax = 8;
// Whether AuditQuery::where knows the name.
bool is_audit_field(std::string_view name);

struct FoundAudit {
  std::uint64_t position = 0;
  UnixNanos at = 0;
  std::string entry;    // canonical JSON: read_entry() (entry.h) takes it apart
  Digest hash{};        // h[position]
  std::string details;  // JSON {"after","before","payload","summary"}; empty when withheld, erased or never there
};

struct AuditPage {
  std::vector<FoundAudit> audits;  // the newest position first
  std::string next;                // empty on the last page
};

// kInvalidArgument for a malformed cursor, more than kAuditMatchMax conditions or an unknown name in `where`. A page
// ends at rows_max or bytes_max, whichever comes first, but holds at least one record when there is one; with `where`
// also at scan_max, and may then be empty with another behind it.
Result<AuditPage> find_audits(db::Reader& reader, const Scope& scope, const AuditQuery& query);

// One record; nothing where there is none in this scope, or it is pruned. kDataLoss when it is damaged.
Result<std::optional<FoundAudit>> find_audit(db::Reader& reader, const Scope& scope, std::uint64_t position,
                                             bool with_details);

// Takes a name for a record that is about to be written, for the whole workspace. False when one has it already,
// whether or not it is chained yet, and whoever may see it. Names are kept as long as their records are.
Result<bool> take_audit_name(db::Transaction& tx, const WorkspaceId& workspace, const std::string& audit_id,
                             UnixNanos now);

// How far a workspace's chain has come.
struct AuditHead {
  std::uint64_t size = 0;
  std::uint64_t pruned = 0;  // positions up to here are in archives only
  Digest hash{};
  Digest root{};
};
// Size 0 where nothing was ever recorded.
Result<AuditHead> audit_head(db::Reader& reader, const WorkspaceId& workspace);

// Removes payload, summary, before and after, with their salt, of records at these positions, and says of how many.
// What is hashed stays, so the chain still verifies. Record an audit of it in the same transaction.
Result<std::int64_t> erase_details(db::Transaction& tx, const Scope& scope, std::span<const std::uint64_t> positions);
// The same for a client's records, at most `rows_max` of them: again until it says 0.
Result<std::int64_t> erase_client_details(db::Transaction& tx, const Scope& scope, const ClientId& client,
                                          std::int32_t rows_max = 1'000);

}  // namespace fettle::ledger
