#include "fettle/sdk/step_log.h"

#include <cstdio>

#include "fettle/sdk/json.h"

namespace fettle::sdk {

namespace {

std::string head(std::string_view level, const StepLine& line) {
  std::string text = Json::object({{"level", level},
                                   {"requestId", line.request_id},
                                   {"runId", line.run_id},
                                   {"stepId", line.step_id},
                                   {"stepName", line.step_name},
                                   {"duration", line.duration_ms}})
                         .text();
  text.back() = ',';
  return text;
}

std::string rest(Json members, std::string_view action) { return members.set("action", action).text().substr(1); }

}  // namespace

std::string step_completed_line(const StepLine& line, const Usage& used) {
  return head("info", line) +
         rest(Json::object({{"tokens", used.tokens}, {"costUsd", used.cost_usd}}), "step_completed");
}

std::string step_failed_line(const StepLine& line, int retry_count, const Error& error) {
  return head("error", line) +
         rest(Json::object({{"retryCount", retry_count}, {"error", error.sentence()}}), "step_failed");
}

void write_step_line(std::string_view line) {
  const std::string whole = std::string(line) + '\n';
  std::fwrite(whole.data(), 1, whole.size(), stdout);  // one call, so that lines of threads do not mix
  std::fflush(stdout);
}

}  // namespace fettle::sdk
