// What the API shows of ingest, gathered from the books, the spool, the writer and the engine.
//
// Rates and recent counts come from samples of the books taken when somebody looks, at most one a second for each
// workspace, so that nothing runs while nobody does. Thread-safe.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "api/ingest_view.h"
#include "core/clock.h"
#include "core/mutex.h"
#include "ingest/balance.h"
#include "ingest/sender_clocks.h"
#include "ingest/spool.h"

namespace fettle::server {

class IngestReport final : public api::IngestView {
 public:
  struct Sources {
    const ingest::Balance& balance;
    const ingest::SenderClocks& sender_clocks;
    const ingest::Spool& spool;
    Clock& clock;
    std::function<std::uint64_t()> refused_rows;
    std::function<std::uint64_t()> dropped_requests;                // told to come again, since the start
    std::function<std::pair<std::string, std::uint64_t>()> engine;  // state and restarts
  };
  explicit IngestReport(Sources sources) : sources_(std::move(sources)) {}

  std::vector<ingest::BalanceRow> balance(const WorkspaceId& workspace) const override;
  api::IngestStatus status(const WorkspaceId& workspace) const override;

 private:
  struct Sample {
    std::chrono::nanoseconds at{0};
    std::uint64_t spans = 0;
    std::uint64_t logs = 0;
    std::uint64_t points = 0;
    std::uint64_t rejected = 0;
    std::uint64_t dropped = 0;
  };
  Sample sample(const WorkspaceId& workspace) const;

  const Sources sources_;
  mutable Mutex mutex_;
  mutable std::map<std::string, std::deque<Sample>> samples_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::server
