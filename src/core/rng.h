// Randomness, handed in: a test passes a seeded one and replays what happened.
#pragma once

#include <cstdint>
#include <random>
#include <string>

namespace fettle {

class Rng {
 public:
  virtual ~Rng() = default;
  virtual std::uint64_t next() = 0;
  // `count` random bytes.
  std::string bytes(std::size_t count);
};

// The operating system's generator; fit for tokens and keys. Thread-safe.
class SystemRng final : public Rng {
 public:
  std::uint64_t next() override;
};

// The same numbers for the same seed. Not thread-safe, not for secrets.
class SeededRng final : public Rng {
 public:
  explicit SeededRng(std::uint64_t seed) : engine_(seed) {}
  std::uint64_t next() override { return engine_(); }

 private:
  std::mt19937_64 engine_;
};

}  // namespace fettle
