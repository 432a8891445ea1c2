#include "api/json_body.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/parse.hpp>

namespace fettle::api {

Result<boost::json::object> parse_object(std::string_view body, std::initializer_list<std::string_view> known) {
  boost::json::error_code error;
  boost::json::value value =
      boost::json::parse(boost::json::string_view(body.data(), body.size()), error, {}, {.max_depth = 32});
  if (error) return fail(ErrorCode::kInvalidArgument, fmt::format("the body is not JSON: {}", error.message()));
  if (!value.is_object()) return fail(ErrorCode::kInvalidArgument, "the body must be a JSON object");
  for (const auto& member : value.get_object()) {
    const std::string_view name(member.key().data(), member.key().size());
    if (std::ranges::find(known, name) == known.end()) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("member '{}' is not known; expected {}", name.substr(0, 64), fmt::join(known, ", ")));
    }
  }
  return std::move(value.get_object());
}

Result<std::string_view> text_member(const boost::json::object& object, std::string_view name) {
  const boost::json::value* value = object.if_contains(boost::json::string_view(name.data(), name.size()));
  if (value == nullptr || !value->is_string()) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("member '{}' must be a string", name));
  }
  return std::string_view(value->get_string().data(), value->get_string().size());
}

}  // namespace fettle::api
