// Fields of one protobuf message, one after the other, over protozero's varints.
//
//   Reader reader(bytes, "Span");
//   while (reader.next()) {
//     switch (reader.tag()) {
//       case tag(5, kLength): span.name = reader.bytes(); break;
//       default: reader.skip();
//     }
//   }
//
// Not protozero's own pbf_reader, because that one cuts lengths and tags to 32 bits (a length of 2^32 + 5 reads as 5)
// and refuses groups, which are unknown fields like any other. Throws DecodeError; private to this room.
#pragma once

#include <cstdint>
#include <cstring>
#include <protozero/exception.hpp>
#include <protozero/varint.hpp>
#include <string_view>

#include "otlp/assemble.h"

namespace fettle::otlp {

enum WireType : std::uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kGroup = 3, kEndGroup = 4, kFixed32 = 5 };

// Number and wire type in one, as they are on the wire. A known number with another wire type is an unknown field.
constexpr std::uint32_t tag(std::uint32_t number, WireType type) { return number << 3 | type; }

class Reader {
 public:
  Reader(std::string_view message, const char* name)
      : at_(message.data()), end_(message.data() + message.size()), name_(name) {}

  bool next() {
    if (at_ == end_) return false;
    const std::uint64_t key = varint();
    if (key > 0xFFFFFFFF || key >> 3 == 0) fault("a field number is out of range");
    tag_ = static_cast<std::uint32_t>(key);
    return true;
  }
  std::uint32_t tag() const { return tag_; }
  bool at_end() const { return at_ == end_; }

  std::uint64_t varint() {
    if (at_ != end_ && static_cast<std::int8_t>(*at_) >= 0) return static_cast<std::uint8_t>(*at_++);
    return long_varint();
  }
  std::uint64_t fixed64() { return fixed<std::uint64_t>(); }
  std::uint32_t fixed32() { return fixed<std::uint32_t>(); }
  double float64() { return fixed<double>(); }
  std::int32_t zigzag32() {
    return static_cast<std::int32_t>(protozero::decode_zigzag32(static_cast<std::uint32_t>(varint())));
  }
  std::string_view bytes() {
    const std::uint64_t length = varint();
    if (length > left()) fault("a length runs past the end of its message");
    const std::string_view view(at_, length);
    at_ += length;
    return view;
  }
  // Steps over the current field.
  void skip() { skip(tag_, 0); }

  [[noreturn, gnu::cold, gnu::noinline]] void fault(const char* what) const {
    throw DecodeError{ErrorCode::kInvalidArgument, name_, what, at_};
  }

 private:
  static constexpr int kGroupDepthMax = 64;

  std::uint64_t left() const { return static_cast<std::uint64_t>(end_ - at_); }

  template <class T>
  T fixed() {
    if (left() < sizeof(T)) fault("a fixed-size number runs past the end of its message");
    T value;
    std::memcpy(&value, at_, sizeof(T));
    at_ += sizeof(T);
    return value;
  }

  [[gnu::noinline]] std::uint64_t long_varint() {
    try {
      return protozero::decode_varint(&at_, end_);
    } catch (const protozero::exception&) {
      fault("a varint is too long or runs past the end of its message");
    }
  }

  [[gnu::noinline]] void skip(std::uint32_t skipped, int depth) {
    switch (skipped & 7) {
      case kVarint: varint(); return;
      case kFixed64: fixed64(); return;
      case kLength: bytes(); return;
      case kFixed32: fixed32(); return;
      case kGroup: break;
      default: fault("a wire type is unknown");
    }
    if (depth == kGroupDepthMax) fault("groups are nested too deeply");
    while (next()) {
      const std::uint32_t inner = tag_;
      if ((inner & 7) != kEndGroup) {
        skip(inner, depth + 1);
      } else if (inner >> 3 == skipped >> 3) {
        return;
      } else {
        fault("a group ends that was not begun");
      }
    }
    fault("a group does not end");
  }

  const char* at_;
  const char* end_;
  const char* name_;
  std::uint32_t tag_ = 0;
};

}  // namespace fettle::otlp
