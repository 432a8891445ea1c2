// A step while it runs.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace fettle::sdk {

struct Usage {
  std::int64_t tokens = 0;
  double cost_usd = 0;
};

class StepScope {
 public:
  StepScope(std::string name, int step_id) : name_(std::move(name)), step_id_(step_id) {}

  std::string_view name() const { return name_; }
  // Its place among the run's steps, from 1.
  int step_id() const { return step_id_; }
  // Adds to what this step has used; a run's total is that of its steps and what it used beside them.
  void use(Usage usage) {
    used_.tokens += usage.tokens;
    used_.cost_usd += usage.cost_usd;
  }
  const Usage& used() const { return used_; }

 private:
  std::string name_;
  int step_id_;
  Usage used_;
};

}  // namespace fettle::sdk
