// Argon2id, away from the I/O threads and within a fixed amount of memory.
//
//   PasswordHasher hasher(options, registry);
//   hasher.hash(std::move(password), [](Result<std::string> stored) { … });
//   hasher.verify(std::move(password), stored, [](Result<PasswordHasher::Verdict> verdict) { … });
//
// A hash carries its salt and parameters ("$argon2id$v=19$m=…"), so parameters can be raised at any time: verify() says
// when a hash that matched should be made anew. `threads` hashes run at once, each with `memory_bytes`; `queue_max`
// wait, and past that the answer is kResourceExhausted at once. Callbacks run on the hasher's threads and must be
// quick. Thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/metrics.h"
#include "core/mutex.h"
#include "core/secret.h"

namespace fettle::access {

class PasswordHasher {
 public:
  struct Options {
    unsigned threads = 2;
    std::size_t queue_max = 64;
    std::size_t memory_bytes = 64ULL << 20;
    unsigned long long passes = 2;
  };
  struct Verdict {
    bool matches = false;
    bool is_outdated = false;  // matches, but was made with other parameters than today's
  };

  PasswordHasher(Options options, metrics::Registry& registry);
  ~PasswordHasher();
  PasswordHasher(const PasswordHasher&) = delete;
  PasswordHasher& operator=(const PasswordHasher&) = delete;

  void hash(Secret password, std::move_only_function<void(Result<std::string>)> done);

  // An empty or malformed `stored` takes as long as a real one and never matches: the time does not tell whether there
  // is such an account.
  void verify(Secret password, std::string stored, std::move_only_function<void(Result<Verdict>)> done);

  // Those that wait are answered kCancelled, those that run end. Blocks. Idempotent.
  void stop();

 private:
  struct Job {
    Secret password;
    std::string stored;
    std::move_only_function<void(Result<std::string>)> hashed;  // one of the two
    std::move_only_function<void(Result<Verdict>)> verified;
  };

  void submit(Job job);
  void work();
  void run(Job& job);
  static void refuse(Job& job, const Error& error);

  const Options options_;
  std::string decoy_;  // a hash of nobody's password, with today's parameters
  metrics::Histogram& seconds_;
  metrics::Counter& refused_;

  Mutex mutex_;
  Condition changed_;
  std::deque<Job> queue_ FETTLE_GUARDED_BY(mutex_);
  bool stopping_ FETTLE_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> threads_;  // last: they use everything above
};

}  // namespace fettle::access
