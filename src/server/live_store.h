// The ledger's store opened from outside the server, to be looked at: by `fettle audit verify` and the like.
#pragma once

#include <filesystem>
#include <memory>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/secret.h"
#include "db/database.h"

namespace fettle::server {

// A store that may be damaged. What SQLite refuses to open (a file that was cut short) is opened as a copy, filled up
// with zeros, so that what is whole can still be read: the first thing that is not can then be named.
class LiveStore {
 public:
  // kNotFound when there is no ledger at `url`. The store is not brought up to date and nothing is written to it.
  static Result<LiveStore> open(const Secret& url, Clock& clock, metrics::Registry& metrics);
  LiveStore(LiveStore&&) noexcept = default;
  LiveStore& operator=(LiveStore&&) = delete;
  ~LiveStore();

  db::Database& database() { return *database_; }
  // Empty unless it is a copy: what SQLite said.
  const std::string& damage() const { return damage_; }

 private:
  LiveStore() = default;
  std::filesystem::path scratch_;  // removed at the end
  std::string damage_;
  std::unique_ptr<db::Database> database_;
};

}  // namespace fettle::server
