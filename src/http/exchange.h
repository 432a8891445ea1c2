// One request and its answer: what the connection, on its I/O thread, shares with whoever answers, on any thread.
//
// The answering side puts a head, bytes and an end in; the connection is woken and takes them out. The exchange
// outlives both and never touches a connection that is gone: detach() is the last the connection has to do with it.
//
//   Responder / ResponseStream ──put──▶ Exchange ──wake──▶ Connection (Carrier) ──take──▶ socket
//
// When the last of both sides lets go, the exchange is destroyed and what the gate admitted is released.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/mutex.h"
#include "http/compression.h"
#include "http/server.h"

namespace fettle::http {

class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  class Carrier {
   public:
    virtual ~Carrier() = default;
    // True on the thread that owns the connection.
    virtual bool is_own_thread() const = 0;
    // Has serve() called on the own thread soon. From any thread.
    virtual void wake(std::shared_ptr<Exchange> exchange) = 0;
    // Something can be taken from `exchange`. On the own thread.
    virtual void serve(const std::shared_ptr<Exchange>& exchange) = 0;
  };

  // What has been put in since the last take().
  struct Output {
    std::optional<Response> head;  // once
    bool streamed = false;         // the body follows as bytes
    std::string bytes;
    bool ended = false;    // no more bytes will come
    bool aborted = false;  // the connection is to be cut
  };

  // `coding` is what compressible answers are to be sent in; nothing: they are left as they are.
  Exchange(Carrier& carrier, std::optional<Coding> coding, std::move_only_function<void()> on_end);
  ~Exchange();

  // For the answering side, on any thread.
  static Responder make_responder(std::shared_ptr<Exchange> exchange);

  // For the connection, on its own thread.
  Output take();
  // `count` bytes taken earlier have gone out (or are not wanted).
  void sent(std::size_t count);
  // The answer has no body (HEAD, 304): write() says so at once.
  void want_no_bytes();
  // The reader is gone: on_close runs, writers are let go. The carrier stays until detach().
  void reader_gone();
  // The connection is done with this exchange.
  void detach();

 private:
  class ResponderImpl;
  class StreamImpl;

  void put_head(Response response, bool streamed);
  // Compresses a whole answer where that is wanted and worth it.
  void code(Response& response);
  // For the body of a streamed answer with this head, whose fields then name the coding.
  std::optional<Compressor> compressor_for(Response& head) const;
  bool put_bytes(std::string_view bytes);
  // From now on put_bytes() refuses what there is no room for.
  void stop_waiting();
  void put_end(bool aborted);
  void set_on_close(std::function<void()> callback);
  bool is_reader_gone() const;
  void wake(MutexLock& lock) FETTLE_REQUIRES(mutex_);

  const std::optional<Coding> coding_;
  std::move_only_function<void()> on_end_;  // constant until the destructor runs it

  mutable Mutex mutex_;
  Condition writable_;
  Carrier* carrier_ FETTLE_GUARDED_BY(mutex_);
  Output output_ FETTLE_GUARDED_BY(mutex_);
  std::size_t bytes_unsent_ FETTLE_GUARDED_BY(mutex_) = 0;
  bool wake_pending_ FETTLE_GUARDED_BY(mutex_) = false;
  bool reader_gone_ FETTLE_GUARDED_BY(mutex_) = false;
  bool bytes_unwanted_ FETTLE_GUARDED_BY(mutex_) = false;
  bool impatient_ FETTLE_GUARDED_BY(mutex_) = false;
  bool cut_ FETTLE_GUARDED_BY(mutex_) = false;   // bytes of the body were refused: it must not end well
  bool over_ FETTLE_GUARDED_BY(mutex_) = false;  // the body ended: nobody is told of a close any more
  std::function<void()> on_close_ FETTLE_GUARDED_BY(mutex_);
};

}  // namespace fettle::http
