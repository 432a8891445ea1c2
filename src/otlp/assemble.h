// What the protobuf and the JSON decoder do alike: close attribute lists, cut at limits, judge items, take refused
// items back. Private to this room.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "otlp/decode.h"
#include "otlp/model.h"

namespace fettle::otlp {

// Ends a decode. Thrown inside the room, turned into an Error at its border.
struct DecodeError {
  ErrorCode code;
  const char* where;            // the message that was being read
  const char* what;             // what is wrong with it; never payload
  const char* at = nullptr;     // in the request's bytes, when known
  const char* field = nullptr;  // one of the names we know, when known
};

// Makes the keys of one list unique. Built for lists of some dozens of keys, which it checks without clearing or
// allocating anything; longer ones are sorted, so no choice of keys makes it slow.
class UniqueKeys {
 public:
  // Removes from `list` every attribute from `first` on whose key comes again; the last value wins and takes the
  // place of the first. Returns how many were removed.
  std::uint32_t apply(std::vector<Attribute>& list, std::size_t first);

 private:
  static constexpr std::size_t kSlots = 512;
  static constexpr std::size_t kTableMax = kSlots / 2;

  struct Slot {
    std::uint32_t epoch = 0;
    std::uint32_t hash = 0;
    std::uint32_t index = 0;
  };
  std::uint32_t apply_sorted(std::vector<Attribute>& list, std::size_t first);

  std::array<Slot, kSlots> slots_{};
  std::uint32_t epoch_ = 0;
};

class Assembler {
 public:
  Assembler(Common& out, const DecodeLimits& limits) : out_(out), limits_(limits) {}

  // A string or bytes value, cut if it is longer than the limit.
  std::string_view string(std::string_view text) {
    return text.size() <= limits_.string_bytes_max ? text : cut(text, true);
  }
  std::string_view raw(std::string_view bytes) {
    return bytes.size() <= limits_.string_bytes_max ? bytes : cut(bytes, false);
  }

  // Every span, record and point, refused ones too.
  void count_item() {
    if (++items_ > limits_.items_max) throw DecodeError{ErrorCode::kTooLarge, "the request", "it holds too many items"};
  }
  // Every event, link, exemplar and entity: two bytes on the wire are a hundred in memory.
  void count_part() {
    if (++parts_ > limits_.items_max) {
      throw DecodeError{ErrorCode::kTooLarge, "the request", "it holds too many events, links or exemplars"};
    }
  }
  void check_depth(std::uint32_t depth) const {
    if (depth > limits_.nesting_max || depth > kNestingMax) {
      throw DecodeError{ErrorCode::kInvalidArgument, "AnyValue", "it is nested too deeply"};
    }
  }
  // Attributes and values grow by a factor of the bytes that describe them.
  void check_size() const {
    if (out_.attributes.size() + out_.values.size() > kValuesPerItemMax * limits_.items_max) {
      throw DecodeError{ErrorCode::kTooLarge, "the request", "it holds too many attributes and values"};
    }
  }

  void check_numbers(std::size_t count) const {
    if (count > kValuesPerItemMax * limits_.items_max) {
      throw DecodeError{ErrorCode::kTooLarge, "the request", "it holds too many buckets, bounds or quantiles"};
    }
  }

  // Whether the attribute list that began at `first` takes one more. One that is not taken is counted in `cut`.
  bool admits(std::size_t first, std::uint32_t& cut) {
    if (out_.attributes.size() - first < limits_.attributes_max) return true;
    ++cut;
    return false;
  }
  // The attributes from `first` to the end, made unique. `cut` ones are counted and added to `dropped`.
  Range close(std::size_t first, std::uint32_t cut, std::uint32_t& dropped);
  Range close_map(std::size_t first);

  // Where the shared vectors end; rewinding to it takes back what a refused item brought.
  struct Mark {
    std::size_t attributes, values, entity_refs;
  };
  Mark mark() const { return {out_.attributes.size(), out_.values.size(), out_.entity_refs.size()}; }
  void rewind(const Mark& mark) {
    out_.attributes.resize(mark.attributes);
    out_.values.resize(mark.values);
    out_.entity_refs.resize(mark.entity_refs);
  }

 private:
  static constexpr std::size_t kValuesPerItemMax = 8;
  // Nested values are read by recursion: whatever the configuration says, the stack has an end.
  static constexpr std::uint32_t kNestingMax = 256;

  std::string_view cut(std::string_view text, bool at_character);

  Common& out_;
  const DecodeLimits limits_;
  std::uint32_t items_ = 0;
  std::uint32_t parts_ = 0;
  UniqueKeys unique_keys_;
};

// The id when it is `Size` bytes and not all zero, else nothing.
template <std::size_t Size>
std::string_view valid_id(std::string_view id) {
  static_assert(Size == 8 || Size == 16);
  if (id.size() != Size) return {};
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  __builtin_memcpy(&low, id.data(), 8);
  __builtin_memcpy(&high, id.data() + Size - 8, 8);
  return (low | high) != 0 ? id : std::string_view{};
}

// Times beyond the year 2262 stay in the future instead of becoming negative.
constexpr UnixNanos to_nanos(std::uint64_t time) {
  constexpr auto kMax = static_cast<std::uint64_t>(INT64_MAX);
  return static_cast<UnixNanos>(time < kMax ? time : kMax);
}

// The data points of a metrics request: what they share while they are read, and how refused ones are taken back.
class PointAssembler {
 public:
  PointAssembler(Assembler& assembler, Metrics& out) : assembler_(assembler), out_(out) {}

  struct Mark {
    Assembler::Mark common;
    std::size_t integers, doubles, exemplars;
  };

  // `refused` is why no point of the metric can be kept, or nullptr.
  void begin_metric(std::uint32_t index, const char* refused) {
    metric_ = index;
    refused_ = refused;
  }
  Mark begin() {
    assembler_.count_item();
    return {assembler_.mark(), out_.integers.size(), out_.doubles.size(), out_.exemplars.size()};
  }
  // Keeps the last of `points` unless there is a reason against it.
  template <class Point>
  void end(std::vector<Point>& points, const Mark& mark, const char* reason) {
    if (refused_ != nullptr) reason = refused_;
    if (reason == nullptr) {
      points.back().metric = metric_;
      ++kept_;
      return;
    }
    out_.rejections.add(reason);
    points.pop_back();
    out_.integers.resize(mark.integers);
    out_.doubles.resize(mark.doubles);
    out_.exemplars.resize(mark.exemplars);
    assembler_.rewind(mark.common);
  }
  std::size_t kept() const { return kept_; }

  template <class T>
  void add(std::vector<T>& numbers, T number) {
    assembler_.check_numbers(numbers.size());
    numbers.push_back(number);
  }

 private:
  Assembler& assembler_;
  Metrics& out_;
  std::uint32_t metric_ = 0;
  const char* refused_ = nullptr;
  std::size_t kept_ = 0;
};

template <class T>
Range since(const std::vector<T>& all, std::size_t first) {
  return {static_cast<std::uint32_t>(first), static_cast<std::uint32_t>(all.size() - first)};
}

// Why an item must be refused, as one short sentence, or nullptr. They also put right what need not be refused: ids
// that only lose an association, values of a point that says it has none.
const char* judge(Span& span);
void settle(Link& link);
void settle(LogRecord& record);
void settle(Exemplar& exemplar);
const char* judge(NumberPoint& point, bool has_value);
const char* judge(const Metrics& request, HistogramPoint& point);
const char* judge(const Metrics& request, ExponentialHistogramPoint& point);
const char* judge(const Metrics& request, SummaryPoint& point);
// The temporality of a sum or histogram, as it was sent.
const char* judge_temporality(std::int32_t sent);

// Says once in the life of the process that a sender used the string table of profiles elsewhere.
void warn_string_index();
// The error for the caller; `body` tells where in it the decoder stood.
Error error_of(const DecodeError& error, std::string_view body);

}  // namespace fettle::otlp
