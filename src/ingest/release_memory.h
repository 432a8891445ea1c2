// Memory that was needed once goes back to the system instead of staying with the allocator.
#pragma once

#include <cstdlib>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

namespace fettle::ingest {

// After something much larger than usual was freed: takes milliseconds.
inline void release_memory() {
#if defined(__GLIBC__)
  ::malloc_trim(0);
#endif
}

}  // namespace fettle::ingest
