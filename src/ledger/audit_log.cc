#include "ledger/audit_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <functional>
#include <limits>

#include "db/transaction.h"
#include "ledger/chain.h"
#include "ledger/entry.h"

namespace fettle::ledger {
namespace {

constexpr std::uint64_t kPositionMax = std::uint64_t{1} << 62;

// The rarer a name's value is, the sooner it leads the search.
int commonness(std::string_view name) {
  if (name == "action") return 3;
  if (name == "client_id" || name == "policy_snapshot_id") return 2;
  return name == "actor_id" ? 1 : 0;
}

// Positions in question: behind the cursor, and inside the time range.
struct Range {
  std::int64_t first = 1;
  std::int64_t last = 0;
};

Result<Range> range_of(db::Reader& reader, const Scope& scope, const AuditQuery& query,
                       std::optional<std::uint64_t> behind) {
  Range range;
  if (query.from || query.to) {
    auto found = reader.fetch(
        "SELECT COALESCE(MIN(position), 1), COALESCE(MAX(position), 0) FROM audit_records WHERE workspace = $1 AND at "
        ">= $2 "
        "AND at < $3",
        {scope.workspace, query.from.value_or(0), query.to.value_or(std::numeric_limits<UnixNanos>::max())},
        range.first, range.last);
    if (!found) return std::unexpected(found.error());
  } else {
    auto found = reader.fetch("SELECT pruned + 1, size FROM audit_chains WHERE workspace = $1", {scope.workspace},
                              range.first, range.last);
    if (!found) return std::unexpected(found.error());
  }
  if (behind) range.last = std::min(range.last, static_cast<std::int64_t>(*behind) - 1);
  return range;
}

bool matches(const AuditRecord& record, const Identifiers& match) {
  std::size_t agreeing = 0;
  for_each_key(record, [&](std::string_view name, std::string_view value) {
    agreeing += static_cast<std::size_t>(
        std::ranges::count_if(match, [&](const Identifier& one) { return one.name == name && one.value == value; }));
  });
  return agreeing == match.size();
}

using Field = std::string_view (*)(const AuditRecord&);
constexpr std::pair<std::string_view, Field> kFields[] = {
    {"actor_type", [](const AuditRecord& record) -> std::string_view { return record.actor_type; }},
    {"role", [](const AuditRecord& record) -> std::string_view { return record.role; }},
    {"target_type", [](const AuditRecord& record) -> std::string_view { return record.target_type; }},
    {"platform", [](const AuditRecord& record) -> std::string_view { return record.platform; }},
    {"surface", [](const AuditRecord& record) -> std::string_view { return record.surface; }},
    {"lane", [](const AuditRecord& record) -> std::string_view { return record.lane; }},
    {"result", [](const AuditRecord& record) -> std::string_view { return to_string(record.result); }},
    {"reason", [](const AuditRecord& record) -> std::string_view { return record.reason; }}};

const std::pair<std::string_view, Field>* field_named(std::string_view name) {
  const auto* found = std::ranges::find(kFields, name, &std::pair<std::string_view, Field>::first);
  return found == std::end(kFields) ? nullptr : found;
}

bool holds(const AuditRecord& record, const Identifiers& where) {
  return std::ranges::all_of(where,
                             [&](const Identifier& one) { return field_named(one.name)->second(record) == one.value; });
}

// One search, assembled from literal parts, newest position first. CROSS JOIN keeps SQLite to the order given; to
// PostgreSQL it is a join like any other.
class Search {
 public:
  Search(const Scope& scope, Identifiers match, const AuditQuery& query) : scope_(scope), query_(query) {
    std::ranges::stable_sort(match, {}, [](const Identifier& identifier) { return commonness(identifier.name); });
    match_ = std::move(match);
    rows_max_ = static_cast<std::size_t>(std::clamp(query.rows_max, 1, kAuditPageRowsMax)) + 1;
    // What is filtered here is read in larger strides.
    stride_ = query.where.empty() ? rows_max_ : std::max(rows_max_, std::min(kStride, query.scan_max));
  }

  // Where the search ended because it had looked at enough; 0 when it went through all.
  std::int64_t gave_up_at() const { return gave_up_at_; }

  // A rare key is looked for in more and more buckets at once; a common one fills the page from the newest.
  Result<void> run(db::Reader& reader, const Range& range, std::vector<FoundAudit>& found) {
    std::int64_t last = range.last;
    for (std::int64_t buckets = 1; last >= range.first && !is_full(found);
         buckets = std::min<std::int64_t>(buckets * 4, kBucketsMax)) {
      std::int64_t first = range.first;
      if (!match_.empty()) {
        const std::int64_t lowest = index_bucket(static_cast<std::uint64_t>(last)) - buckets + 1;
        first = std::max(first, lowest * static_cast<std::int64_t>(kIndexBucketRecords) + 1);
      }
      // Hashes that met leave gaps in what the store gave: then the window is gone through once more from there.
      for (std::int64_t from_here = last; from_here >= first && !is_full(found);) {
        auto lowest = run_window(reader, first, from_here, found);
        if (!lowest) return std::unexpected(lowest.error());
        from_here = *lowest - 1;
        if (!query_.where.empty() && looked_at_ >= query_.scan_max && from_here >= range.first) {
          if (!is_full(found)) gave_up_at_ = *lowest;
          return {};
        }
      }
      last = first - 1;
    }
    return {};
  }

 private:
  static constexpr std::int64_t kBucketsMax = 4'096;
  static constexpr std::size_t kStride = 2'000;

  bool is_full(const std::vector<FoundAudit>& found) const {
    return found.size() >= rows_max_ || (bytes_ > query_.bytes_max && found.size() > 1);
  }

  // Answers the lowest position that was looked at: `first` when the window is done.
  Result<std::int64_t> run_window(db::Reader& reader, std::int64_t first, std::int64_t last,
                                  std::vector<FoundAudit>& found) {
    values_.clear();
    std::string sql;
    const std::string workspace = add(scope_.workspace);
    const std::string low = add(first);
    const std::string high = add(last);
    const std::string_view lead = match_.empty() ? "r" : "k0";
    if (!match_.empty()) {
      // CASTs because a parameter that stands alone has no type in PostgreSQL.
      sql = "WITH RECURSIVE buckets (n) AS (SELECT CAST(" + add(index_bucket(static_cast<std::uint64_t>(last))) +
            " AS BIGINT) UNION ALL SELECT n - 1 FROM buckets WHERE n > " +
            add(index_bucket(static_cast<std::uint64_t>(first))) + ") ";
    }
    sql += "SELECT r.position, r.at, r.entry, r.hash";
    sql += query_.with_details ? ", d.details FROM " : ", NULL FROM ";
    if (!match_.empty()) sql += "buckets CROSS JOIN ";
    for (std::size_t i = 0; i < match_.size(); ++i) sql += fmt::format("audit_index AS k{} CROSS JOIN ", i);
    sql += "audit_records AS r";
    if (query_.with_details) {
      sql += " LEFT JOIN audit_details AS d ON d.workspace = r.workspace AND d.position = r.position";
    }
    sql += fmt::format(" WHERE r.workspace = {0} AND {1}.position >= {2} AND {1}.position <= {3}", workspace, lead, low,
                       high);
    for (std::size_t i = 0; i < match_.size(); ++i) {
      sql += fmt::format(" AND k{0}.workspace = {1} AND k{0}.bucket = buckets.n AND k{0}.hash = {2}", i, workspace,
                         add(index_hash(match_[i].name, match_[i].value)));
      if (i > 0) sql += fmt::format(" AND k{}.position = k0.position", i);
    }
    if (!match_.empty()) sql += " AND r.position = k0.position";
    if (query_.from) sql += " AND r.at >= " + add(*query_.from);
    if (query_.to) sql += " AND r.at < " + add(*query_.to);
    sql += fmt::format(" ORDER BY {}.position DESC LIMIT ", lead) + add(static_cast<std::int64_t>(stride_));

    std::size_t count = 0;
    std::int64_t lowest = last;
    auto read = reader.each(db::Sql::assembled(sql), values_, [&](const db::Row& row) -> Result<void> {
      ++count;
      if (is_full(found)) return {};
      FoundAudit audit;
      db::BlobView hash;
      std::optional<std::string> details;
      if (auto got = row.into(audit.position, audit.at, audit.entry, hash, details); !got) return got;
      lowest = static_cast<std::int64_t>(audit.position);
      const auto digest = digest_of_bytes(hash.bytes);
      const auto entry = read_entry(audit.entry);
      if (!digest || !entry) {
        return fail(ErrorCode::kDataLoss, fmt::format("audit record {} is damaged", audit.position));
      }
      ++looked_at_;
      if (!matches(entry->record, match_) || !holds(entry->record, query_.where)) return {};
      audit.hash = *digest;
      if (details) audit.details = std::move(*details);
      bytes_ += audit.entry.size() + audit.details.size();
      found.push_back(std::move(audit));
      return {};
    });
    if (!read) return std::unexpected(read.error());
    return count < stride_ ? first : lowest;
  }

  std::string add(db::Value value) {
    values_.push_back(value);
    return fmt::format("${}", values_.size());
  }

  const Scope& scope_;
  const AuditQuery& query_;
  Identifiers match_;
  std::size_t rows_max_ = 0;
  std::size_t stride_ = 0;  // rows of a statement
  std::size_t looked_at_ = 0;
  std::int64_t gave_up_at_ = 0;
  std::uint64_t bytes_ = 0;
  std::vector<db::Value> values_;
};

}  // namespace

bool is_audit_field(std::string_view name) { return field_named(name) != nullptr; }

Result<AuditPage> find_audits(db::Reader& reader, const Scope& scope, const AuditQuery& query) {
  if (query.match.size() > kAuditMatchMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("an audit query has at most {} conditions", kAuditMatchMax));
  }
  for (const Identifier& one : query.where) {
    if (!is_audit_field(one.name)) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("audits are not filtered by '{}'", one.name));
    }
  }
  std::optional<std::uint64_t> behind;
  if (!query.cursor.empty()) {
    std::uint64_t position = 0;
    const char* const end = query.cursor.data() + query.cursor.size();
    const auto [last, error] = std::from_chars(query.cursor.data(), end, position);
    if (error != std::errc() || last != end || position == 0 || position > kPositionMax) {
      return fail(ErrorCode::kInvalidArgument, "audits: malformed cursor");
    }
    behind = position;
  }
  auto range = range_of(reader, scope, query, behind);
  if (!range) return std::unexpected(std::move(range).error().within("reading audits"));
  std::vector<FoundAudit> found;
  std::int64_t gave_up_at = 0;
  const auto search = [&](Identifiers match) -> Result<void> {
    std::vector<FoundAudit> part;
    Search one(scope, std::move(match), query);
    if (auto done = one.run(reader, *range, part); !done) return done;
    gave_up_at = std::max(gave_up_at, one.gave_up_at());
    std::ranges::move(part, std::back_inserter(found));
    return {};
  };
  Result<void> done;
  if (scope.clients.empty()) {
    done = search(query.match);
  } else {
    // A search for each client, each in order already.
    for (auto client = scope.clients.begin(); client != scope.clients.end() && done; ++client) {
      Identifiers match = query.match;
      match.push_back({"client_id", client->value});
      const auto asked = std::ranges::find(query.match, "client_id", &Identifier::name);
      if (asked != query.match.end() && asked->value != client->value) continue;
      if (asked != query.match.end()) match.pop_back();
      done = search(std::move(match));
    }
    std::ranges::sort(found, std::ranges::greater(), &FoundAudit::position);
  }
  if (!done) return std::unexpected(std::move(done).error().within("reading audits"));
  AuditPage page;
  if (gave_up_at > 0) {
    // What one client's search has found further down, another's has not looked at yet.
    std::erase_if(found,
                  [&](const FoundAudit& audit) { return static_cast<std::int64_t>(audit.position) < gave_up_at; });
    page.next = std::to_string(gave_up_at);
  }
  std::uint64_t bytes = 0;
  const auto rows_max = static_cast<std::size_t>(std::clamp(query.rows_max, 1, kAuditPageRowsMax));
  for (FoundAudit& audit : found) {
    bytes += audit.entry.size() + audit.details.size();
    if (!page.audits.empty() && (page.audits.size() == rows_max || bytes > query.bytes_max)) {
      page.next = std::to_string(page.audits.back().position);
      break;
    }
    page.audits.push_back(std::move(audit));
  }
  return page;
}

Result<std::optional<FoundAudit>> find_audit(db::Reader& reader, const Scope& scope, std::uint64_t position,
                                             bool with_details) {
  FoundAudit audit{.position = position, .at = 0, .entry = {}, .hash = {}, .details = {}};
  db::Blob hash;
  std::optional<std::string> details;
  const db::Sql sql =
      "SELECT r.at, r.entry, r.hash, d.details FROM audit_records AS r LEFT JOIN audit_details AS d ON d.workspace = "
      "r.workspace AND d.position = r.position WHERE r.workspace = $1 AND r.position = $2";
  auto found =
      reader.fetch(sql, {scope.workspace, static_cast<std::int64_t>(position)}, audit.at, audit.entry, hash, details);
  if (!found) return std::unexpected(std::move(found).error().within("reading audits"));
  if (!*found) return std::nullopt;
  const auto digest = digest_of_bytes(hash.bytes);
  const auto entry = read_entry(audit.entry);
  if (!digest || !entry) return fail(ErrorCode::kDataLoss, fmt::format("audit record {} is damaged", position));
  const auto is_theirs = [&](const ClientId& client) { return client.value == entry->record.client_id; };
  if (!scope.clients.empty() && std::ranges::none_of(scope.clients, is_theirs)) return std::nullopt;
  audit.hash = *digest;
  if (with_details && details) audit.details = std::move(*details);
  return audit;
}

Result<bool> take_audit_name(db::Transaction& tx, const WorkspaceId& workspace, const std::string& audit_id,
                             UnixNanos now) {
  auto taken = tx.execute(
      "INSERT INTO audit_names (workspace, audit_id, recorded_at) VALUES ($1, $2, $3) ON CONFLICT (workspace, "
      "audit_id) "
      "DO NOTHING",
      {workspace, audit_id, now});
  if (!taken) return std::unexpected(std::move(taken).error());
  return *taken == 1;
}

Result<AuditHead> audit_head(db::Reader& reader, const WorkspaceId& workspace) {
  AuditHead head{.size = 0, .pruned = 0, .hash = first_link(workspace), .root = empty_root()};
  db::Blob hash;
  db::Blob peaks;
  auto found = reader.fetch("SELECT size, pruned, hash, peaks FROM audit_chains WHERE workspace = $1", {workspace},
                            head.size, head.pruned, hash, peaks);
  if (!found) return std::unexpected(found.error());
  if (!*found) return head;
  const auto digest = digest_of_bytes(hash.bytes);
  auto tree = MerkleTree::resume(head.size, peaks.bytes);
  if (!digest || !tree) {
    return fail(ErrorCode::kDataLoss, fmt::format("the head of the audit chain of '{}' is damaged", workspace.value));
  }
  head.hash = *digest;
  head.root = tree->root();
  return head;
}

Result<std::int64_t> erase_details(db::Transaction& tx, const Scope& scope, std::span<const std::uint64_t> positions) {
  std::int64_t erased = 0;
  for (const std::uint64_t position : positions) {
    const auto place = static_cast<std::int64_t>(position);
    if (scope.clients.empty()) {
      auto gone =
          tx.execute("DELETE FROM audit_details WHERE workspace = $1 AND position = $2", {scope.workspace, place});
      if (!gone) return std::unexpected(gone.error());
      erased += *gone;
      continue;
    }
    for (const ClientId& client : scope.clients) {
      auto gone = tx.execute(
          "DELETE FROM audit_details WHERE workspace = $1 AND position = $2 AND EXISTS (SELECT 1 FROM audit_index AS k "
          "WHERE k.workspace = $1 AND k.bucket = $3 AND k.hash = $4 AND k.position = $2)",
          {scope.workspace, place, index_bucket(position), index_hash("client_id", client.value)});
      if (!gone) return std::unexpected(gone.error());
      erased += *gone;
    }
  }
  return erased;
}

Result<std::int64_t> erase_client_details(db::Transaction& tx, const Scope& scope, const ClientId& client,
                                          std::int32_t rows_max) {
  if (!scope.clients.empty() && std::ranges::find(scope.clients, client) == scope.clients.end()) {
    return fail(ErrorCode::kPermissionDenied, "erasing audits: the client is outside the caller's");
  }
  return tx.execute(
      "DELETE FROM audit_details WHERE (workspace, position) IN (SELECT d.workspace, d.position FROM audit_details AS "
      "d "
      "WHERE d.workspace = $1 AND EXISTS (SELECT 1 FROM audit_index AS k WHERE k.workspace = d.workspace AND k.bucket "
      "= "
      "(d.position - 1) / $4 AND k.hash = $2 AND k.position = d.position) LIMIT $3)",
      {scope.workspace, index_hash("client_id", client.value), rows_max,
       static_cast<std::int64_t>(kIndexBucketRecords)});
}

}  // namespace fettle::ledger
