#include <algorithm>

#include "may_i_cache.h"
#include "problem.h"

namespace fettle::sdk {

namespace {

constexpr std::size_t kQuestionsMax = 1'000;
constexpr std::size_t kClassesMax = 100;

std::string path_of(const Question& question) {
  std::string path = "/api/v1/may-i";
  const auto add = [&path](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    path += path.find('?') == std::string::npos ? '?' : '&';
    path.append(name).append("=").append(url_encoded(value));
  };
  add("client_id", question.client_id);
  add("platform", question.platform);
  add("lane", question.lane);
  add("workflow", question.workflow);
  add("tool", question.tool);
  add("agent", question.agent);
  add("action_class", question.action_class);
  return path;
}

Verdict verdict(const Json& answer, Verdict::Source source) {
  return {.allowed = answer["allowed"].as_bool(),
          .reason = std::string(answer["reason"].as_string()),
          .kill_switch = answer["switch"],
          .source = source};
}

}  // namespace

Result<Verdict> MayICache::ask(const Question& question, const MayIOptions& options) {
  const std::string path = path_of(question);
  const Clock::Monotonic sent = caller_.clock().now();  // a verdict's age counts from here
  {
    const std::lock_guard lock(mutex_);
    const auto known = known_.find(path);
    if (known != known_.end() && sent < known->second.until) {
      return verdict(known->second.answer, Verdict::Source::kCache);
    }
  }
  const Result<Json> answer = caller_.get(path, {.timeout = options.timeout, .retry = kNoRetry});
  const std::lock_guard lock(mutex_);
  if (answer) {
    if (rules_.size() >= kClassesMax) rules_.clear();
    rules_[question.action_class] =
        (*answer)["on_unreachable"].as_string() == "allow" ? OnUnreachable::kAllow : OnUnreachable::kRefuse;
    std::erase_if(known_,
                  [&](const auto& entry) { return known_.size() >= kQuestionsMax && entry.second.until <= sent; });
    if (known_.size() >= kQuestionsMax) known_.erase(known_.begin());
    known_[path] = {*answer, sent + Milliseconds((*answer)["cache_ms"].as_int())};
    return verdict(*answer, Verdict::Source::kServer);
  }
  const Error& error = answer.error();
  if (error.kind != ErrorKind::kUnreachable && !retryable_status(error.status)) return fail(error);
  const auto rule = rules_.find(question.action_class);
  const bool allowed = (rule == rules_.end() ? options.on_unreachable : rule->second) == OnUnreachable::kAllow;
  return Verdict{.allowed = allowed,
                 .reason = std::string("Fettle does not answer; the rule of the action's class is to ") +
                           (allowed ? "allow" : "refuse"),
                 .kill_switch = {},
                 .source = Verdict::Source::kUnreachable};
}

}  // namespace fettle::sdk
