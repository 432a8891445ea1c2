// A request's JSON body as an object with known members.
#pragma once

#include <boost/json/object.hpp>
#include <initializer_list>
#include <string_view>

#include "core/error.h"

namespace fettle::api {

// kInvalidArgument when the body is not a JSON object, nests deeper than 32 or has a member that is not `known`.
Result<boost::json::object> parse_object(std::string_view body, std::initializer_list<std::string_view> known);

// The member as text; kInvalidArgument when it is absent or of another type.
Result<std::string_view> text_member(const boost::json::object& object, std::string_view name);

}  // namespace fettle::api
