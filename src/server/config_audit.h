// Changes of the server's own configuration, as records of the audit log: what a person may change through the API is
// audited there; what is changed in the file shows at the next start.
//
// Room tables: server_facts, what a start leaves in the ledger for the next one.
#pragma once

#include <map>
#include <string>

#include "core/clock.h"
#include "core/error.h"
#include "db/database.h"
#include "db/migration.h"
#include "ledger/audit.h"
#include "ledger/checkpoint.h"
#include "server/config.h"

namespace fettle::server {

const db::Migrations& config_migrations();

// What decides who may come in, what is kept and where it may be sent, by name and without secrets: a token is its
// workspace, scopes and the first digits of its SHA-256. `key` stands for secret.key.
std::map<std::string, std::string> audited_settings(const Config& config, const ledger::PublicKey& key);

// Compares them with those of the last start on this ledger. A difference becomes a record `config.change`, with the
// values that differ before and after, in each workspace that has an audit log. Blocks. The first start records
// nothing.
Result<void> audit_configuration(const std::map<std::string, std::string>& settings, db::Database& database,
                                 ledger::Auditor& auditor, Clock& clock);

}  // namespace fettle::server
