#include "ingest/llm_usage.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace fettle::ingest {
namespace {

std::uint64_t count_of(const otlp::Value& value) {
  if (value.type == otlp::ValueType::kInt) return value.integer > 0 ? static_cast<std::uint64_t>(value.integer) : 0;
  if (value.type == otlp::ValueType::kDouble && value.number > 0 && value.number < 9e15) {
    return static_cast<std::uint64_t>(std::llround(value.number));
  }
  if (value.type == otlp::ValueType::kString) {
    std::uint64_t count = 0;
    const std::string_view text = value.text();
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), count);
    if (error == std::errc() && end == text.data() + text.size()) return count;
  }
  return 0;
}

double seconds_of(const otlp::Value& value) {
  const double seconds = value.type == otlp::ValueType::kDouble ? value.number : static_cast<double>(count_of(value));
  return std::isfinite(seconds) && seconds > 0 ? seconds : 0;
}

std::string_view text_of(const otlp::Value& value) {
  return value.type == otlp::ValueType::kString ? value.text() : std::string_view{};
}

// Operations that a provider bills for. Without an operation name, a span that reports usage is taken for one.
bool is_inference(std::string_view operation) {
  static constexpr std::string_view kBilled[] = {"",
                                                 "chat",
                                                 "generate_content",
                                                 "text_completion",
                                                 "completion",
                                                 "embeddings",
                                                 "embedding",
                                                 "generate_image",
                                                 "image",
                                                 "generate_video",
                                                 "video",
                                                 "image_generation",
                                                 "responses",
                                                 "messages"};
  return std::ranges::find(kBilled, operation) != std::end(kBilled);
}

}  // namespace

std::optional<LlmUsage> read_llm_usage(const otlp::Traces& request, const otlp::Span& span,
                                       const std::vector<const KeyInfo*>& infos) {
  LlmUsage usage;
  bool reports_usage = false;
  for (std::uint32_t i = span.attributes.first; i < span.attributes.first + span.attributes.count; ++i) {
    const LlmField field = infos[i]->llm;
    if (field == LlmField::kNone) continue;
    const otlp::Value& value = request.attributes[i].value;
    switch (field) {
      case LlmField::kNone: break;
      case LlmField::kOperation: usage.operation = text_of(value); break;
      case LlmField::kProvider: usage.provider = text_of(value); break;
      case LlmField::kRequestModel: usage.request_model = text_of(value); break;
      case LlmField::kResponseModel: usage.response_model = text_of(value); break;
      case LlmField::kTaskClass: usage.task_class = text_of(value); break;
      case LlmField::kKeyOwner: usage.key_owner = text_of(value); break;
      case LlmField::kInputTokens: usage.input_tokens = count_of(value); break;
      case LlmField::kOutputTokens: usage.output_tokens = count_of(value); break;
      case LlmField::kCacheReadTokens: usage.cache_read_tokens = count_of(value); break;
      case LlmField::kCacheWriteTokens: usage.cache_write_tokens = count_of(value); break;
      case LlmField::kReasoningTokens: usage.reasoning_tokens = count_of(value); break;
      case LlmField::kImages: usage.images = count_of(value); break;
      case LlmField::kVideoSeconds: usage.video_seconds = seconds_of(value); break;
    }
    reports_usage = reports_usage || field >= LlmField::kInputTokens;
  }
  const bool is_named_call = !usage.operation.empty() && !usage.model().empty();
  if (!is_inference(usage.operation) || usage.model().empty() || !(is_named_call || reports_usage)) return std::nullopt;
  return usage;
}

}  // namespace fettle::ingest
