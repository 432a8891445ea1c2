#include "http/listen_socket.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <cstring>
#include <memory>

namespace fettle::http {
namespace {

constexpr mode_t kUnixSocketMode = 0600;

std::string errno_text(int error) { return std::error_code(error, std::generic_category()).message(); }

std::string format_endpoint(const sockaddr_storage& storage) {
  char host[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(storage);
    ::inet_ntop(AF_INET, &v4.sin_addr, host, sizeof(host));
    return fmt::format("{}:{}", host, ntohs(v4.sin_port));
  }
  if (storage.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(storage);
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], host, sizeof(host));
      return fmt::format("{}:{}", host, ntohs(v6.sin6_port));
    }
    ::inet_ntop(AF_INET6, &v6.sin6_addr, host, sizeof(host));
    return fmt::format("[{}]:{}", host, ntohs(v6.sin6_port));
  }
  return "unix";
}

Result<sockaddr_un> unix_address(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("the path of a Unix socket must have 1 to {} bytes; '{}' has {}: choose a shorter folder",
                            sizeof(address.sun_path) - 1, path, path.size()));
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

// Makes room at `path`: removes a socket that nobody answers on.
Result<void> clear_stale(const std::string& path, const sockaddr_un& address) {
  struct stat found{};
  if (::lstat(path.c_str(), &found) != 0) {
    if (errno == ENOENT) return {};
    return fail(ErrorCode::kUnavailable, fmt::format("cannot look at {}: {}", path, errno_text(errno)));
  }
  if (!S_ISSOCK(found.st_mode)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} exists and is not a socket: choose another path or move the file away", path));
  }
  const int probe = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return fail(ErrorCode::kUnavailable, fmt::format("cannot make a socket: {}", errno_text(errno)));
  const int connected = ::connect(probe, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = errno;
  ::close(probe);
  if (connected != 0 && error == ECONNREFUSED) {
    if (::unlink(path.c_str()) == 0 || errno == ENOENT) return {};
    return fail(ErrorCode::kUnavailable, fmt::format("cannot remove the stale socket {}: {}", path, errno_text(errno)));
  }
  return fail(ErrorCode::kUnavailable,
              fmt::format("another process answers on {}: stop it or choose another path", path));
}

struct HostAndPort {
  std::string host;
  std::string port;
};

Result<HostAndPort> split(std::string_view address) {
  const auto malformed = [&] {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is not an address: write host:port, [ipv6]:port or unix:/path", address));
  };
  HostAndPort parts;
  std::size_t colon = 0;
  if (address.starts_with('[')) {
    const std::size_t bracket = address.find(']');
    if (bracket == std::string_view::npos) return malformed();
    parts.host = address.substr(1, bracket - 1);
    colon = bracket + 1;
    if (!parts.host.contains(':')) return malformed();
  } else {
    colon = address.find(':');
    if (colon == std::string_view::npos) return malformed();
    parts.host = address.substr(0, colon);
  }
  if (parts.host.empty() || colon >= address.size() || address[colon] != ':') return malformed();
  parts.port = address.substr(colon + 1);
  unsigned port = 0;
  const auto [end, error] = std::from_chars(parts.port.data(), parts.port.data() + parts.port.size(), port);
  if (error != std::errc{} || end != parts.port.data() + parts.port.size() || port > 65'535) return malformed();
  return parts;
}

Error bind_error(std::string_view address, int error) {
  if (error == EADDRINUSE) {
    return {ErrorCode::kUnavailable,
            fmt::format("{} is taken by another process: stop it or choose another port (port 0 finds a free one)",
                        address)};
  }
  if (error == EACCES) {
    return {
        ErrorCode::kUnavailable,
        fmt::format("{} may not be bound: ports below 1024 need CAP_NET_BIND_SERVICE; choose a higher port", address)};
  }
  if (error == EADDRNOTAVAIL) {
    return {ErrorCode::kUnavailable, fmt::format("{} is not an address of this machine", address)};
  }
  return {ErrorCode::kUnavailable, fmt::format("cannot listen on {}: {}", address, errno_text(error))};
}

}  // namespace

Result<ListenSocket> ListenSocket::open(std::string_view address) {
  if (address.starts_with("unix:")) return open_unix(std::string(address.substr(5)));
  return open_tcp(address);
}

Result<ListenSocket> ListenSocket::open_unix(std::string path) {
  const auto address = unix_address(path);
  if (!address) return std::unexpected(address.error());
  if (auto cleared = clear_stale(path, *address); !cleared) return std::unexpected(std::move(cleared).error());

  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return fail(ErrorCode::kUnavailable, fmt::format("cannot make a socket: {}", errno_text(errno)));
  ListenSocket made(fd, "unix:" + path);
  // The mode is set on the socket before it has a name, so that there is no moment at which others could connect; a
  // umask would be the whole process's.
  if (::fchmod(fd, kUnixSocketMode) != 0 ||
      ::bind(fd, reinterpret_cast<const sockaddr*>(&*address), sizeof(*address)) != 0) {
    return fail(ErrorCode::kUnavailable, fmt::format("cannot make the socket {}: {}", path, errno_text(errno)));
  }
  struct stat own{};
  if (::lstat(path.c_str(), &own) == 0) {
    made.device_ = own.st_dev;
    made.inode_ = own.st_ino;
  }
  made.path_ = std::move(path);
  if (::listen(fd, SOMAXCONN) != 0) return std::unexpected(bind_error(made.address_, errno));
  return made;
}

Result<ListenSocket> ListenSocket::open_tcp(std::string_view address) {
  const auto parts = split(address);
  if (!parts) return std::unexpected(parts.error());
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(parts->host.c_str(), parts->port.c_str(), &hints, &found); error != 0) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' names no address to listen on: {}", address, ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  // Of a name's several addresses (localhost), the one that a person means when he writes 127.0.0.1.
  for (addrinfo* other = owned.get(); other != nullptr; other = other->ai_next) {
    if (other->ai_family == AF_INET) {
      found = other;
      break;
    }
  }

  const int fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, IPPROTO_TCP);
  if (fd < 0) return fail(ErrorCode::kUnavailable, fmt::format("cannot make a socket: {}", errno_text(errno)));
  ListenSocket made(fd, {});
  const int on = 1;
  ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  if (::bind(fd, found->ai_addr, found->ai_addrlen) != 0 || ::listen(fd, SOMAXCONN) != 0) {
    return std::unexpected(bind_error(address, errno));
  }
  sockaddr_storage bound{};
  socklen_t length = sizeof(bound);
  ::getsockname(fd, reinterpret_cast<sockaddr*>(&bound), &length);
  made.address_ = format_endpoint(bound);
  return made;
}

ListenSocket::ListenSocket(ListenSocket&& other) noexcept
    : fd_(std::exchange(other.fd_, -1)),
      address_(std::move(other.address_)),
      path_(std::exchange(other.path_, {})),
      device_(other.device_),
      inode_(other.inode_) {}

ListenSocket& ListenSocket::operator=(ListenSocket&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(address_, other.address_);
  std::swap(path_, other.path_);
  std::swap(device_, other.device_);
  std::swap(inode_, other.inode_);
  return *this;
}

void ListenSocket::close() {
  if (fd_ < 0) return;
  struct stat found{};
  if (!path_.empty() && ::lstat(path_.c_str(), &found) == 0 && found.st_dev == device_ && found.st_ino == inode_) {
    ::unlink(path_.c_str());
  }
  ::close(std::exchange(fd_, -1));
}

std::string remote_of(int fd) {
  sockaddr_storage peer{};
  socklen_t length = sizeof(peer);
  if (::getpeername(fd, reinterpret_cast<sockaddr*>(&peer), &length) != 0) return "unknown";
  return format_endpoint(peer);
}

}  // namespace fettle::http
