#include "ingest/attribute_keys.h"

#include <algorithm>
#include <array>
#include <utility>

namespace fettle::ingest {
namespace {

constexpr std::pair<std::string_view, LlmField> kLlmFields[] = {
    {"gen_ai.operation.name", LlmField::kOperation},
    {"gen_ai.provider.name", LlmField::kProvider},
    {"gen_ai.system", LlmField::kProvider},
    {"gen_ai.request.model", LlmField::kRequestModel},
    {"gen_ai.response.model", LlmField::kResponseModel},
    {"gen_ai.usage.input_tokens", LlmField::kInputTokens},
    {"gen_ai.usage.prompt_tokens", LlmField::kInputTokens},
    {"gen_ai.usage.output_tokens", LlmField::kOutputTokens},
    {"gen_ai.usage.completion_tokens", LlmField::kOutputTokens},
    {"gen_ai.usage.cache_read.input_tokens", LlmField::kCacheReadTokens},
    {"gen_ai.usage.cache_read_input_tokens", LlmField::kCacheReadTokens},
    {"gen_ai.usage.cache_creation.input_tokens", LlmField::kCacheWriteTokens},
    {"gen_ai.usage.cache_creation_input_tokens", LlmField::kCacheWriteTokens},
    {"gen_ai.usage.reasoning.output_tokens", LlmField::kReasoningTokens},
    {"gen_ai.usage.images", LlmField::kImages},
    {"fettle.images", LlmField::kImages},
    {"gen_ai.usage.video_seconds", LlmField::kVideoSeconds},
    {"fettle.video_seconds", LlmField::kVideoSeconds},
    {"task_class", LlmField::kTaskClass},
    {"fettle.task_class", LlmField::kTaskClass},
    {"key_owner", LlmField::kKeyOwner},
    {"fettle.key_owner", LlmField::kKeyOwner},
};

LlmField llm_field_of(std::string_view key) {
  const auto* found = std::ranges::find(kLlmFields, key, &std::pair<std::string_view, LlmField>::first);
  return found == std::end(kLlmFields) ? LlmField::kNone : found->second;
}

}  // namespace

bool is_content_key(std::string_view key) {
  static constexpr std::string_view kPrefixes[] = {
      // Semantic conventions for generative AI, and how older instrumentations numbered the messages of a call.
      "gen_ai.input.messages",
      "gen_ai.output.messages",
      "gen_ai.system_instructions",
      "gen_ai.tool.definitions",
      "gen_ai.tool.call.arguments",
      "gen_ai.tool.call.result",
      "gen_ai.retrieval.documents",
      "gen_ai.prompt",
      "gen_ai.completion",
      "gen_ai.event.content",
      "llm.prompts",
      "llm.completions",
      "llm.request.functions",
      "traceloop.entity.input",
      "traceloop.entity.output",
      // OpenInference.
      "input.value",
      "output.value",
      "llm.input_messages",
      "llm.output_messages",
      "llm.prompt_template.template",
      "llm.prompt_template.variables",
      "llm.function_call",
      "llm.tools",
      "retrieval.documents",
      "reranker.query",
      "reranker.input_documents",
      "reranker.output_documents",
      "embedding.text",
      "embedding.embeddings",
      "tool.parameters",
      "tool_call.function.arguments",
      // Langfuse, MLflow, Pydantic AI, Google ADK, Vercel AI.
      "langfuse.observation.input",
      "langfuse.observation.output",
      "langfuse.trace.input",
      "langfuse.trace.output",
      "mlflow.spanInputs",
      "mlflow.spanOutputs",
      "all_messages_events",
      "pydantic_ai.all_messages",
      "gcp.vertex.agent.llm_request",
      "gcp.vertex.agent.llm_response",
      "gcp.vertex.agent.tool_call_args",
      "gcp.vertex.agent.tool_response",
      "ai.prompt",
      "ai.response.text",
      "ai.response.object",
      "ai.response.toolCalls",
      "ai.toolCall.args",
      "ai.toolCall.result",
      "ai.value",
      "ai.values",
  };
  static constexpr std::string_view kWhole[] = {"prompt", "completion", "llm_prompt", "llm_completion", "prompt_text"};
  // gen_ai.prompt.name and gen_ai.prompt.version name a template and hold none of its text.
  if (key.empty() || key == "gen_ai.prompt.name" || key == "gen_ai.prompt.version") return false;
  return std::ranges::find(kWhole, key) != std::end(kWhole) ||
         std::ranges::any_of(kPrefixes, [&](std::string_view prefix) {
           return key[0] == prefix[0] && key.starts_with(prefix) &&
                  (key.size() == prefix.size() || key[prefix.size()] == '.');
         });
}

bool is_content_event(std::string_view name) {
  static constexpr std::string_view kNames[] = {
      "gen_ai.system.message", "gen_ai.user.message",   "gen_ai.assistant.message",  "gen_ai.tool.message",
      "gen_ai.choice",         "gen_ai.content.prompt", "gen_ai.content.completion",
  };
  return std::ranges::find(kNames, name) != std::end(kNames);
}

void AttributeKeys::look_up(otlp::Common& request, std::vector<const KeyInfo*>& infos) {
  if (by_key_.size() > keys_max_) {
    by_key_.clear();
    previous_ = nullptr;
  }
  infos.resize(request.attributes.size());
  for (std::size_t i = 0; i < infos.size(); ++i) {
    otlp::Attribute& attribute = request.attributes[i];
    KeyInfo* info = previous_ != nullptr ? previous_->likely_next : nullptr;
    if (info == nullptr || info->key != attribute.key) {
      info = find(attribute.key);
      if (previous_ != nullptr) previous_->likely_next = info;
    }
    previous_ = info;
    if (!info->masked.empty()) attribute.key = request.keep(info->masked);
    infos[i] = info;
  }
}

KeyInfo* AttributeKeys::find(std::string_view key) {
  if (const auto known = by_key_.find(key); known != by_key_.end()) return known->second.get();
  auto made = std::make_unique<KeyInfo>();
  made->key = key;
  if (std::string masked = redactor_.redact(key); masked != key) made->masked = std::move(masked);
  made->identifier = identifiers_.find(key);
  // The ids of trace and span are fields of every record; as attributes they only repeat them.
  if (made->identifier != nullptr) {
    const auto* definition = identifiers_.by_kind(made->identifier->kind);
    if (definition->name == "trace_id" || definition->name == "span_id") made->identifier = nullptr;
  }
  made->llm = llm_field_of(key);
  made->is_secret = redact::is_secret_key(key);
  made->is_content = is_content_key(key);
  KeyInfo* info = made.get();
  by_key_.emplace(info->key, std::move(made));
  return info;
}

}  // namespace fettle::ingest
