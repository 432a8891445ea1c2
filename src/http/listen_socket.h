// A bound, listening socket made from an address as people write it: "127.0.0.1:4318", "[::1]:0" or "unix:/path".
#pragma once

#include <sys/types.h>

#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"

namespace fettle::http {

// Owns the descriptor and, for a Unix socket, the file: both go with it.
class ListenSocket {
 public:
  // kInvalidArgument when the address is malformed, kUnavailable when it cannot be had; the message says what to do.
  // A Unix socket's file gets mode 0600. A file left by a dead process is replaced; one that answers, or that is no
  // socket, is not touched.
  static Result<ListenSocket> open(std::string_view address);

  ListenSocket(ListenSocket&& other) noexcept;
  ListenSocket& operator=(ListenSocket&& other) noexcept;
  ~ListenSocket() { close(); }

  // Removes the file and closes; what waits in the backlog is reset.
  void close();
  int fd() const { return fd_; }
  bool is_unix() const { return !path_.empty(); }
  // With the port that the system chose: "127.0.0.1:41523".
  const std::string& address() const { return address_; }

 private:
  ListenSocket(int fd, std::string address) : fd_(fd), address_(std::move(address)) {}

  int fd_ = -1;
  std::string address_;
  // Of a Unix socket: its file, and which file that was when it was made. Another process may since have put its own
  // in the place, which is then not ours to remove.
  std::string path_;
  dev_t device_ = 0;
  ino_t inode_ = 0;

  static Result<ListenSocket> open_unix(std::string path);
  static Result<ListenSocket> open_tcp(std::string_view address);
};

// The other end of an accepted socket: "127.0.0.1:5123", "[::1]:5123" or "unix".
std::string remote_of(int fd);

}  // namespace fettle::http
