// gzip, for queries that arrive compressed and results that leave compressed.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"

namespace fettle::engine_host {

// kInvalidArgument when `compressed` is not one whole gzip body; kTooLarge past `bytes_max`, however small it came.
Result<std::string> gunzip(std::string_view compressed, std::size_t bytes_max);

// Compresses a body piece by piece. Not thread-safe.
class Gzip {
 public:
  Gzip();
  ~Gzip();
  Gzip(Gzip&&) noexcept;
  Gzip& operator=(Gzip&&) noexcept;

  // The compressed bytes that are ready so far; often none.
  std::string add(std::string_view bytes);
  // The rest. Nothing may be added afterwards.
  std::string finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::engine_host
