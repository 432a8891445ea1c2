// The ledger's own tables, for db::migrate(). Nobody else writes them.
#pragma once

#include "db/migration.h"

namespace fettle::ledger {

const db::Migrations& migrations();

}  // namespace fettle::ledger
