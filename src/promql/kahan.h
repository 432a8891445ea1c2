// Compensated summation (Neumaier's form of Kahan's): what is lost below the last digit of the sum is kept beside it.
#pragma once

#include <cmath>

namespace fettle::promql {

struct KahanSum {
  double sum = 0;
  double compensation = 0;

  void add(double value) {
    const double next = sum + value;
    if (std::isinf(next)) {
      compensation = 0;
    } else if (std::abs(sum) >= std::abs(value)) {
      compensation += (sum - next) + value;
    } else {
      compensation += (value - next) + sum;
    }
    sum = next;
  }
  double total() const { return std::isinf(sum) ? sum : sum + compensation; }
};

// The mean of what was added. Summed and divided at the end; once the sum overflows, kept as a running mean.
class KahanMean {
 public:
  void add(double value) {
    ++count_;
    if (!incremental_) {
      KahanSum next = sum_;
      next.add(value);
      if (count_ == 1 || !std::isinf(next.sum)) {
        sum_ = next;
        return;
      }
      incremental_ = true;
      sum_.sum /= count_ - 1;
      sum_.compensation /= count_ - 1;
    }
    const double share = (count_ - 1) / count_;
    sum_.sum *= share;
    sum_.compensation *= share;
    sum_.add(value / count_);
  }
  double mean() const {
    if (incremental_) return sum_.sum + sum_.compensation;
    return sum_.sum / count_ + sum_.compensation / count_;
  }

 private:
  KahanSum sum_;
  double count_ = 0;
  bool incremental_ = false;
};

}  // namespace fettle::promql
