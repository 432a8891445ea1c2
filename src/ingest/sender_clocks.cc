#include "ingest/sender_clocks.h"

#include <algorithm>
#include <utility>

namespace fettle::ingest {
namespace {

constexpr std::chrono::nanoseconds kHalfWindow = std::chrono::seconds(150);

}  // namespace

void SenderClocks::note(std::string_view workspace, std::string_view sender, std::chrono::nanoseconds offset) {
  sender = sender.substr(0, limits_.sender_bytes_max);
  const std::chrono::nanoseconds now = clock_.monotonic();
  const std::int64_t half = now / kHalfWindow;
  MutexLock lock(mutex_);
  auto place = workspaces_.find(workspace);
  if (place == workspaces_.end()) {
    if (workspaces_.size() >= limits_.workspaces_max) return;
    place = workspaces_.emplace(std::string(workspace), BySender{}).first;
  }
  BySender& senders = place->second;
  auto found = senders.find(sender);
  if (found == senders.end()) {
    if (senders.size() >= limits_.senders_max) {
      senders.erase(std::ranges::min_element(senders, {}, [](const auto& entry) { return entry.second.at; }));
    }
    senders.emplace(std::string(sender), Heard{.at = now, .half = half, .newest = offset, .newest_before = {}});
    return;
  }
  Heard& heard = found->second;
  heard.at = now;
  if (heard.half == half) {
    heard.newest = std::max(heard.newest, offset);
    return;
  }
  heard.newest_before = heard.half == half - 1 ? std::optional(heard.newest) : std::nullopt;
  heard.half = half;
  heard.newest = offset;
}

std::vector<SenderClock> SenderClocks::list(std::string_view workspace) const {
  const std::chrono::nanoseconds now = clock_.monotonic();
  const std::int64_t half = now / kHalfWindow;
  std::vector<std::pair<std::chrono::nanoseconds, SenderClock>> recent;
  {
    MutexLock lock(mutex_);
    const auto place = workspaces_.find(workspace);
    if (place == workspaces_.end()) return {};
    for (const auto& [sender, heard] : place->second) {
      if (heard.half < half - 1) continue;
      std::chrono::nanoseconds newest = heard.newest;
      if (heard.half == half && heard.newest_before) newest = std::max(newest, *heard.newest_before);
      const std::chrono::nanoseconds none{0};
      recent.push_back(
          {heard.at, {.sender = sender, .skew = std::max(newest, none), .delay = std::max(-newest, none)}});
    }
  }
  std::ranges::stable_sort(recent, std::ranges::greater{}, [](const auto& entry) { return entry.first; });
  std::vector<SenderClock> list;
  list.reserve(recent.size());
  for (auto& [at, clock] : recent) list.push_back(std::move(clock));
  return list;
}

}  // namespace fettle::ingest
