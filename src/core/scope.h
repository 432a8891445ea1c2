// Whose data a statement may touch. Every query and every write takes a Scope, so nothing can be read unscoped.
#pragma once

#include <vector>

#include "core/ids.h"

namespace fettle {

struct Scope {
  WorkspaceId workspace;
  // Empty: every client of the workspace. Otherwise only these; such a member has neither SQL nor PromQL.
  std::vector<ClientId> clients;
};

}  // namespace fettle
