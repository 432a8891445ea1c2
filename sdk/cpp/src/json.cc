#include "fettle/sdk/json.h"

#include <openssl/sha.h>

#include <algorithm>
#include <boost/json.hpp>
#include <charconv>
#include <cmath>
#include <limits>

namespace fettle::sdk {

namespace {

// As deep as the server reads.
constexpr std::size_t kDepthMax = 128;

Json from_boost(const boost::json::value& value) {
  switch (value.kind()) {
    case boost::json::kind::null: return {};
    case boost::json::kind::bool_: return value.get_bool();
    case boost::json::kind::int64: return value.get_int64();
    case boost::json::kind::uint64: return static_cast<double>(value.get_uint64());
    case boost::json::kind::double_: return value.get_double();
    case boost::json::kind::string: return std::string_view(value.get_string());
    case boost::json::kind::array: {
      Json::Array items;
      items.reserve(value.get_array().size());
      for (const auto& item : value.get_array()) items.push_back(from_boost(item));
      return items;
    }
    case boost::json::kind::object: break;
  }
  Json::Object members;
  members.reserve(value.get_object().size());
  for (const auto& member : value.get_object()) {
    members.push_back({std::string(std::string_view(member.key())), from_boost(member.value())});
  }
  return Json::of_members(std::move(members));
}

// As ECMAScript writes it: the shortest digits, and an exponent only below 1e-6 and from 1e21 on.
void append_number(std::string& out, double value) {
  if (!std::isfinite(value)) {
    out += "null";
    return;
  }
  if (value == 0) {
    out += '0';
    return;
  }
  char buffer[32];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, std::abs(value), std::chars_format::scientific).ptr;
  const std::string_view text(buffer, static_cast<std::size_t>(end - buffer));  // d[.ddd]e±xx
  const std::size_t e = text.find('e');
  std::string digits(1, text[0]);
  if (e > 2) digits += text.substr(2, e - 2);
  int exponent = 0;
  const std::size_t sign = text[e + 1] == '+' ? 1 : 0;
  std::from_chars(text.data() + e + 1 + sign, end, exponent);
  const int count = static_cast<int>(digits.size());
  const int point = exponent + 1;  // the place of the decimal point among the digits
  if (value < 0) out += '-';
  if (count <= point && point <= 21) {
    out.append(digits).append(static_cast<std::size_t>(point - count), '0');
  } else if (0 < point && point <= 21) {
    out.append(digits, 0, static_cast<std::size_t>(point)).append(".").append(digits, static_cast<std::size_t>(point));
  } else if (-6 < point && point <= 0) {
    out.append("0.").append(static_cast<std::size_t>(-point), '0').append(digits);
  } else {
    out += digits[0];
    if (count > 1) out.append(".").append(digits, 1);
    out.append(point > 0 ? "e+" : "e-").append(std::to_string(std::abs(point - 1)));
  }
}

// UTF-16 code units order by themselves but for surrogates, which lie below U+E000; in UTF-8 they come after all else.
int utf16_rank(unsigned char byte) { return byte >= 0xF0 ? 0xEE - 1 : byte >= 0xEE ? byte + 1 : byte; }

bool before_in_utf16(std::string_view a, std::string_view b) {
  const std::size_t common = std::min(a.size(), b.size());
  for (std::size_t i = 0; i < common; ++i) {
    const auto x = static_cast<unsigned char>(a[i]), y = static_cast<unsigned char>(b[i]);
    if (x == y) continue;
    const int rank_x = utf16_rank(x), rank_y = utf16_rank(y);
    return rank_x != rank_y ? rank_x < rank_y : x < y;
  }
  return a.size() < b.size();
}

}  // namespace

Json::Json() noexcept = default;
Json::Json(bool value) : value_(value) {}
Json::Json(Integer integer) : value_(integer.value) {}
Json::Json(double value) : value_(value) {}
Json::Json(std::string value) : value_(std::move(value)) {}
Json::Json(Array value) : value_(std::move(value)) {}
Json::Json(const Json& other) = default;
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(const Json& other) = default;
Json& Json::operator=(Json&& other) noexcept = default;
Json::~Json() = default;

bool Json::is_null() const { return std::holds_alternative<std::monostate>(value_); }
bool Json::is_object() const { return std::holds_alternative<Object>(value_); }
bool Json::is_string() const { return std::holds_alternative<std::string>(value_); }
bool Json::is_number() const {
  return std::holds_alternative<std::int64_t>(value_) || std::holds_alternative<double>(value_);
}

Json Json::array(std::initializer_list<Json> items) { return Array(items); }

Json Json::object() { return of_members({}); }

Json Json::object(std::initializer_list<Member> members) { return of_members(Object(members)); }

Json Json::of_members(Object members) {
  Json made;
  made.value_ = std::move(members);
  return made;
}

Result<Json> Json::parse(std::string_view text) {
  boost::json::parse_options options;
  options.max_depth = kDepthMax;
  boost::system::error_code error;
  boost::json::monotonic_resource memory;
  const boost::json::value value = boost::json::parse(text, error, &memory, options);
  if (error) return fail({.kind = ErrorKind::kInvalidValue, .code = "invalid_value", .message = error.message()});
  return from_boost(value);
}

std::string Json::text() const {
  std::string out;
  append_text_to(out);
  return out;
}

void append_quoted(std::string& out, std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  out += '"';
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20) {
          out.append("\\u00").append(1, kHex[c >> 4]).append(1, kHex[c & 15]);
        } else {
          out += c;
        }
    }
  }
  out += '"';
}

void Json::append_text_to(std::string& out) const {
  if (is_null()) {
    out += "null";
  } else if (const auto* boolean = std::get_if<bool>(&value_)) {
    out += *boolean ? "true" : "false";
  } else if (const auto* integer = std::get_if<std::int64_t>(&value_)) {
    out += std::to_string(*integer);
  } else if (const auto* number = std::get_if<double>(&value_)) {
    append_number(out, *number);
  } else if (const auto* string = std::get_if<std::string>(&value_)) {
    append_quoted(out, *string);
  } else if (const auto* array = std::get_if<Array>(&value_)) {
    out += '[';
    for (const Json& item : *array) {
      if (&item != array->data()) out += ',';
      item.append_text_to(out);
    }
    out += ']';
  } else {
    out += '{';
    const Object& object = std::get<Object>(value_);
    for (const Member& member : object) {
      if (&member != object.data()) out += ',';
      append_quoted(out, member.name);
      out += ':';
      member.value.append_text_to(out);
    }
    out += '}';
  }
}

bool Json::as_bool(bool otherwise) const {
  const auto* value = std::get_if<bool>(&value_);
  return value ? *value : otherwise;
}

std::int64_t Json::as_int(std::int64_t otherwise) const {
  if (const auto* value = std::get_if<std::int64_t>(&value_)) return *value;
  const auto* number = std::get_if<double>(&value_);
  constexpr double kLimit = 9.2e18;
  return number && *number > -kLimit && *number < kLimit ? static_cast<std::int64_t>(*number) : otherwise;
}

double Json::as_double(double otherwise) const {
  if (const auto* value = std::get_if<double>(&value_)) return *value;
  const auto* integer = std::get_if<std::int64_t>(&value_);
  return integer ? static_cast<double>(*integer) : otherwise;
}

std::string_view Json::as_string(std::string_view otherwise) const {
  const auto* value = std::get_if<std::string>(&value_);
  return value ? std::string_view(*value) : otherwise;
}

const Json::Array& Json::items() const {
  static const Array none;
  const auto* value = std::get_if<Array>(&value_);
  return value ? *value : none;
}

const Json::Object& Json::members() const {
  static const Object none;
  const auto* value = std::get_if<Object>(&value_);
  return value ? *value : none;
}

const Json& Json::operator[](std::string_view name) const {
  static const Json none;
  for (const Member& member : members()) {
    if (member.name == name) return member.value;
  }
  return none;
}

Json& Json::set(std::string_view name, Json value) {
  if (!is_object()) value_ = Object();
  Object& object = std::get<Object>(value_);
  for (Member& member : object) {
    if (member.name == name) {
      member.value = std::move(value);
      return *this;
    }
  }
  object.push_back({std::string(name), std::move(value)});
  return *this;
}

Json& Json::set_if(std::string_view name, std::string_view value) {
  return value.empty() ? *this : set(name, std::string(value));
}

void Json::push_back(Json item) {
  if (!std::holds_alternative<Array>(value_)) value_ = Array();
  std::get<Array>(value_).push_back(std::move(item));
}

// Numbers are equal when they are the same number, however they were written; members may come in any order.
bool Json::operator==(const Json& other) const {
  if (is_number() && other.is_number()) return as_double() == other.as_double();
  if (!is_object() || !other.is_object()) return value_ == other.value_;
  return members().size() == other.members().size() && std::ranges::all_of(members(), [&](const Member& member) {
           return std::ranges::find(other.members(), member) != other.members().end();
         });
}

std::string canonical_json(const Json& value) {
  if (const auto* array = std::get_if<Json::Array>(&value.value_)) {
    std::string out = "[";
    for (const Json& item : *array) {
      if (&item != array->data()) out += ',';
      out += canonical_json(item);
    }
    return out + "]";
  }
  if (!value.is_object()) return value.text();
  std::vector<const Json::Member*> sorted;
  for (const Json::Member& member : value.members()) sorted.push_back(&member);
  std::ranges::sort(sorted, [](const auto* a, const auto* b) { return before_in_utf16(a->name, b->name); });
  std::string out = "{";
  for (const Json::Member* member : sorted) {
    if (out.size() > 1) out += ',';
    append_quoted(out, member->name);
    out.append(":").append(canonical_json(member->value));
  }
  return out + "}";
}

std::string payload_hash(const Json& payload) {
  const std::string text = canonical_json(payload);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  constexpr char kHex[] = "0123456789abcdef";
  std::string hex;
  for (const unsigned char byte : digest) hex.append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
  return hex;
}

}  // namespace fettle::sdk
