#include "telemetry/columns.h"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <random>

namespace fettle::telemetry {
namespace {

// The Native form of LowCardinality: version, then what follows (additional keys, renew the dictionary, key width).
constexpr std::uint64_t kSharedDictionariesWithAdditionalKeys = 1;
constexpr std::uint64_t kHasAdditionalKeys = 1 << 9;
constexpr std::uint64_t kRenewDictionary = 1 << 10;
constexpr std::uint64_t kWidth8 = 0;
constexpr std::uint64_t kWidth16 = 1;
constexpr std::uint64_t kWidth32 = 2;

std::uint64_t seed() {
  static const std::uint64_t value = [] {
    std::random_device device;
    return (std::uint64_t{device()} << 32 | device()) | 1;
  }();
  return value;
}

__extension__ using Uint128 = unsigned __int128;

std::uint64_t mix(std::uint64_t a, std::uint64_t b) {
  const auto product = static_cast<Uint128>(a) * b;
  return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64);
}

std::uint64_t load64(const char* at) {
  std::uint64_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

std::uint64_t load32(const char* at) {
  std::uint32_t value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

template <class T>
void narrow(const char* from, std::size_t rows, char* to) {
  for (std::size_t row = 0; row < rows; ++row) {
    std::uint32_t number;
    std::memcpy(&number, from + row * sizeof number, sizeof number);
    const auto small = static_cast<T>(number);
    std::memcpy(to + row * sizeof small, &small, sizeof small);
  }
}

}  // namespace

void ByteBuffer::Free::operator()(char* bytes) const { std::free(bytes); }

void ByteBuffer::grow(std::size_t count) {
  const std::size_t capacity = std::max({capacity_ + capacity_ / 2, size_ + count, std::size_t{256}});
  char* grown = static_cast<char*>(std::realloc(data_.get(), capacity));
  if (grown == nullptr) throw std::bad_alloc();
  (void)data_.release();
  data_.reset(grown);
  capacity_ = capacity;
}

std::uint64_t hash_text(std::string_view text) {
  // Multiply and fold, eight bytes at a time; the last block overlaps the one before it.
  static const std::uint64_t start = seed();
  constexpr std::uint64_t kOdd = 0x9e3779b97f4a7c15;
  const char* at = text.data();
  std::size_t left = text.size();
  std::uint64_t hash = start ^ (left * kOdd);
  if (left >= 8) {
    for (; left > 8; left -= 8, at += 8) hash = mix(hash ^ load64(at), kOdd);
    return mix(hash ^ load64(at + left - 8), kOdd);
  }
  std::uint64_t tail = 0;
  if (left >= 4) {
    tail = load32(at) | load32(at + left - 4) << 32;
  } else if (left > 0) {
    tail = static_cast<unsigned char>(at[0]) |
           static_cast<std::uint64_t>(static_cast<unsigned char>(at[left / 2])) << 8 |
           static_cast<std::uint64_t>(static_cast<unsigned char>(at[left - 1])) << 16;
  }
  return mix(hash ^ tail, kOdd);
}

std::uint32_t StringTable::intern(std::string_view text) {
  if (slots_.size() < entries_.size() * 2 + 16) rehash();
  const std::uint64_t hash = hash_text(text);
  const std::size_t mask = slots_.size() - 1;
  for (std::size_t slot = hash & mask;; slot = (slot + 1) & mask) {
    const std::uint32_t number = slots_[slot];
    if (number == 0) {
      slots_[slot] = count() + 1;
      keys_.append_string(text);
      entries_.push_back(
          {static_cast<std::uint32_t>(keys_.size() - text.size()), static_cast<std::uint32_t>(text.size()), hash});
      return count() - 1;
    }
    if (entries_[number - 1].hash == hash && at(number - 1) == text) return number - 1;
  }
}

void StringTable::rehash() {
  const std::size_t size = std::max<std::size_t>(slots_.size() * 2, 32);
  slots_.assign(size, 0);
  for (std::uint32_t number = 0; number < entries_.size(); ++number) {
    std::size_t slot = entries_[number].hash & (size - 1);
    while (slots_[slot] != 0) slot = (slot + 1) & (size - 1);
    slots_[slot] = number + 1;
  }
}

void StringTable::clear() {
  keys_.clear();
  entries_.clear();
  std::fill(slots_.begin(), slots_.end(), 0);
}

void LowCardinalityColumn::clear() {
  values_.clear();
  values_.intern("");
  numbers_.clear();
  rows_ = 0;
  last_ = 0;
}

void LowCardinalityColumn::render(std::size_t rows, ByteBuffer& out) {
  pad(rows);
  const std::uint32_t keys = values_.count();
  const std::uint64_t width = keys <= 0x100 ? kWidth8 : keys <= 0x10000 ? kWidth16 : kWidth32;
  out.append_value(kSharedDictionariesWithAdditionalKeys);
  out.append_value(kHasAdditionalKeys | kRenewDictionary | width);
  out.append_value(std::uint64_t{keys});
  out.append(values_.native_strings());
  out.append_value(std::uint64_t{rows});
  switch (width) {
    case kWidth8: narrow<std::uint8_t>(numbers_.data(), rows, out.extend(rows)); break;
    case kWidth16: narrow<std::uint16_t>(numbers_.data(), rows, out.extend(rows * 2)); break;
    default: out.append(numbers_.view()); break;
  }
}

}  // namespace fettle::telemetry
