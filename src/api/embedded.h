// Files that are part of the program: the web UI as it was built and the OpenAPI document. Written when the program is
// built (cmake/Embed.cmake); the bytes live as long as the process.
#pragma once

#include <span>
#include <string_view>

namespace fettle::api {

struct EmbeddedFile {
  std::string_view path;  // "openapi.json", "web/index.html", "web/assets/index-4f2a.js.br"
  std::string_view bytes;
};

std::span<const EmbeddedFile> embedded_files();

}  // namespace fettle::api
