// The one piece of JSON that every room needs: a string, quoted and escaped. Documents are built with Boost.JSON.
#pragma once

#include <string>
#include <string_view>

namespace fettle {

// Appends `text` as a JSON string. Bytes that are not valid UTF-8 become U+FFFD, so that what we write always parses.
void append_json_string(std::string& out, std::string_view text);

// True when `text` is well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF).
bool is_utf8(std::string_view text);
// `text` with each ill-formed sequence replaced by U+FFFD.
std::string to_utf8(std::string_view text);

}  // namespace fettle
