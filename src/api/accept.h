// What a client would like best, from its Accept and Accept-Encoding headers.
#pragma once

#include <string_view>

namespace fettle::api {

// True when application/json is named and no text type is wanted more (RFC 9110, 12.5.1); at equal weight, the first.
bool prefers_json(std::string_view accept);

// The weight of a coding in Accept-Encoding, 0 to 1; 0 when it is not accepted.
double encoding_weight(std::string_view accept_encoding, std::string_view coding);

}  // namespace fettle::api
