#include "db/value.h"

#include <cmath>

#include "core/json.h"
#include "db/check_value.h"

namespace fettle::db {

std::string_view Value::type_name() const {
  static constexpr std::string_view kNames[] = {"null", "integer", "real", "text", "blob"};
  return kNames[value_.index()];
}

Result<void> check_value(const Value& value, std::size_t number) {
  const auto refuse = [&](std::string_view why) {
    return fail(ErrorCode::kInvalidArgument, "parameter $" + std::to_string(number) + " " + std::string(why));
  };
  if (const auto* real = std::get_if<double>(&value.get()); real != nullptr && std::isnan(*real)) {
    return refuse("is not a number");
  }
  if (const auto* text = std::get_if<std::string_view>(&value.get())) {
    if (text->find('\0') != std::string_view::npos) return refuse("is text with a NUL byte");
    if (!is_utf8(*text)) return refuse("is text that is not UTF-8");
  }
  return {};
}

}  // namespace fettle::db
