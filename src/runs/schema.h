// The tables of this room (README.md, Tables).
#pragma once

#include "db/migration.h"

namespace fettle::runs {

// Belongs in the list given to db::migrate(), after the ledger's own.
const db::Migrations& migrations();

}  // namespace fettle::runs
