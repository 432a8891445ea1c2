// One open block per day, and the closed ones that wait to be taken: what every block builder does.
// Internal to the block builders.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "telemetry/block.h"
#include "telemetry/columns.h"

namespace fettle::telemetry {

// A Block has std::size_t rows; std::size_t byte_count() const; void render(std::int32_t day, ByteBuffer&,
// std::uint32_t& columns); void clear(); and, where rows of other tables are derived from its own,
// void render_derived(std::int32_t day, std::vector<TableBlock>& out).
template <class Block>
class DayBlocks {
 public:
  explicit DayBlocks(Table table) : table_(table) {}

  // The open block of a day. Most calls are for the same day as the one before. `make` creates a block.
  template <class Make>
  Block& of_day(std::int32_t day, Make&& make) {
    if (current_ < open_.size() && open_[current_].first == day) [[likely]] {
      return *open_[current_].second;
    }
    for (current_ = 0; current_ < open_.size(); ++current_) {
      if (open_[current_].first == day) return *open_[current_].second;
    }
    std::unique_ptr<Block> block;
    if (!spare_.empty()) {
      block = std::move(spare_.back());
      spare_.pop_back();
    } else {
      block = make();
    }
    open_.emplace_back(day, std::move(block));
    return *open_.back().second;
  }

  // Closes the block that of_day() returned last: the next row of its day opens another.
  void close_current() {
    closed_rows_ += open_[current_].second->rows;
    const std::size_t before = closed_.size();
    render(open_[current_].first, *open_[current_].second, closed_);
    for (std::size_t i = before; i < closed_.size(); ++i) closed_bytes_ += closed_[i].bytes.size();
    recycle(std::move(open_[current_].second));
    open_.erase(open_.begin() + static_cast<std::ptrdiff_t>(current_));
    current_ = 0;
  }

  std::size_t rows() const {
    std::size_t count = closed_rows_;
    for (const auto& [day, block] : open_) count += block->rows;
    return count;
  }
  std::size_t bytes() const {
    std::size_t count = closed_bytes_;
    for (const auto& [day, block] : open_) count += block->byte_count();
    return count;
  }

  std::vector<TableBlock> take() {
    std::vector<TableBlock> taken = std::move(closed_);
    for (auto& [day, block] : open_) {
      if (block->rows != 0) render(day, *block, taken);
      recycle(std::move(block));
    }
    open_.clear();
    closed_.clear();
    current_ = 0;
    closed_rows_ = closed_bytes_ = 0;
    std::stable_sort(taken.begin(), taken.end(),
                     [](const TableBlock& a, const TableBlock& b) { return a.day < b.day; });
    return taken;
  }

  // Blocks of other tables, made from what take() returned since the last call.
  std::vector<TableBlock> take_derived() { return std::exchange(derived_, {}); }

 private:
  void render(std::int32_t day, Block& block, std::vector<TableBlock>& taken) {
    if constexpr (requires { block.render_derived(day, derived_); }) block.render_derived(day, derived_);
    TableBlock& out = taken.emplace_back();
    out.table = table_;
    out.day = day;
    out.rows = static_cast<std::uint32_t>(block.rows);
    buffer_.clear();
    block.render(day, buffer_, out.columns);
    out.bytes.assign(buffer_.view());
  }

  void recycle(std::unique_ptr<Block> block) {
    constexpr std::size_t kSpareMax = 2;  // today and yesterday around midnight
    if (spare_.size() >= kSpareMax) return;
    block->clear();
    spare_.push_back(std::move(block));
  }

  Table table_;
  std::vector<TableBlock> derived_;
  std::vector<std::pair<std::int32_t, std::unique_ptr<Block>>> open_;
  std::size_t current_ = 0;
  std::vector<std::unique_ptr<Block>> spare_;
  std::vector<TableBlock> closed_;
  std::size_t closed_rows_ = 0;
  std::size_t closed_bytes_ = 0;
  ByteBuffer buffer_;
};

}  // namespace fettle::telemetry
