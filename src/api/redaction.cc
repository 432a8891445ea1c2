// POST /api/v1/redaction/preview: tries the rules on a sample, which is neither stored nor logged.
#include "redact/redactor.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <iterator>
#include <memory>
#include <mutex>

#include "api/api.h"
#include "api/json_body.h"
#include "core/json.h"

namespace fettle::api {
namespace {

constexpr std::size_t kPreviewTextBytesMax = 16 * 1024;
constexpr std::chrono::milliseconds kPreviewTimeMax{2'000};

// Replaces the configured rules by those of the request; null when it has none.
Result<std::shared_ptr<const redact::Redactor>> with_rules(const boost::json::object& body,
                                                           const redact::GiveUp& give_up) {
  const boost::json::value* rules = body.if_contains("rules");
  if (rules == nullptr) return nullptr;
  if (!rules->is_array() || rules->get_array().size() > redact::kCustomRulesMax) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("member 'rules' must be a list of at most {}", redact::kCustomRulesMax));
  }
  std::vector<redact::Rule> wanted;
  for (const boost::json::value& rule : rules->get_array()) {
    if (!rule.is_object()) return fail(ErrorCode::kInvalidArgument, "a rule must be an object");
    auto name = text_member(rule.get_object(), "name");
    auto pattern = text_member(rule.get_object(), "pattern");
    if (!name) return std::unexpected(std::move(name).error().within("in a rule"));
    if (!pattern) return std::unexpected(std::move(pattern).error().within(fmt::format("in rule '{}'", *name)));
    std::string replacement;
    if (rule.get_object().contains("replacement")) {
      auto text = text_member(rule.get_object(), "replacement");
      if (!text) return std::unexpected(std::move(text).error().within(fmt::format("in rule '{}'", *name)));
      replacement = *text;
    }
    wanted.push_back({.name = std::string(*name), .pattern = std::string(*pattern), .replacement = replacement});
  }
  return redact::Redactor::compile(wanted, give_up);
}

}  // namespace

// The answer's body.
Result<std::string> Api::preview(std::string_view request, const std::stop_token& stop) {
  auto body = parse_object(request, {"text", "key", "rules"});
  if (!body) return std::unexpected(std::move(body).error());
  auto text = text_member(*body, "text");
  if (!text) return std::unexpected(std::move(text).error());
  if (text->size() > kPreviewTextBytesMax) {
    return fail(ErrorCode::kTooLarge, fmt::format("member 'text' is longer than {} bytes", kPreviewTextBytesMax));
  }
  std::string_view key;
  if (body->contains("key")) {
    auto given = text_member(*body, "key");
    if (!given) return std::unexpected(std::move(given).error());
    key = *given;
  }

  // The rules are a caller's, and one at a time is as much work as they may make.
  const std::unique_lock only(preview_mutex_, std::try_to_lock);
  if (!only) {
    return std::unexpected(Error(ErrorCode::kResourceExhausted, "another preview is running; one runs at a time")
                               .with_retry_after(std::chrono::seconds(1)));
  }
  const auto deadline = std::chrono::steady_clock::now() + std::min(kPreviewTimeMax, limits_.query_time_max);
  const redact::GiveUp give_up = [&] { return stop.stop_requested() || std::chrono::steady_clock::now() > deadline; };
  auto own = with_rules(*body, give_up);
  if (!own) return std::unexpected(std::move(own).error());
  const redact::Redactor& redactor = *own != nullptr ? **own : services_.redactor;

  redact::Scratch scratch;
  std::vector<redact::Finding> findings;
  redact::RuleCounts counts;
  const redact::Redactor::Subject subject{.text = *text, .key = key};
  if (!redactor.try_scan({&subject, 1}, scratch, findings, counts, give_up)) {
    return fail(ErrorCode::kDeadlineExceeded, "the rules took too long for this text");
  }
  std::string answer = R"({"text":)";
  append_json_string(answer, findings.empty() ? *text : std::string_view(findings.front().replacement));
  answer += R"(,"findings":[)";
  bool is_first = true;
  for (std::size_t rule = 0; rule < counts.size(); ++rule) {
    if (counts[rule] == 0) continue;
    answer += is_first ? R"({"rule":)" : R"(,{"rule":)";
    is_first = false;
    append_json_string(answer, redactor.rule_names()[rule]);
    fmt::format_to(std::back_inserter(answer), R"(,"count":{}}})", counts[rule]);
  }
  return answer + "]}";
}

void Api::preview_redaction(Exchange exchange) {
  // Compiling rules takes tens of milliseconds, too long for an I/O thread.
  reads_.run(std::move(exchange), [this](Exchange& held, const std::stop_token& stop) {
    auto answer = preview(held.request().body, stop);
    if (!answer) return held.problem(answer.error());
    held.json(std::move(*answer));
  });
}

}  // namespace fettle::api
