#include "ledger/audit_log.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "db/transaction.h"
#include "ledger/chain.h"

namespace fettle::ledger {
namespace {

struct Place {
  UnixNanos at = 0;
  std::int64_t position = 0;
};

std::optional<Place> place_of(std::string_view cursor) {
  Place place;
  const char* const end = cursor.data() + cursor.size();
  const auto [dot, first] = std::from_chars(cursor.data(), end, place.at);
  if (first != std::errc() || dot == end || *dot != '.') return std::nullopt;
  const auto [last, second] = std::from_chars(dot + 1, end, place.position);
  if (second != std::errc() || last != end) return std::nullopt;
  return place;
}

// The rarer a name's value is, the sooner it leads the search.
int commonness(std::string_view name) {
  if (name == "action") return 3;
  if (name == "client_id" || name == "policy_snapshot_id") return 2;
  return name == "actor_id" ? 1 : 0;
}

// One search, assembled from literal parts. CROSS JOIN keeps SQLite to the order given; to PostgreSQL it is a join like
// any other.
class Search {
 public:
  Search(const Scope& scope, Identifiers match, const AuditQuery& query, std::optional<Place> behind) {
    std::ranges::stable_sort(match, {}, [](const Identifier& identifier) { return commonness(identifier.name); });
    match_ = std::move(match);
    const std::string_view lead = match_.empty() ? "r" : "k0";
    sql_ = "SELECT r.position, r.at, r.entry, r.hash";
    sql_ += query.with_details ? ", d.details FROM " : ", NULL FROM ";
    for (std::size_t i = 0; i < match_.size(); ++i) sql_ += fmt::format("audit_index AS k{} CROSS JOIN ", i);
    sql_ += "audit_records AS r";
    if (query.with_details) {
      sql_ += " LEFT JOIN audit_details AS d ON d.workspace = r.workspace AND d.position = r.position";
    }
    sql_ += fmt::format(" WHERE {}.workspace = {}", lead, add(scope.workspace));
    for (std::size_t i = 0; i < match_.size(); ++i) {
      sql_ += fmt::format(" AND k{}.name = {}", i, add(match_[i].name));
      sql_ += fmt::format(" AND k{}.value = {}", i, add(match_[i].value));
      if (i > 0)
        sql_ +=
            fmt::format(" AND k{0}.workspace = k0.workspace AND k{0}.at = k0.at AND k{0}.position = k0.position", i);
    }
    if (!match_.empty()) sql_ += " AND r.workspace = k0.workspace AND r.position = k0.position";
    if (query.from) sql_ += fmt::format(" AND {}.at >= {}", lead, add(*query.from));
    if (query.to) sql_ += fmt::format(" AND {}.at < {}", lead, add(*query.to));
    if (behind) {
      const std::string at = add(behind->at);
      sql_ += fmt::format(" AND ({0}.at, {0}.position) < ({1}, {2})", lead, at, add(behind->position));
    }
    sql_ += fmt::format(" ORDER BY {0}.at DESC, {0}.position DESC LIMIT ", lead);
    sql_ += add(std::clamp(query.rows_max, 1, kAuditPageRowsMax) + 1);
  }

  Result<void> run(db::Reader& reader, std::uint64_t bytes_max, std::vector<FoundAudit>& found) const {
    std::uint64_t bytes = 0;
    // One more than fits, so that it is known that there is more; what follows is not kept.
    return reader.each(db::Sql::assembled(sql_), values_, [&](const db::Row& row) -> Result<void> {
      if (bytes > bytes_max && found.size() > 1) return {};
      FoundAudit audit;
      db::BlobView hash;
      std::optional<std::string> details;
      if (auto got = row.into(audit.position, audit.at, audit.entry, hash, details); !got) return got;
      const auto digest = digest_of_bytes(hash.bytes);
      if (!digest) {
        return fail(ErrorCode::kDataLoss, fmt::format("the hash of audit record {} is damaged", audit.position));
      }
      audit.hash = *digest;
      if (details) audit.details = std::move(*details);
      bytes += audit.entry.size() + audit.details.size();
      found.push_back(std::move(audit));
      return {};
    });
  }

 private:
  std::string add(db::Value value) {
    values_.push_back(value);
    return fmt::format("${}", values_.size());
  }
  Identifiers match_;
  std::string sql_;
  std::vector<db::Value> values_;
};

}  // namespace

Result<AuditPage> find_audits(db::Reader& reader, const Scope& scope, const AuditQuery& query) {
  if (query.match.size() > kAuditMatchMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("an audit query has at most {} conditions", kAuditMatchMax));
  }
  std::optional<Place> behind;
  if (!query.cursor.empty()) {
    behind = place_of(query.cursor);
    if (!behind) return fail(ErrorCode::kInvalidArgument, "audits: malformed cursor");
  }
  std::vector<FoundAudit> found;
  if (scope.clients.empty()) {
    const Search search(scope, query.match, query, behind);
    if (auto done = search.run(reader, query.bytes_max, found); !done) {
      return std::unexpected(std::move(done).error().within("reading audits"));
    }
  } else {
    // A search for each client, each in order already; what they ask for has to be the same client.
    for (const ClientId& client : scope.clients) {
      Identifiers match = query.match;
      match.push_back({"client_id", client.value});
      std::vector<FoundAudit> of_client;
      const Search search(scope, std::move(match), query, behind);
      if (auto done = search.run(reader, query.bytes_max, of_client); !done) {
        return std::unexpected(std::move(done).error().within("reading audits"));
      }
      std::ranges::move(of_client, std::back_inserter(found));
    }
    std::ranges::sort(found, [](const FoundAudit& a, const FoundAudit& b) {
      return std::pair(a.at, a.position) > std::pair(b.at, b.position);
    });
  }
  AuditPage page;
  std::uint64_t bytes = 0;
  const auto rows_max = static_cast<std::size_t>(std::clamp(query.rows_max, 1, kAuditPageRowsMax));
  for (FoundAudit& audit : found) {
    bytes += audit.entry.size() + audit.details.size();
    if (!page.audits.empty() && (page.audits.size() == rows_max || bytes > query.bytes_max)) {
      page.next = fmt::format("{}.{}", page.audits.back().at, page.audits.back().position);
      break;
    }
    page.audits.push_back(std::move(audit));
  }
  return page;
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
          "DELETE FROM audit_details WHERE workspace = $1 AND position = $2 AND EXISTS (SELECT 1 FROM audit_records AS "
          "r "
          "JOIN audit_index AS k ON k.workspace = r.workspace AND k.at = r.at AND k.position = r.position WHERE "
          "r.workspace = $1 AND r.position = $2 AND k.name = 'client_id' AND k.value = $3)",
          {scope.workspace, place, client});
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
      "DELETE FROM audit_details WHERE (workspace, position) IN (SELECT k.workspace, k.position FROM audit_index AS k "
      "JOIN "
      "audit_details AS d ON d.workspace = k.workspace AND d.position = k.position WHERE k.workspace = $1 AND k.name = "
      "'client_id' AND k.value = $2 LIMIT $3)",
      {scope.workspace, client, rows_max});
}

}  // namespace fettle::ledger
