// How lists and identifier summaries look in answers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "telemetry/reader.h"

namespace fettle::api {

// Appends "<name>":[rows],"next_cursor":…,"partial":… (no braces).
void append_page(std::string& out, std::string_view name, const telemetry::Page& page);
// Appends [{"kind","traces","logs","first_ts","last_ts"},…].
void append_kinds(std::string& out, const std::vector<telemetry::KindSummary>& kinds);

}  // namespace fettle::api
