#include "core/rng.h"

#include <sys/random.h>

#include <cstdlib>
#include <cstring>

namespace fettle {

std::string Rng::bytes(std::size_t count) {
  std::string out(count, '\0');
  for (std::size_t i = 0; i < count; i += sizeof(std::uint64_t)) {
    const std::uint64_t word = next();
    std::memcpy(out.data() + i, &word, std::min(sizeof word, count - i));
  }
  return out;
}

std::uint64_t SystemRng::next() {
  std::uint64_t word = 0;
  // Eight bytes are never cut short once the kernel's pool is ready; without randomness no key is safe.
  if (getrandom(&word, sizeof word, 0) != static_cast<ssize_t>(sizeof word)) std::abort();
  return word;
}

}  // namespace fettle
