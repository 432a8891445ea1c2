#include "ingest/masking.h"

#include <algorithm>
#include <utility>

#include "otlp/strings.h"

namespace fettle::ingest {
namespace {

std::size_t rule_index(const redact::Redactor& redactor, std::string_view name) {
  const auto names = redactor.rule_names();
  return static_cast<std::size_t>(std::ranges::find(names, name) - names.begin());
}

}  // namespace

// The request's strings are walked twice in the same order: once to gather them, and, only when something was found,
// once more to put the replacements in.
struct Masking::Work {
  redact::Scratch scratch;
  std::vector<redact::Redactor::Subject> subjects;
  std::vector<redact::Finding> findings;
  std::vector<std::string_view> secret_keys;
};

Masking::Masking(std::shared_ptr<const redact::Redactor> redactor)
    : redactor_(std::move(redactor)),
      card_rule_(rule_index(*redactor_, "payment-card")),
      secret_rule_(rule_index(*redactor_, "secret")),
      work_(std::make_unique<Work>()) {}
Masking::~Masking() = default;

template <class Request>
void Masking::apply_to(Request& request, const std::vector<const KeyInfo*>& infos, redact::RuleCounts& counts) {
  auto& [scratch, subjects, findings, secret_keys] = *work_;
  subjects.clear();
  findings.clear();
  secret_keys.clear();
  for (std::size_t i = 0; i < infos.size(); ++i) {
    if (infos[i]->is_secret && std::ranges::find(secret_keys, request.attributes[i].key) == secret_keys.end()) {
      secret_keys.push_back(request.attributes[i].key);
    }
  }
  // Few keys are secret, and only those make the redactor look at a key at all.
  const auto key_if_secret = [&](std::string_view key) {
    return std::ranges::find(secret_keys, key) != secret_keys.end() ? key : std::string_view{};
  };
  const auto gather = [&](std::string_view text, std::string_view key) {
    subjects.push_back({text, secret_keys.empty() || key.empty() ? std::string_view{} : key_if_secret(key)});
  };
  // Attribute keys were looked at when they were first seen.
  otlp::for_each_string<false>(request, gather);
  const std::size_t strings = subjects.size();
  otlp::for_each_bytes(request, gather);
  redactor_->scan(subjects, scratch, findings, counts);
  if (!findings.empty()) {
    auto next = findings.begin();
    std::size_t index = 0;
    const auto replace = [&](std::string_view& text, std::string_view) {
      if (next != findings.end() && next->index == index) text = request.keep(std::move((next++)->replacement));
      ++index;
    };
    otlp::for_each_string<false>(request, replace);
    if (index == strings) otlp::for_each_bytes(request, replace);
  }
  // Card numbers and secrets sent as numbers.
  for (std::size_t i = 0; i < infos.size(); ++i) {
    otlp::Value& value = request.attributes[i].value;
    if (value.type != otlp::ValueType::kInt && value.type != otlp::ValueType::kDouble) continue;
    const bool is_card = value.type == otlp::ValueType::kInt && value.integer > 0 &&
                         redact::is_payment_card(static_cast<std::uint64_t>(value.integer));
    if (!is_card && !infos[i]->is_secret) continue;
    const std::size_t rule = is_card ? card_rule_ : secret_rule_;
    if (counts.size() <= rule) counts.resize(rule + 1);
    ++counts[rule];
    value = otlp::Value::of_string(is_card ? "[redacted:payment-card]" : "[redacted:secret]");
  }
}

void Masking::apply(otlp::Traces& request, const std::vector<const KeyInfo*>& infos, redact::RuleCounts& counts) {
  apply_to(request, infos, counts);
}

void Masking::apply(otlp::Logs& request, const std::vector<const KeyInfo*>& infos, redact::RuleCounts& counts) {
  apply_to(request, infos, counts);
}

void Masking::apply(otlp::Metrics& request, const std::vector<const KeyInfo*>& infos, redact::RuleCounts& counts) {
  apply_to(request, infos, counts);
}

}  // namespace fettle::ingest
