// The folder that holds everything the server keeps: made with mode 0700, used by one server at a time.
//
//   auto folder = DataDir::open(config.data);      // kConflict while another server uses it
//   folder->write_ports({.http = 7070, .otlp_http = 4318, .otlp_grpc = 4317});
#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace fettle::server {

struct Ports {
  std::uint16_t http = 0;
  std::uint16_t otlp_http = 0;
  std::uint16_t otlp_grpc = 0;
};

class DataDir {
 public:
  // Holds the lock until destroyed, or until the process ends however it ends.
  static Result<DataDir> open(const std::filesystem::path& path);
  DataDir(DataDir&& other) noexcept : path_(std::move(other.path_)), lock_fd_(std::exchange(other.lock_fd_, -1)) {}
  DataDir& operator=(DataDir&&) = delete;
  ~DataDir();

  const std::filesystem::path& path() const { return path_; }
  // Writes ports.json in one step: a reader sees the old file or the whole new one.
  Result<void> write_ports(const Ports& ports) const;
  void remove_ports() const;

 private:
  DataDir(std::filesystem::path path, int lock_fd) : path_(std::move(path)), lock_fd_(lock_fd) {}
  std::filesystem::path path_;
  int lock_fd_;
};

// The port of "127.0.0.1:7070"; 0 when there is none.
std::uint16_t port_of(std::string_view address);

}  // namespace fettle::server
