#include "api/web_ui.h"

#include <algorithm>
#include <array>
#include <boost/json/parse.hpp>
#include <cctype>
#include <utility>

#include "access/tokens.h"
#include "core/ids.h"
#include "http/compression.h"

namespace fettle::api {
namespace {

constexpr std::string_view kIndex = "/index.html";
constexpr std::string_view kManifest = "/manifest.json";
constexpr std::string_view kBase = R"(<base href="/")";
constexpr std::string_view kNotBuilt = R"(<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><base href="/"><title>Fettle</title></head>
<body>
<h1>Fettle is running without its web UI</h1>
<p>This program was built before the UI was. Build both with <code>./dev build</code> and start it again.</p>
<p>The interface is there: <a href="api/v1/openapi.json">OpenAPI</a>, <a href="health">health</a>.</p>
</body>
</html>
)";

constexpr std::array<std::pair<std::string_view, std::string_view>, 11> kTypes = {{
    {".html", "text/html; charset=utf-8"},
    {".js", "text/javascript; charset=utf-8"},
    {".css", "text/css; charset=utf-8"},
    {".json", "application/json"},
    {".svg", "image/svg+xml"},
    {".png", "image/png"},
    {".ico", "image/x-icon"},
    {".woff2", "font/woff2"},
    {".txt", "text/plain; charset=utf-8"},
    {".map", "application/json"},
    {".webmanifest", "application/manifest+json"},
}};

std::string_view type_of(std::string_view path) {
  for (const auto& [ending, type] : kTypes) {
    if (path.ends_with(ending)) return type;
  }
  return "application/octet-stream";
}

std::string etag_of(std::string_view bytes) {
  const auto digest = access::sha256_of(bytes);
  // Weak: the variants of a file share it, and their bytes differ.
  return "W/\"" + to_hex({reinterpret_cast<const char*>(digest.data()), 16}) + '"';
}

// The hashes of the page's own inline scripts, as the build of the UI noted them.
std::string script_hashes(std::string_view manifest) {
  std::string hashes;
  boost::json::error_code error;
  const auto value = boost::json::parse(boost::json::string_view(manifest.data(), manifest.size()), error);
  if (error || !value.is_object()) return hashes;
  const auto* list = value.get_object().if_contains("csp_script_hashes");
  if (list == nullptr || !list->is_array()) return hashes;
  for (const auto& item : list->get_array()) {
    if (!item.is_string()) continue;
    std::string_view hash(item.get_string().data(), item.get_string().size());
    if (hash.starts_with('\'') && hash.ends_with('\'') && hash.size() > 2) hash = hash.substr(1, hash.size() - 2);
    if (!hash.starts_with("sha") || hash.find_first_of("'; \r\n") != std::string_view::npos) continue;
    hashes += " '" + std::string(hash) + '\'';
  }
  return hashes;
}

// "/ops/fettle" of the header a reverse proxy sets, or empty when it is absent or not a plain path.
std::string prefix_of(const http::Request& request) {
  std::string_view prefix = request.headers.get("X-Forwarded-Prefix");
  while (prefix.ends_with('/')) prefix.remove_suffix(1);
  const bool is_plain = prefix.starts_with('/') && prefix.size() <= 256 && !prefix.contains("//") &&
                        std::ranges::all_of(prefix, [](unsigned char c) {
                          return std::isalnum(c) != 0 || c == '/' || c == '-' || c == '_' || c == '.' || c == '~';
                        });
  return is_plain ? std::string(prefix) : std::string();
}

bool takes_page(const http::Request& request) {
  const std::string_view accept = request.headers.get("Accept");
  return accept.empty() || accept.contains("text/html") || accept.contains("*/*");
}

// If-None-Match may list several; a weak one matches too, since the bytes are compared whole either way.
bool has_it(const http::Request& request, std::string_view etag) {
  const std::string_view known = request.headers.get("If-None-Match");
  return !known.empty() && (known == "*" || known.contains(etag));
}

}  // namespace

WebUi::WebUi(std::span<const EmbeddedFile> files) {
  for (const EmbeddedFile& embedded : files) {
    if (!embedded.path.starts_with("web/")) continue;
    std::string path(embedded.path.substr(3));
    if (path.ends_with(".br")) {
      files_[path.substr(0, path.size() - 3)].brotli = embedded.bytes;
    } else if (path.ends_with(".gz")) {
      files_[path.substr(0, path.size() - 3)].gzip = embedded.bytes;
    } else {
      File& file = files_[path];
      file.plain = embedded.bytes;
      file.etag = etag_of(embedded.bytes);
    }
  }
  std::erase_if(files_, [](const auto& entry) { return entry.second.plain.empty(); });
  std::string hashes;
  if (const auto manifest = files_.find(std::string(kManifest)); manifest != files_.end()) {
    hashes = script_hashes(manifest->second.plain);
    files_.erase(manifest);
  }
  if (!files_.contains(std::string(kIndex))) {
    files_[std::string(kIndex)] = {.plain = kNotBuilt, .brotli = {}, .gzip = {}, .etag = etag_of(kNotBuilt)};
  }
  policy_ = "default-src 'self'; script-src 'self'" + hashes +
            "; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; frame-ancestors 'none'";
}

std::optional<http::Response> WebUi::answer(const http::Request& request) const {
  const auto found = files_.find(request.path);
  if (found != files_.end() && found->first != kIndex) return file(found->first, found->second, request);
  // A missing asset must not be answered by a page: a browser would run or show it as what it asked for.
  if (request.path.starts_with("/assets/") || !takes_page(request)) return std::nullopt;
  return page(request);
}

http::Response WebUi::page(const http::Request& request) const {
  const File& index = files_.at(std::string(kIndex));
  const std::string prefix = prefix_of(request);
  http::Response response;
  if (prefix.empty() || !index.plain.contains(kBase)) {
    response = file(std::string(kIndex), index, request);
  } else {
    std::string text(index.plain);
    text.insert(text.find(kBase) + kBase.size() - 2, prefix);
    response = http::Response::make(200, type_of(kIndex), std::move(text));
    response.headers.set("Cache-Control", "no-cache");
  }
  response.headers.set("Vary", "Accept-Encoding, X-Forwarded-Prefix");
  response.headers.set("Content-Security-Policy", policy_);
  response.headers.set("Referrer-Policy", "no-referrer");
  response.headers.set("X-Frame-Options", "DENY");
  return response;
}

http::Response WebUi::file(const std::string& path, const File& file, const http::Request& request) const {
  http::Response response;
  if (has_it(request, file.etag)) {
    response.status = 304;
  } else {
    const std::string_view accepted = request.headers.get("Accept-Encoding");
    if (!file.brotli.empty() && http::encoding_weight(accepted, "br") > 0) {
      response = http::Response::make(200, type_of(path), std::string(file.brotli));
      response.headers.set("Content-Encoding", "br");
    } else if (!file.gzip.empty() && http::encoding_weight(accepted, "gzip") > 0) {
      response = http::Response::make(200, type_of(path), std::string(file.gzip));
      response.headers.set("Content-Encoding", "gzip");
    } else {
      response = http::Response::make(200, type_of(path), std::string(file.plain));
    }
  }
  response.headers.set("ETag", file.etag);
  response.headers.set("Vary", "Accept-Encoding");
  // Names under /assets carry a hash of their content.
  response.headers.set("Cache-Control",
                       path.starts_with("/assets/") ? "public, max-age=31536000, immutable" : "no-cache");
  return response;
}

}  // namespace fettle::api
