// Who may use the TCP port: a JSON file of token hashes, read again whenever it changes.
//
//   [{"sha256": "<hex of the token's SHA-256>", "workspace": "acme"}, {"sha256": "…", "server": true}, …]
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "core/mutex.h"
#include "http/server.h"

namespace fettle::engine_host {

struct Caller {
  // Empty for a trusted caller, who passes log_comment himself.
  std::string workspace;
  // On the Unix socket, or a Fettle server elsewhere that has this engine as its store: may write, and is bound to no
  // workspace and no limits.
  bool is_trusted = false;
};

// Thread-safe.
class Tokens {
 public:
  explicit Tokens(std::string path) : path_(std::move(path)) {}

  // kInvalidArgument when the file is not as described: the tokens known before stay in force. The same when it cannot
  // be read: no token is then known.
  Result<void> load();
  // Looks the token up, after reading the file again if it changed. Nothing when unknown.
  std::optional<Caller> find(std::string_view token);

 private:
  struct Entry {
    std::string sha256;
    Caller caller;
  };
  struct Stamp {
    std::int64_t modified_ns = -1;
    std::int64_t size = -1;
    std::uint64_t inode = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp stamp() const;

  const std::string path_;
  Mutex mutex_;
  Stamp loaded_ FETTLE_GUARDED_BY(mutex_);
  std::vector<Entry> entries_ FETTLE_GUARDED_BY(mutex_);
};

// The token a request carries as Basic password, X-ClickHouse-Key, Bearer or ?password=; empty when it has none.
std::string token_of(const http::Request& request);

}  // namespace fettle::engine_host
