// The canonical bytes of an audit record: what is hashed, stored and exported, always the same for the same record.
//
// A JSON object by RFC 8785: members sorted, no blanks, strings with the shortest escapes, integers; absent fields are
// left out. `details_hash` stands for what may be erased.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ledger/audit.h"
#include "ledger/hash.h"

namespace fettle::ledger {

// Appends the entry of `record` at `position` of its workspace's chain. `record.identifiers` sorted, without doubles.
void append_entry(std::string& out, const WorkspaceId& workspace, std::uint64_t position, UnixNanos recorded_at,
                  const AuditRecord& record, const std::optional<Digest>& details_hash);

// The erasable fields as one object {"after","before","payload","summary"}, or empty text without any of them. The
// three JSON values are embedded as they are.
std::string details_of(const AuditRecord& record);
Digest details_hash(std::string_view salt, std::string_view details);

// One member of an entry, in place: `value` is its JSON text, quotes included.
using MemberCallback = std::function<bool(std::string_view name, std::string_view value)>;
// Walks the members of a canonical entry. False when the bytes are not an object as append_entry() writes them, or when
// the callback said so.
bool for_each_member(std::string_view entry, const MemberCallback& member);
// The characters of a JSON string with its quotes; nothing when it is not one.
std::optional<std::string> unquote(std::string_view json);

// A member that is an unsigned number; nothing when there is none.
std::optional<std::uint64_t> position_of(std::string_view entry);

// An entry read back. kDataLoss when it is not one.
struct ReadEntry {
  WorkspaceId workspace;
  std::uint64_t position = 0;
  UnixNanos recorded_at = 0;
  std::optional<Digest> details_hash;
  AuditRecord record;  // without the erasable fields
};
Result<ReadEntry> read_entry(std::string_view entry);

// Appends text as a canonical JSON string. Ill-formed UTF-8 becomes U+FFFD.
void append_canonical_string(std::string& out, std::string_view text);

// The names and values by which a record is found, each calling back once. Both the sequencer and the verifier use it.
void for_each_key(const AuditRecord& record,
                  const std::function<void(std::string_view name, std::string_view value)>& key);

// The index holds a hash of name and value; whoever searches by it compares with the entry, because hashes may meet.
std::int64_t index_hash(std::string_view name, std::string_view value);
// Of everything by which a record is found; sorted, each once (somebody may have made two of them meet).
std::vector<std::int64_t> index_hashes(const AuditRecord& record);
constexpr std::uint64_t kIndexBucketRecords = 4'096;
inline std::int64_t index_bucket(std::uint64_t position) {
  return static_cast<std::int64_t>((position - 1) / kIndexBucketRecords);
}

std::optional<UnixNanos> parse_rfc3339(std::string_view text);

}  // namespace fettle::ledger
