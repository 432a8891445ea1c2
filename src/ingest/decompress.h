// Request bodies as sent, made plain: gzip and deflate (RFC 1950-1952) and zstd (RFC 8878), bounded before they grow.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "core/error.h"

namespace fettle::ingest {

// How a body is compressed, from Content-Encoding. kUnsupported names what is spoken here.
enum class Compression { kNone, kGzip, kDeflate, kZstd };
Result<Compression> parse_content_encoding(std::string_view header);

// Appends the plain bytes to `out`, which is emptied first and keeps its memory between calls.
// kTooLarge: more than `bytes_max` would come out (a compression bomb is stopped there, not after).
// kInvalidArgument: damaged or cut short. Several gzip members or zstd frames in a row are one body.
Result<void> decompress(Compression compression, std::string_view body, std::size_t bytes_max, std::string& out);

}  // namespace fettle::ingest
