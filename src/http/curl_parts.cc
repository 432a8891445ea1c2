#include "http/curl_parts.h"

#include <fmt/format.h>

#include <algorithm>

namespace fettle::http::curl {
namespace {

bool is_one_line(std::string_view text) { return text.find_first_of(std::string_view("\r\n\0", 3)) == text.npos; }

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
  return text.substr(0, text.find_last_not_of(kBlank) + 1);
}

}  // namespace

bool is_method(std::string_view text) {
  return !text.empty() &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'A' && c <= 'Z') || c == '-'; });
}

Result<void> append_field(List& list, const std::string& name, const std::string& value) {
  if (name.empty() || name.find_first_of(":; \t") != std::string::npos || !is_one_line(name) || !is_one_line(value)) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("the header field '{}' cannot be sent", name));
  }
  append(list, value.empty() ? name + ";" : name + ": " + value);  // curl's way to write an empty field
  return {};
}

void take_header_line(Response& response, std::string_view line) {
  if (line.starts_with("HTTP/")) {
    // A second head follows an interim answer (100 Continue).
    response = Response{.status = 0};
    const std::size_t blank = std::min(line.find(' '), line.size() - 1);
    for (const char digit : line.substr(blank + 1, 3)) {
      if (digit >= '0' && digit <= '9') response.status = response.status * 10 + (digit - '0');
    }
  } else if (const std::size_t colon = line.find(':'); colon != std::string_view::npos) {
    response.headers.add(std::string(line.substr(0, colon)), std::string(trimmed(line.substr(colon + 1))));
  }
}

}  // namespace fettle::http::curl
