// An HTTP/1.1 server on TCP and Unix sockets.
//
//   http::Server server(options, metrics);
//   auto address = server.listen("127.0.0.1:0", gate, handler);   // or "unix:/path/to.sock", made with mode 0600
//   server.start();                                               // threads begin to accept
//   …
//   server.stop(std::chrono::seconds(5));                         // refuse new work, let open requests end, then cut
//
// A request passes two callbacks, both called on an I/O thread, so neither may block:
//   Gate     after the header and before any of the body: authenticates, checks admission, says how much body may
//            come and where it goes, or answers at once (the body is then not read and the connection closes). The
//            length that the client promises, if it does, is in the Content-Length field, already checked.
//   Handler  with the whole request. It hands the work to another thread and answers through the Responder, from any
//            thread, at any time.
// Limits on header size, idle time, time for a header and lowest body rate are the server's and answered by it: 431,
// 408, or a closed connection. Bytes past the gate's `body_bytes_max` are answered 413.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "core/metrics.h"
#include "http/message.h"

namespace fettle::http {

struct ServerOptions {
  int threads = 2;
  std::size_t connections_max = 10'000;  // further ones wait in the kernel's backlog
  std::size_t header_bytes_max = 64 * 1024;
  std::chrono::milliseconds header_time_max{10'000};      // from the first byte of a request to the end of its header
  std::chrono::milliseconds keep_alive_time_max{75'000};  // between two requests of a connection
  // A body must average at least this rate, measured after `body_grace`: a slow-loris sender is cut off with 408.
  std::size_t body_bytes_per_second_min = 4 * 1024;
  std::chrono::milliseconds body_grace{10'000};
  std::chrono::milliseconds write_time_max{30'000};  // a reader that takes nothing for this long is cut off
  // JSON and text above a kilobyte leave compressed for clients that accept zstd or gzip, unless they are on this
  // machine, where the bytes are cheaper than the compressing. Behind a proxy on this machine they are not: it names
  // its client in X-Forwarded-For or Forwarded.
  bool compress_answers = false;
};

// An owned memory file (memfd) holding a request's body; read it through /proc/self/fd/N or mmap.
class BodyFile {
 public:
  BodyFile() = default;
  explicit BodyFile(int fd) : fd_(fd) {}
  BodyFile(BodyFile&& other) noexcept : fd_(std::exchange(other.fd_, -1)), bytes_(std::exchange(other.bytes_, 0)) {}
  BodyFile& operator=(BodyFile&& other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~BodyFile();
  int fd() const { return fd_; }
  std::uint64_t bytes() const { return bytes_; }
  bool is_open() const { return fd_ >= 0; }
  void set_bytes(std::uint64_t bytes) { bytes_ = bytes; }

 private:
  int fd_ = -1;
  std::uint64_t bytes_ = 0;
};

struct Request {
  std::string method;  // as sent: "GET"
  std::string target;  // as sent, path and query
  std::string path;    // percent-decoded
  Query query;
  Headers headers;
  std::string body;  // empty when body_file is open
  BodyFile body_file;
  std::string remote;    // "127.0.0.1:5123" or "unix"
  std::string listener;  // the address it came in by, as given to listen()
};

// The body of an answer that is written piece by piece (chunked). Thread-safe; owned by whoever produces it.
class ResponseStream {
 public:
  virtual ~ResponseStream() = default;  // ends the body as finish() does, unless abort() was called
  // Blocks while more than a megabyte is unsent. False once the reader is gone: stop producing. Never call it on an
  // I/O thread.
  virtual bool write(std::string_view bytes) = 0;
  // Once a stop is requested, write() does not wait any more: where it would have, it answers false, and the body is
  // cut at its end as by abort().
  virtual void stop_waiting_on(std::stop_token stop) = 0;
  // True once the reader is gone.
  virtual bool is_closed() const = 0;
  // Called once, on any thread, when the reader goes before the end; at once if it is gone already. A later call
  // replaces the callback.
  virtual void on_close(std::function<void()> callback) = 0;
  // Ends the body well.
  virtual void finish() = 0;
  // Cuts the connection, so that the reader can tell that the body is not whole.
  virtual void abort() = 0;
};

// The right to answer one request, once. Dropping it unanswered answers 500. Thread-safe to move between threads; it
// may outlive the client's connection and the server, when answering does nothing.
class Responder {
 public:
  struct Impl {
    virtual ~Impl() = default;
    virtual void respond(Response response) = 0;
    virtual std::unique_ptr<ResponseStream> stream(Response head) = 0;
    virtual void on_close(std::function<void()> callback) = 0;
  };
  explicit Responder(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

  void respond(Response response) && { std::exchange(impl_, nullptr)->respond(std::move(response)); }
  // Sends the head now (its body field is ignored) and the body as it comes.
  std::unique_ptr<ResponseStream> stream(Response head) && {
    return std::exchange(impl_, nullptr)->stream(std::move(head));
  }
  // Called once, on any thread, if the client goes before the answer: cancel the work. Forgotten once the answer
  // begins: a ResponseStream takes a callback of its own. It may still be running when respond() returns.
  void on_close(std::function<void()> callback) { impl_->on_close(std::move(callback)); }

 private:
  std::unique_ptr<Impl> impl_;
};

// What the gate says of a request whose header has been read; `request.body` is still empty.
struct GateDecision {
  enum class BodyTo { kMemory, kMemoryFile };
  std::size_t body_bytes_max = 1024 * 1024;
  BodyTo body_to = BodyTo::kMemory;  // kMemoryFile: Request::body_file is open, even when the body is empty
  std::unique_ptr<Response> refuse;  // set: answer this, read no body, close
  // Runs once, on any thread, when the request is over, however it ends (answered, cut off, refused body): releases
  // what the gate admitted. When the client leaves while the request is worked on, that is when the Responder or
  // ResponseStream goes, so that a limit holds for work nobody waits for as well.
  std::move_only_function<void()> on_end;
};

using Gate = std::function<GateDecision(Request& request)>;
using Handler = std::function<void(Request request, Responder responder)>;

class Server {
 public:
  Server(ServerOptions options, metrics::Registry& metrics);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // Binds and listens; nothing is accepted before start(). Returns the address with the chosen port: "127.0.0.1:41523".
  // An IPv6 address is written "[::1]:4318". kUnavailable when the address is taken, kInvalidArgument when malformed;
  // the message says what to do.
  Result<std::string> listen(std::string_view address, Gate gate, Handler handler);
  void start();
  // Stops accepting, closes idle connections, waits up to `deadline` for open requests, then cuts them (their on_close
  // callbacks run). Streams without an end should be ended by whoever feeds them, or take the whole deadline.
  // Idempotent. Never call it on an I/O thread.
  void stop(std::chrono::milliseconds deadline);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::http
