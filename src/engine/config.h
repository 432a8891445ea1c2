// The two configuration files of the engine child, as text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace fettle::engine {

// The database that Fettle's tables live in.
constexpr std::string_view kDatabase = "fettle";

struct Sizes {
  std::uint64_t memory_bytes = 0;  // what the child may be resident with
  int cores = 1;
};

// The server's settings: memory, caches and pools sized for the machine, every part made durable before it is
// acknowledged. Both paths are absolute; BACKUP and RESTORE reach `backups_folder` and nothing else.
std::string server_config(const Sizes& sizes, std::string_view users_file, std::string_view backups_folder);

// The users file: limits of a statement, and the row filter that keeps every statement inside the workspace named by
// its log_comment. A TABLE THAT IS NOT NAMED HERE IS READABLE BY ALL, so give every table of the database, views and
// the inner tables of views included. kInvalidArgument on a name that cannot be written into the file.
Result<std::string> users_config(const Sizes& sizes, const std::vector<std::string>& tables);

}  // namespace fettle::engine
