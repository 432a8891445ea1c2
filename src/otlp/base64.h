// Base64, for bytes values in JSON and text.
#pragma once

#include <string>
#include <string_view>

namespace fettle::otlp {

// The standard alphabet, padded.
void append_base64(std::string& out, std::string_view bytes);
// Takes the standard and the URL-safe alphabet, padded or not. False when it is something else; `out` may then have
// grown. Never appends more bytes than `text` has.
bool append_base64_decoded(std::string& out, std::string_view text);

}  // namespace fettle::otlp
