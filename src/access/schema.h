// The room's own tables, for db::migrate(). Nobody else writes them.
//
// Each begins with the workspace. A person belongs to the workspace that first invited them: it governs their password
// and their sessions; memberships give them other workspaces. Every row that the Directory keeps in memory carries the
// number of the change that wrote it last, so that memory is brought up to date by reading what is newer.
#pragma once

#include "db/migration.h"

namespace fettle::access {

const db::Migrations& migrations();

}  // namespace fettle::access
