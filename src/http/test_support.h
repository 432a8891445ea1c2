// For this room's tests: a bare socket that can misbehave, and a server with answers to hand.
#pragma once

#include <arpa/inet.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <charconv>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <filesystem>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "http/server.h"

namespace fettle::http {

// A client that sends exactly what it is told. Reads give up after ten seconds, which no passing test comes near.
class RawSocket {
 public:
  explicit RawSocket(const std::string& address, int receive_buffer_bytes = 0) {
    const timeval patience{.tv_sec = 10, .tv_usec = 0};
    if (address.starts_with("unix:")) {
      fd_ = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
      sockaddr_un peer{};
      peer.sun_family = AF_UNIX;
      std::strncpy(peer.sun_path, address.c_str() + 5, sizeof(peer.sun_path) - 1);
      connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&peer), sizeof(peer)) == 0;
    } else {
      fd_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
      if (receive_buffer_bytes != 0) {
        ::setsockopt(fd_, SOL_SOCKET, SO_RCVBUF, &receive_buffer_bytes, sizeof(receive_buffer_bytes));
      }
      sockaddr_in peer{};
      peer.sin_family = AF_INET;
      const std::size_t colon = address.rfind(':');
      ::inet_pton(AF_INET, address.substr(0, colon).c_str(), &peer.sin_addr);
      peer.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
      connected_ = ::connect(fd_, reinterpret_cast<const sockaddr*>(&peer), sizeof(peer)) == 0;
    }
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
  }
  RawSocket(const RawSocket&) = delete;
  RawSocket& operator=(const RawSocket&) = delete;
  ~RawSocket() { close(); }

  bool connected() const { return connected_; }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  void end_sending() { ::shutdown(fd_, SHUT_WR); }

  // False when the other side does not take it all.
  bool send(std::string_view bytes) {
    while (!bytes.empty()) {
      const ssize_t sent = ::send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
      if (sent <= 0) return false;
      bytes.remove_prefix(static_cast<std::size_t>(sent));
    }
    return true;
  }

  // One whole answer with a Content-Length (or, after HEAD, none of its body); what came of it when the connection
  // ends.
  std::string read_answer(bool head_only = false) {
    std::size_t end = 0;
    while ((end = received_.find("\r\n\r\n")) == std::string::npos) {
      if (!receive()) return std::exchange(received_, {});
    }
    std::size_t length = 0;
    const std::size_t field = received_.find("Content-Length: ");
    if (field < end && !head_only) std::from_chars(received_.data() + field + 16, received_.data() + end, length);
    while (received_.size() < end + 4 + length) {
      if (!receive()) return std::exchange(received_, {});
    }
    std::string answer = received_.substr(0, end + 4 + length);
    received_.erase(0, answer.size());
    return answer;
  }
  // Everything until the other side closes. `reset` tells an end by force.
  std::string read_to_end(bool* reset = nullptr) {
    while (receive()) {
    }
    if (reset != nullptr) *reset = reset_;
    return std::exchange(received_, {});
  }
  // `count` bytes, or what came before the end.
  std::string read_some(std::size_t count) {
    while (received_.size() < count && receive()) {
    }
    std::string bytes = received_.substr(0, count);
    received_.erase(0, bytes.size());
    return bytes;
  }

 private:
  bool receive() {
    char bytes[65'536];
    const ssize_t count = ::recv(fd_, bytes, sizeof(bytes), 0);
    reset_ = count < 0 && errno == ECONNRESET;
    if (count <= 0) return false;
    received_.append(bytes, static_cast<std::size_t>(count));
    return true;
  }

  int fd_ = -1;
  bool connected_ = false;
  bool reset_ = false;
  std::string received_;
};

// A value that one thread sets and another waits for.
template <class T>
class Mailbox {
 public:
  void put(T value) {
    const std::lock_guard lock(mutex_);
    values_.push_back(std::move(value));
    changed_.notify_all();
  }
  // Nothing after ten seconds.
  std::optional<T> take() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(10), [&] { return !values_.empty(); })) return std::nullopt;
    T value = std::move(values_.front());
    values_.pop_front();
    return value;
  }
  std::optional<T> take_if_there() {
    const std::lock_guard lock(mutex_);
    if (values_.empty()) return std::nullopt;
    T value = std::move(values_.front());
    values_.pop_front();
    return value;
  }
  std::size_t size() const {
    const std::lock_guard lock(mutex_);
    return values_.size();
  }

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> values_;
};

class TemporaryFolder {
 public:
  TemporaryFolder() {
    char pattern[] = "/tmp/fettle-http-XXXXXX";
    path_ = ::mkdtemp(pattern);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  std::string file(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

// A started server on one TCP address, whose gate and handler a test sets before start().
struct TestServer {
  explicit TestServer(ServerOptions options = {}) : server(options, metrics) {}

  void start(const std::string& listen = "127.0.0.1:0") {
    auto bound = server.listen(
        listen, [this](Request& request) { return gate(request); },
        [this](Request request, Responder responder) { handler(std::move(request), std::move(responder)); });
    if (!bound) throw std::runtime_error(bound.error().message());
    address = *bound;
    server.start();
  }
  std::string url() const { return address.starts_with("unix:") ? address : "http://" + address; }
  double refused(const std::string& reason) {
    return metrics.counter("fettle_http_refused_total", "", {{"reason", reason}}).value();
  }

  std::function<GateDecision(Request&)> gate = [](Request&) { return GateDecision{}; };
  std::function<void(Request, Responder)> handler = [](Request request, Responder responder) {
    std::move(responder).respond(
        Response::make(200, "text/plain", request.method + " " + request.path + " " + request.body));
  };
  std::string address;
  metrics::Registry metrics;
  Server server;  // last, so that it stops before what its callbacks use goes
};

// Body bytes that show where they are from, so that a piece lost, doubled or moved is seen.
inline std::string patterned(std::size_t size) {
  std::string bytes(size, '\0');
  std::uint64_t state = 88172645463325252ULL;
  for (std::size_t i = 0; i + 8 <= size; i += 8) {
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    std::memcpy(bytes.data() + i, &state, 8);
  }
  return bytes;
}

}  // namespace fettle::http
