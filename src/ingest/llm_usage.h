// What an LLM call used, read from a span's attributes.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "ingest/attribute_keys.h"
#include "otlp/model.h"

namespace fettle::ingest {

// As reported: input and output are the provider's totals, the others parts of them (or, with some providers, apart).
struct LlmUsage {
  std::string_view operation;
  std::string_view provider;
  std::string_view request_model;
  std::string_view response_model;
  std::string_view task_class;
  std::string_view key_owner;
  std::uint64_t input_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::uint64_t cache_read_tokens = 0;
  std::uint64_t cache_write_tokens = 0;
  std::uint64_t reasoning_tokens = 0;
  std::uint64_t images = 0;
  double video_seconds = 0;

  // Billed by what answered, asked for by what was requested.
  std::string_view model() const { return response_model.empty() ? request_model : response_model; }
};

// Nothing when the span is no inference call: agents and workflows repeat the usage of the calls inside them, and tool
// calls have none.
std::optional<LlmUsage> read_llm_usage(const otlp::Traces& request, const otlp::Span& span,
                                       const std::vector<const KeyInfo*>& infos);

}  // namespace fettle::ingest
