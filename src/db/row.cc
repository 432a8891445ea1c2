#include "db/row.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

namespace fettle::db {
namespace {

constexpr std::size_t kBlockBytesMin = 1'024;
constexpr std::size_t kBlockBytesMax = 256 * 1'024;

}  // namespace

std::unexpected<Error> Row::mismatch(std::size_t column, std::string_view wanted) const {
  if (column >= values_.size()) {
    return fail(ErrorCode::kInternal,
                fmt::format("{} wanted from column {} of a row of {}", wanted, column + 1, values_.size()));
  }
  return fail(ErrorCode::kInternal, fmt::format("column {} ({}) holds {}, not {}", column + 1, columns_[column],
                                                values_[column].type_name(), wanted));
}

Result<void> Row::read(std::size_t column, std::int64_t& out) const {
  const auto* value = column < values_.size() ? std::get_if<std::int64_t>(&values_[column].get()) : nullptr;
  if (value == nullptr) return mismatch(column, "an integer");
  out = *value;
  return {};
}

Result<void> Row::read(std::size_t column, bool& out) const {
  const auto* value = column < values_.size() ? std::get_if<std::int64_t>(&values_[column].get()) : nullptr;
  if (value == nullptr || *value < 0 || *value > 1) return mismatch(column, "0 or 1");
  out = *value == 1;
  return {};
}

Result<void> Row::read(std::size_t column, double& out) const {
  if (column < values_.size()) {
    if (const auto* value = std::get_if<double>(&values_[column].get())) {
      out = *value;
      return {};
    }
    if (const auto* value = std::get_if<std::int64_t>(&values_[column].get())) {
      out = static_cast<double>(*value);
      return {};
    }
  }
  return mismatch(column, "a number");
}

Result<void> Row::read(std::size_t column, std::string_view& out) const {
  const auto* value = column < values_.size() ? std::get_if<std::string_view>(&values_[column].get()) : nullptr;
  if (value == nullptr) return mismatch(column, "text");
  out = *value;
  return {};
}

Result<void> Row::read(std::size_t column, BlobView& out) const {
  const auto* value = column < values_.size() ? std::get_if<BlobView>(&values_[column].get()) : nullptr;
  if (value == nullptr) return mismatch(column, "a blob");
  out = *value;
  return {};
}

Result<void> Row::read(std::size_t column, std::string& out) const {
  std::string_view view;
  if (auto result = read(column, view); !result) return result;
  out = view;
  return {};
}

Result<void> Row::read(std::size_t column, Blob& out) const {
  BlobView view;
  if (auto result = read(column, view); !result) return result;
  out.bytes = view.bytes;
  return {};
}

char* Rows::allocate(std::size_t size) {
  bytes_ += size;
  if (size > free_size_) {
    const std::size_t grown =
        blocks_.empty() ? kBlockBytesMin : kBlockBytesMin << std::min<std::size_t>(blocks_.size(), 8);
    const std::size_t block = std::max(size, std::min(grown, kBlockBytesMax));
    blocks_.push_back(std::make_unique_for_overwrite<char[]>(block));
    free_ = blocks_.back().get();
    free_size_ = block;
  }
  char* place = free_;
  free_ += size;
  free_size_ -= size;
  return place;
}

}  // namespace fettle::db
