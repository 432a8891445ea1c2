// The tables of webhooks.
#pragma once

#include "db/migration.h"

namespace fettle::notify {

const db::Migrations& migrations();

}  // namespace fettle::notify
