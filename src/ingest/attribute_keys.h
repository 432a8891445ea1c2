// What is known of an attribute key, found once and remembered: nearly every record carries keys seen before.
//
//   keys.look_up(request, infos);   // infos[i] speaks of request.attributes[i]
//
// The table is bounded; when full it is emptied and learns anew. One thread at a time; infos are valid until the next
// look_up() on another request.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "otlp/model.h"
#include "redact/redactor.h"
#include "telemetry/identifiers.h"

namespace fettle::ingest {

// Attributes from which an LLM call is priced (semantic conventions for generative AI, and the bare names of ours).
enum class LlmField : std::uint8_t {
  kNone,
  kOperation,
  kProvider,
  kRequestModel,
  kResponseModel,
  kTaskClass,
  kKeyOwner,
  // From here on: what was used.
  kInputTokens,
  kOutputTokens,
  kCacheReadTokens,
  kCacheWriteTokens,
  kReasoningTokens,
  kImages,
  kVideoSeconds,
};

struct KeyInfo {
  std::string key;     // as sent
  std::string masked;  // set when the key itself holds a secret: what to store instead
  const telemetry::IdentifierAlias* identifier = nullptr;
  LlmField llm = LlmField::kNone;
  bool is_secret = false;          // the whole value is masked whatever it is: "authorization", "password"
  bool is_content = false;         // prompt or completion text
  KeyInfo* likely_next = nullptr;  // the key that followed last time: lists repeat their order
};

// True for keys under which prompts and completions travel: gen_ai.input.messages, gen_ai.prompt.0.content, prompt, …
bool is_content_key(std::string_view key);
// True for the names of events that are nothing but prompt or completion text: gen_ai.user.message, gen_ai.choice, …
bool is_content_event(std::string_view name);

class AttributeKeys {
 public:
  AttributeKeys(const telemetry::IdentifierCatalogue& identifiers, const redact::Redactor& redactor,
                std::size_t keys_max = 65'536)
      : identifiers_(identifiers), redactor_(redactor), keys_max_(keys_max) {}

  // Also replaces keys that hold a secret in the request itself.
  void look_up(otlp::Common& request, std::vector<const KeyInfo*>& infos);

 private:
  KeyInfo* find(std::string_view key);

  const telemetry::IdentifierCatalogue& identifiers_;
  const redact::Redactor& redactor_;
  const std::size_t keys_max_;
  std::unordered_map<std::string_view, std::unique_ptr<KeyInfo>> by_key_;  // views into KeyInfo::key
  KeyInfo* previous_ = nullptr;
};

}  // namespace fettle::ingest
