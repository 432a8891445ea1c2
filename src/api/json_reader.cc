#include "api/json_reader.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "api/times.h"

namespace fettle::api {
namespace {

// A larger parser is given back: its memory is several times its text.
constexpr std::size_t kKeptTextBytesMax = 2 * 1024 * 1024;

std::string_view type_of(const simdjson::dom::element& value) {
  using simdjson::dom::element_type;
  switch (value.type()) {
    case element_type::ARRAY: return "an array";
    case element_type::OBJECT: return "an object";
    case element_type::INT64:
    case element_type::UINT64: return "a whole number";
    case element_type::DOUBLE: return "a number";
    case element_type::STRING: return "a string";
    case element_type::BOOL: return "a boolean";
    case element_type::NULL_VALUE: return "null";
  }
  return "something else";
}

simdjson::dom::parser& parser_of_thread(std::size_t bytes) {
  thread_local simdjson::dom::parser parser;
  if (parser.capacity() > kKeptTextBytesMax && bytes <= kKeptTextBytesMax) parser = simdjson::dom::parser();
  return parser;
}

}  // namespace

Result<JsonDocument> JsonDocument::parse(std::string& text) {
  simdjson::dom::parser& parser = parser_of_thread(text.size());
  if (text.empty()) return fail(ErrorCode::kInvalidArgument, "the body is empty; send a JSON object");
  if (parser.capacity() < text.size() || parser.max_depth() != kJsonDepthMax) {
    if (parser.allocate(text.size(), kJsonDepthMax) != simdjson::SUCCESS) {
      return fail(ErrorCode::kResourceExhausted, "there is no memory for the body");
    }
  }
  text.reserve(text.size() + simdjson::SIMDJSON_PADDING);
  const auto parsed = parser.parse(text.data(), text.size(), false);
  if (parsed.error() != simdjson::SUCCESS) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the body is not JSON: {}", simdjson::error_message(parsed.error())));
  }
  const simdjson::dom::element root = parsed.value_unsafe();
  if (!root.is_object()) return fail(ErrorCode::kInvalidArgument, "the body must be a JSON object");
  return JsonDocument(root);
}

std::string JsonPlace::text() const {
  std::string out = outer == nullptr ? std::string() : outer->text();
  if (index >= 0) return out + fmt::format("[{}]", index);
  if (name.empty()) return out;
  if (!out.empty()) out += '.';
  return out += name.substr(0, 64);
}

std::string JsonPlace::text_of(std::string_view member) const { return JsonPlace{this, member}.text(); }

bool Member::fail_with(ErrorCode code, std::string_view what) {
  error_ = Error(code, fmt::format("{}: {}", place_.text_of(name_), what));
  return true;
}

bool Member::expected(std::string_view what) {
  return fail_with(ErrorCode::kInvalidArgument, fmt::format("expected {}, got {}", what, type_of(value_)));
}

bool Member::note(Result<void> result) {
  if (result) return true;
  error_ = std::move(result).error();
  return false;
}

bool Member::prose(std::string_view name, std::string& out, std::size_t bytes_max) {
  if (name != name_) return false;
  if (value_.is_null()) return true;
  std::string_view text;
  if (value_.get_string().get(text) != simdjson::SUCCESS) return expected("a string");
  if (text.size() > bytes_max) {
    return fail_with(ErrorCode::kTooLarge, fmt::format("has {} bytes, at most {} fit", text.size(), bytes_max));
  }
  out.assign(text);
  std::erase(out, '\0');
  return true;
}

bool Member::text(std::string_view name, std::string& out, std::size_t bytes_max) {
  if (name != name_) return false;
  // What no store keeps (PostgreSQL) and no name needs.
  std::string_view given;
  if (value_.get_string().get(given) == simdjson::SUCCESS && given.contains('\0')) {
    return fail_with(ErrorCode::kInvalidArgument, "holds a NUL character");
  }
  return prose(name, out, bytes_max);
}

bool Member::text(std::string_view name, std::optional<std::string>& out, std::size_t bytes_max) {
  if (name != name_) return false;
  if (value_.is_null()) return true;
  return text(name, out.emplace(), bytes_max);
}

bool Member::boolean(std::string_view name, bool& out) {
  if (name != name_) return false;
  if (value_.is_null()) return true;
  if (value_.get_bool().get(out) != simdjson::SUCCESS) return expected("true or false");
  return true;
}

bool Member::boolean(std::string_view name, std::optional<bool>& out) {
  if (name != name_) return false;
  if (value_.is_null()) return true;
  return boolean(name, out.emplace());
}

// False when nothing was read.
bool Member::whole_number(std::int64_t& out, std::int64_t least, std::int64_t most) {
  if (value_.is_null()) return false;
  std::int64_t value = 0;
  if (value_.get_int64().get(value) != simdjson::SUCCESS) {
    // 3.0 is a whole number to those who have no other kind.
    double number = 0;
    constexpr double kExactMax = 9'007'199'254'740'992.0;
    if (!value_.is_double() || value_.get_double().get(number) != simdjson::SUCCESS || std::trunc(number) != number ||
        std::abs(number) > kExactMax) {
      expected(fmt::format("a whole number from {} to {}", least, most));
      return false;
    }
    value = static_cast<std::int64_t>(number);
  }
  if (value < least || value > most) {
    fail_with(ErrorCode::kInvalidArgument, fmt::format("expected {} to {}, got {}", least, most, value));
    return false;
  }
  out = value;
  return true;
}

bool Member::number(std::string_view name, double& out, double most) {
  if (name != name_) return false;
  if (value_.is_null()) return true;
  double value = 0;
  if (!value_.is_number() || value_.get_double().get(value) != simdjson::SUCCESS) return expected("a number");
  if (!(value >= 0)) return fail_with(ErrorCode::kInvalidArgument, "expected a number that is not negative");
  if (!(value <= most)) return fail_with(ErrorCode::kInvalidArgument, fmt::format("expected at most {}", most));
  out = value;
  return true;
}

bool Member::time(std::string_view name, UnixNanos& out) {
  if (name != name_) return false;
  if (value_.is_null()) return true;
  std::string_view text;
  // A time in a body is one that its sender means: an RFC 3339 one, not one that is relative to now.
  if (value_.get_string().get(text) != simdjson::SUCCESS || text.find('T') == std::string_view::npos) {
    return fail_with(ErrorCode::kInvalidArgument, "expected an RFC 3339 time such as 2026-11-21T09:14:32.500Z");
  }
  auto parsed = parse_time(text, 0);
  if (!parsed) {
    return fail_with(ErrorCode::kInvalidArgument, "expected an RFC 3339 time such as 2026-11-21T09:14:32.500Z");
  }
  out = *parsed;
  return true;
}

bool Member::time(std::string_view name, std::optional<UnixNanos>& out) {
  if (name != name_) return false;
  if (value_.is_null()) return true;
  return time(name, out.emplace());
}

bool Member::json(std::string_view name, std::string& out, std::size_t bytes_max) {
  if (name != name_) return false;
  std::string text = simdjson::minify(value_);
  if (text.size() > bytes_max) {
    return fail_with(ErrorCode::kTooLarge, fmt::format("has {} bytes, at most {} fit", text.size(), bytes_max));
  }
  out = std::move(text);
  return true;
}

bool Member::check_count(std::size_t count, std::size_t count_max) {
  if (count <= count_max) return true;
  fail_with(ErrorCode::kTooLarge, fmt::format("has {} items, at most {} fit", count, count_max));
  return false;
}

bool Member::texts(std::string_view name, std::vector<std::string>& out, std::size_t items_max) {
  return array(name, items_max, [&](simdjson::dom::element item, const JsonPlace& place) -> Result<void> {
    std::string_view text;
    if (item.get_string().get(text) != simdjson::SUCCESS || text.contains('\0')) {
      return fail(ErrorCode::kInvalidArgument, place.text() + ": expected a string");
    }
    out.emplace_back(text);
    return {};
  });
}

bool Member::fence(std::string_view name, std::int32_t& out) {
  if (name != name_) return false;
  constexpr std::int64_t kMost = std::numeric_limits<std::int32_t>::max();
  if (std::string_view text; value_.get_string().get(text) == simdjson::SUCCESS) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error == std::errc() && end == text.data() + text.size() && out >= 0) return true;
    return fail_with(ErrorCode::kInvalidArgument, "expected the fence as the lease gave it");
  }
  std::int64_t value = 0;
  if (whole_number(value, 0, kMost)) out = static_cast<std::int32_t>(value);
  return true;
}

std::unexpected<Error> unknown_member(const JsonPlace& place, std::string_view name) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: this member is not known", place.text_of(name)));
}

std::unexpected<Error> missing_member(const JsonPlace& place, std::string_view name, std::string_view what) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: missing, expected {}", place.text_of(name), what));
}

std::unexpected<Error> not_an_object(const JsonPlace& place) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("{}: expected an object", place.text()));
}

}  // namespace fettle::api
