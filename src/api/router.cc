#include "api/router.h"

namespace fettle::api {
namespace {

// Cuts the next segment, without its slash, off the front.
std::string_view next_segment(std::string_view& path) {
  if (!path.empty() && path.front() == '/') path.remove_prefix(1);
  const std::string_view segment = path.substr(0, path.find('/'));
  path.remove_prefix(segment.size());
  return segment;
}

// The raw segments that stand in the places of the template's names, or nothing when the path is of another shape.
std::optional<PathParameters> fit(std::string_view path_template, std::string_view path) {
  PathParameters parameters;
  while (!path_template.empty() && !path.empty()) {
    const std::string_view wanted = next_segment(path_template);
    const std::string_view segment = next_segment(path);
    if (wanted.size() > 2 && wanted.front() == '{') {
      if (segment.empty()) return std::nullopt;
      parameters.emplace_back(wanted.substr(1, wanted.size() - 2), segment);
    } else if (wanted != segment) {
      return std::nullopt;
    }
  }
  if (!path_template.empty() || !path.empty()) return std::nullopt;
  return parameters;
}

}  // namespace

Result<Router::Match> Router::match(std::string_view method, std::string_view path) const {
  Match match;
  const std::string_view wanted = method == "HEAD" ? "GET" : method;
  for (const Route& route : routes_) {
    std::optional<PathParameters> parameters = fit(route.path, path);
    if (!parameters) continue;
    if (route.method != wanted) {
      if (!match.allow.empty()) match.allow += ", ";
      match.allow += route.method;
      continue;
    }
    for (auto& [name, value] : *parameters) {
      auto decoded = http::percent_decode(value);
      if (!decoded) return std::unexpected(std::move(decoded).error().within("the path"));
      value = std::move(*decoded);
    }
    match.route = &route;
    match.parameters = std::move(*parameters);
    return match;
  }
  return match;
}

}  // namespace fettle::api
