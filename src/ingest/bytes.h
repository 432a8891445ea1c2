// Writing and reading the small structures of spool files: little-endian numbers, varints, strings with their length,
// and the checksum over them. A reader never trusts a length: after the first thing that does not fit it is failed().
#pragma once

#include <immintrin.h>

#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace fettle::ingest {

// CRC-32C by the processor's own instruction, about 8 GB/s. `crc` goes on from an earlier piece.
inline std::uint32_t crc32c(std::uint32_t crc, std::string_view bytes) {
  std::uint64_t state = ~crc;
  const char* at = bytes.data();
  std::size_t left = bytes.size();
  for (; left >= 8; at += 8, left -= 8) {
    std::uint64_t word;
    std::memcpy(&word, at, 8);
    state = _mm_crc32_u64(state, word);
  }
  auto narrow = static_cast<std::uint32_t>(state);
  for (; left > 0; ++at, --left) narrow = _mm_crc32_u8(narrow, static_cast<unsigned char>(*at));
  return ~narrow;
}

class ByteWriter {
 public:
  template <std::unsigned_integral T>
  void fixed(T value) {
    char raw[sizeof value];
    std::memcpy(raw, &value, sizeof value);  // x86-64 is little-endian
    bytes_.append(raw, sizeof value);
  }
  void varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) bytes_.push_back(static_cast<char>(value | 0x80));
    bytes_.push_back(static_cast<char>(value));
  }
  void zigzag(std::int64_t value) {
    varint((static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63));
  }
  void raw(std::string_view bytes) { bytes_.append(bytes); }
  void string(std::string_view text) {
    varint(text.size());
    raw(text);
  }

  const std::string& bytes() const { return bytes_; }
  std::string take() { return std::move(bytes_); }

 private:
  std::string bytes_;
};

// THE BYTES MUST OUTLIVE the reader and the views it hands out.
class ByteReader {
 public:
  explicit ByteReader(std::string_view bytes) : rest_(bytes) {}

  template <std::unsigned_integral T>
  T fixed() {
    T value = 0;
    const std::string_view bytes = raw(sizeof value);
    if (!failed_) std::memcpy(&value, bytes.data(), sizeof value);
    return value;
  }
  std::uint64_t varint() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && !rest_.empty(); shift += 7) {
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    failed_ = true;
    return 0;
  }
  std::int64_t zigzag() {
    const std::uint64_t value = varint();
    return static_cast<std::int64_t>((value >> 1) ^ (~(value & 1) + 1));
  }
  std::string_view raw(std::uint64_t size) {
    if (failed_ || size > rest_.size()) {
      failed_ = true;
      return {};
    }
    const std::string_view bytes = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return bytes;
  }
  std::string_view string() { return raw(varint()); }
  // A number of things that take at least `bytes_each`: fails when they cannot fit, so it is safe to reserve for.
  std::uint64_t count(std::size_t bytes_each) {
    const std::uint64_t value = varint();
    if (failed_ || value > rest_.size() / bytes_each) failed_ = true;
    return failed_ ? 0 : value;
  }

  bool failed() const { return failed_; }
  bool finished() const { return !failed_ && rest_.empty(); }

 private:
  std::string_view rest_;
  bool failed_ = false;
};

}  // namespace fettle::ingest
