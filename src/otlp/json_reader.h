// The values that every signal's JSON is made of: members, lists, strings, ids, times, numbers, attributes.
//
// Private to the room and to one request at a time. A fault is thrown as DecodeError and ends the request.
#pragma once

#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "otlp/assemble.h"
#include "otlp/base64.h"
#include "otlp/decode.h"

namespace fettle::otlp {

namespace dom = simdjson::dom;

// Reads JSON into the flat model. Lists must be contiguous there, so what a value nests is read only once the list it
// stands in is complete: until then it waits in `pending_`. Strings are copied into one arena string, because the
// parser's own buffer is needed for the next request.
class JsonReader {
 public:
  JsonReader(Common& out, const DecodeLimits& limits, std::size_t body_bytes)
      : assembler(out, limits), common(out), text_(out.arena.emplace_back()) {
    // No string is longer unescaped than it was in the body, so this is never outgrown and views into it stay good.
    text_.reserve(body_bytes);
  }

  Assembler assembler;
  Common& common;

  // Calls `field(value)` for every member that is set; `is(name)` inside tells which one it is.
  template <class Field>
  void members(dom::element element, const char* message, Field field) {
    where_ = message;
    field_ = nullptr;
    dom::object object;
    if (element.get(object) != simdjson::SUCCESS) fault("expected an object");
    for (const auto [name, value] : object) {
      if (value.is_null()) continue;
      name_ = name;
      where_ = message;
      field_ = nullptr;
      field(value);
    }
  }
  bool is(const char* name) {
    if (name_ != name) return false;
    field_ = name;
    return true;
  }

  using List = std::optional<dom::array>;
  List list(dom::element element) {
    dom::array array;
    if (element.get(array) != simdjson::SUCCESS) fault("expected an array");
    return array;
  }
  // A member of a oneof: at most one may be set.
  void only(bool& seen) {
    if (seen) fault("another member of the same choice is set as well");
    seen = true;
  }

  std::string_view string(dom::element element) { return store(assembler.string(text_of(element))); }

  // Hexadecimal in either case; empty when not set. Whether the length is right is judged with the item.
  std::string_view id(dom::element element) {
    const std::string_view hex = text_of(element);
    if (hex.size() % 2 != 0) fault("expected hexadecimal digits");
    const std::size_t begin = text_.size();
    reserve(hex.size() / 2);
    for (std::size_t i = 0; i < hex.size(); i += 2) {
      const int high = hex_digit(hex[i]);
      const int low = hex_digit(hex[i + 1]);
      if (high < 0 || low < 0) fault("expected hexadecimal digits");
      text_.push_back(static_cast<char>(high << 4 | low));
    }
    return std::string_view(text_).substr(begin);
  }

  bool boolean(dom::element element) {
    bool value = false;
    if (element.get(value) != simdjson::SUCCESS) fault("expected true or false");
    return value;
  }

  template <class Int>
  Int integer(dom::element element) {
    std::int64_t small = 0;
    std::uint64_t large = 0;
    if (element.is_string()) return integer_text<Int>(text_of(element));
    if (element.is<std::int64_t>() && element.get(small) == simdjson::SUCCESS) return narrow<Int>(small);
    if (element.is<std::uint64_t>() && element.get(large) == simdjson::SUCCESS) return narrow<Int>(large);
    double number = 0;
    if (!element.is_double() || element.get(number) != simdjson::SUCCESS) fault("expected a whole number");
    return integral<Int>(number);
  }
  std::int32_t enumerator(dom::element element) {
    if (element.is_string()) fault("expected the number of an enumerator, not a name");
    return integer<std::int32_t>(element);
  }
  UnixNanos time(dom::element element) { return to_nanos(integer<std::uint64_t>(element)); }

  double number(dom::element element) {
    double value = 0;
    if (!element.is_string()) {
      if (element.get(value) != simdjson::SUCCESS) fault("expected a number");
      return value;
    }
    const std::string_view text = text_of(element);
    if (text == "NaN") return std::numeric_limits<double>::quiet_NaN();
    if (text == "Infinity") return std::numeric_limits<double>::infinity();
    if (text == "-Infinity") return -std::numeric_limits<double>::infinity();
    // from_chars would take "inf" and "nan" too.
    const bool digits = text.find_first_not_of("0123456789.eE+-") == std::string_view::npos;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (!digits || error != std::errc() || end != text.data() + text.size()) fault("expected a number");
    return value;
  }

  // The attributes of an item, which start a new list.
  Range attributes(const List& list, std::uint32_t& dropped) {
    const std::size_t first = common.attributes.size();
    const std::size_t pending = pending_.size();
    std::uint32_t cut = 0;
    if (list) {
      for (const dom::element element : *list) {
        if (assembler.admits(first, cut)) key_value(element);
      }
    }
    const Range range = assembler.close(first, cut, dropped);
    expand_attributes(range, pending, 1);
    return range;
  }

  void any_value_whole(dom::element element, Value& value) {
    const std::size_t pending = pending_.size();
    any_value(element, value);
    expand(value, 1);
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(pending), pending_.end());
  }

  [[noreturn, gnu::cold, gnu::noinline]] void fault(const char* what) const {
    throw DecodeError{.code = ErrorCode::kInvalidArgument, .where = where_, .what = what, .field = field_};
  }

 private:
  static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return -1;
  }

  std::string_view text_of(dom::element element) const {
    std::string_view text;
    if (element.get(text) != simdjson::SUCCESS) fault("expected a string");
    return text;
  }

  // Views into text_ must stay good: if the arithmetic at its reserve() were ever wrong, this stops us.
  void reserve(std::size_t more) const {
    if (text_.capacity() - text_.size() < more) {
      throw DecodeError{ErrorCode::kInternal, "the request", "its strings are longer than the request"};
    }
  }
  std::string_view store(std::string_view text) {
    if (text.empty()) return {};
    reserve(text.size());
    const std::size_t begin = text_.size();
    text_.append(text);
    return std::string_view(text_).substr(begin);
  }

  template <class Int, class From>
  Int narrow(From value) const {
    if (!std::in_range<Int>(value)) fault("the number is out of range");
    return static_cast<Int>(value);
  }
  template <class Int>
  Int integral(double number) const {
    // 2^64 and -2^63 are doubles; the largest integers are not.
    if (number != std::trunc(number) || !(number >= -0x1p63 && number < 0x1p64)) fault("expected a whole number");
    if (number < 0) return narrow<Int>(static_cast<std::int64_t>(number));
    return narrow<Int>(static_cast<std::uint64_t>(number));
  }
  template <class Int>
  Int integer_text(std::string_view text) const {
    Int value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) fault("expected a whole number");
    return value;
  }

  void key_value(dom::element element) {
    Attribute& attribute = common.attributes.emplace_back();
    std::optional<dom::element> value;
    members(element, "KeyValue", [&](dom::element member) {
      if (is("key")) {
        attribute.key = string(member);
      } else if (is("value")) {
        value = member;
      } else if (is("keyStrindex")) {
        warn_string_index();
      }
    });
    if (value) any_value(*value, attribute.value);
  }

  void any_value(dom::element element, Value& value) {
    value = Value{};
    if (element.is_null()) return;
    bool seen = false;
    members(element, "AnyValue", [&](dom::element member) {
      if (is("stringValue")) {
        only(seen);
        value = Value::of_string(string(member));
      } else if (is("boolValue")) {
        only(seen);
        value.type = ValueType::kBool;
        value.boolean = boolean(member);
      } else if (is("intValue")) {
        only(seen);
        value.type = ValueType::kInt;
        value.integer = integer<std::int64_t>(member);
      } else if (is("doubleValue")) {
        only(seen);
        value.type = ValueType::kDouble;
        value.number = number(member);
      } else if (is("arrayValue")) {
        only(seen);
        wait(ValueType::kArray, member, value);
      } else if (is("kvlistValue")) {
        only(seen);
        wait(ValueType::kMap, member, value);
      } else if (is("bytesValue")) {
        only(seen);
        value.type = ValueType::kBytes;
        value.set_text(base64(member));
      } else if (is("stringValueStrindex")) {
        only(seen);
        warn_string_index();
      }
    });
  }

  std::string_view base64(dom::element element) {
    const std::string_view encoded = text_of(element);
    const std::size_t begin = text_.size();
    reserve(encoded.size());
    if (!append_base64_decoded(text_, encoded)) fault("expected base64");
    return assembler.raw(std::string_view(text_).substr(begin));
  }

  void wait(ValueType type, dom::element element, Value& value) {
    value.type = type;
    value.integer = static_cast<std::int64_t>(pending_.size());
    pending_.push_back(element);
  }

  // Of the elements from `pending` on, those that duplicates and cuts left unused are forgotten as well.
  void expand_attributes(Range range, std::size_t pending, std::uint32_t depth) {
    if (pending_.size() == pending) return;
    for (std::uint32_t i = range.first; i != range.first + range.count; ++i) {
      Value value = common.attributes[i].value;
      if (value.type != ValueType::kArray && value.type != ValueType::kMap) continue;
      expand(value, depth);
      common.attributes[i].value = value;
    }
    pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(pending), pending_.end());
  }

  // `value` must not be in one of the vectors that grow meanwhile. `depth` is its own.
  void expand(Value& value, std::uint32_t depth) {
    if (value.type != ValueType::kArray && value.type != ValueType::kMap) return;
    List values;
    members(pending_[static_cast<std::size_t>(value.integer)],
            value.type == ValueType::kArray ? "ArrayValue" : "KeyValueList", [&](dom::element member) {
              if (is("values")) values = list(member);
            });
    const std::size_t pending = pending_.size();
    Range range;
    if (value.type == ValueType::kArray) {
      const std::size_t first = common.values.size();
      if (values) {
        for (const dom::element element : *values) {
          admit_child(depth + 1);
          Value child;
          any_value(element, child);
          common.values.push_back(child);
        }
      }
      range = since(common.values, first);
      for (std::uint32_t i = range.first; pending_.size() != pending && i != range.first + range.count; ++i) {
        Value child = common.values[i];
        expand(child, depth + 1);
        common.values[i] = child;
      }
      pending_.erase(pending_.begin() + static_cast<std::ptrdiff_t>(pending), pending_.end());
    } else {
      const std::size_t first = common.attributes.size();
      if (values) {
        for (const dom::element element : *values) {
          admit_child(depth + 1);
          key_value(element);
        }
      }
      range = assembler.close_map(first);
      expand_attributes(range, pending, depth + 1);
    }
    value.size = range.count;
    value.first = range.first;
  }

  void admit_child(std::uint32_t depth) const {
    assembler.check_depth(depth);
    assembler.check_size();
  }

  std::string& text_;
  std::vector<dom::element> pending_;
  std::string_view name_;  // of the member at hand
  const char* where_ = "the request";
  const char* field_ = nullptr;
};

}  // namespace fettle::otlp
