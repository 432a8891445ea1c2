#include "ledger/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <set>

#include "db/database.h"
#include "ledger/audit_log.h"
#include "ledger/checkpoint_store.h"
#include "ledger/entry.h"
#include "ledger/verify_index.h"

namespace fettle::ledger {
namespace {

constexpr std::uint64_t kChunkRecords = 32'768;
constexpr std::int64_t kSalvagedRecords = 1'024;
constexpr auto kReadDeadline = std::chrono::hours(6);

// What is left of pruned segments: leaves that make their root, and the chain's hash by a signed checkpoint.
Result<void> resume_behind_pruned(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t pruned, Chain& chain,
                                  std::optional<FirstBad>& bad) {
  MerkleTree tree;
  for (std::uint64_t number = 0; number < pruned / kSegmentRecords && !bad; ++number) {
    db::Blob root;
    std::optional<db::Blob> leaves;
    auto found = reader.fetch("SELECT root, leaves FROM audit_segments WHERE workspace = $1 AND number = $2",
                              {workspace, static_cast<std::int64_t>(number)}, root, leaves);
    if (!found) return std::unexpected(found.error());
    MerkleTree segment;
    const std::string_view bytes = *found && leaves ? std::string_view(leaves->bytes) : "";
    for (std::size_t i = 0; i + sizeof(Digest) <= bytes.size(); i += sizeof(Digest)) {
      segment.append(*digest_of_bytes(bytes.substr(i, sizeof(Digest))));
    }
    if (segment.size() != kSegmentRecords || bytes_of(segment.root()) != root.bytes) {
      bad = FirstBad{number * kSegmentRecords + 1,
                     "the hashes that were kept of a pruned segment are not those of its root"};
      break;
    }
    tree.append_subtree(segment.root(), kSegmentLevel);
  }
  if (bad) return {};
  auto sealed = newest_checkpoint(reader, workspace, pruned);
  if (!sealed) return std::unexpected(sealed.error());
  if (pruned % kSegmentRecords != 0 || !*sealed || (*sealed)->size != pruned) {
    bad = FirstBad{pruned, "there is no checkpoint at the end of what was pruned"};
    return {};
  }
  chain = Chain((*sealed)->hash, std::move(tree));
  return {};
}

Result<void> verify_chunk(db::Reader& reader, const WorkspaceId& workspace, std::uint64_t end, LogVerifier& verifier) {
  const auto first = static_cast<std::int64_t>(verifier.size());
  const auto last = static_cast<std::int64_t>(end);
  auto rows = reader.query("SELECT " FETTLE_CHECKPOINT_COLUMNS
                           " FROM audit_checkpoints WHERE workspace = $1 AND size >= $2 AND size <= $3 ORDER BY size",
                           {workspace, first, last});
  if (!rows) return std::unexpected(rows.error());
  std::vector<Checkpoint> checkpoints;
  for (const db::Row row : *rows) {
    auto checkpoint = checkpoint_of(row);
    if (!checkpoint) {
      verifier.mark_bad(verifier.size() + 1, checkpoint.error().message());
      return {};
    }
    checkpoints.push_back(std::move(*checkpoint));
  }
  auto next = checkpoints.begin();
  const auto check_due = [&] {
    while (next != checkpoints.end() && next->size == verifier.size()) {
      if (!verifier.checkpoint(*next++)) return false;
    }
    return true;
  };
  if (!check_due()) return {};
  return reader.each(
      "SELECT position, entry, hash FROM audit_records WHERE workspace = $1 AND position > $2 AND position <= $3 ORDER "
      "BY "
      "position",
      {workspace, first, last}, [&](const db::Row& row) -> Result<void> {
        if (verifier.is_bad()) return {};
        std::uint64_t position = 0;
        std::string_view entry;
        db::BlobView hash;
        if (auto got = row.into(position, entry, hash); !got) return got;
        if (position != verifier.size() + 1) {
          verifier.mark_bad(verifier.size() + 1, "the record is missing");
          return {};
        }
        const auto digest = digest_of_bytes(hash.bytes);
        if (!digest) {
          verifier.mark_bad(position, "its hash is damaged");
          return {};
        }
        if (verifier.record(entry, *digest)) check_due();
        return {};
      });
}

Result<VerifyReport> verify_records(db::Reader& reader, const WorkspaceId& workspace, const VerifyOptions& options) {
  std::uint64_t size = 0;
  std::uint64_t pruned = 0;
  db::Blob hash;
  auto found =
      reader.fetch("SELECT size, pruned, hash FROM audit_chains WHERE workspace = $1", {workspace}, size, pruned, hash);
  if (!found) return std::unexpected(found.error());
  std::uint64_t last = 0;
  std::uint64_t last_checkpoint = 0;
  auto ends = reader.fetch(
      "SELECT COALESCE((SELECT MAX(position) FROM audit_records WHERE workspace = $1), 0), COALESCE((SELECT MAX(size) "
      "FROM "
      "audit_checkpoints WHERE workspace = $1), 0)",
      {workspace}, last, last_checkpoint);
  if (!ends) return std::unexpected(ends.error());

  Chain start(workspace);
  std::optional<FirstBad> bad;
  if (pruned > 0) {
    if (auto resumed = resume_behind_pruned(reader, workspace, pruned, start, bad); !resumed) {
      return std::unexpected(resumed.error());
    }
  }
  LogVerifier verifier(workspace, std::move(start), options);
  if (bad) verifier.mark_bad(bad->position, bad->what);
  // What the chain, the records or a checkpoint reach up to has to be there.
  const std::uint64_t expected = std::max({size, last, last_checkpoint});
  while (!verifier.is_bad() && verifier.size() < expected) {
    const std::uint64_t before = verifier.size();
    if (auto done = verify_chunk(reader, workspace, std::min(expected, before + kChunkRecords), verifier); !done) {
      return std::unexpected(done.error());
    }
    if (verifier.size() == before) break;
  }
  if (!verifier.is_bad() && verifier.size() == expected &&
      (size != expected || (*found && bytes_of(verifier.chain().hash()) != hash.bytes))) {
    verifier.mark_bad(std::min(size, expected) + 1, "the head of the chain is not where its records end");
  }
  VerifyReport report = verifier.finish(expected);
  report.pruned = pruned;
  return report;
}

// A store of which a page cannot be made sense of: a statement that meets it ends its transaction, so the records are
// read a few at a time, up to the first that cannot be.
Result<VerifyReport> verify_readable(db::Database& database, const WorkspaceId& workspace, const VerifyOptions& options,
                                     const std::string& damage) {
  struct Start {
    Chain chain;
    std::uint64_t pruned;
    std::optional<FirstBad> bad;
  };
  auto begun = database.read_and_wait([&](db::Reader& reader) -> Result<Start> {
    Start start{Chain(workspace), 0, {}};
    auto found = reader.fetch("SELECT pruned FROM audit_chains WHERE workspace = $1", {workspace}, start.pruned);
    if (!found) return std::unexpected(found.error());
    if (start.pruned > 0) {
      auto resumed = resume_behind_pruned(reader, workspace, start.pruned, start.chain, start.bad);
      if (!resumed) return std::unexpected(resumed.error());
    }
    return start;
  });
  if (!begun) begun = Start{Chain(workspace), 0, {}};
  LogVerifier verifier(workspace, std::move(begun->chain), options);
  if (begun->bad) verifier.mark_bad(begun->bad->position, begun->bad->what);
  for (bool more = true; more && !verifier.is_bad();) {
    const auto before = static_cast<std::int64_t>(verifier.size());
    auto read = database.read_and_wait([&](db::Reader& reader) {
      return reader.each(
          "SELECT position, entry, hash FROM audit_records WHERE workspace = $1 AND position > $2 AND position <= $3 "
          "ORDER BY position",
          {workspace, before, before + kSalvagedRecords}, [&](const db::Row& row) -> Result<void> {
            std::uint64_t position = 0;
            std::string_view entry;
            db::BlobView hash;
            if (auto got = row.into(position, entry, hash); !got) return got;
            const auto digest = digest_of_bytes(hash.bytes);
            if (position == verifier.size() + 1 && digest) verifier.record(entry, *digest);
            return {};
          });
    });
    more = read && static_cast<std::int64_t>(verifier.size()) == before + kSalvagedRecords;
  }
  verifier.mark_bad(verifier.size() + 1, "the store cannot read what belongs here: " + damage);
  VerifyReport report = verifier.finish(verifier.size());
  report.pruned = begun->pruned;
  return report;
}

}  // namespace

LogVerifier::LogVerifier(WorkspaceId workspace, Chain start, const VerifyOptions& options)
    : options_(options), chain_(std::move(start)) {
  report_.workspace = std::move(workspace);
  report_.from = chain_.size() + 1;
  report_.to = chain_.size();
  for (const Checkpoint& checkpoint : options.witnessed) {
    if (checkpoint.workspace == report_.workspace && checkpoint.size >= chain_.size()) witnessed_.push_back(checkpoint);
  }
  std::ranges::sort(witnessed_, {}, &Checkpoint::size);
  compare_witnessed();
}

bool LogVerifier::mark_bad(std::uint64_t position, std::string what) {
  if (!report_.bad) report_.bad = FirstBad{position, std::move(what)};
  return false;
}

bool LogVerifier::record(std::string_view entry, const Digest& stated) {
  if (report_.bad) return false;
  const std::uint64_t position = chain_.size() + 1;
  if (const std::uint64_t own = stated_position(entry); own != position) {
    return mark_bad(position, own > position ? "the record is missing, or another one stands in its place"
                                             : "the entry does not state this position");
  }
  chain_.append(entry);
  if (chain_.hash() != stated) {
    return mark_bad(position, "its hash is not that of its content and of the records before it");
  }
  report_.to = position;
  return compare_witnessed();
}

bool LogVerifier::compare_witnessed() {
  while (next_witnessed_ < witnessed_.size() && witnessed_[next_witnessed_].size == chain_.size()) {
    if (!compare(witnessed_[next_witnessed_++], "a witness")) return false;
  }
  return true;
}

bool LogVerifier::checkpoint(const Checkpoint& checkpoint) { return compare(checkpoint, "the log"); }

bool LogVerifier::compare(const Checkpoint& checkpoint, std::string_view whose) {
  if (report_.bad) return false;
  const std::uint64_t doubtful = report_.vouched + 1;
  if (checkpoint.workspace != report_.workspace || checkpoint.size != chain_.size()) {
    return mark_bad(chain_.size() + 1, fmt::format("a checkpoint of {} is of another place", whose));
  }
  if (!options_.public_keys.empty() &&
      std::ranges::find(options_.public_keys, checkpoint.public_key) == options_.public_keys.end()) {
    return mark_bad(doubtful, fmt::format("the checkpoint of {} at record {} was signed by an unknown key", whose,
                                          checkpoint.size));
  }
  if (!is_signed(checkpoint)) {
    return mark_bad(doubtful,
                    fmt::format("the signature of the checkpoint of {} at record {} is wrong", whose, checkpoint.size));
  }
  if (checkpoint.hash != chain_.hash() || checkpoint.root != chain_.root()) {
    return mark_bad(doubtful, fmt::format("records {} to {} are not those that {} has a checkpoint of", doubtful,
                                          checkpoint.size, whose));
  }
  ++report_.checkpoints;
  report_.vouched = checkpoint.size;
  if (std::ranges::find(report_.keys, checkpoint.public_key) == report_.keys.end()) {
    report_.keys.push_back(checkpoint.public_key);
  }
  return true;
}

VerifyReport LogVerifier::finish(std::uint64_t size) {
  if (!report_.bad && chain_.size() != size) {
    mark_bad(chain_.size() + 1, fmt::format("the log ends here; there have to be {} records", size));
  }
  if (!report_.bad && options_.is_whole && next_witnessed_ < witnessed_.size() &&
      witnessed_.back().size > chain_.size()) {
    mark_bad(chain_.size() + 1,
             fmt::format("the log ends here; a witness holds a checkpoint of {} records", witnessed_.back().size));
  }
  return std::move(report_);
}

std::uint64_t stated_position(std::string_view entry) {
  // Inside a string a quote stands behind a backslash, so this is a member; a value of digits is a number, which only
  // the one at the top level is.
  constexpr std::string_view kMember = ",\"position\":";
  if (entry.empty()) return 0;
  const char* const end = entry.data() + entry.size();
  const char* from = entry.data();
  // memmem: find() stops at every comma.
  while (const void* found = ::memmem(from, static_cast<std::size_t>(end - from), kMember.data(), kMember.size())) {
    std::uint64_t position = 0;
    from = static_cast<const char*>(found) + kMember.size();
    const auto [behind, error] = std::from_chars(from, end, position);
    if (error == std::errc() && behind != from) return position;
  }
  return 0;
}

Result<VerifyReport> verify_log(db::Database& database, const WorkspaceId& workspace, const VerifyOptions& options) {
  auto report = database.read_and_wait(
      [&](db::Reader& reader) -> Result<VerifyReport> {
        auto verified = verify_records(reader, workspace, options);
        if (!verified || verified->bad || !options.check_index) return verified;
        auto bad = verify_index(reader, workspace, verified->from, verified->to);
        if (!bad) return std::unexpected(bad.error());
        verified->bad = std::move(*bad);
        return verified;
      },
      {.deadline = kReadDeadline});
  if (!report && report.error().code() == ErrorCode::kDataLoss) {
    return verify_readable(database, workspace, options, report.error().message());
  }
  if (!report) return std::unexpected(std::move(report).error().within("verifying the audit log"));
  return report;
}

Result<std::vector<WorkspaceId>> workspaces_to_verify(db::Database& database) {
  std::set<std::string> names;
  std::optional<Error> failure;
  // Where one of them cannot be read, the others tell.
  for (const db::Sql& sql :
       {db::Sql("SELECT workspace FROM audit_chains"), db::Sql("SELECT DISTINCT workspace FROM audit_checkpoints"),
        db::Sql("SELECT DISTINCT workspace FROM audit_records")}) {
    auto found = database.read_and_wait(
        [&](db::Reader& reader) -> Result<std::vector<std::string>> {
          auto rows = reader.query(sql);
          if (!rows) return std::unexpected(rows.error());
          std::vector<std::string> read;
          for (const db::Row row : *rows) {
            auto name = row.get<std::string>(0);
            if (!name) return std::unexpected(name.error());
            read.push_back(std::move(*name));
          }
          return read;
        },
        {.deadline = kReadDeadline});
    if (found) {
      names.insert(found->begin(), found->end());
    } else {
      failure = found.error();
    }
  }
  if (failure && (names.empty() || failure->code() != ErrorCode::kDataLoss)) return std::unexpected(*failure);
  std::vector<WorkspaceId> workspaces;
  for (const std::string& name : names) workspaces.push_back({name});
  return workspaces;
}

}  // namespace fettle::ledger
