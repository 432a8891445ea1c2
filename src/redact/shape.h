// Finds in a buffer, at several gigabytes a second, where things stand that have a shape but no fixed word to search
// for: digits in the manner of a card, the head of an IBAN, an @ between words, the two dots of a Discord token.
//
// A companion of the Vectorscan prefilter, which would need a slow automaton for these. Internal to the room.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "redact/rules.h"

namespace fettle::redact {

struct ShapeHit {
  std::uint32_t at;
  Detector detector;
};

constexpr std::size_t kShapePadding = 192;

// Appends hits in rising order. kShapePadding BYTES BEHIND `size` MUST BE READABLE AND ZERO. Strings in the buffer are
// separated by zero bytes, and no shape reaches across one.
void find_shapes(const char* buffer, std::size_t size, std::vector<ShapeHit>& hits);

}  // namespace fettle::redact
