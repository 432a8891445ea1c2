// Ends statements that nobody waits for any more: those whose client left, and those past their time.
//
// The engine gives a statement an id of its own that the C interface does not tell us, so each one carries a comment
// in front and is found by it in system.processes. One thread sleeps until the next deadline; with nothing running it
// sleeps for good.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <stop_token>
#include <string>
#include <thread>
#include <vector>

#include "core/clock.h"
#include "core/metrics.h"
#include "core/mutex.h"
#include "engine/host/engine.h"

namespace fettle::engine_host {

enum class KillReason : std::uint8_t { kNone, kClientLeft, kTimeUp, kStopping };

// One statement under watch. `killed()` is for the thread that runs it.
class Watched {
 public:
  explicit Watched(std::string tag) : tag_(std::move(tag)) {}
  // Stands in front of the SQL text.
  const std::string& tag() const { return tag_; }
  KillReason killed() const { return killed_; }

 private:
  friend class Watch;
  const std::string tag_;
  std::atomic<KillReason> killed_ = KillReason::kNone;
  // Guarded by Watch::mutex_.
  std::chrono::nanoseconds act_at_{};
  std::chrono::nanoseconds killed_since_{};
  int attempts_ = 0;
};

class Watch {
 public:
  Watch(Engine& engine, Clock& clock, metrics::Registry& metrics);
  ~Watch() { stop(); }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;

  // `time_max` of zero means no deadline. `name` may hold any bytes; it is cut and cleaned for the tag.
  std::shared_ptr<Watched> begin(std::string_view name, std::chrono::nanoseconds time_max);
  void end(const std::shared_ptr<Watched>& statement);
  // Returns at once; the statement is killed again and again until end() is called for it.
  void kill(const std::shared_ptr<Watched>& statement, KillReason reason);
  void kill_all();
  // How many statements still run long after they were told to stop: the engine is not well.
  int stuck() const;
  void stop();

 private:
  void run(const std::stop_token& stop);
  void send_kill(const std::string& tag);
  void wake() FETTLE_REQUIRES(mutex_) { wake_.request_stop(); }

  Engine& engine_;
  Clock& clock_;
  metrics::Counter& left_;
  metrics::Counter& late_;

  mutable Mutex mutex_;
  std::vector<std::shared_ptr<Watched>> running_ FETTLE_GUARDED_BY(mutex_);
  std::uint64_t next_number_ FETTLE_GUARDED_BY(mutex_) = 1;
  std::chrono::nanoseconds asleep_until_ FETTLE_GUARDED_BY(mutex_){};
  std::stop_source wake_ FETTLE_GUARDED_BY(mutex_);
  bool is_stopping_ FETTLE_GUARDED_BY(mutex_) = false;

  std::jthread thread_;
};

}  // namespace fettle::engine_host
