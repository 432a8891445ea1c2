// What a client would like best, from its Accept header.
#pragma once

#include <string_view>

namespace fettle::api {

// True when application/json is named and no text type is wanted more (RFC 9110, 12.5.1); at equal weight, the first.
bool prefers_json(std::string_view accept);

}  // namespace fettle::api
