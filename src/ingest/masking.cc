#include "ingest/masking.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "otlp/strings.h"

namespace fettle::ingest {
namespace {

std::size_t rule_index(const redact::Redactor& redactor, std::string_view name) {
  const auto names = redactor.rule_names();
  return static_cast<std::size_t>(std::ranges::find(names, name) - names.begin());
}

// Card numbers sent as numbers; JSON without a schema makes some of them doubles.
bool is_card(const otlp::Value& value) {
  if (value.type == otlp::ValueType::kInt) {
    return value.integer > 0 && redact::is_payment_card(static_cast<std::uint64_t>(value.integer));
  }
  constexpr double kDoubleMin = 1e12, kDoubleMax = 1e19;  // 13 to 19 digits
  return value.type == otlp::ValueType::kDouble && value.number >= kDoubleMin && value.number < kDoubleMax &&
         value.number == std::trunc(value.number) && redact::is_payment_card(static_cast<std::uint64_t>(value.number));
}

bool is_number(const otlp::Value& value) {
  return value.type == otlp::ValueType::kInt || value.type == otlp::ValueType::kDouble;
}
bool is_nested(const otlp::Value& value) {
  return value.type == otlp::ValueType::kMap || value.type == otlp::ValueType::kArray;
}

void count(redact::RuleCounts& counts, std::size_t rule) {
  if (counts.size() <= rule) counts.resize(rule + 1);
  ++counts[rule];
}

// The value of {"name": "DB_PASSWORD", "value": …}, as containers list their environment, and the name it has there.
struct Pair {
  std::string_view name;
  otlp::Value* value = nullptr;
};
Pair named_pair(otlp::Common& request, const otlp::Value& map) {
  Pair pair;
  for (std::uint32_t i = map.first; i < map.first + map.size; ++i) {
    otlp::Attribute& attribute = request.attributes[i];
    if (attribute.key == "value" || attribute.key == "Value") {
      pair.value = &attribute.value;
    } else if ((attribute.key == "name" || attribute.key == "Name" || attribute.key == "key" ||
                attribute.key == "Key") &&
               attribute.value.type == otlp::ValueType::kString) {
      pair.name = attribute.value.text();
    }
  }
  return pair;
}

}  // namespace

// The request's strings are walked twice in the same order: once to gather them, and, only when something was found,
// once more to put the replacements in.
struct Masking::Work {
  redact::Scratch scratch;
  std::vector<redact::Redactor::Subject> subjects;
  std::vector<redact::Finding> findings;
  std::vector<std::string_view> secret_keys;
  std::vector<otlp::Value*> below;  // the subjects that stand below a secret key
};

Masking::Masking(std::shared_ptr<const redact::Redactor> redactor)
    : redactor_(std::move(redactor)),
      card_rule_(rule_index(*redactor_, "payment-card")),
      secret_rule_(rule_index(*redactor_, "secret")),
      work_(std::make_unique<Work>()) {}
Masking::~Masking() = default;

// Gathers the texts in `value` as subjects under `key`, or under a secret key of their own, and masks its numbers.
void Masking::hand_down(otlp::Common& request, const std::vector<const KeyInfo*>& infos, otlp::Value& value,
                        std::string_view key, redact::RuleCounts& counts) {
  if (value.type == otlp::ValueType::kMap) {
    for (std::uint32_t i = value.first; i < value.first + value.size; ++i) {
      otlp::Attribute& attribute = request.attributes[i];
      hand_down(request, infos, attribute.value, infos[i]->is_secret ? attribute.key : key, counts);
    }
  } else if (value.type == otlp::ValueType::kArray) {
    for (std::uint32_t i = value.first; i < value.first + value.size; ++i) {
      hand_down(request, infos, request.values[i], key, counts);
    }
  } else if (is_number(value)) {
    count(counts, secret_rule_);
    value = otlp::Value::of_string("[redacted:secret]");
  } else if (value.type == otlp::ValueType::kString || value.type == otlp::ValueType::kBytes) {
    work_->subjects.push_back({value.text(), key});
    work_->below.push_back(&value);
  }
}

// Rare, and a walk of its own, so that all other values are looked up by nothing but their own key.
template <class Request>
void Masking::mask_below_secret_keys(Request& request, const std::vector<const KeyInfo*>& infos,
                                     redact::RuleCounts& counts) {
  auto& [scratch, subjects, findings, secret_keys, below] = *work_;
  subjects.clear();
  findings.clear();
  below.clear();
  const auto look_for_pair = [&](otlp::Value& value) {
    if (value.type != otlp::ValueType::kMap || value.size < 2) return;
    const Pair pair = named_pair(request, value);
    if (pair.value != nullptr && redact::is_secret_key(pair.name)) {
      hand_down(request, infos, *pair.value, pair.name, counts);
    }
  };
  for (std::size_t i = 0; i < infos.size(); ++i) {
    otlp::Attribute& attribute = request.attributes[i];
    if (!is_nested(attribute.value)) continue;
    if (infos[i]->is_secret) hand_down(request, infos, attribute.value, attribute.key, counts);
    look_for_pair(attribute.value);
  }
  for (otlp::Value& value : request.values) look_for_pair(value);
  if constexpr (requires { request.records; }) {
    for (otlp::LogRecord& record : request.records) look_for_pair(record.body);
  }
  if (subjects.empty()) return;
  redactor_->scan(subjects, scratch, findings, counts);
  for (redact::Finding& finding : findings)
    below[finding.index]->set_text(request.keep(std::move(finding.replacement)));
}

template <class Request>
void Masking::apply_to(Request& request, const std::vector<const KeyInfo*>& infos, redact::RuleCounts& counts) {
  mask_below_secret_keys(request, infos, counts);
  auto& [scratch, subjects, findings, secret_keys, below] = *work_;
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
  const auto mask_card = [&](otlp::Value& value) {
    if (!is_card(value)) return;
    count(counts, card_rule_);
    value = otlp::Value::of_string("[redacted:payment-card]");
  };
  for (std::size_t i = 0; i < infos.size(); ++i) {
    otlp::Value& value = request.attributes[i].value;
    mask_card(value);
    if (!is_number(value) || !infos[i]->is_secret) continue;
    count(counts, secret_rule_);
    value = otlp::Value::of_string("[redacted:secret]");
  }
  // Elements of arrays.
  for (otlp::Value& value : request.values) mask_card(value);
  if constexpr (requires { request.records; }) {
    for (otlp::LogRecord& record : request.records) mask_card(record.body);
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
