// SQL written by people: one SELECT over the published tables, in a session that can change nothing.
//
// What keeps it inside its workspace is the store's row filter; what keeps it away from other tables, from files and
// from the network is a look at the parsed query (EXPLAIN QUERY TREE) before it runs, and readonly = 1 while it does.
// Nothing is decided by searching the text.
#pragma once

#include <string_view>

#include "core/scope.h"
#include "telemetry/client.h"
#include "telemetry/reader.h"

namespace fettle::telemetry {

Result<SqlResult> run_user_sql(Client& client, const Scope& scope, std::string_view query, SqlLimits limits,
                               const ReadOptions& options);

}  // namespace fettle::telemetry
