// Times as query parameters and answers have them.
#pragma once

#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"

namespace fettle::api {

// RFC 3339 ("2026-11-21T09:14:32.5+01:00"), a count since the epoch in s, ms, µs or ns by its size, "now", or a time
// before now: "-90s", "-15m", "-24h", "-7d", "-2w". kInvalidArgument otherwise, and outside the years 1970 to 2262.
Result<UnixNanos> parse_time(std::string_view text, UnixNanos now);

// RFC 3339 in UTC, always with nine decimals: "2026-11-21T09:14:32.500000000Z".
std::string format_time(UnixNanos t);

// The same with three decimals, as runs, records and audits have their times: "2026-11-21T09:14:32.500Z".
void append_time_ms(std::string& out, UnixNanos t);

}  // namespace fettle::api
