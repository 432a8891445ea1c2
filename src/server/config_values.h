// Text into the values that settings have.
#pragma once

#include <chrono>
#include <cstdint>
#include <string_view>

#include "core/error.h"

namespace fettle::server {

// "1048576", "64MiB", "2GB". Units: B, kB, MB, GB, TB (powers of 1000), KiB, MiB, GiB, TiB (powers of 1024).
Result<std::uint64_t> parse_bytes(std::string_view text);
// "500ms", "30s", "15m", "48h", "30d".
Result<std::chrono::milliseconds> parse_duration(std::string_view text);
Result<std::uint64_t> parse_whole(std::string_view text, std::uint64_t least, std::uint64_t most);
Result<double> parse_percent(std::string_view text);
Result<bool> parse_bool(std::string_view text);
// "127.0.0.1:7070", "[::1]:0", "unix:/run/fettle.sock".
Result<void> check_address(std::string_view text);

}  // namespace fettle::server
