// Time and chance, handed in, so that a test can move the one and fix the other.
#pragma once

#include <chrono>
#include <condition_variable>
#include <mutex>
#include <random>
#include <stop_token>
#include <string>

namespace fettle::sdk {

using Milliseconds = std::chrono::milliseconds;

// Used by many threads at once.
class Clock {
 public:
  virtual ~Clock() = default;
  using Monotonic = std::chrono::steady_clock::time_point;
  using Wall = std::chrono::system_clock::time_point;

  virtual Monotonic now() = 0;
  virtual Wall wall() = 0;
  virtual double random() = 0;  // uniform in [0, 1)
  // Waits for so long, or until the stop; whether there is still no stop.
  virtual bool sleep(const std::stop_token& stop, Milliseconds duration) = 0;
};

class SystemClock : public Clock {
 public:
  Monotonic now() override { return std::chrono::steady_clock::now(); }
  Wall wall() override { return std::chrono::system_clock::now(); }
  double random() override;
  bool sleep(const std::stop_token& stop, Milliseconds duration) override;

 private:
  std::mutex mutex_;
  std::condition_variable_any never_;
  std::mt19937_64 engine_{std::random_device{}()};
};

// UTC with milliseconds, as RFC 3339 has it.
std::string rfc3339(Clock::Wall at);

}  // namespace fettle::sdk
