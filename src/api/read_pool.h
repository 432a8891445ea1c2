// The threads that wait for the store on behalf of requests: a bounded number of them with a bounded queue.
//
//   pool.run(std::move(exchange), [&](Exchange& exchange, const std::stop_token& stop) { … });
//
// From the second workspace that asks on, none has more than half of the threads and of the queue (rounded up), and
// those that wait take turns: nobody's reads shut out another's. A server of one workspace leaves it everything.
//
// A full queue is answered 503 with Retry-After at once. The stop token is requested when the client leaves or the pool
// stops, so that the statement behind a read is killed and not only its answer dropped. Thread-safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "api/exchange.h"
#include "core/metrics.h"
#include "core/mutex.h"

namespace fettle::api {

class ReadPool {
 public:
  using Work = std::function<void(Exchange& exchange, const std::stop_token& stop)>;

  // `name` tells pools apart in metrics.
  ReadPool(const std::string& name, int threads, std::size_t queue_max, metrics::Registry& metrics);
  ~ReadPool() { stop(); }

  void run(Exchange exchange, Work work);
  // Stops running reads, answers waiting ones 503 and joins. Idempotent.
  void stop();

 private:
  struct Job {
    Exchange exchange;
    Work work;
    std::stop_source stop;
    std::string workspace;
  };
  // Of a workspace that has jobs here.
  struct Share {
    std::size_t running = 0;
    std::size_t waiting = 0;
    std::uint64_t last_turn = 0;
  };
  void loop();
  // What one workspace may have of `all`.
  std::size_t share_of(std::size_t all) const FETTLE_REQUIRES(mutex_);
  // The waiting job whose turn it is; end() when each must wait for one of its own workspace.
  std::deque<Job>::iterator next() FETTLE_REQUIRES(mutex_);

  const std::size_t threads_max_;
  const std::size_t queue_max_;
  metrics::Gauge& waiting_gauge_;
  metrics::Counter& refused_counter_;

  Mutex mutex_;
  Condition changed_;
  std::deque<Job> waiting_ FETTLE_GUARDED_BY(mutex_);
  std::map<std::string, Share> shares_ FETTLE_GUARDED_BY(mutex_);
  std::string first_workspace_ FETTLE_GUARDED_BY(mutex_);
  bool is_shared_ FETTLE_GUARDED_BY(mutex_) = false;  // another than the first has asked
  std::uint64_t turns_ FETTLE_GUARDED_BY(mutex_) = 0;
  std::vector<std::stop_source> running_ FETTLE_GUARDED_BY(mutex_);
  bool stopping_ FETTLE_GUARDED_BY(mutex_) = false;
  std::vector<std::jthread> threads_;  // last, so they join before what they use is destroyed
};

}  // namespace fettle::api
