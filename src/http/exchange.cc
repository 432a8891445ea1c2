#include "http/exchange.h"

#include <algorithm>
#include <exception>
#include <new>
#include <stop_token>
#include <utility>

#include "core/log.h"
#include "http/response_head.h"

namespace fettle::http {
namespace {

// A writer waits while more than this is on its way.
constexpr std::size_t kUnsentBytesMax = 1024 * 1024;
// An I/O thread compresses no more than this at a time: a few milliseconds in which its other connections wait.
constexpr std::size_t kCodedOnIoThreadMax = 256 * 1024;

// Callbacks are other rooms' code and run on our threads.
template <class Callback>
void run_guarded(std::string_view what, Callback& callback) {
  if (!callback) return;
  try {
    callback();
  } catch (const std::exception& error) {
    log::error("http_callback_failed", {{"callback", what}, {"error", error.what()}});
  } catch (...) {
    log::error("http_callback_failed", {{"callback", what}, {"error", "unknown"}});
  }
}

}  // namespace

class Exchange::StreamImpl final : public ResponseStream {
 public:
  StreamImpl(std::shared_ptr<Exchange> exchange, std::optional<Compressor> compressor)
      : exchange_(std::move(exchange)), compressor_(std::move(compressor)) {}
  ~StreamImpl() override { StreamImpl::finish(); }

  bool write(std::string_view bytes) override {
    MutexLock lock(mutex_);
    return exchange_->put_bytes(compressor_ ? compressor_->add(bytes) : bytes);
  }
  void stop_waiting_on(std::stop_token stop) override {
    on_stop_.emplace(std::move(stop), [exchange = exchange_] { exchange->stop_waiting(); });
  }
  bool is_closed() const override { return exchange_->is_reader_gone(); }
  void on_close(std::function<void()> callback) override { exchange_->set_on_close(std::move(callback)); }
  void finish() override {
    MutexLock lock(mutex_);
    if (compressor_ && !exchange_->is_reader_gone()) exchange_->put_bytes(compressor_->finish());
    compressor_.reset();
    exchange_->put_end(false);
  }
  void abort() override { exchange_->put_end(true); }

 private:
  std::shared_ptr<Exchange> exchange_;  // shared with the connection, which may end first
  Mutex mutex_;                         // pieces go out in the order in which they were compressed
  std::optional<Compressor> compressor_ FETTLE_GUARDED_BY(mutex_);
  std::optional<std::stop_callback<std::function<void()>>> on_stop_;  // of whoever produces the body
};

class Exchange::ResponderImpl final : public Responder::Impl {
 public:
  explicit ResponderImpl(std::shared_ptr<Exchange> exchange) : exchange_(std::move(exchange)) {}
  ~ResponderImpl() override {
    if (exchange_) exchange_->put_head(problem(500, "the request was not answered"), false);
  }

  void respond(Response response) override {
    exchange_->code(response);
    std::exchange(exchange_, nullptr)->put_head(std::move(response), false);
  }
  std::unique_ptr<ResponseStream> stream(Response head) override {
    auto stream = std::make_unique<StreamImpl>(exchange_, exchange_->compressor_for(head));
    std::exchange(exchange_, nullptr)->put_head(std::move(head), true);
    return stream;
  }
  void on_close(std::function<void()> callback) override { exchange_->set_on_close(std::move(callback)); }

 private:
  std::shared_ptr<Exchange> exchange_;  // shared with the connection, which may end first; null once answered
};

Exchange::Exchange(Carrier& carrier, std::optional<Coding> coding, std::move_only_function<void()> on_end)
    : coding_(coding), on_end_(std::move(on_end)), carrier_(&carrier) {}

Exchange::~Exchange() { run_guarded("on_end", on_end_); }

Responder Exchange::make_responder(std::shared_ptr<Exchange> exchange) {
  return Responder(std::make_unique<ResponderImpl>(std::move(exchange)));
}

void Exchange::code(Response& response) {
  if (!coding_ || response.body.size() < kCompressFromBytes || !is_compressible(response)) return;
  Coding coding = *coding_;
  if (response.body.size() > kCodedOnIoThreadMax) {
    MutexLock lock(mutex_);
    if (carrier_ != nullptr && carrier_->is_own_thread()) coding = Coding::kIdentity;
  }
  if (coding != Coding::kIdentity) {
    try {
      Compressor compressor(coding);
      std::string body = compressor.add(response.body);
      body += compressor.finish();
      if (body.size() < response.body.size()) {
        response.body = std::move(body);
      } else {
        coding = Coding::kIdentity;
      }
    } catch (const std::bad_alloc&) {
      coding = Coding::kIdentity;
    }
  }
  name_coding(response.headers, coding);
}

std::optional<Compressor> Exchange::compressor_for(Response& head) const {
  if (!coding_ || !is_compressible(head)) return std::nullopt;
  std::optional<Compressor> compressor;
  if (*coding_ != Coding::kIdentity) {
    try {
      compressor.emplace(*coding_);
    } catch (const std::bad_alloc&) {  // it goes out as it is
    }
  }
  name_coding(head.headers, compressor ? *coding_ : Coding::kIdentity);
  return compressor;
}

void Exchange::wake(MutexLock&) {
  if (carrier_ == nullptr || std::exchange(wake_pending_, true)) return;
  // Under the lock, so that the connection cannot detach and end meanwhile.
  carrier_->wake(shared_from_this());
}

void Exchange::put_head(Response response, bool streamed) {
  std::function<void()> dropped;  // destroyed outside the lock: it may own anything
  Carrier* own = nullptr;
  {
    MutexLock lock(mutex_);
    dropped = std::exchange(on_close_, nullptr);
    output_.head = std::move(response);
    output_.streamed = streamed;
    output_.ended = !streamed;
    over_ = !streamed;
    if (carrier_ != nullptr && carrier_->is_own_thread()) {
      own = carrier_;
    } else {
      wake(lock);
    }
  }
  // On its own thread the connection cannot end before the call, and a trip through the queue is saved.
  if (own != nullptr) own->serve(shared_from_this());
}

bool Exchange::put_bytes(std::string_view bytes) {
  MutexLock lock(mutex_);
  while (true) {
    while (bytes_unsent_ > kUnsentBytesMax && !reader_gone_ && !bytes_unwanted_ && !over_ && !impatient_) {
      writable_.wait(lock);
    }
    if (reader_gone_ || bytes_unwanted_ || over_) return false;
    if (bytes_unsent_ > kUnsentBytesMax) {
      cut_ = true;
      return false;
    }
    if (bytes.empty()) return true;
    // In pieces, so that one big call does not pass the limit either.
    const std::string_view piece = bytes.substr(0, kUnsentBytesMax);
    output_.bytes.append(piece);
    bytes_unsent_ += piece.size();
    bytes.remove_prefix(piece.size());
    wake(lock);
  }
}

void Exchange::stop_waiting() {
  MutexLock lock(mutex_);
  impatient_ = true;
  writable_.notify_all();
}

void Exchange::put_end(bool aborted) {
  std::function<void()> dropped;
  MutexLock lock(mutex_);
  if (over_) return;
  over_ = true;
  dropped = std::exchange(on_close_, nullptr);
  output_.ended = true;
  output_.aborted = aborted || cut_;
  writable_.notify_all();
  wake(lock);
}

void Exchange::set_on_close(std::function<void()> callback) {
  {
    MutexLock lock(mutex_);
    if (!reader_gone_) {
      if (!over_) std::swap(on_close_, callback);
      return;
    }
  }
  run_guarded("on_close", callback);
}

bool Exchange::is_reader_gone() const {
  MutexLock lock(mutex_);
  return reader_gone_ || bytes_unwanted_;
}

Exchange::Output Exchange::take() {
  MutexLock lock(mutex_);
  wake_pending_ = false;
  Output taken;
  taken.head = std::exchange(output_.head, std::nullopt);
  taken.bytes = std::exchange(output_.bytes, {});
  taken.streamed = output_.streamed;
  taken.ended = output_.ended;
  taken.aborted = output_.aborted;
  return taken;
}

void Exchange::sent(std::size_t count) {
  MutexLock lock(mutex_);
  const bool was_full = bytes_unsent_ > kUnsentBytesMax;
  bytes_unsent_ -= std::min(count, bytes_unsent_);
  if (was_full && bytes_unsent_ <= kUnsentBytesMax) writable_.notify_all();
}

void Exchange::want_no_bytes() {
  MutexLock lock(mutex_);
  bytes_unwanted_ = true;
}

void Exchange::reader_gone() {
  std::function<void()> callback;
  {
    MutexLock lock(mutex_);
    reader_gone_ = true;
    if (!over_) callback = std::exchange(on_close_, nullptr);
    writable_.notify_all();
  }
  run_guarded("on_close", callback);
}

void Exchange::detach() {
  MutexLock lock(mutex_);
  carrier_ = nullptr;
  bytes_unwanted_ = true;
  writable_.notify_all();
}

}  // namespace fettle::http
