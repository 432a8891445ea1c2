#include "server/ingest_report.h"

#include <algorithm>
#include <tuple>

namespace fettle::server {
namespace {

constexpr std::chrono::seconds kSampleInterval{1};
constexpr std::chrono::seconds kRateWindow{30};  // SDKs send spans every five seconds
constexpr std::chrono::minutes kRecentWindow{5};
constexpr std::size_t kWorkspacesMax = 10'000;

}  // namespace

std::vector<ingest::BalanceRow> IngestReport::balance(const WorkspaceId& workspace) const {
  return sources_.balance.snapshot(workspace);
}

IngestReport::Sample IngestReport::sample(const WorkspaceId& workspace) const {
  Sample now{.at = sources_.clock.monotonic(), .dropped = sources_.dropped_requests()};
  for (const ingest::BalanceRow& row : sources_.balance.snapshot(workspace)) {
    switch (row.signal) {
      case ingest::Signal::kSpans: now.spans += row.received; break;
      case ingest::Signal::kLogs: now.logs += row.received; break;
      case ingest::Signal::kPoints: now.points += row.received; break;
    }
    now.rejected += row.rejected_total();
  }
  return now;
}

api::IngestStatus IngestReport::status(const WorkspaceId& workspace) const {
  api::IngestStatus status;
  const ingest::SpoolStatus spool = sources_.spool.status();
  status.lag = spool.oldest_age;
  status.oldest_age = spool.oldest_age;
  status.readable_watermark = sources_.spool.readable_watermark();
  status.spool_bytes = spool.bytes;
  status.spool_bytes_max = spool.bytes_max;
  status.refused_rows = sources_.refused_rows();
  std::tie(status.engine_state, status.engine_restarts) = sources_.engine();

  for (ingest::SenderClock& one : sources_.sender_clocks.list(workspace.value)) {
    status.skew.push_back({.sender = std::move(one.sender), .skew = one.skew, .delay = one.delay});
  }

  const Sample now = sample(workspace);
  MutexLock lock(mutex_);
  if (samples_.size() >= kWorkspacesMax && !samples_.contains(workspace.value)) return status;
  std::deque<Sample>& kept = samples_[workspace.value];
  while (!kept.empty() && now.at - kept.front().at > kRecentWindow) kept.pop_front();
  if (!kept.empty()) {
    status.rejected_recent = now.rejected - kept.front().rejected;
    status.dropped_recent = now.dropped - kept.front().dropped;
    const auto since = std::ranges::find_if(kept, [&](const Sample& s) { return now.at - s.at <= kRateWindow; });
    const Sample& base = since == kept.end() ? kept.back() : *since;
    const double seconds = std::chrono::duration<double>(now.at - base.at).count();
    if (seconds > 0) {
      status.spans_per_second = static_cast<double>(now.spans - base.spans) / seconds;
      status.logs_per_second = static_cast<double>(now.logs - base.logs) / seconds;
      status.points_per_second = static_cast<double>(now.points - base.points) / seconds;
    }
  }
  if (kept.empty() || now.at - kept.back().at >= kSampleInterval) kept.push_back(now);
  return status;
}

}  // namespace fettle::server
