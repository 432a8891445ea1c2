// docs/openapi.yaml as the JSON document that is served.
#pragma once

#include <string_view>

namespace fettle::api {

std::string_view openapi_json();

}  // namespace fettle::api
