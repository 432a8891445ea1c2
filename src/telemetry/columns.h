// Columns under construction, in the bytes of ClickHouse's Native format.
//
// Rows that are not written hold the default: a column is padded only when a later row is written or when it is
// rendered, so a column that no row uses costs nothing and is left out of the block. Internal to the block builders.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace fettle::telemetry {

// Bytes that grow without being cleared first.
class ByteBuffer {
 public:
  // `count` more bytes, to be written by the caller at once. THE POINTER IS VALID UNTIL THE NEXT CALL.
  char* extend(std::size_t count) {
    if (count > capacity_ - size_) [[unlikely]] {
      grow(count);
    }
    char* at = data_.get() + size_;
    size_ += count;
    return at;
  }
  void append(std::string_view bytes) {
    if (!bytes.empty()) std::memcpy(extend(bytes.size()), bytes.data(), bytes.size());
  }
  template <class T>
  void append_value(T value) {
    std::memcpy(extend(sizeof(T)), &value, sizeof(T));
  }
  void append_zeros(std::size_t count) {
    if (count != 0) std::memset(extend(count), 0, count);
  }
  void append_varint(std::uint64_t value) {
    while (value >= 0x80) {
      *extend(1) = static_cast<char>(value | 0x80);
      value >>= 7;
    }
    *extend(1) = static_cast<char>(value);
  }
  // Length and bytes, as Native has a string.
  void append_string(std::string_view text) {
    if (text.size() < 0x80) [[likely]] {
      char* at = extend(text.size() + 1);
      *at = static_cast<char>(text.size());
      std::memcpy(at + 1, text.data(), text.size());
      return;
    }
    append_varint(text.size());
    append(text);
  }

  std::size_t size() const { return size_; }
  const char* data() const { return data_.get(); }
  char* data() { return data_.get(); }
  std::string_view view() const { return {data_.get(), size_}; }
  void truncate(std::size_t size) { size_ = size; }
  void clear() { size_ = 0; }

 private:
  void grow(std::size_t count);

  struct Free {
    void operator()(char* bytes) const;
  };
  std::unique_ptr<char, Free> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

// A hash for short strings: names and keys of a few to a few dozen bytes. Seeded per process, because the strings are
// a sender's choice.
std::uint64_t hash_text(std::string_view text);

// Distinct strings, numbered in the order of their first appearance.
class StringTable {
 public:
  static constexpr std::uint32_t kNone = 0xffffffff;

  // The number of `text`, which is added when it is new.
  std::uint32_t intern(std::string_view text);
  std::string_view at(std::uint32_t number) const {
    const Entry& entry = entries_[number];
    return {keys_.data() + entry.offset, entry.size};
  }
  std::uint32_t count() const { return static_cast<std::uint32_t>(entries_.size()); }
  // Every string with its length before it, in order.
  std::string_view native_strings() const { return keys_.view(); }
  void clear();

 private:
  void rehash();

  struct Entry {
    std::uint32_t offset;
    std::uint32_t size;
    std::uint64_t hash;
  };
  ByteBuffer keys_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> slots_;  // number + 1, or 0; a power of two
};

// Rows that share a key, folded into one: finds the number of a key, or gives it the next one. Keys are plain bytes
// without padding.
template <class Key>
class KeyTable {
 public:
  std::uint32_t find_or_add(const Key& key) {
    static_assert(std::has_unique_object_representations_v<Key>);
    if (slots_.size() < keys_.size() * 2 + 16) rehash();
    const std::uint64_t hash = hash_of(key);
    for (std::size_t slot = hash & (slots_.size() - 1);; slot = (slot + 1) & (slots_.size() - 1)) {
      if (slots_[slot] == 0) {
        keys_.push_back(key);
        slots_[slot] = static_cast<std::uint32_t>(keys_.size());
        return slots_[slot] - 1;
      }
      if (std::memcmp(&keys_[slots_[slot] - 1], &key, sizeof key) == 0) return slots_[slot] - 1;
    }
  }
  const std::vector<Key>& keys() const { return keys_; }
  void clear() {
    keys_.clear();
    std::fill(slots_.begin(), slots_.end(), 0);
  }

 private:
  static std::uint64_t hash_of(const Key& key) { return hash_text({reinterpret_cast<const char*>(&key), sizeof key}); }
  void rehash() {
    slots_.assign(std::max<std::size_t>(slots_.size() * 2, 256), 0);
    for (std::uint32_t i = 0; i < keys_.size(); ++i) {
      std::size_t slot = hash_of(keys_[i]) & (slots_.size() - 1);
      while (slots_[slot] != 0) slot = (slot + 1) & (slots_.size() - 1);
      slots_[slot] = i + 1;
    }
  }
  std::vector<Key> keys_;
  std::vector<std::uint32_t> slots_;  // 1 + index into keys_, or 0; a power of two
};

template <class T>
class FixedColumn {
 public:
  void set(std::size_t row, T value) {
    pad(row);
    bytes_.append_value(value);
    ++rows_;
  }
  // As set(), but a default value is left to padding.
  void set_if(std::size_t row, T value) {
    if (value != T{}) set(row, value);
  }
  bool is_empty() const { return rows_ == 0; }
  std::size_t byte_count() const { return bytes_.size(); }
  void render(std::size_t rows, ByteBuffer& out) {
    pad(rows);
    out.append(bytes_.view());
  }
  void clear() {
    bytes_.clear();
    rows_ = 0;
  }

 private:
  void pad(std::size_t row) {
    if (rows_ < row) {
      bytes_.append_zeros((row - rows_) * sizeof(T));
      rows_ = row;
    }
  }
  ByteBuffer bytes_;
  std::size_t rows_ = 0;
};

class StringColumn {
 public:
  void set(std::size_t row, std::string_view text) {
    pad(row);
    bytes_.append_string(text);
    ++rows_;
  }
  void set_if(std::size_t row, std::string_view text) {
    if (!text.empty()) set(row, text);
  }
  // Room for a string of exactly `size` (< 128) bytes, to be written by the caller at once.
  char* set_in_place(std::size_t row, std::size_t size) {
    pad(row);
    ++rows_;
    char* at = bytes_.extend(size + 1);
    *at = static_cast<char>(size);
    return at + 1;
  }
  bool is_empty() const { return rows_ == 0; }
  std::size_t byte_count() const { return bytes_.size(); }
  void render(std::size_t rows, ByteBuffer& out) {
    pad(rows);
    out.append(bytes_.view());
  }
  void clear() {
    bytes_.clear();
    rows_ = 0;
  }

 private:
  void pad(std::size_t row) {
    if (rows_ < row) {
      bytes_.append_zeros(row - rows_);
      rows_ = row;
    }
  }
  ByteBuffer bytes_;
  std::size_t rows_ = 0;
};

// LowCardinality(String): a dictionary and a number a row. Number 0 is the empty string.
class LowCardinalityColumn {
 public:
  LowCardinalityColumn() { clear(); }
  // Returns the number of the value.
  std::uint32_t set(std::size_t row, std::string_view text) {
    pad(row);
    // Neighbouring rows mostly agree: a comparison is cheaper than a hash.
    if (text != values_.at(last_)) last_ = values_.intern(text);
    numbers_.append_value(last_);
    ++rows_;
    return last_;
  }
  std::uint32_t set_if(std::size_t row, std::string_view text) { return text.empty() ? 0 : set(row, text); }
  // The number of a value, for set_number(): for what is rendered once and written often.
  std::uint32_t number_of(std::string_view text) { return values_.intern(text); }
  void set_number(std::size_t row, std::uint32_t number) {
    pad(row);
    numbers_.append_value(number);
    ++rows_;
  }
  std::string_view value(std::uint32_t number) const { return values_.at(number); }
  bool is_empty() const { return rows_ == 0; }
  std::size_t byte_count() const { return values_.native_strings().size() + rows_; }
  void render(std::size_t rows, ByteBuffer& out);
  void clear();

 private:
  void pad(std::size_t row) {
    if (rows_ < row) {
      numbers_.append_zeros((row - rows_) * sizeof(std::uint32_t));
      rows_ = row;
    }
  }
  StringTable values_;
  ByteBuffer numbers_;  // std::uint32_t each
  std::size_t rows_ = 0;
  std::uint32_t last_ = 0;
};

// Writes one column of a block (name, type, data), unless no row of it was written. Counts it in `columns`.
template <class Column>
void render_column(std::string_view name, std::string_view type, Column& column, std::size_t rows, ByteBuffer& out,
                   std::uint32_t& columns) {
  if (column.is_empty()) return;
  out.append_string(name);
  out.append_string(type);
  column.render(rows, out);
  ++columns;
}

}  // namespace fettle::telemetry
