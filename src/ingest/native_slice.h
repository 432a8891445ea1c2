// Some rows of a Native block as a block of their own: how a block that the store refuses is split down to the row.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "core/error.h"

namespace fettle::ingest {

// `bytes` holds `columns` columns of `rows` rows, as in telemetry::TableBlock. Gives the same columns with the rows
// first … first + count - 1. Knows the types that the block builders write; kUnsupported for any other, kDataLoss when
// the bytes do not fit their types.
Result<std::string> slice_block(std::string_view bytes, std::uint32_t columns, std::uint32_t rows, std::uint32_t first,
                                std::uint32_t count);

}  // namespace fettle::ingest
