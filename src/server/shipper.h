// Sends the lines of log files to Fettle, each once, through rotations, restarts and outages.
//
//   Shipper shipper(client, state, clock, options);
//   shipper.add("/var/log/app.json", "app");
//   shipper.run(stop);                                // or run_once() for what is there now
//
// Before a batch is sent, its place is written down; after the answer, the place behind it. A run that ended between
// the two sends exactly that batch again, under the same name, and the server recognises it (for ten minutes). One
// thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/rng.h"
#include "http/client.h"
#include "server/file_follower.h"

namespace fettle::server {

// Where each file is, in one file that is replaced in one step.
class ShipState {
 public:
  struct Entry {
    FilePosition position;
    std::optional<std::uint64_t> sending_to;  // a batch up to this offset was on its way
  };
  // kInvalidArgument when the file is there and is not one of ours.
  static Result<ShipState> open(std::filesystem::path file);
  const Entry* find(const std::string& path) const;
  // Durable on success.
  Result<void> set(const std::string& path, Entry entry);

 private:
  explicit ShipState(std::filesystem::path file) : file_(std::move(file)) {}
  std::filesystem::path file_;
  std::map<std::string, Entry> entries_;
};

class Shipper {
 public:
  struct Options {
    std::string bearer;  // "Bearer …", or empty
    std::size_t batch_bytes_max = 1024 * 1024;
    std::chrono::milliseconds poll_interval{500};
    std::chrono::milliseconds scan_interval{5'000};  // for containers that are new
    std::chrono::milliseconds backoff_min{500};
    std::chrono::milliseconds backoff_max{60'000};
    std::chrono::milliseconds request_time_max{30'000};
  };
  struct Totals {
    std::uint64_t lines = 0;    // taken by the server
    std::uint64_t refused = 0;  // batches that it will never take; each was reported
    std::uint64_t retries = 0;
  };

  Shipper(http::Client& client, ShipState& state, Clock& clock, Rng& rng, Options options);

  // `service`: for lines that name none; empty: the file's name up to its first dot.
  void add(const std::filesystem::path& file, const std::string& service);
  // Docker's folder of containers: DIR/<id>/<id>-json.log, those that come later too.
  void add_docker(const std::filesystem::path& folder);

  // Until `stop`, which is success. kUnauthenticated and kPermissionDenied end it: waiting would not help.
  Result<void> run(const std::stop_token& stop);
  // Everything that is there now, last lines without an end included.
  Result<void> run_once(const std::stop_token& stop);

  const Totals& totals() const { return totals_; }

 private:
  struct Source {
    std::string key;  // its absolute path: the name in the state file
    std::string query;
    std::unique_ptr<FileFollower> follower;
    std::optional<std::uint64_t> sending_to;
  };
  void scan_docker();
  void add_source(const std::filesystem::path& file, std::string query);
  // Sends all that is there. True when something was sent.
  Result<bool> drain(Source& source, bool is_final, const std::stop_token& stop);
  Result<void> deliver(Source& source, const LineBatch& batch, const std::stop_token& stop);

  http::Client& client_;
  ShipState& state_;
  Clock& clock_;
  Rng& rng_;
  const Options options_;
  std::vector<std::filesystem::path> docker_folders_;
  std::vector<Source> sources_;
  Totals totals_;
};

}  // namespace fettle::server
