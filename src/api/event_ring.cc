#include "api/event_ring.h"

#include <algorithm>
#include <utility>

namespace fettle::api {
namespace {

constexpr int kBatchesMax = 16;  // of one look; the rest is for the next

std::uint64_t bytes_of(const ledger::OutboxRow& row) {
  std::uint64_t bytes = sizeof(row);
  for (const ledger::Event& event : row.events) {
    bytes += sizeof(event) + event.type.size() + event.body.size();
    for (const ledger::Identifier& identifier : event.identifiers)
      bytes += sizeof(identifier) + identifier.value.size();
  }
  return bytes;
}

}  // namespace

Result<void> EventRing::refresh(bool at_once) {
  const auto now = clock_.monotonic();
  if (is_open_ && now - looked_at_ >= limits_.forgotten_after) is_open_ = false;
  if (!is_open_) {
    auto end = outbox_.end();
    if (!end) return std::unexpected(std::move(end).error());
    rows_.clear();
    bytes_ = 0;
    begin_ = end_ = *end;
    is_open_ = true;
    looked_at_ = now;
    return {};
  }
  if (!at_once && now - looked_at_ < limits_.interval) return {};
  for (int batches = 0; batches < kBatchesMax; ++batches) {
    auto batch = outbox_.read_after(end_);
    if (!batch) return std::unexpected(std::move(batch).error());
    if (batch->rows.empty()) break;
    end_ = batch->end;
    for (ledger::OutboxRow& row : batch->rows) {
      bytes_ += bytes_of(row);
      rows_.push_back(std::make_shared<const ledger::OutboxRow>(std::move(row)));
    }
  }
  looked_at_ = now;
  while (rows_.size() > limits_.rows_max || (bytes_ > limits_.bytes_max && rows_.size() > 1)) {
    begin_ = rows_.front()->cursor;
    bytes_ -= bytes_of(*rows_.front());
    rows_.pop_front();
  }
  return {};
}

Result<EventRing::Slice> EventRing::after(std::optional<ledger::OutboxCursor> place) {
  MutexLock lock(mutex_);
  // A place ahead of ours comes from another replica that looked a moment later, or from another ledger.
  const bool is_ahead = place && is_open_ && end_ < *place;
  if (auto done = refresh(is_ahead); !done) return std::unexpected(std::move(done).error());
  Slice slice{.rows = {}, .end = end_, .is_gap = place && (*place < begin_ || end_ < *place)};
  if (!place || slice.is_gap) return slice;
  const auto first = std::ranges::upper_bound(rows_, *place, {}, [](const Row& row) { return row->cursor; });
  slice.rows.assign(first, rows_.end());
  return slice;
}

}  // namespace fettle::api
