#include "ingest/request_hash.h"

#include <fmt/format.h>

#include <algorithm>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace fettle::ingest {

RequestHash hash_request(std::string_view workspace, std::string_view sender, std::string_view path,
                         std::string_view body) {
  // Lengths in front, so that no two ways of cutting the same bytes are one key.
  const std::string origin =
      fmt::format("{} {} {} {}{}{}", workspace.size(), sender.size(), path.size(), workspace, sender, path);
  const XXH64_hash_t seed = XXH3_64bits(origin.data(), origin.size());
  XXH128_canonical_t canonical;
  XXH128_canonicalFromHash(&canonical, XXH3_128bits_withSeed(body.data(), body.size(), seed));
  RequestHash hash{};
  static_assert(sizeof canonical.digest == sizeof hash);
  std::copy(std::begin(canonical.digest), std::end(canonical.digest), hash.begin());
  return hash;
}

}  // namespace fettle::ingest
