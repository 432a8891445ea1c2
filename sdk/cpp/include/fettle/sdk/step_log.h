// The two log lines that a worker writes about each step: JSON with the level as a word, then the fields, in this
// order.
#pragma once

#include <string>
#include <string_view>

#include "fettle/sdk/error.h"
#include "fettle/sdk/step.h"

namespace fettle::sdk {

struct StepLine {
  std::string_view request_id;
  std::string_view run_id;
  int step_id;
  std::string_view step_name;
  std::int64_t duration_ms;
};

// {"level":"info","requestId",…,"duration","tokens","costUsd","action":"step_completed"}
std::string step_completed_line(const StepLine& line, const Usage& used);
// {"level":"error","requestId",…,"duration","retryCount","error","action":"step_failed"}
std::string step_failed_line(const StepLine& line, int retry_count, const Error& error);

// For WorkerOptions::step_log: a whole line at a time to standard output.
void write_step_line(std::string_view line);

}  // namespace fettle::sdk
