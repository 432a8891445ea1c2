// Values behind one another in a row's bytes: numbers as varints, texts with their length in front.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fettle::ledger {

inline void pack_number(std::string& out, std::uint64_t value) {
  while (value >= 0x80) {
    out.push_back(static_cast<char>(value | 0x80));
    value >>= 7;
  }
  out.push_back(static_cast<char>(value));
}

inline void pack_text(std::string& out, std::string_view text) {
  pack_number(out, text.size());
  out += text;
}

// Reads what was packed. After the first piece that does not fit, good() is false and everything reads as empty.
class Unpacker {
 public:
  explicit Unpacker(std::string_view bytes) : rest_(bytes) {}

  std::uint64_t number() {
    std::uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (rest_.empty()) return spoil();
      const auto byte = static_cast<unsigned char>(rest_.front());
      rest_.remove_prefix(1);
      value |= std::uint64_t{byte & 0x7FU} << shift;
      if (byte < 0x80) return value;
    }
    return spoil();
  }
  std::string_view text() {
    const std::uint64_t size = number();
    if (size > rest_.size()) {
      spoil();
      return {};
    }
    const std::string_view text = rest_.substr(0, size);
    rest_.remove_prefix(size);
    return text;
  }
  // A count of things that take at least a byte each.
  std::uint64_t count() {
    const std::uint64_t value = number();
    return value > rest_.size() ? spoil() : value;
  }
  bool good() const { return good_; }
  bool at_end() const { return rest_.empty(); }

 private:
  std::uint64_t spoil() {
    good_ = false;
    rest_ = {};
    return 0;
  }
  std::string_view rest_;
  bool good_ = true;
};

}  // namespace fettle::ledger
