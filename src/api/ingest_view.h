// What the API shows of ingest, as an interface, so that it can be shown before and without a running ingest.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/ids.h"
#include "ingest/balance.h"

namespace fettle::api {

struct IngestStatus {
  std::chrono::nanoseconds lag{0};   // age of the oldest acknowledged record that is not readable yet
  UnixNanos readable_watermark = 0;  // everything acknowledged before this instant is readable
  double spans_per_second = 0;       // over the last ten seconds
  double logs_per_second = 0;
  double points_per_second = 0;
  std::uint64_t spool_bytes = 0;
  std::uint64_t spool_bytes_max = 0;
  std::chrono::nanoseconds oldest_age{0};
  std::uint64_t rejected_recent = 0;  // records over the last five minutes
  std::uint64_t dropped_recent = 0;   // requests refused for want of room over the last five minutes
  std::uint64_t refused_rows = 0;     // set aside because the store will never take them, since the start
  std::string engine_state;           // "running", "starting", "stopped", "external"
  std::uint64_t engine_restarts = 0;
  struct Skew {
    std::string sender;
    std::chrono::nanoseconds skew{0};   // the sender's clock is ahead of ours by at least this
    std::chrono::nanoseconds delay{0};  // its promptest batch was so late, or its clock is behind
  };
  std::vector<Skew> skew;  // of the senders of the workspace heard of late, newest first
};

// Thread-safe; quick enough for an I/O thread.
class IngestView {
 public:
  virtual ~IngestView() = default;
  virtual std::vector<ingest::BalanceRow> balance(const WorkspaceId& workspace) const = 0;
  virtual IngestStatus status(const WorkspaceId& workspace) const = 0;
};

}  // namespace fettle::api
