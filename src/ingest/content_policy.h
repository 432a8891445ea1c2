// What happens to prompt and completion text before the first durable write. It is sensitive and large, so without a
// workspace's opt-in it is dropped; semantic conventions for generative AI, content capture.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "ingest/attribute_keys.h"
#include "otlp/model.h"

namespace fettle::ingest {

enum class ContentMode : std::uint8_t {
  kDrop,  // removed
  kHash,  // replaced by its SHA-256 and length: equal texts can be told, nothing can be read
  kKeep,  // kept, after redaction like everything else
};

struct ContentPolicy {
  ContentMode otherwise = ContentMode::kDrop;
  std::map<std::string, ContentMode, std::less<>> by_workspace;
  // Values of deployment.environment.name in which logs never keep content, whatever the mode.
  std::set<std::string, std::less<>> production_environments = {"production", "prod", "live"};

  ContentMode mode_for(std::string_view workspace) const {
    const auto found = by_workspace.find(workspace);
    return found == by_workspace.end() ? otherwise : found->second;
  }
};

// `infos` speaks of request.attributes, as AttributeKeys made it, and still does afterwards.
void apply_content_policy(const ContentPolicy& policy, std::string_view workspace, std::vector<const KeyInfo*>& infos,
                          otlp::Traces& request);
void apply_content_policy(const ContentPolicy& policy, std::string_view workspace, std::vector<const KeyInfo*>& infos,
                          otlp::Metrics& request);
// Also looks into bodies that are JSON text. Returns how many records were removed because they were nothing but prompt
// or completion text.
std::uint64_t apply_content_policy(const ContentPolicy& policy, std::string_view workspace,
                                   std::vector<const KeyInfo*>& infos, otlp::Logs& request);

}  // namespace fettle::ingest
