// Parts of our tables that the store has put aside by itself: found damaged at a start or by a merge, left over from a
// repair. Their rows are not read any more, and nothing but a person brings them back or throws them away.
//
//   auto parts = detached_parts(client);
//   if (parts && !parts->empty()) …
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "telemetry/client.h"

namespace fettle::telemetry {

struct DetachedParts {
  std::string table;
  std::uint64_t count = 0;
  bool operator==(const DetachedParts&) const = default;
};

// By table, in the client's database. Parts that somebody detached with a statement of their own do not count.
Result<std::vector<DetachedParts>> detached_parts(Client& client, const StatementOptions& options = {});

// Whether a part in a table's folder `detached` was put there by the store: its folder's name then begins with why.
bool was_detached_by_store(std::string_view folder_name);

std::uint64_t total(const std::vector<DetachedParts>& parts);
// "spans_hot 2, logs 1".
std::string to_text(const std::vector<DetachedParts>& parts);

}  // namespace fettle::telemetry
