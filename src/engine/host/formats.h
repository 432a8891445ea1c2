// What the host knows of the engine's output formats: their content types, and whether pieces of a stream, each a
// whole document to the engine, can be put one after the other.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

namespace fettle::engine_host {

std::string_view content_type(std::string_view format);

enum class Joining {
  kPlain,      // rows follow rows
  kOneHeader,  // each piece begins with the same header, which only the first may keep
  kNone,       // a document with a beginning and an end: ask the engine for the whole
};
Joining joining(std::string_view format);

// How many bytes of `piece` are the header of a format with Joining::kOneHeader.
std::size_t header_bytes(std::string_view format, std::string_view piece);

}  // namespace fettle::engine_host
