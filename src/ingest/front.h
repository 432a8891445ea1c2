// The way in: requests wait here for a worker, are decoded into the open batch, and are answered once their batch is
// durable in the spool.
//
//   Front front(parts, options, spool, guard, clock);
//   auto ticket = front.admit(content_length);           // on the I/O thread, before the body is read
//   front.submit(std::move(submission), [](const Result<Accepted>& outcome) { … });
//   front.stop(deadline);
//
// Each worker keeps one open batch and closes it when it is full or when nothing waits: under load requests share a
// batch and one fsync, and a lone request waits for nobody. Thread-safe.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

#include "core/clock.h"
#include "core/error.h"
#include "ingest/pipeline.h"

namespace fettle::ingest {

struct FrontOptions {
  PipelineOptions pipeline;
  int workers = 1;
  std::size_t in_flight_bytes_max = 256UL * 1024 * 1024;  // bodies between admission and answer
  std::chrono::milliseconds retry_after{1'000};
};

class Front {
 public:
  // Called once, on a worker or on the spool's thread; must be quick and must not throw.
  using Answer = std::move_only_function<void(const Result<Accepted>&)>;

  // The bytes one request may hold until it is answered; gives them back when destroyed.
  class Ticket {
   public:
    Ticket(Ticket&& other) noexcept : counter_(std::exchange(other.counter_, nullptr)), bytes_(other.bytes_) {}
    Ticket& operator=(Ticket&&) = delete;
    ~Ticket() {
      if (counter_ != nullptr) counter_->fetch_sub(bytes_, std::memory_order_relaxed);
    }

   private:
    friend class Front;
    Ticket(std::atomic<std::size_t>* counter, std::size_t bytes) : counter_(counter), bytes_(bytes) {}
    std::atomic<std::size_t>* counter_;
    std::size_t bytes_;
  };

  Front(const PipelineParts& parts, FrontOptions options, Spool& spool, ReplayGuard& guard, Clock& clock);
  ~Front();

  // kResourceExhausted with retry_after while too much is in flight or the spool has no room for it.
  Result<Ticket> admit(std::size_t bytes);

  void submit(Submission submission, Answer answer);

  // Requests that were told to come again since the start, by whatever transport they came: no room in memory, in the
  // spool or on the disk, or the server was stopping. Also fettle_ingest_turned_away_total.
  std::uint64_t turned_away() const;

  // Refuses new requests (kUnavailable), finishes those that wait, joins the workers.
  void stop();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::ingest
