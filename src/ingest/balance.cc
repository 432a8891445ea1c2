#include "ingest/balance.h"

#include <algorithm>
#include <utility>

#include "ingest/bytes.h"

namespace fettle::ingest {
namespace {

constexpr std::uint8_t kBooksVersion = 1;
constexpr std::string_view kOther = "other";

bool is_signal(std::uint8_t number) {
  return number >= static_cast<std::uint8_t>(Signal::kSpans) && number <= static_cast<std::uint8_t>(Signal::kPoints);
}

}  // namespace

std::string_view to_string(Signal signal) {
  switch (signal) {
    case Signal::kSpans: return "spans";
    case Signal::kLogs: return "logs";
    case Signal::kPoints: return "points";
  }
  return "unknown";
}

std::uint64_t BalanceRow::rejected_total() const {
  std::uint64_t total = 0;
  for (const auto& [reason, count] : rejected) total += count;
  return total;
}

bool BalanceRow::balanced() const {
  return received == duplicate + rejected_total() + redacted_away + stored + sampled_out + expired + pending;
}

Balance::Key Balance::key_of(const CountDelta& delta) {
  Key key{delta.workspace.value, delta.sender.substr(0, limits_.sender_bytes_max), delta.signal};
  auto& known = senders_[key.workspace];
  if (known.contains(key.sender)) return key;
  if (sender_count_ >= limits_.senders_max && key.sender != kOther) {
    key.sender = kOther;
  } else {
    known.insert(key.sender);
    ++sender_count_;
  }
  return key;
}

void Balance::reject(Line& line, std::string_view reason, std::uint64_t count) const {
  if (count == 0) return;
  const auto known = line.rejected.find(reason);
  const bool is_our_own = reason == kRefusedByStore || reason == kOther;
  const std::size_t our_own = line.rejected.count(kRefusedByStore) + line.rejected.count(kOther);
  if (known != line.rejected.end()) {
    known->second += count;
  } else if (is_our_own || line.rejected.size() - our_own < limits_.reasons_max) {
    line.rejected.emplace(reason, count);
  } else {
    line.rejected[std::string(kOther)] += count;
  }
}

void Balance::merge(Line& into, const Line& from) const {
  into.received += from.received;
  into.accepted += from.accepted;
  into.duplicate += from.duplicate;
  into.redacted_away += from.redacted_away;
  into.sampled_out += from.sampled_out;
  into.expired += from.expired;
  into.refused += from.refused;
  for (const auto& [reason, count] : from.rejected) reject(into, reason, count);
}

std::vector<BalanceRow> Balance::snapshot(const WorkspaceId& workspace) const {
  MutexLock lock(mutex_);
  struct Sum {
    Line all;
    std::uint64_t pending = 0;
  };
  std::map<Key, Sum> sums;
  const Key first{workspace.value, {}, Signal{}};
  const auto add_book = [&](const Book& book, bool pending) {
    for (auto at = book.lower_bound(first); at != book.end() && at->first.workspace == workspace.value; ++at) {
      Sum& sum = sums[at->first];
      merge(sum.all, at->second);
      if (pending) sum.pending += at->second.accepted;
    }
  };
  add_book(confirmed_, false);
  for (const auto& [segment, book] : open_) add_book(book, true);

  std::vector<BalanceRow> rows;
  rows.reserve(sums.size());
  for (const auto& [key, sum] : sums) {
    const Line& line = sum.all;
    BalanceRow& row = rows.emplace_back();
    row.workspace = key.workspace;
    row.sender = key.sender;
    row.signal = key.signal;
    row.received = line.received;
    row.duplicate = line.duplicate;
    row.rejected = {line.rejected.begin(), line.rejected.end()};
    row.redacted_away = line.redacted_away;
    row.sampled_out = line.sampled_out;
    row.expired = line.expired;
    row.pending = sum.pending;
    // What has left the store cannot be more than what went in; if it is, the line does not balance, and says so.
    const std::uint64_t left = line.refused + line.sampled_out + line.expired + sum.pending;
    row.stored = line.accepted - std::min(left, line.accepted);
  }
  return rows;
}

void Balance::add(std::uint32_t segment, const std::vector<CountDelta>& counts) {
  if (counts.empty()) return;
  MutexLock lock(mutex_);
  Book& book = open_[segment];
  for (const CountDelta& delta : counts) {
    Line& line = book[key_of(delta)];
    line.received += delta.received;
    line.accepted += delta.accepted;
    line.duplicate += delta.duplicate;
    line.redacted_away += delta.redacted_away;
    line.sampled_out += delta.sampled_out;
    line.expired += delta.expired;
    for (const auto& [reason, count] : delta.rejected) reject(line, reason, count);
  }
}

std::vector<CountDelta> Balance::missing(std::uint32_t segment, const std::vector<CountDelta>& intact) {
  std::vector<CountDelta> missing;
  MutexLock lock(mutex_);
  const auto booked = open_.find(segment);
  if (booked == open_.end()) return missing;
  std::map<Key, std::uint64_t> found;
  for (const CountDelta& delta : intact) found[key_of(delta)] += delta.accepted;
  for (const auto& [key, line] : booked->second) {
    const auto at = found.find(key);
    const std::uint64_t there = at == found.end() ? 0 : at->second;
    if (there >= line.accepted) continue;
    CountDelta& delta = missing.emplace_back();
    delta.workspace.value = key.workspace;
    delta.sender = key.sender;
    delta.signal = key.signal;
    delta.rejected[std::string(kSpoolLoss)] = line.accepted - there;
  }
  return missing;
}

void Balance::confirm(std::uint32_t segment, const std::vector<CountDelta>& refused) {
  MutexLock lock(mutex_);
  Book& book = open_[segment];
  for (const CountDelta& delta : refused) {
    Line& line = book[key_of(delta)];
    for (const auto& [reason, count] : delta.rejected) {
      reject(line, reason, count);
      line.refused += count;
    }
  }
  const auto end = open_.upper_bound(segment);
  for (auto closed = open_.begin(); closed != end; ++closed) {
    for (const auto& [key, line] : closed->second) merge(confirmed_[key], line);
  }
  open_.erase(open_.begin(), end);
}

std::string Balance::encode_confirmed() const {
  MutexLock lock(mutex_);
  ByteWriter out;
  out.fixed(kBooksVersion);
  out.varint(confirmed_.size());
  for (const auto& [key, line] : confirmed_) {
    out.string(key.workspace);
    out.string(key.sender);
    out.fixed(static_cast<std::uint8_t>(key.signal));
    for (const std::uint64_t count : {line.received, line.accepted, line.duplicate, line.redacted_away,
                                      line.sampled_out, line.expired, line.refused}) {
      out.varint(count);
    }
    out.varint(line.rejected.size());
    for (const auto& [reason, count] : line.rejected) {
      out.string(reason);
      out.varint(count);
    }
  }
  return out.take();
}

Result<void> Balance::restore_confirmed(std::string_view bytes) {
  constexpr std::size_t kLineBytesMin = 11;
  ByteReader in(bytes);
  if (in.fixed<std::uint8_t>() != kBooksVersion) return fail(ErrorCode::kDataLoss, "books of an unknown version");
  Book book;
  for (std::uint64_t lines = in.count(kLineBytesMin); lines > 0 && !in.failed(); --lines) {
    Key key;
    key.workspace = in.string();
    key.sender = in.string();
    const auto signal = in.fixed<std::uint8_t>();
    if (!is_signal(signal)) return fail(ErrorCode::kDataLoss, "books with an unknown signal");
    key.signal = static_cast<Signal>(signal);
    Line& line = book[key];
    for (std::uint64_t* count : {&line.received, &line.accepted, &line.duplicate, &line.redacted_away,
                                 &line.sampled_out, &line.expired, &line.refused}) {
      *count = in.varint();
    }
    for (std::uint64_t reasons = in.count(2); reasons > 0 && !in.failed(); --reasons) {
      std::string reason(in.string());
      line.rejected[std::move(reason)] = in.varint();
    }
  }
  if (!in.finished()) return fail(ErrorCode::kDataLoss, "books that end in the middle");

  MutexLock lock(mutex_);
  confirmed_ = std::move(book);
  open_.clear();
  senders_.clear();
  sender_count_ = 0;
  for (const auto& [key, line] : confirmed_) {
    if (senders_[key.workspace].insert(key.sender).second) ++sender_count_;
  }
  return {};
}

}  // namespace fettle::ingest
