// What both stores refuse to be handed, so that neither bends it (see value.h).
#pragma once

#include <cstddef>

#include "core/error.h"
#include "db/value.h"

namespace fettle::db {

// kInvalidArgument for parameter $`number`.
Result<void> check_value(const Value& value, std::size_t number);

}  // namespace fettle::db
