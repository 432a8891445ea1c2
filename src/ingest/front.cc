#include "ingest/front.h"

#include <fmt/format.h>

#include <deque>
#include <thread>
#include <vector>

#include "core/mutex.h"

namespace fettle::ingest {
namespace {

std::unexpected<Error> stopping() {
  return std::unexpected(Error(ErrorCode::kUnavailable, "the server is stopping").with_retry_after(std::chrono::seconds(2)));
}

}  // namespace

struct Front::Impl {
  struct Job {
    Submission submission;
    Answer answer;
  };

  // A request in the open batch that waits for the spool.
  struct Waiting {
    RequestHash hash{};
    Answer answer;
    Accepted accepted;
    bool is_duplicate = false;
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
        queue.push_back({std::move(submission), std::move(answer)});
        wake.notify_one();
        return;
      }
    }
    answer(stopping());
  }

  void work(const PipelineParts& parts) {
    Pipeline pipeline(parts, options.pipeline);
    std::vector<Waiting> waiting;
    while (true) {
      std::deque<Job> jobs;
      {
        MutexLock lock(mutex);
        while (queue.empty() && !closing) wake.wait(lock);
        if (queue.empty()) return;
        // One at a time when there are several workers, so that they share what waits.
        jobs.push_back(std::move(queue.front()));
        queue.pop_front();
      }
      process(pipeline, std::move(jobs.front()), waiting);
      if (pipeline.is_full() || (!pipeline.is_empty() && is_queue_empty())) close_batch(pipeline, waiting);
    }
  }

  bool is_queue_empty() {
    MutexLock lock(mutex);
    return queue.empty();
  }

  void process(Pipeline& pipeline, Job job, std::vector<Waiting>& waiting) {
    // A repeat that arrives while the first is in flight waits for the same outcome. Its answer is shared: whichever
    // side the guard does not take it to must still be able to give it.
    auto answer = std::make_shared<Answer>(std::move(job.answer));
    const auto seen = guard.begin(job.submission.hash, [answer](const Result<RequestAnswer>& outcome) {
      if (!outcome) {
        (*answer)(std::unexpected(outcome.error()));
        return;
      }
      (*answer)(Accepted{outcome->records, outcome->rejected, outcome->rejected != 0 ? kRepeated : std::string(), {}});
    });
    switch (seen.state) {
      case ReplayGuard::State::kInFlight: return;
      case ReplayGuard::State::kCrowded:
        (*answer)(std::unexpected(Error(ErrorCode::kResourceExhausted, "this request is being stored already")
                                      .with_retry_after(options.retry_after)));
        return;
      case ReplayGuard::State::kDone:
        pipeline.add_duplicate(job.submission, seen.answer.records);
        waiting.push_back({{},
                           [answer](const Result<Accepted>& outcome) { (*answer)(outcome); },
                           {seen.answer.records, seen.answer.rejected, seen.answer.rejected != 0 ? kRepeated : std::string(), {}},
                           true});
        return;
      case ReplayGuard::State::kNew: break;
    }
    Result<Accepted> accepted = pipeline.add(job.submission);
    if (!accepted) {
      refused_requests.add();
      guard.finish(job.submission.hash, std::unexpected(accepted.error()));
      (*answer)(accepted);
      return;
    }
    const UnixNanos began = clock.monotonic().count();
    waiting.push_back({job.submission.hash,
                       [answer, began, this](const Result<Accepted>& outcome) {
                         acknowledge_seconds.observe(static_cast<double>(clock.monotonic().count() - began) / 1e9);
                         (*answer)(outcome);
                       },
                       *std::move(accepted), false});
  }

  void close_batch(Pipeline& pipeline, std::vector<Waiting>& waiting) {
    spool.append(pipeline.take(), [this, group = std::exchange(waiting, {})](Result<void> durable) mutable {
      for (Waiting& one : group) {
        if (!one.is_duplicate) {
          guard.finish(one.hash, durable ? Result<RequestAnswer>(RequestAnswer{static_cast<std::uint32_t>(one.accepted.received),
                                                                               static_cast<std::uint32_t>(one.accepted.rejected)})
                                         : Result<RequestAnswer>(std::unexpected(durable.error())));
        }
        if (durable) {
          one.answer(std::move(one.accepted));
        } else {
          one.answer(std::unexpected(durable.error()));
        }
      }
    });
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
    return std::unexpected(Error(ErrorCode::kResourceExhausted, std::string(what)).with_retry_after(impl_->options.retry_after));
  };
  if (impl_->spool.room() < bytes) return busy("the spool is at its budget: the store is behind or down");
  if (impl_->in_flight_bytes.fetch_add(bytes, std::memory_order_relaxed) + bytes > impl_->options.in_flight_bytes_max) {
    impl_->in_flight_bytes.fetch_sub(bytes, std::memory_order_relaxed);
    return busy("too many request bytes are in flight");
  }
  return Ticket(&impl_->in_flight_bytes, bytes);
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
