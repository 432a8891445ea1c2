#include "http/connection.h"

#include <fmt/format.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/error.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <exception>
#include <utility>

#include "core/log.h"
#include "http/response_head.h"

// The life of a connection. Each arrow names the function that makes the step.
//
//            first byte                whole header              whole body
//   kIdle ───parse_header──▶ kHeader ──begin_request──▶ kBody ────dispatch────▶ kHandling
//     ▲                         │ too large, malformed,   │ too large, slow:       │ respond: begin_answer
//     │                         │ slow, gate: refuse      │ refuse                 ▼
//     └──────finish_answer──────┼─────────────────────────┴───────────────▶ kWriting / kStreaming
//                               └──────────────────────────────────────────────▲ │ finish_answer, not kept alive
//                                            close ◀── kLinger ◀── linger ───────┘
//
// close() leads from every state to kClosed. What holds:
//   - At most one read, into input_ or into the body's space, and one write are under way, each with its flag.
//   - While a request is handled or its answer streamed, a read into input_ stays under way: its end tells that the
//     client has gone. Bytes that come meanwhile belong to the next request and wait. (A client that fills the buffer
//     with requests ahead of time is noticed to be gone only when it is written to.)
//   - exchange_ is set from the gate's admission until the answer is written.
namespace fettle::http {

namespace asio = boost::asio;
namespace beast_http = boost::beast::http;
using std::chrono::steady_clock;

namespace {

// Ten thousand idle connections hold 80 MB.
constexpr std::size_t kInputBytes = 8 * 1024;
// A chunked body is parsed in pieces of up to this; a chunk's own header must fit as well.
constexpr std::size_t kChunkedInputBytes = 64 * 1024;
constexpr std::size_t kScratchBytes = 256 * 1024;
// After this much of one body the thread looks after its other connections.
constexpr std::size_t kTurnBytes = 1024 * 1024;

// After an early answer the client may still be sending. Closing with unread bytes makes the kernel send a reset, which
// can overtake the answer; so a little is read and dropped, and the rest is left to wait for the client to look.
constexpr std::size_t kLingerBytes = 64 * 1024;
constexpr std::chrono::seconds kLingerTime{2};

constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
constexpr std::string_view kHeaderEnd = "\r\n\r\n";

// Of the exception being handled. Gates and handlers are other rooms' code.
void log_thrown(std::string_view event) {
  try {
    throw;
  } catch (const std::exception& thrown) {
    log::error(event, {{"error", thrown.what()}});
  } catch (...) {
    log::error(event, {{"error", "not a std::exception"}});
  }
}

// What the client is to be answered in: nothing is compressed for one on this machine itself.
Coding coding_of(const Request& request) {
  const std::string_view remote = request.remote;
  const bool is_near = remote == "unix" || remote.starts_with("127.") || remote.starts_with("[::1]");
  const bool is_forwarded = request.headers.has("X-Forwarded-For") || request.headers.has("Forwarded");
  if (is_near && !is_forwarded) return Coding::kIdentity;
  return coding_for(request.headers.get("Accept-Encoding"));
}

bool begins_a_method(char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); }

}  // namespace

thread_local const IoThread* IoThread::current = nullptr;

Connection::Connection(IoThread& thread, ConnectionHost& host, const ListenerRoute& route, Socket socket,
                       std::string remote)
    : thread_(thread),
      host_(host),
      route_(route),
      remote_(std::move(remote)),
      socket_(std::move(socket)),
      timer_(thread.context.get_executor()),
      input_(kInputBytes) {}

Connection::~Connection() {
  // Only when the whole server is torn down with operations pending.
  if (exchange_) exchange_->detach();
}

void Connection::start() {
  set_deadline(steady_clock::now() + host_.options.keep_alive_time_max);
  read_more();
}

void Connection::drain() {
  if (!is_busy()) close();
}

void Connection::close() {
  if (state_ == State::kClosed) return;
  const auto self = shared_from_this();
  state_ = State::kClosed;
  boost::system::error_code ignored;
  socket_.close(ignored);
  timer_.cancel();
  if (const auto exchange = std::exchange(exchange_, nullptr)) {
    exchange->detach();
    exchange->reader_gone();
  }
  thread_.connections.erase(self);
  host_.connection_closed(thread_);
}

void Connection::cut() {
  const struct ::linger at_once{.l_onoff = 1,
                                .l_linger = 0};  // a reset, so that the reader cannot mistake it for an end
  ::setsockopt(socket_.native_handle(), SOL_SOCKET, SO_LINGER, &at_once, sizeof(at_once));
  close();
}

// ---- reading

void Connection::read_more() {
  // One read at a time: of two waiting for the same socket, its end would be told to the first alone.
  if (reading_ || reading_body_ || peer_done_ || state_ == State::kClosed) return;
  const std::span<char> room = input_.prepare();
  if (room.empty()) return;
  reading_ = true;
  socket_.async_read_some(asio::buffer(room.data(), room.size()),
                          [self = shared_from_this()](const boost::system::error_code& error, std::size_t count) {
                            self->reading_ = false;
                            self->on_read(error, count);
                          });
}

void Connection::on_read(const boost::system::error_code& error, std::size_t count) {
  if (state_ == State::kClosed) return;
  if (error == asio::error::eof) return on_peer_done();
  if (error) return close();
  input_.commit(count);
  advance();
}

void Connection::on_peer_done() {
  peer_done_ = true;
  switch (state_) {
    case State::kHandling:
      // Nearly always the client has gone. One that has only closed its sending side still gets its answer.
      keep_alive_ = false;
      exchange_->reader_gone();
      break;
    case State::kWriting: keep_alive_ = false; break;
    default: close();
  }
}

void Connection::advance() {
  switch (state_) {
    case State::kIdle:
    case State::kHeader: parse_header(); break;
    case State::kBody: read_body(); break;
    case State::kHandling:
    case State::kWriting:
    case State::kStreaming: read_more(); break;
    case State::kLinger:
      linger_bytes_left_ -= std::min(linger_bytes_left_, input_.size());
      input_.clear();
      if (linger_bytes_left_ != 0) read_more();
      break;
    case State::kClosed: break;
  }
}

void Connection::parse_header() {
  if (state_ == State::kIdle) {
    // Clients may send an empty line between two requests.
    while (input_.data().starts_with("\r\n")) input_.consume(2);
    if (input_.empty() || input_.data() == "\r") {
      if (host_.draining.load(std::memory_order_relaxed)) return close();
      return read_more();
    }
    state_ = State::kHeader;
    header_scanned_ = 0;
    request_ = {};
    request_began_ = steady_clock::now();
    keep_alive_ = false;
    head_only_ = http_1_0_ = false;
    input_unread_ = false;
    // A TLS handshake or noise is told from HTTP by its first byte, without waiting for a line's end.
    if (!begins_a_method(input_.data().front())) {
      return refuse(Refusal::kMalformed, 400, "this is not an HTTP request");
    }
  }
  const std::string_view received = input_.data();
  const std::size_t end = received.find(kHeaderEnd, header_scanned_);
  const std::size_t bytes_max = host_.options.header_bytes_max;
  if (end == std::string_view::npos ? received.size() >= bytes_max : end + kHeaderEnd.size() > bytes_max) {
    return refuse(Refusal::kHeaderTooLarge, 431, fmt::format("the header is larger than {} bytes", bytes_max));
  }
  if (end != std::string_view::npos) return begin_request(received.substr(0, end + kHeaderEnd.size()));

  header_scanned_ = received.size() - std::min(received.size(), kHeaderEnd.size() - 1);
  set_deadline(request_began_ + host_.options.header_time_max);
  if (!reading_ && input_.size() == input_.capacity()) {
    input_.reallocate(std::min(input_.capacity() * 2, std::max(bytes_max, input_.size() + 1)));
  }
  read_more();
}

void Connection::begin_request(std::string_view header) {
  body_.reset();
  parser_.emplace(request_, body_, static_cast<std::uint32_t>(header.size() + 1));
  boost::system::error_code error;
  parser_->put(asio::buffer(header.data(), header.size()), error);
  input_.consume(header.size());
  input_unread_ = true;
  if (error || !parser_->is_header_done()) {
    if (error == beast_http::error::bad_version) {
      return refuse(Refusal::kUnsupported, 505, "only HTTP/1.0 and HTTP/1.1 are spoken here");
    }
    return refuse(Refusal::kMalformed, 400, fmt::format("the header is malformed: {}", error.message()));
  }
  http_1_0_ = parser_->is_http_1_0();
  head_only_ = request_.method == "HEAD";
  chunked_ = parser_->chunked();
  body_length_ = chunked_ ? 0 : parser_->content_length().value_or(0);
  input_unread_ = chunked_ || body_length_ != 0;

  const Headers& headers = request_.headers;
  if (headers.has("Transfer-Encoding")) {
    // Two framings at once are how requests are smuggled past a proxy that believes the other one.
    if (http_1_0_ || headers.has("Content-Length")) {
      return refuse(Refusal::kMalformed, 400, "Transfer-Encoding goes with HTTP/1.1 and without Content-Length");
    }
    const std::string_view coding = headers.get("Transfer-Encoding");
    if (headers.count("Transfer-Encoding") != 1 || coding.contains(',') || !lists_token(coding, "chunked")) {
      input_unread_ = true;
      return refuse(Refusal::kUnsupported, 501, "the only transfer coding spoken here is chunked");
    }
  }
  if (headers.count("Host") != 1 && !(http_1_0_ && headers.count("Host") == 0)) {
    return refuse(Refusal::kMalformed, 400, "a request must have one Host field");
  }
  if (!request_.target.starts_with('/')) {
    return refuse(Refusal::kMalformed, 400, "the request's target must be a path");
  }
  const std::string_view target = request_.target;
  const std::size_t mark = std::min(target.find('?'), target.size());
  auto path = percent_decode(target.substr(0, mark));
  if (!path) return refuse(Refusal::kMalformed, 400, path.error().within("reading the path").message());
  request_.path = std::move(*path);
  auto query = Query::parse(target.substr(std::min(mark + 1, target.size())));
  if (!query) return refuse(Refusal::kMalformed, 400, query.error().message());
  request_.query = std::move(*query);
  request_.remote = remote_;
  request_.listener = route_.address;
  const std::string_view expectation = headers.get("Expect");
  if (!expectation.empty() && !lists_token(expectation, "100-continue")) {
    return refuse(Refusal::kUnsupported, 417, "the only expectation met here is 100-continue");
  }
  const bool continue_expected = !expectation.empty() && !http_1_0_;

  GateDecision decision;
  try {
    decision = route_.gate(request_);
  } catch (...) {
    log_thrown("http_gate_failed");
    return refuse(Refusal::kGate, 500, "the request could not be admitted");
  }
  const auto coding = host_.options.compress_answers ? std::optional(coding_of(request_)) : std::nullopt;
  exchange_ = std::make_shared<Exchange>(*this, coding, std::move(decision.on_end));
  if (decision.refuse) {
    host_.refusals[static_cast<std::size_t>(Refusal::kGate)]->add();
    return begin_answer(std::move(*decision.refuse), false);
  }
  if (body_length_ > decision.body_bytes_max) {
    return refuse(Refusal::kBodyTooLarge, 413,
                  fmt::format("the body is larger than {} bytes", decision.body_bytes_max));
  }
  keep_alive_ = parser_->keep_alive();
  try {
    if (decision.body_to == GateDecision::BodyTo::kMemoryFile) {
      if (auto opened = body_.open_file(decision.body_bytes_max); !opened) {
        log::error("http_body_file_failed", {{"error", opened.error().message()}});
        return refuse(Refusal::kNoRoom, 503, "there is no room for the body");
      }
    } else {
      body_.open_memory(body_length_, decision.body_bytes_max);
    }
  } catch (const std::bad_alloc&) {
    return refuse(Refusal::kNoRoom, 503, "there is no room for the body");
  }
  if (continue_expected && input_unread_ && input_.empty()) {
    // Nothing else is on its way out, so the few bytes fit the kernel's buffer; if not, the connection is broken.
    const ssize_t sent =
        ::send(socket_.native_handle(), kContinue.data(), kContinue.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent != static_cast<ssize_t>(kContinue.size())) return close();
  }
  state_ = State::kBody;
  request_began_ = steady_clock::now();
  if (chunked_) parser_->eager(true);
  read_body();
}

Connection::TimePoint Connection::body_deadline() const {
  const auto& options = host_.options;
  if (options.body_bytes_per_second_min == 0) return TimePoint::max();
  const auto earned = std::chrono::milliseconds(body_.bytes() * 1000 / options.body_bytes_per_second_min);
  return request_began_ + std::max<std::chrono::milliseconds>(options.body_grace, earned);
}

void Connection::read_body() {
  if (chunked_) return read_body_chunked();
  const std::string_view received = input_.data().substr(0, body_length_ - body_.bytes());
  if (!received.empty()) {
    if (!body_.append(received)) return refuse(Refusal::kNoRoom, 503, "there is no room for the body");
    input_.consume(received.size());
  }
  if (body_.bytes() == body_length_) return dispatch();
  set_deadline(body_deadline());
  if (reading_) return;  // the read under way brings the next piece
  if (body_.is_file()) return read_body_to_file();
  read_body_to_memory();
}

void Connection::read_body_to_memory() {
  const std::span<char> space = body_.space();
  reading_body_ = true;
  socket_.async_read_some(asio::buffer(space.data(), space.size()),
                          [self = shared_from_this()](const boost::system::error_code& error, std::size_t count) {
                            self->reading_body_ = false;
                            self->on_body_read(error, count);
                          });
}

void Connection::on_body_read(const boost::system::error_code& error, std::size_t count) {
  if (state_ == State::kClosed) return;
  if (error == asio::error::eof) return on_peer_done();
  if (error) return close();
  if (state_ != State::kBody) return advance();  // refused meanwhile: nobody wants the bytes
  body_.commit(count);
  read_body();
}

void Connection::read_body_to_file() {
  if (!thread_.scratch) thread_.scratch = std::make_unique_for_overwrite<char[]>(kScratchBytes);
  for (std::size_t turn = 0; turn < kTurnBytes;) {
    const std::size_t wanted = std::min<std::uint64_t>(kScratchBytes, body_length_ - body_.bytes());
    const ssize_t count = ::recv(socket_.native_handle(), thread_.scratch.get(), wanted, MSG_DONTWAIT);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
      socket_.async_wait(Socket::wait_read, [self = shared_from_this()](const boost::system::error_code& error) {
        if (self->state_ != State::kBody) return;
        if (error) return self->close();
        self->read_body_to_file();
      });
      return;
    }
    if (count <= 0) return close();
    if (!body_.append({thread_.scratch.get(), static_cast<std::size_t>(count)})) {
      return refuse(Refusal::kNoRoom, 503, "there is no room for the body");
    }
    if (body_.bytes() == body_length_) return dispatch();
    turn += static_cast<std::size_t>(count);
  }
  set_deadline(body_deadline());
  asio::post(thread_.context, [self = shared_from_this()] {
    if (self->state_ == State::kBody) self->read_body_to_file();
  });
}

void Connection::read_body_chunked() {
  boost::system::error_code error;
  while (!parser_->is_done() && !input_.empty()) {
    const std::size_t used = parser_->put(asio::buffer(input_.data().data(), input_.size()), error);
    input_.consume(used);
    if (error) break;
  }
  if (error && error != beast_http::error::need_more) {
    switch (body_.failure()) {
      case BodySink::Failure::kTooLarge:
        return refuse(Refusal::kBodyTooLarge, 413, "the body is larger than this request may carry");
      case BodySink::Failure::kNoRoom: return refuse(Refusal::kNoRoom, 503, "there is no room for the body");
      case BodySink::Failure::kNone: break;
    }
    return refuse(Refusal::kMalformed, 400, fmt::format("the chunked body is malformed: {}", error.message()));
  }
  if (parser_->is_done()) return dispatch();
  set_deadline(body_deadline());
  if (reading_) return;
  if (input_.capacity() < kChunkedInputBytes) input_.reallocate(kChunkedInputBytes);
  if (input_.size() == input_.capacity()) {
    return refuse(Refusal::kMalformed, 400, "a chunk's header or the trailer is too large");
  }
  read_more();
}

void Connection::dispatch() {
  state_ = State::kHandling;
  clear_deadline();
  input_unread_ = false;
  body_.move_to(request_);
  // What a large header or chunks made grow is given back before the connection rests.
  if (!reading_ && input_.capacity() > kInputBytes && input_.size() <= kInputBytes) input_.reallocate(kInputBytes);
  read_more();
  try {
    route_.handler(std::move(request_), Exchange::make_responder(exchange_));
  } catch (...) {
    // The responder went with the exception and has answered 500.
    log_thrown("http_handler_failed");
  }
}

// ---- writing

void Connection::wake(std::shared_ptr<Exchange> exchange) {
  asio::post(thread_.context, [self = shared_from_this(), exchange = std::move(exchange)] { self->serve(exchange); });
}

void Connection::serve(const std::shared_ptr<Exchange>& exchange) {
  if (exchange != exchange_ || state_ == State::kClosed) return;
  const auto self = shared_from_this();  // close() gives up the owner's share
  Exchange::Output output = exchange->take();
  if (output.aborted) return cut();
  stream_ended_ = output.streamed && output.ended;
  if (stream_pending_.empty()) {
    stream_pending_ = std::move(output.bytes);
  } else {
    stream_pending_ += output.bytes;
  }
  if (output.head) return begin_answer(std::move(*output.head), output.streamed);
  if (state_ == State::kStreaming && !writing_) pump();
}

void Connection::refuse(Refusal reason, int status, std::string_view detail) {
  host_.refusals[static_cast<std::size_t>(reason)]->add();
  keep_alive_ = false;
  input_unread_ = true;
  begin_answer(problem(status, detail), false);
}

void Connection::begin_answer(Response response, bool streamed) {
  if (response.status < 200 || response.status > 999) {
    log::error("http_status_invalid", {{"status", response.status}});
    response = problem(500, "the answer had no valid status");
    streamed = false;
  }
  host_.requests[static_cast<std::size_t>(std::clamp(response.status / 100, 1, 5))]->add();
  if (lists_token(response.headers.get("Connection"), "close") || host_.draining.load(std::memory_order_relaxed)) {
    keep_alive_ = false;
  }
  const bool bodyless = head_only_ || is_bodyless(response.status);
  // Without chunks the end of the connection is the end of the body.
  if (streamed && http_1_0_ && !bodyless) keep_alive_ = false;

  ResponseFraming framing{.close = !keep_alive_, .keep_alive_named = http_1_0_};
  if (streamed) {
    framing.chunked = !http_1_0_ && !is_bodyless(response.status);
  } else if (!is_bodyless(response.status)) {
    framing.content_length = response.body.size();
  }
  out_head_.clear();
  append_head(out_head_, response.status, response.headers, framing);
  out_body_ = bodyless || streamed ? std::string() : std::move(response.body);
  out_ = {asio::buffer(out_head_), asio::buffer(out_body_), asio::const_buffer()};
  if (streamed && bodyless && exchange_) exchange_->want_no_bytes();
  last_write_ = !streamed || bodyless;
  state_ = streamed ? State::kStreaming : State::kWriting;
  write_out();
}

// Sends what has come in of a streamed body as one chunk, however many pieces it was put in with.
void Connection::pump() {
  exchange_->sent(out_body_.size());
  out_body_ = std::exchange(stream_pending_, {});
  if (out_body_.empty() && !stream_ended_) return clear_deadline();
  last_write_ = stream_ended_;
  out_head_.clear();
  std::string_view tail;
  if (!http_1_0_) {
    if (!out_body_.empty()) {
      fmt::format_to(std::back_inserter(out_head_), "{:x}\r\n", out_body_.size());
      tail = stream_ended_ ? "\r\n0\r\n\r\n" : "\r\n";
    } else {
      tail = "0\r\n\r\n";
    }
  } else if (out_body_.empty()) {
    return finish_answer();
  }
  out_ = {asio::buffer(out_head_), asio::buffer(out_body_), asio::const_buffer(tail.data(), tail.size())};
  write_out();
}

void Connection::write_out() {
  writing_ = true;
  set_deadline(steady_clock::now() + host_.options.write_time_max);
  socket_.async_write_some(out_,
                           [self = shared_from_this()](const boost::system::error_code& error, std::size_t count) {
                             self->writing_ = false;
                             self->on_written(error, count);
                           });
}

void Connection::on_written(const boost::system::error_code& error, std::size_t count) {
  if (state_ == State::kClosed) return;
  if (error) return close();
  bool more = false;
  for (asio::const_buffer& buffer : out_) {
    const std::size_t gone = std::min(count, buffer.size());
    buffer += gone;
    count -= gone;
    more = more || buffer.size() != 0;
  }
  if (more) return write_out();
  if (last_write_) return finish_answer();
  pump();
}

void Connection::finish_answer() {
  clear_deadline();
  out_body_ = {};
  stream_pending_ = {};
  if (const auto exchange = std::exchange(exchange_, nullptr)) exchange->detach();
  if (!keep_alive_ || peer_done_ || host_.draining.load(std::memory_order_relaxed)) {
    if ((input_unread_ || !input_.empty()) && !peer_done_) return linger();
    return close();
  }
  state_ = State::kIdle;
  set_deadline(steady_clock::now() + host_.options.keep_alive_time_max);
  advance();
}

void Connection::linger() {
  state_ = State::kLinger;
  linger_bytes_left_ = kLingerBytes;
  boost::system::error_code error;
  socket_.shutdown(Socket::shutdown_send, error);
  if (error) return close();
  set_deadline(steady_clock::now() + kLingerTime);
  advance();
}

// ---- time

// The timer is set anew only for an earlier moment; when it fires too early it is set to the rest. So the deadlines of
// thousands of requests on a busy connection cost one timer operation now and then.
void Connection::set_deadline(TimePoint deadline) {
  deadline_ = deadline;
  if (deadline_ < timer_set_to_) arm(deadline_);
}

void Connection::arm(TimePoint at) {
  timer_set_to_ = at;
  timer_.expires_at(at);
  timer_.async_wait([self = shared_from_this()](const boost::system::error_code& error) {
    if (!error) self->on_timer();
  });
}

void Connection::on_timer() {
  timer_set_to_ = TimePoint::max();
  if (state_ == State::kBody) deadline_ = body_deadline();
  if (steady_clock::now() < deadline_) {
    if (deadline_ != TimePoint::max() && state_ != State::kClosed) arm(deadline_);
    return;
  }
  switch (state_) {
    case State::kHeader: return refuse(Refusal::kHeaderTimeout, 408, "the header took too long");
    case State::kBody: return refuse(Refusal::kBodyTimeout, 408, "the body came too slowly");
    case State::kWriting:
    case State::kStreaming: host_.refusals[static_cast<std::size_t>(Refusal::kWriteTimeout)]->add(); return cut();
    case State::kIdle:
    case State::kLinger: return close();
    case State::kHandling:
    case State::kClosed: return;
  }
}

}  // namespace fettle::http
