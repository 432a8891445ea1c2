// The server's own health checks.
#pragma once

#include <filesystem>

#include "health/health.h"
#include "ingest/spool.h"
#include "ingest/writer.h"
#include "server/ledger.h"
#include "server/parts_watch.h"
#include "server/store.h"
#include "telemetry/reader.h"

namespace fettle::server {

// "store": the telemetry store answers. Critical: without it nothing can be read.
health::Check store_check(telemetry::Reader& reader, const Store& store);
// "spool": there is room for what arrives. Critical when there is none.
health::Check spool_check(const ingest::Spool& spool);
// "writer": what is durable also becomes readable, and soon.
health::Check writer_check(const ingest::Spool& spool, const ingest::Writer& writer);
// "parts": the store has put no part of a table aside.
health::Check parts_check(const PartsWatch& watch);
// "disk": free space where the data folder is.
health::Check disk_check(std::filesystem::path folder);
// "ledger": its store answers and its upkeep goes on. Critical: without it nothing can be run or decided.
health::Check ledger_check(const Ledger& ledger);
// "audit": records find their place in the chain within a second, and checkpoints their witness.
health::Check audit_check(const Ledger& ledger);

}  // namespace fettle::server
