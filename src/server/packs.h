// The catalogues that Fettle brings along: identifiers and prices, unless the configuration names files.
#pragma once

#include "core/error.h"
#include "ingest/pricing.h"
#include "server/config.h"
#include "telemetry/identifiers.h"

namespace fettle::server {

Result<telemetry::IdentifierCatalogue> load_identifiers(const Config& config);
Result<ingest::PriceTable> load_prices(const Config& config);

}  // namespace fettle::server
