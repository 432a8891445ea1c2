// Secrets in files: a token or password that stands alone in one, and the bytes of the server's own keys.
#pragma once

#include <cstddef>
#include <filesystem>

#include "core/error.h"
#include "core/rng.h"
#include "core/secret.h"

namespace fettle::server {

// The file's text without the white space at its end. kInvalidArgument when it cannot be read, is empty or larger than
// 4,096 bytes; the message names the file.
Result<Secret> read_secret_file(const std::filesystem::path& file);

// The random bytes of which the server's keys are made: those in the file, or new ones that are written there (0600)
// and synced before they are used. kDataLoss when the file holds fewer bytes, kInvalidArgument when others may read it.
Result<Secret> secret_of_server(const std::filesystem::path& file, std::size_t bytes, Rng& rng);

}  // namespace fettle::server
