// A token or password that stands alone in a file.
#pragma once

#include <filesystem>

#include "core/error.h"
#include "core/secret.h"

namespace fettle::server {

// The file's text without the white space at its end. kInvalidArgument when it cannot be read, is empty or larger than
// 4,096 bytes; the message names the file.
Result<Secret> read_secret_file(const std::filesystem::path& file);

}  // namespace fettle::server
