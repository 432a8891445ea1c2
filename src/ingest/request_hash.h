// The key under which a repeated request is known: a hash over who sent what where.
#pragma once

#include <string_view>

#include "ingest/replay_guard.h"

namespace fettle::ingest {

// XXH3, 128 bits. Not cryptographic: whoever makes two of their own requests collide loses one of their own requests.
RequestHash hash_request(std::string_view workspace, std::string_view sender, std::string_view path,
                         std::string_view body);

}  // namespace fettle::ingest
