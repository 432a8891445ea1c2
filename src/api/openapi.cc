#include "api/openapi.h"

#include <algorithm>

#include "api/embedded.h"

namespace fettle::api {

std::string_view openapi_json() {
  const auto files = embedded_files();
  const auto found = std::ranges::find(files, "openapi.json", &EmbeddedFile::path);
  return found == files.end() ? "{}" : found->bytes;
}

}  // namespace fettle::api
