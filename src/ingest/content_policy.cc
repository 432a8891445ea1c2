#include "ingest/content_policy.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <algorithm>
#include <array>
#include <cctype>

#include "core/ids.h"
#include "otlp/encode.h"

namespace fettle::ingest {
namespace {

constexpr std::int32_t kDebugFirst = 5, kDebugLast = 8;  // severity numbers of the logs data model

std::string hash_of(std::string_view text) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return fmt::format("sha256:{} bytes:{}", to_hex({reinterpret_cast<const char*>(digest.data()), digest.size()}), text.size());
}

void hash_value(otlp::Common& request, otlp::Value& value) {
  std::string text;
  otlp::append_text(text, request, value);
  value = otlp::Value::of_string(request.keep(hash_of(text)));
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

  // All attributes of a content event are its text.
  void event(otlp::Range& range) {
    if (mode_ == ContentMode::kDrop) {
      range.count = 0;
      return;
    }
    for (std::uint32_t i = range.first; i < range.first + range.count; ++i) hash_value(request_, request_.attributes[i].value);
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

std::uint64_t apply_content_policy(const ContentPolicy& policy, std::string_view workspace,
                                   std::vector<const KeyInfo*>& infos, otlp::Logs& request) {
  const ContentMode wanted = policy.mode_for(workspace);
  const auto is_content = [](const otlp::LogRecord& record) { return is_content_event(record.event_name); };
  if (!any_content(infos) && std::ranges::none_of(request.records, is_content)) return 0;
  std::vector<bool> production(request.resources.size());
  for (std::size_t i = 0; i < production.size(); ++i) production[i] = is_production(policy, request, request.resources[i]);
  return std::erase_if(request.records, [&](otlp::LogRecord& record) {
    const bool is_debug = record.severity_number >= kDebugFirst && record.severity_number <= kDebugLast;
    ContentMode mode = wanted;
    if (mode == ContentMode::kKeep && (!is_debug || production[record.resource])) mode = ContentMode::kDrop;
    if (mode == ContentMode::kKeep) return false;
    Applier apply(mode, infos, request);
    if (!is_content(record)) {
      apply.list(record.attributes);
      apply.value(record.body);
      return false;
    }
    if (mode == ContentMode::kDrop) return true;
    hash_value(request, record.body);
    apply.event(record.attributes);
    return false;
  });
}

}  // namespace fettle::ingest
