// A store in memory that can be down, apply an insert and lose the answer, refuse rows, and forget its tokens as after
// a power cut. It reads Native blocks of String and UInt64 columns.
#pragma once

#include <algorithm>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "ingest/bytes.h"
#include "ingest/store.h"

namespace fettle::ingest {

// The columns of a block with one String column: what a TableBlock holds.
inline std::string text_column(const std::vector<std::string>& texts) {
  ByteWriter out;
  out.string("text");
  out.string("String");
  for (const std::string& text : texts) out.string(text);
  return out.take();
}

class FakeStore final : public Store {
 public:
  struct Row {
    telemetry::Table table;
    std::string text;
    std::uint64_t ingest_id;
    auto operator<=>(const Row&) const = default;
  };

  // What happens to the next inserts, in order: nothing is stored, but for kApplyThenFail.
  enum class Fault { kFail, kApplyThenFail, kExhausted, kTooSlow, kFaulty, kNone };
  void then(std::vector<Fault> faults) {
    MutexLock lock(mutex_);
    faults_.insert(faults_.end(), faults.begin(), faults.end());
  }
  void set_down(bool down) {
    MutexLock lock(mutex_);
    is_down_ = down;
  }
  // Rows whose text contains this are refused for good.
  void refuse(std::string part) {
    MutexLock lock(mutex_);
    refused_part_ = std::move(part);
  }
  void forget_tokens() {
    MutexLock lock(mutex_);
    tokens_.clear();
  }
  // Runs before each insert, outside the lock.
  void before_insert(std::function<void(const std::string& token)> hook) {
    MutexLock lock(mutex_);
    hook_ = std::move(hook);
  }

  std::vector<std::string> texts() const {
    MutexLock lock(mutex_);
    std::vector<std::string> texts;
    for (const Row& row : rows_) texts.push_back(row.text);
    std::sort(texts.begin(), texts.end());
    return texts;
  }
  std::vector<Row> rows() const {
    MutexLock lock(mutex_);
    return rows_;
  }
  // Of every insert, also those that failed.
  std::vector<std::string> tokens_seen() const {
    MutexLock lock(mutex_);
    return seen_;
  }
  int questions() const {
    MutexLock lock(mutex_);
    return questions_;
  }
  void await_inserts(std::size_t count) {
    MutexLock lock(mutex_);
    while (seen_.size() < count) changed_.wait(lock);
  }

  Result<void> insert(telemetry::Table table, std::span<const std::string_view> pieces, std::string_view token,
                      const std::stop_token&) override {
    std::function<void(const std::string&)> hook;
    {
      MutexLock lock(mutex_);
      hook = hook_;
    }
    if (hook) hook(std::string(token));
    std::string bytes;
    for (std::string_view piece : pieces) bytes += piece;
    MutexLock lock(mutex_);
    seen_.emplace_back(token);
    changed_.notify_all();
    if (is_down_) return fail(ErrorCode::kUnavailable, "down for the test");
    Fault fault = Fault::kNone;
    if (!faults_.empty()) {
      fault = faults_.front();
      faults_.erase(faults_.begin());
    }
    if (fault == Fault::kFail) return fail(ErrorCode::kUnavailable, "failed for the test");
    if (fault == Fault::kExhausted) return fail(ErrorCode::kResourceExhausted, "no memory for the test");
    if (fault == Fault::kTooSlow) return fail(ErrorCode::kDeadlineExceeded, "too slow for the test");
    if (fault == Fault::kFaulty) return fail(ErrorCode::kInternal, "a column is missing for the test");
    const auto rows = parse(table, bytes);
    if (!rows) return fail(ErrorCode::kInvalidArgument, "not a block");
    if (!refused_part_.empty() &&
        std::ranges::any_of(*rows, [&](const Row& row) { return row.text.contains(refused_part_); })) {
      return fail(ErrorCode::kInvalidArgument, "a bad row");
    }
    if (tokens_.insert({table, std::string(token)}).second) rows_.insert(rows_.end(), rows->begin(), rows->end());
    if (fault == Fault::kApplyThenFail) return fail(ErrorCode::kUnavailable, "the answer was lost for the test");
    return {};
  }

  Result<bool> has_ingest_id(telemetry::Table table, std::int32_t, std::uint64_t ingest_id,
                             const std::stop_token&) override {
    MutexLock lock(mutex_);
    ++questions_;
    if (is_down_) return fail(ErrorCode::kUnavailable, "down for the test");
    return std::ranges::any_of(rows_, [&](const Row& row) { return row.table == table && row.ingest_id == ingest_id; });
  }

 private:
  static std::optional<std::vector<Row>> parse(telemetry::Table table, std::string_view bytes) {
    std::vector<Row> rows;
    ByteReader in(bytes);
    while (!in.finished()) {
      const std::uint64_t columns = in.varint();
      const std::uint64_t count = in.varint();
      if (in.failed()) return std::nullopt;
      const std::size_t begin = rows.size();
      rows.resize(begin + count, Row{table, {}, 0});
      for (std::uint64_t column = 0; column < columns && !in.failed(); ++column) {
        const std::string_view name = in.string();
        const std::string_view type = in.string();
        for (std::uint64_t row = begin; row < begin + count && !in.failed(); ++row) {
          if (type == "String")
            rows[row].text = in.string();
          else if (type == "UInt64" && name == "ingest_id")
            rows[row].ingest_id = in.fixed<std::uint64_t>();
          else
            return std::nullopt;
        }
      }
      if (in.failed()) return std::nullopt;
    }
    return rows;
  }

  mutable Mutex mutex_;
  Condition changed_;
  std::vector<Row> rows_;
  std::set<std::pair<telemetry::Table, std::string>> tokens_;
  std::vector<std::string> seen_;
  std::vector<Fault> faults_;
  std::string refused_part_;
  std::function<void(const std::string&)> hook_;
  bool is_down_ = false;
  int questions_ = 0;
};

}  // namespace fettle::ingest
