// One page of a list, and where the next begins.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace fettle::runs {

struct PageRequest {
  std::int32_t limit = 200;
  std::string cursor = {};  // PageOf::next of the page before; empty: the first
};

template <class T>
struct PageOf {
  std::vector<T> items;
  std::string next;  // empty after the last
};

}  // namespace fettle::runs
