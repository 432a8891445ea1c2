#include "otlp/assemble.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <numeric>
#include <optional>
#include <span>

#include "core/log.h"

namespace fettle::otlp {
namespace {

std::uint64_t load(const char* at, std::size_t bytes) {
  std::uint64_t word = 0;
  __builtin_memcpy(&word, at, bytes);
  return word;
}

// Quick rather than strong: at most a few hundred keys meet in one table, and equal hashes are compared in full.
std::uint32_t hash_of(std::string_view key) {
  const std::size_t size = key.size();
  std::uint64_t head = 0;
  std::uint64_t tail = 0;
  if (size >= 8) {
    head = load(key.data(), 8);
    tail = load(key.data() + size - 8, 8);
  } else if (size >= 4) {
    head = load(key.data(), 4);
    tail = load(key.data() + size - 4, 4);
  } else if (size > 0) {
    head = static_cast<std::uint8_t>(key[0]) |
           static_cast<std::uint64_t>(static_cast<std::uint8_t>(key[size / 2])) << 8 |
           static_cast<std::uint64_t>(static_cast<std::uint8_t>(key[size - 1])) << 16;
  }
  const std::uint64_t mixed = (head ^ size) * 0x9E3779B97F4A7C15ULL ^ tail * 0xC2B2AE3D27D4EB4FULL;
  return static_cast<std::uint32_t>(mixed >> 32 ^ mixed >> 15);
}

bool strictly_increasing(std::span<const double> numbers) {
  // Written so that a NaN anywhere is a fault.
  if (numbers.size() == 1) return !std::isnan(numbers[0]);
  for (std::size_t i = 1; i < numbers.size(); ++i) {
    if (!(numbers[i - 1] < numbers[i])) return false;
  }
  return true;
}

template <class T>
std::span<const T> part(const std::vector<T>& all, Range range) {
  return {all.data() + range.first, range.count};
}

// Nothing when the sum does not fit.
std::optional<std::uint64_t> sum_of(std::span<const std::uint64_t> counts, std::uint64_t sum = 0) {
  for (const std::uint64_t count : counts) {
    if (__builtin_add_overflow(sum, count, &sum)) return std::nullopt;
  }
  return sum;
}

// Whether a bucket of an exponential histogram lies beyond what a double can hold. Its upper bound is
// 2^((index + 1) * 2^-scale); 2^1024 itself is allowed, because the bucket below it holds the largest doubles.
bool overflows(std::int32_t scale, std::int32_t offset, std::uint32_t buckets) {
  constexpr std::int64_t kExponentMax = std::numeric_limits<double>::max_exponent;
  if (buckets == 0) return false;
  const std::int64_t upper = static_cast<std::int64_t>(offset) + buckets;
  if (upper <= 0) return false;
  if (scale >= 32) return false;  // 32-bit indexes cannot reach that far
  if (scale >= 0) return upper > kExponentMax << scale;
  return scale < -10 || upper << -scale > kExponentMax;
}

constexpr const char* kNoTime = "a data point has no time";

template <class Point>
bool without_value(const Point& point) {
  return (point.flags & kFlagNoRecordedValue) != 0;
}

}  // namespace

std::uint32_t UniqueKeys::apply(std::vector<Attribute>& list, std::size_t first) {
  const std::size_t count = list.size() - first;
  if (count < 2) return 0;
  if (count > kTableMax) return apply_sorted(list, first);
  Attribute* const items = list.data() + first;
  const std::uint32_t epoch = ++epoch_;
  std::uint32_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::uint32_t hash = hash_of(items[i].key);
    std::size_t at = hash % kSlots;
    while (slots_[at].epoch == epoch && !(slots_[at].hash == hash && items[slots_[at].index].key == items[i].key)) {
      at = (at + 1) % kSlots;
    }
    Slot& slot = slots_[at];
    if (slot.epoch == epoch) {
      items[slot.index].value = items[i].value;
      continue;
    }
    slot = {epoch, hash, kept};
    if (kept != i) items[kept] = items[i];
    ++kept;
  }
  list.resize(first + kept);
  return static_cast<std::uint32_t>(count - kept);
}

std::uint32_t UniqueKeys::apply_sorted(std::vector<Attribute>& list, std::size_t first) {
  const std::size_t count = list.size() - first;
  Attribute* const items = list.data() + first;
  std::vector<std::uint32_t> order(count);
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
    const int compared = items[a].key.compare(items[b].key);
    return compared != 0 ? compared < 0 : a < b;
  });
  // Equal keys now stand together in the order they came: the first keeps its place and takes the last's value.
  std::vector<bool> removed(count);
  for (std::size_t i = 1, head = 0; i < count; ++i) {
    if (items[order[i]].key != items[order[head]].key) {
      head = i;
      continue;
    }
    items[order[head]].value = items[order[i]].value;
    removed[order[i]] = true;
  }
  std::size_t kept = 0;
  for (std::size_t i = 0; i < count; ++i) {
    if (!removed[i]) items[kept++] = items[i];
  }
  list.resize(first + kept);
  return static_cast<std::uint32_t>(count - kept);
}

Range Assembler::close(std::size_t first, std::uint32_t cut, std::uint32_t& dropped) {
  if (cut != 0) {
    out_.truncated_attributes += cut;
    if (__builtin_add_overflow(dropped, cut, &dropped)) dropped = std::numeric_limits<std::uint32_t>::max();
  }
  return close_map(first);
}

Range Assembler::close_map(std::size_t first) {
  out_.duplicate_attributes += unique_keys_.apply(out_.attributes, first);
  check_size();
  return since(out_.attributes, first);
}

std::string_view Assembler::cut(std::string_view text, bool at_character) {
  ++out_.truncated_strings;
  std::size_t end = limits_.string_bytes_max;
  // Back to the lead byte of the character that the limit falls into; a character has at most three bytes after it.
  const std::size_t lowest = end - std::min<std::size_t>(end, 3);
  while (at_character && end > lowest && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

const char* judge(Span& span) {
  if (valid_id<16>(span.trace_id).empty()) return "a span's trace id is not 16 bytes or all zero";
  if (valid_id<8>(span.span_id).empty()) return "a span's span id is not 8 bytes or all zero";
  if (!span.parent_span_id.empty()) {
    if (span.parent_span_id.size() != 8) return "a span's parent span id is not 8 bytes";
    // Some senders write zeros for a root span.
    span.parent_span_id = valid_id<8>(span.parent_span_id);
  }
  return nullptr;
}

void settle(Link& link) {
  link.trace_id = valid_id<16>(link.trace_id);
  link.span_id = valid_id<8>(link.span_id);
}

void settle(LogRecord& record) {
  constexpr std::uint32_t kTraceFlags = 0xFF;
  record.trace_id = valid_id<16>(record.trace_id);
  record.span_id = valid_id<8>(record.span_id);
  record.flags &= kTraceFlags;
}

void settle(Exemplar& exemplar) {
  exemplar.trace_id = valid_id<16>(exemplar.trace_id);
  exemplar.span_id = valid_id<8>(exemplar.span_id);
}

const char* judge(NumberPoint& point, bool has_value) {
  if (point.time == 0) return kNoTime;
  if (without_value(point)) {
    point.is_int = false;
    point.number = 0;
    point.integer = 0;
    return nullptr;
  }
  return has_value ? nullptr : "a data point has no value";
}

const char* judge(const Metrics& request, HistogramPoint& point) {
  if (point.time == 0) return kNoTime;
  if (without_value(point)) {
    point.count = 0;
    point.has_sum = point.has_min = point.has_max = false;
    point.sum = point.min = point.max = 0;
    point.bucket_counts.count = 0;
    point.bounds.count = 0;
    return nullptr;
  }
  const auto counts = part(request.integers, point.bucket_counts);
  const auto bounds = part(request.doubles, point.bounds);
  if (counts.empty() && bounds.empty()) return nullptr;  // only count and sum are known
  if (counts.size() != bounds.size() + 1) return "a histogram does not have one bucket more than bounds";
  if (!strictly_increasing(bounds)) return "the bounds of a histogram do not increase";
  if (sum_of(counts) != point.count) return "the buckets of a histogram do not add up to its count";
  return nullptr;
}

const char* judge(const Metrics& request, ExponentialHistogramPoint& point) {
  if (point.time == 0) return kNoTime;
  if (without_value(point)) {
    point.count = point.zero_count = 0;
    point.has_sum = point.has_min = point.has_max = false;
    point.sum = point.min = point.max = 0;
    point.positive_counts.count = 0;
    point.negative_counts.count = 0;
    return nullptr;
  }
  auto sum = sum_of(part(request.integers, point.positive_counts), point.zero_count);
  if (sum) sum = sum_of(part(request.integers, point.negative_counts), *sum);
  if (sum != point.count) return "the buckets of an exponential histogram do not add up to its count";
  if (overflows(point.scale, point.positive_offset, point.positive_counts.count) ||
      overflows(point.scale, point.negative_offset, point.negative_counts.count)) {
    return "a bucket of an exponential histogram is out of range";
  }
  return nullptr;
}

const char* judge(const Metrics& request, SummaryPoint& point) {
  if (point.time == 0) return kNoTime;
  if (without_value(point)) {
    point.count = 0;
    point.sum = 0;
    point.quantiles.count = 0;
    return nullptr;
  }
  const auto numbers = part(request.doubles, point.quantiles);
  for (std::size_t i = 0; i < numbers.size(); i += 2) {
    if (!(numbers[i] >= 0 && numbers[i] <= 1)) return "a quantile of a summary is not between 0 and 1";
    if (i > 0 && !(numbers[i - 2] < numbers[i])) return "the quantiles of a summary do not increase";
  }
  return nullptr;
}

const char* judge_temporality(std::int32_t sent) {
  if (sent == 0) return "the aggregation temporality is unspecified";
  // Other numbers are kept as sent, for as far as the model's byte goes.
  if (sent < 0 || sent > std::numeric_limits<std::uint8_t>::max()) return "the aggregation temporality is unknown";
  return nullptr;
}

void warn_string_index() {
  static std::atomic_flag said;
  if (said.test_and_set(std::memory_order_relaxed)) return;
  log::warning("otlp_string_index_ignored",
               {{"reason", "a sender refers to a string table, which only profiles have; such values are empty"}});
}

Error error_of(const DecodeError& error, std::string_view body) {
  const std::less_equal<const char*> up_to;
  if (error.at != nullptr && up_to(body.data(), error.at) && up_to(error.at, body.data() + body.size())) {
    return {error.code, fmt::format("in {} at byte {}: {}", error.where, error.at - body.data(), error.what)};
  }
  if (error.field != nullptr) return {error.code, fmt::format("in {}.{}: {}", error.where, error.field, error.what)};
  return {error.code, fmt::format("in {}: {}", error.where, error.what)};
}

namespace {

// What one vector may keep for the next request; a giant request must not hold its memory for ever.
constexpr std::size_t kKeptBytesMax = 16UZ * 1024 * 1024;

template <class... T>
void empty(std::vector<T>&... vectors) {
  (
      [&] {
        vectors.clear();
        if (vectors.capacity() * sizeof(T) > kKeptBytesMax) vectors.shrink_to_fit();
      }(),
      ...);
}

void clear_common(Common& request) {
  empty(request.resources, request.scopes, request.attributes, request.values, request.entity_refs);
  request.arena.clear();
  request.rejections = {};
  request.duplicate_attributes = 0;
  request.truncated_attributes = 0;
  request.truncated_strings = 0;
}

}  // namespace

void clear(Traces& request) {
  clear_common(request);
  empty(request.spans, request.events, request.links);
}

void clear(Logs& request) {
  clear_common(request);
  empty(request.records);
}

void clear(Metrics& request) {
  clear_common(request);
  empty(request.metrics, request.number_points, request.histogram_points, request.exponential_histogram_points,
        request.summary_points, request.exemplars, request.integers, request.doubles);
}

}  // namespace fettle::otlp
