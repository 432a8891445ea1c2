// Whether an audit log is what it was: every record against the chain, the chain against signed checkpoints.
//
//   Result<VerifyReport> report = verify_log(database, workspace, {.public_keys = {key}, .witnessed = held});
//   if (report && report->bad) … report->bad->position is the first record that is not as it was written
//
// An edit, a removal or another order is found at the very record. Who rewrites all hashes behind it is found by the
// first checkpoint that disagrees: everything since the last one that agrees is then in doubt. A cut at the end, with
// checkpoints and all, is found only by a checkpoint that somebody else holds.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "ledger/chain.h"
#include "ledger/checkpoint.h"

namespace fettle::db {
class Database;
}

namespace fettle::ledger {

struct FirstBad {
  std::uint64_t position = 0;  // of the record; 0 where the fault lies before the first
  std::string what;            // for people
};

struct VerifyReport {
  WorkspaceId workspace;
  std::uint64_t from = 1;         // first position verified
  std::uint64_t to = 0;           // last position that is good
  std::uint64_t pruned = 0;       // positions of which only hashes are left
  std::uint64_t checkpoints = 0;  // that agree
  std::uint64_t vouched = 0;      // a good checkpoint covers everything up to this position
  std::vector<PublicKey> keys;    // that signed
  std::optional<FirstBad> bad;
};

struct VerifyOptions {
  std::vector<PublicKey> public_keys;  // who may sign; empty: anybody, and the report says who did
  std::vector<Checkpoint> witnessed;   // held outside; those of other workspaces are passed over
  // False for a part of a log, such as an archived segment: that a witness knows of later records is nothing against
  // it.
  bool is_whole = true;
  bool check_index = true;  // the store only: also what records are found by, and their details
};

// Records and checkpoints of one workspace in their order. Ends at the first fault. One thread at a time.
class LogVerifier {
 public:
  LogVerifier(WorkspaceId workspace, Chain start, const VerifyOptions& options);

  // False once something is bad. A checkpoint comes behind the record it ends with.
  bool record(std::string_view entry, const Digest& stated);
  bool checkpoint(const Checkpoint& checkpoint);
  // `size` is how many records there have to be.
  VerifyReport finish(std::uint64_t size);
  bool mark_bad(std::uint64_t position, std::string what);

  std::uint64_t size() const { return chain_.size(); }
  const Chain& chain() const { return chain_; }
  bool is_bad() const { return report_.bad.has_value(); }

 private:
  bool compare(const Checkpoint& checkpoint, std::string_view whose);
  bool compare_witnessed();

  const VerifyOptions options_;
  Chain chain_;
  VerifyReport report_;
  std::vector<Checkpoint> witnessed_;  // of this workspace, by size
  std::size_t next_witnessed_ = 0;
};

// The live store. Blocks. An error only where the store did not answer; whatever is wrong with the log is in the
// report, also what the store cannot make sense of (kDataLoss).
Result<VerifyReport> verify_log(db::Database& database, const WorkspaceId& workspace, const VerifyOptions& options);

// Those of which anything is left and can be read: of a chain, a record or a checkpoint. Blocks.
Result<std::vector<WorkspaceId>> workspaces_to_verify(db::Database& database);

// The position that an entry says it has; 0 when it says none.
std::uint64_t stated_position(std::string_view entry);

}  // namespace fettle::ledger
