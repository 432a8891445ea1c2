// Attributes and values out of protobuf, as every signal has them. Private to the room and to one request at a time.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "otlp/assemble.h"
#include "otlp/decode.h"
#include "otlp/wire.h"

namespace fettle::otlp {

// Attributes and values. Lists must be contiguous in the flat model, so what a value nests is read only once the list
// it stands in is complete: until then the value holds the undecoded bytes (text()) of its array or map.
class ValueReader {
 public:
  ValueReader(Common& out, const DecodeLimits& limits) : assembler(out, limits), common(out) {}

  // One more attribute for the list that began at `first`.
  void attribute(Reader& list, std::size_t first, std::uint32_t& cut) {
    const std::string_view bytes = list.bytes();
    if (assembler.admits(first, cut)) key_value(bytes, common.attributes.emplace_back());
  }

  Range close(std::size_t first, std::uint32_t cut, std::uint32_t& dropped) {
    const Range range = assembler.close(first, cut, dropped);
    if (nested_) {
      nested_ = false;
      expand_attributes(range, 1);
    }
    return range;
  }

  // A value that stands in no list.
  void any_value_whole(std::string_view bytes, Value& value) {
    any_value(bytes, value);
    expand(value, 1);
  }

  // Joins the parts of a singular message that came in several: concatenated encodings are the merged message.
  void merge(std::string_view& whole, std::string_view part) {
    // No real sender splits messages; without a bound, a hostile one could make us copy without end.
    constexpr std::size_t kMergedBytesMax = 4UZ * 1024 * 1024;
    if (whole.empty()) {
      whole = part;
      return;
    }
    if (part.empty()) return;
    const bool grows = !common.arena.empty() && common.arena.back().data() == whole.data();
    merged_bytes_ += part.size() + (grows ? 0 : whole.size());
    if (merged_bytes_ > kMergedBytesMax) {
      throw DecodeError{ErrorCode::kTooLarge, "the request", "too much of it is in messages sent in parts"};
    }
    if (grows) {
      common.arena.back().append(part);
    } else {
      common.keep(std::string(whole).append(part));
    }
    whole = common.arena.back();
  }

  Assembler assembler;
  Common& common;

 private:
  void key_value(std::string_view bytes, Attribute& attribute) {
    Reader reader(bytes, "KeyValue");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): attribute.key = assembler.string(reader.bytes()); break;
        case tag(2, kLength): any_value(reader.bytes(), attribute.value); break;
        case tag(3, kVarint):
          reader.varint();
          warn_string_index();
          break;
        default: reader.skip();
      }
    }
  }

  // Into a value that may hold what an earlier part of the same message said.
  void any_value(std::string_view bytes, Value& value) {
    Reader reader(bytes, "AnyValue");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength):
          value.type = ValueType::kString;
          value.set_text(assembler.string(reader.bytes()));
          break;
        case tag(2, kVarint):
          value = Value{.type = ValueType::kBool};
          value.boolean = reader.varint() != 0;
          break;
        case tag(3, kVarint):
          value = Value{.type = ValueType::kInt};
          value.integer = static_cast<std::int64_t>(reader.varint());
          break;
        case tag(4, kFixed64):
          value = Value{.type = ValueType::kDouble};
          value.number = reader.float64();
          break;
        case tag(5, kLength): nested(ValueType::kArray, reader.bytes(), value); break;
        case tag(6, kLength): nested(ValueType::kMap, reader.bytes(), value); break;
        case tag(7, kLength):
          value.type = ValueType::kBytes;
          value.set_text(assembler.raw(reader.bytes()));
          break;
        case tag(8, kVarint):
          reader.varint();
          warn_string_index();
          value = Value{};
          break;
        default: reader.skip();
      }
    }
  }

  void nested(ValueType type, std::string_view bytes, Value& value) {
    std::string_view whole = value.type == type ? value.text() : std::string_view{};
    merge(whole, bytes);
    value.type = type;
    value.set_text(whole);
    nested_ = true;
  }

  void expand_attributes(Range range, std::uint32_t depth) {
    for (std::uint32_t i = range.first; i != range.first + range.count; ++i) {
      Value value = common.attributes[i].value;
      if (value.type != ValueType::kArray && value.type != ValueType::kMap) continue;
      expand(value, depth);
      common.attributes[i].value = value;
    }
  }

  // `value` must not be in one of the vectors that grow meanwhile. `depth` is its own.
  void expand(Value& value, std::uint32_t depth) {
    if (value.type == ValueType::kArray) {
      expand_array(value, depth);
    } else if (value.type == ValueType::kMap) {
      expand_map(value, depth);
    }
  }

  void expand_array(Value& value, std::uint32_t depth) {
    const std::size_t first = common.values.size();
    Reader reader(value.text(), "ArrayValue");
    while (reader.next()) {
      if (reader.tag() != tag(1, kLength)) {
        reader.skip();
        continue;
      }
      assembler.check_depth(depth + 1);
      assembler.check_size();
      any_value(reader.bytes(), common.values.emplace_back());
    }
    const std::size_t end = common.values.size();
    for (std::size_t i = first; i != end; ++i) {
      Value child = common.values[i];
      if (child.type != ValueType::kArray && child.type != ValueType::kMap) continue;
      expand(child, depth + 1);
      common.values[i] = child;
    }
    value.size = static_cast<std::uint32_t>(end - first);
    value.first = static_cast<std::uint32_t>(first);
  }

  void expand_map(Value& value, std::uint32_t depth) {
    const std::size_t first = common.attributes.size();
    Reader reader(value.text(), "KeyValueList");
    while (reader.next()) {
      if (reader.tag() != tag(1, kLength)) {
        reader.skip();
        continue;
      }
      assembler.check_depth(depth + 1);
      assembler.check_size();
      key_value(reader.bytes(), common.attributes.emplace_back());
    }
    const Range range = assembler.close_map(first);
    expand_attributes(range, depth + 1);
    value.size = range.count;
    value.first = range.first;
  }

  bool nested_ = false;  // a list that is not closed yet holds arrays or maps
  std::size_t merged_bytes_ = 0;
};

}  // namespace fettle::otlp
