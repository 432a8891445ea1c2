// One accepted connection: a state machine that reads requests, has them answered and writes the answers, one after
// another. Internal to the room.
//
// Lives on one I/O thread from start() to its end; only is_own_thread() and wake() may be called elsewhere. Owned by
// that thread's set of connections and by its own pending operations.
#pragma once

#include <array>
#include <atomic>
#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_set>

#include "core/metrics.h"
#include "http/body_sink.h"
#include "http/exchange.h"
#include "http/read_buffer.h"
#include "http/request_parser.h"
#include "http/server.h"

namespace fettle::http {

using Context = boost::asio::io_context;
// The one stream type: TCP and Unix sockets alike, with the concrete executor rather than a type-erased one.
using Socket = boost::asio::basic_stream_socket<boost::asio::generic::stream_protocol, Context::executor_type>;
using Timer =
    boost::asio::basic_waitable_timer<std::chrono::steady_clock, boost::asio::wait_traits<std::chrono::steady_clock>,
                                      Context::executor_type>;

class Connection;

// What the connections of one I/O thread share; touched on that thread alone but for the count.
struct IoThread {
  Context context{1};
  std::unordered_set<std::shared_ptr<Connection>> connections;
  // How many there are or are on their way here; read by the thread that accepts.
  std::atomic<std::size_t> connections_count = 0;
  // Bodies on their way to a memory file pass through here: one buffer per thread stays in the cache.
  std::unique_ptr<char[]> scratch;

  static thread_local const IoThread* current;
};

// Why a request was refused or cut by the server itself; the label of fettle_http_refused_total.
enum class Refusal {
  kGate,
  kMalformed,
  kHeaderTooLarge,
  kHeaderTimeout,
  kBodyTooLarge,
  kBodyTimeout,
  kUnsupported,
  kNoRoom,
  kWriteTimeout,
  kCount
};

// What all connections of a server share. Thread-safe.
class ConnectionHost {
 public:
  virtual ~ConnectionHost() = default;
  virtual void connection_closed(IoThread& thread) = 0;

  ServerOptions options;
  std::atomic<bool> draining = false;
  std::array<metrics::Counter*, 6> requests{};  // by the first digit of the status
  std::array<metrics::Counter*, static_cast<std::size_t>(Refusal::kCount)> refusals{};
};

// Constant while connections live.
struct ListenerRoute {
  std::string address;
  Gate gate;
  Handler handler;
};

class Connection final : public Exchange::Carrier, public std::enable_shared_from_this<Connection> {
 public:
  Connection(IoThread& thread, ConnectionHost& host, const ListenerRoute& route, Socket socket, std::string remote);
  ~Connection() override;

  void start();
  // True from a whole header to the end of the answer.
  bool is_busy() const { return state_ != State::kIdle && state_ != State::kHeader && state_ != State::kClosed; }
  // No further request is taken: closes at once unless busy.
  void drain();
  // Ends the connection whatever it does. Who waits for it is told.
  void close();

  bool is_own_thread() const override { return IoThread::current == &thread_; }
  void wake(std::shared_ptr<Exchange> exchange) override;
  void serve(const std::shared_ptr<Exchange>& exchange) override;

 private:
  using TimePoint = std::chrono::steady_clock::time_point;
  enum class State { kIdle, kHeader, kBody, kHandling, kWriting, kStreaming, kLinger, kClosed };

  // Reading.
  void read_more();
  void on_read(const boost::system::error_code& error, std::size_t count);
  void on_body_read(const boost::system::error_code& error, std::size_t count);
  void on_peer_done();
  void advance();
  void parse_header();
  void begin_request(std::string_view header);
  void read_body();
  void read_body_to_memory();
  void read_body_to_file();
  void read_body_chunked();
  void dispatch();

  // Writing.
  void refuse(Refusal reason, int status, std::string_view detail);
  void begin_answer(Response response, bool streamed);
  void pump();
  void write_out();
  void on_written(const boost::system::error_code& error, std::size_t count);
  void finish_answer();
  void linger();
  void cut();

  // Time.
  void set_deadline(TimePoint deadline);
  void clear_deadline() { deadline_ = TimePoint::max(); }
  void arm(TimePoint at);
  void on_timer();
  TimePoint body_deadline() const;

  // Constant; all outlive the connection.
  IoThread& thread_;
  ConnectionHost& host_;
  const ListenerRoute& route_;
  const std::string remote_;

  Socket socket_;
  Timer timer_;
  TimePoint deadline_ = TimePoint::max();      // when the present state has lasted too long
  TimePoint timer_set_to_ = TimePoint::max();  // may be earlier than deadline_: moving a deadline back costs nothing
  State state_ = State::kIdle;

  ReadBuffer input_;
  bool reading_ = false;       // a read into input_ is under way: it may be consumed from, not moved
  bool reading_body_ = false;  // a read into the body's own space is under way
  bool peer_done_ = false;     // the other side has sent its last byte
  std::size_t header_scanned_ = 0;
  TimePoint request_began_;  // its first byte; then the first moment of its body

  Request request_;
  std::optional<RequestParser> parser_;
  BodySink body_;
  std::uint64_t body_length_ = 0;  // unless chunked
  bool chunked_ = false;
  bool http_1_0_ = false;
  bool head_only_ = false;
  bool keep_alive_ = false;
  bool input_unread_ = false;  // closing now could reset the connection before the answer is read

  std::shared_ptr<Exchange> exchange_;  // shared with the answering side, which may end first
  std::string out_head_;
  std::string out_body_;
  std::array<boost::asio::const_buffer, 3> out_;
  bool writing_ = false;
  std::string stream_pending_;  // taken from the exchange while a write is under way
  bool stream_ended_ = false;
  bool last_write_ = false;  // after this one the answer is whole
  std::size_t linger_bytes_left_ = 0;
};

}  // namespace fettle::http
