#include "ingest/content_policy.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <optional>

#include "core/ids.h"
#include "otlp/encode.h"

namespace fettle::ingest {
namespace {

constexpr std::int32_t kDebugFirst = 5, kDebugLast = 8;  // severity numbers of the logs data model

std::string hash_of(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return fmt::format("sha256:{} bytes:{}", to_hex({reinterpret_cast<const char*>(digest.data()), digest.size()}),
                     text.size());
}

void hash_value(otlp::Common& request, otlp::Value& value) {
  std::string text;
  otlp::append_text(text, request, value);
  value = otlp::Value::of_string(request.keep(hash_of(text)));
}

// A member of JSON text whose key is that of prompt or completion text.
struct TextMember {
  std::size_t key = 0;    // of the quote before the key
  std::size_t value = 0;  // where the value begins and ends
  std::size_t end = 0;
};

constexpr std::size_t kContentKeyBytesMax = 128;

std::size_t skip_blanks(std::string_view text, std::size_t at) {
  return std::min(text.find_first_not_of(" \t\r\n", at), text.size());
}

// The end of the string, object, list or word that begins at `at`; of one that was cut off, the end of the text.
std::size_t value_end(std::string_view text, std::size_t at) {
  const auto string_end = [&](std::size_t i) {
    for (++i; i < text.size() && text[i] != '"'; ++i) i += text[i] == '\\' ? 1 : 0;
    return std::min(i + 1, text.size());
  };
  if (at >= text.size()) return text.size();
  if (text[at] == '"') return string_end(at);
  if (text[at] != '{' && text[at] != '[') return std::min(text.find_first_of(",}] \t\r\n", at), text.size());
  std::size_t depth = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (c == '"') {
      at = string_end(at);
      continue;
    }
    ++at;
    if (c == '{' || c == '[') ++depth;
    if ((c == '}' || c == ']') && --depth == 0) return at;
  }
  return text.size();
}

// Looks at each "…": rather than parsing: lines are cut off in the middle, and most hold no JSON at all.
std::optional<TextMember> next_content_member(std::string_view text, std::size_t from) {
  for (std::size_t close = text.find('"', from); close != std::string_view::npos; close = text.find('"', close + 1)) {
    const std::size_t colon = skip_blanks(text, close + 1);
    if (colon >= text.size() || text[colon] != ':' || close == from) continue;
    const std::size_t floor = std::max(from, close - std::min(close, kContentKeyBytesMax));
    const std::size_t open = text.substr(floor, close - floor).rfind('"');
    if (open == std::string_view::npos) continue;
    const std::size_t key = floor + open;
    if (!is_content_key(text.substr(key + 1, close - key - 1))) continue;
    const std::size_t value = skip_blanks(text, colon + 1);
    return TextMember{key, value, value_end(text, value)};
  }
  return std::nullopt;
}

bool has_content_text(const otlp::LogRecord& record) {
  return record.body.type == otlp::ValueType::kString && next_content_member(record.body.text(), 0);
}

std::string without_content(std::string_view text, ContentMode mode) {
  std::string out;
  std::size_t at = 0;
  while (const auto member = next_content_member(text, at)) {
    if (mode == ContentMode::kHash) {
      out.append(text, at, member->value - at);
      const bool is_string = text.substr(member->value).starts_with('"');
      std::string_view value = text.substr(member->value, member->end - member->value);
      if (is_string) value = value.substr(1, value.size() - (value.size() > 1 && value.ends_with('"') ? 2 : 1));
      out += '"' + hash_of(value) + '"';
      at = member->end;
      continue;
    }
    out.append(text, at, member->key - at);
    at = member->end;
    // One of the commas around it goes with it.
    if (const std::size_t next = skip_blanks(text, at); next < text.size() && text[next] == ',') {
      at = skip_blanks(text, next + 1);
    } else if (const std::size_t last = out.find_last_not_of(" \t\r\n");
               last != std::string::npos && out[last] == ',') {
      out.resize(last);
    }
  }
  return out.append(text, at);
}

// Applies a mode to lists of attributes and to whatever is nested in them. A list keeps its place and loses entries at
// its end; `infos` moves along, so that infos[i] still speaks of attributes[i].
class Applier {
 public:
  Applier(ContentMode mode, std::vector<const KeyInfo*>& infos, otlp::Common& request)
      : mode_(mode), infos_(infos), request_(request) {}

  void list(otlp::Range& range) {
    std::uint32_t kept = range.first;
    for (std::uint32_t i = range.first; i < range.first + range.count; ++i) {
      if (infos_[i]->is_content && mode_ == ContentMode::kDrop) continue;
      if (infos_[i]->is_content) {
        hash_value(request_, request_.attributes[i].value);
      } else {
        value(request_.attributes[i].value);
      }
      request_.attributes[kept] = request_.attributes[i];
      infos_[kept++] = infos_[i];
    }
    range.count = kept - range.first;
  }

  void value(otlp::Value& nested) {
    if (nested.type == otlp::ValueType::kMap) {
      otlp::Range children = nested.children();
      list(children);
      nested.size = children.count;
    } else if (nested.type == otlp::ValueType::kArray) {
      for (std::uint32_t i = nested.first; i < nested.first + nested.size; ++i) value(request_.values[i]);
    }
  }

  void body(otlp::Value& body) {
    value(body);
    if (body.type == otlp::ValueType::kString && next_content_member(body.text(), 0)) {
      body.set_text(request_.keep(without_content(body.text(), mode_)));
    }
  }

  // What all records of a request share.
  void shared() {
    for (otlp::Resource& resource : request_.resources) list(resource.attributes);
    for (otlp::Scope& scope : request_.scopes) list(scope.attributes);
  }

  // All attributes of a content event are its text.
  void event(otlp::Range& range) {
    if (mode_ == ContentMode::kDrop) {
      range.count = 0;
      return;
    }
    for (std::uint32_t i = range.first; i < range.first + range.count; ++i)
      hash_value(request_, request_.attributes[i].value);
  }

 private:
  const ContentMode mode_;
  std::vector<const KeyInfo*>& infos_;
  otlp::Common& request_;
};

bool any_content(const std::vector<const KeyInfo*>& infos) {
  return std::ranges::any_of(infos, [](const KeyInfo* info) { return info->is_content; });
}

bool is_production(const ContentPolicy& policy, const otlp::Common& request, const otlp::Resource& resource) {
  for (std::uint32_t i = resource.attributes.first; i < resource.attributes.first + resource.attributes.count; ++i) {
    const otlp::Attribute& attribute = request.attributes[i];
    if ((attribute.key == "deployment.environment.name" || attribute.key == "deployment.environment") &&
        attribute.value.type == otlp::ValueType::kString) {
      std::string name(attribute.value.text());
      std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
      if (policy.production_environments.contains(name)) return true;
    }
  }
  return false;
}

}  // namespace

void apply_content_policy(const ContentPolicy& policy, std::string_view workspace, std::vector<const KeyInfo*>& infos,
                          otlp::Traces& request) {
  const ContentMode mode = policy.mode_for(workspace);
  if (mode == ContentMode::kKeep) return;
  const auto is_content = [](const otlp::Event& event) { return is_content_event(event.name); };
  if (!any_content(infos) && std::ranges::none_of(request.events, is_content)) return;
  Applier apply(mode, infos, request);
  apply.shared();
  for (otlp::Span& span : request.spans) apply.list(span.attributes);
  for (otlp::Event& event : request.events) {
    if (is_content(event)) {
      apply.event(event.attributes);
    } else {
      apply.list(event.attributes);
    }
  }
  for (otlp::Link& link : request.links) apply.list(link.attributes);
}

void apply_content_policy(const ContentPolicy& policy, std::string_view workspace, std::vector<const KeyInfo*>& infos,
                          otlp::Metrics& request) {
  const ContentMode mode = policy.mode_for(workspace);
  if (mode == ContentMode::kKeep || !any_content(infos)) return;
  Applier apply(mode, infos, request);
  apply.shared();
  for (otlp::Metric& metric : request.metrics) apply.list(metric.metadata);
  for (otlp::NumberPoint& point : request.number_points) apply.list(point.attributes);
  for (otlp::HistogramPoint& point : request.histogram_points) apply.list(point.attributes);
  for (otlp::ExponentialHistogramPoint& point : request.exponential_histogram_points) apply.list(point.attributes);
  for (otlp::SummaryPoint& point : request.summary_points) apply.list(point.attributes);
  for (otlp::Exemplar& exemplar : request.exemplars) apply.list(exemplar.filtered_attributes);
}

std::uint64_t apply_content_policy(const ContentPolicy& policy, std::string_view workspace,
                                   std::vector<const KeyInfo*>& infos, otlp::Logs& request) {
  const ContentMode wanted = policy.mode_for(workspace);
  const auto is_content = [](const otlp::LogRecord& record) { return is_content_event(record.event_name); };
  if (!any_content(infos) && std::ranges::none_of(request.records, is_content) &&
      std::ranges::none_of(request.records, has_content_text)) {
    return 0;
  }
  // Shared by records of every severity and for as long as the process lives, so never kept.
  Applier(wanted == ContentMode::kKeep ? ContentMode::kDrop : wanted, infos, request).shared();
  std::vector<bool> production(request.resources.size());
  for (std::size_t i = 0; i < production.size(); ++i)
    production[i] = is_production(policy, request, request.resources[i]);
  return std::erase_if(request.records, [&](otlp::LogRecord& record) {
    const bool is_debug = record.severity_number >= kDebugFirst && record.severity_number <= kDebugLast;
    ContentMode mode = wanted;
    if (mode == ContentMode::kKeep && (!is_debug || production[record.resource])) mode = ContentMode::kDrop;
    if (mode == ContentMode::kKeep) return false;
    Applier apply(mode, infos, request);
    if (!is_content(record)) {
      apply.list(record.attributes);
      apply.body(record.body);
      return false;
    }
    if (mode == ContentMode::kDrop) return true;
    hash_value(request, record.body);
    apply.event(record.attributes);
    return false;
  });
}

}  // namespace fettle::ingest
