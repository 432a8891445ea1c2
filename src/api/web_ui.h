// The embedded web UI as answers: pre-compressed variants, caching, the content security policy, and one address to
// change behind a path prefix. Constant after construction; any thread may ask.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>

#include "api/embedded.h"
#include "http/server.h"

namespace fettle::api {

class WebUi {
 public:
  // Of `files`, those under "web/"; without any, one page says how to build the UI.
  explicit WebUi(std::span<const EmbeddedFile> files);

  // The file at the request's path, or index.html where a browser asks for a page of the UI's own making. Nothing:
  // there is no such file. The request's X-Forwarded-Prefix ("/ops") becomes the <base> of the page.
  std::optional<http::Response> answer(const http::Request& request) const;

 private:
  struct File {
    std::string_view plain;
    std::string_view brotli;  // empty: there is none
    std::string_view gzip;
    std::string etag;
  };
  http::Response page(const http::Request& request) const;
  http::Response file(const std::string& path, const File& file, const http::Request& request) const;

  std::unordered_map<std::string, File> files_;  // by path without "web": "/assets/index-4f2a.js"
  std::string policy_;
};

}  // namespace fettle::api
