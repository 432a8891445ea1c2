#include "ingest/front.h"

#include <fmt/format.h>

#include <deque>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "core/mutex.h"
#include "ingest/release_memory.h"

namespace fettle::ingest {
namespace {

// A request of so many plain bytes is decoded while no other of its kind is: decoding takes several times as much, and
// there is a worker for every core.
constexpr std::size_t kLargeBytes = 8UL * 1024 * 1024;

std::unexpected<Error> stopping() {
  return std::unexpected(
      Error(ErrorCode::kUnavailable, "the server is stopping").with_retry_after(std::chrono::seconds(2)));
}

}  // namespace

struct Front::Impl {
  struct Job {
    Submission submission;
    Answer answer;
    std::chrono::nanoseconds since{0};
  };

  // A request in the open batch that waits for the spool.
  struct Waiting {
    RequestHash hash{};
    Answer answer;
    Accepted accepted;
    bool is_duplicate = false;
    std::optional<Ticket> ticket = {};  // for what it grew by when it was decompressed
  };

  struct Worker {
    Pipeline pipeline;
    std::vector<Waiting> waiting = {};  // for the open batch
    std::uint64_t failures_seen = 0;
  };

  Impl(const PipelineParts& parts, FrontOptions its_options, Spool& its_spool, ReplayGuard& its_guard, Clock& its_clock)
      : options(std::move(its_options)),
        spool(its_spool),
        guard(its_guard),
        clock(its_clock),
        acknowledge_seconds(parts.registry.histogram(
            "fettle_ingest_acknowledge_seconds", "From the whole request to its durable answer.",
            {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5})),
        refused_requests(parts.registry.counter("fettle_ingest_refused_requests_total",
                                                "Requests that could not be decoded or were over a limit.")),
        turned_away(parts.registry.counter("fettle_ingest_turned_away_total",
                                           "Requests told to come again for want of room.")) {
    for (int i = 0; i < options.workers; ++i) {
      threads.emplace_back([this, parts] { work(parts); });
    }
  }

  ~Impl() { stop(); }

  void stop() {
    {
      MutexLock lock(mutex);
      closing = true;
    }
    wake.notify_all();
    for (std::jthread& thread : threads) {
      if (thread.joinable()) thread.join();
    }
  }

  void submit(Submission submission, Answer answer) {
    {
      MutexLock lock(mutex);
      if (!closing) {
        queue.push_back({std::move(submission), std::move(answer), clock.monotonic()});
        wake.notify_one();
        return;
      }
    }
    answer(stopping());
  }

  // A worker never sleeps and never goes while its batch is open: the job that it hoped to add may be another's by now.
  void work(const PipelineParts& parts) {
    Worker worker{Pipeline(parts, options.pipeline)};
    while (true) {
      std::optional<Job> job;
      {
        MutexLock lock(mutex);
        while (queue.empty() && worker.waiting.empty() && !closing) wake.wait(lock);
        // One at a time, so that several workers share what waits.
        if (!queue.empty()) {
          job = std::move(queue.front());
          queue.pop_front();
        } else if (worker.waiting.empty()) {
          return;
        }
      }
      if (job) process(worker, *std::move(job));
      if (!job || worker.pipeline.is_full()) close_batch(worker);
    }
  }

  void process(Worker& worker, Job job) {
    // A repeat that arrives while the first is in flight waits for the same outcome. Its answer is shared: whichever
    // side the guard does not take it to must still be able to give it.
    auto answer = std::make_shared<Answer>(std::move(job.answer));
    const auto seen = guard.begin(
        job.submission.hash, [this, answer, books = books_of(job.submission)](const Result<RequestAnswer>& outcome) {
          if (!outcome) {
            (*answer)(std::unexpected(outcome.error()));
            return;
          }
          book_duplicate(books, outcome->records,
                         [answer, accepted = repeated(*outcome)](const Result<void>&) { (*answer)(accepted); });
        });
    switch (seen.state) {
      case ReplayGuard::State::kInFlight: return;
      case ReplayGuard::State::kCrowded:
        (*answer)(std::unexpected(Error(ErrorCode::kResourceExhausted, "this request is being stored already")
                                      .with_retry_after(options.retry_after)));
        return;
      case ReplayGuard::State::kDone:
        worker.pipeline.add_duplicate(job.submission, seen.answer.records);
        worker.waiting.push_back(
            {{}, [answer](const Result<Accepted>& outcome) { (*answer)(outcome); }, repeated(seen.answer), true});
        return;
      case ReplayGuard::State::kNew: break;
    }
    if (const std::uint64_t failed = failures.load(); failed != worker.failures_seen) {
      worker.failures_seen = failed;
      worker.pipeline.forget_series();
    }
    std::optional<Ticket> ticket;
    std::unique_lock large(large_mutex, std::defer_lock);
    const Pipeline::Steps steps = {.admit = [&](std::size_t plain_bytes) -> Result<void> {
                                     if (job.submission.compression != Compression::kNone) {
                                       auto charged = charge(plain_bytes);
                                       if (!charged) return std::unexpected(std::move(charged).error());
                                       ticket.emplace(*std::move(charged));
                                     }
                                     if (plain_bytes > kLargeBytes) large.lock();
                                     return {};
                                   },
                                   .close = [&] { close_batch(worker); }};
    Result<Accepted> accepted = worker.pipeline.add(job.submission, steps);
    if (large.owns_lock()) {
      job.submission.body = {};
      release_memory();
      large.unlock();
    }
    if (!accepted) {
      refused_requests.add();
      guard.finish(job.submission.hash, std::unexpected(accepted.error()));
      (*answer)(accepted);
      return;
    }
    worker.waiting.push_back({job.submission.hash,
                              [answer, since = job.since, this](const Result<Accepted>& outcome) {
                                acknowledge_seconds.observe(
                                    std::chrono::duration<double>(clock.monotonic() - since).count());
                                (*answer)(outcome);
                              },
                              *std::move(accepted), false, std::move(ticket)});
  }

  void close_batch(Worker& worker) {
    spool.append(worker.pipeline.take(), [this,
                                          group = std::exchange(worker.waiting, {})](Result<void> durable) mutable {
      if (!durable) ++failures;
      for (Waiting& one : group) {
        if (!one.is_duplicate) {
          guard.finish(one.hash,
                       durable ? Result<RequestAnswer>(RequestAnswer{static_cast<std::uint32_t>(one.accepted.received),
                                                                     static_cast<std::uint32_t>(one.accepted.rejected)})
                               : Result<RequestAnswer>(std::unexpected(durable.error())));
        }
        one.ticket.reset();
        if (durable) {
          one.answer(std::move(one.accepted));
        } else {
          one.answer(std::unexpected(durable.error()));
        }
      }
    });
  }

  // The line of the books for a request that is not read: its token's.
  static CountDelta books_of(const Submission& submission) {
    CountDelta books;
    books.workspace = submission.workspace;
    books.sender = submission.sender;
    books.signal = balance_signal(submission.signal);
    return books;
  }

  // On the spool's thread, for a repeat that waited for the first. Its rows are stored: that they came twice is noted
  // before it is answered, and when that fails it is answered all the same.
  void book_duplicate(CountDelta books, std::uint64_t records, Spool::Done done) {
    books.received = books.duplicate = records;
    SpoolRecord record;
    record.counts.push_back(std::move(books));
    spool.append(std::move(record), std::move(done));
  }

  static Accepted repeated(const RequestAnswer& first) {
    return {first.records, first.rejected, first.rejected != 0 ? kRepeated : std::string(), {}};
  }

  Result<Ticket> charge(std::size_t bytes) {
    if (in_flight_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes > options.in_flight_bytes_max) {
      in_flight_bytes.fetch_sub(bytes, std::memory_order_relaxed);
      return std::unexpected(Error(ErrorCode::kResourceExhausted, "too many request bytes are in flight")
                                 .with_retry_after(options.retry_after));
    }
    return Ticket(&in_flight_bytes, bytes);
  }

  inline static const std::string kRepeated = "the rejections of the first time this request was sent";

  const FrontOptions options;
  Spool& spool;
  ReplayGuard& guard;
  Clock& clock;
  metrics::Histogram& acknowledge_seconds;
  metrics::Counter& refused_requests;
  metrics::Counter& turned_away;
  std::atomic<std::size_t> in_flight_bytes{0};
  std::atomic<std::uint64_t> failures{0};  // batches that were not stored
  std::mutex large_mutex;                  // held while a large request is decoded; guards no data

  Mutex mutex;
  Condition wake;
  std::deque<Job> queue FETTLE_GUARDED_BY(mutex);  // bounded by in_flight_bytes_max through admit()
  bool closing FETTLE_GUARDED_BY(mutex) = false;

  std::vector<std::jthread> threads;  // last: they use everything above
};

Front::Front(const PipelineParts& parts, FrontOptions options, Spool& spool, ReplayGuard& guard, Clock& clock)
    : impl_(std::make_unique<Impl>(parts, std::move(options), spool, guard, clock)) {}
Front::~Front() = default;

Result<Front::Ticket> Front::admit(std::size_t bytes) {
  const auto busy = [&](std::string_view what) {
    impl_->turned_away.add();
    return std::unexpected(
        Error(ErrorCode::kResourceExhausted, std::string(what)).with_retry_after(impl_->options.retry_after));
  };
  if (impl_->spool.room() < bytes) return busy("the spool is at its budget: the store is behind or down");
  auto ticket = impl_->charge(bytes);
  if (!ticket) impl_->turned_away.add();
  return ticket;
}

void Front::submit(Submission submission, Answer answer) {
  impl_->submit(std::move(submission), [&turned_away = impl_->turned_away,
                                        answer = std::move(answer)](const Result<Accepted>& outcome) mutable {
    if (!outcome && outcome.error().retry_after()) turned_away.add();
    answer(outcome);
  });
}

std::uint64_t Front::turned_away() const { return static_cast<std::uint64_t>(impl_->turned_away.value()); }
void Front::stop() { impl_->stop(); }

}  // namespace fettle::ingest
