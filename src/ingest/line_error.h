// A log line that could not be read as what it looks like, and was kept as text.
#pragma once

#include <cstdint>
#include <string>

namespace fettle::ingest {

struct LineError {
  std::uint64_t line = 0;  // from 1
  std::string detail;
};

}  // namespace fettle::ingest
