// Priced LLM calls on their way into `llm_calls`, which is never sampled: money has one source.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "telemetry/block.h"
#include "telemetry/identifiers.h"

namespace fettle::telemetry {

// Tokens are in disjoint classes: their sum is what the provider counted.
struct LlmCall {
  UnixNanos ts = 0;
  UnixNanos duration = 0;
  std::string_view trace_id;  // 16 raw bytes
  std::string_view span_id;   // 8 raw bytes
  std::int32_t status_code = 0;
  std::string_view service_name;
  std::string_view operation;  // "chat", "embeddings", …
  std::string_view task_class;
  std::string_view provider;  // as priced; the identifiers may hold another spelling
  std::string_view model;
  std::uint64_t tokens_fresh = 0;
  std::uint64_t tokens_cache_read = 0;
  std::uint64_t tokens_cache_write = 0;
  std::uint64_t tokens_output = 0;
  std::uint64_t tokens_reasoning = 0;
  std::uint64_t images = 0;
  double video_seconds = 0;
  std::optional<std::int64_t> cost_nano_usd;  // nothing: no price is known for this model
  std::string_view price_row;
  std::string_view key_owner;  // "client" or "agency"
};

class LlmCallBlockBuilder {
 public:
  explicit LlmCallBlockBuilder(const IdentifierCatalogue& catalogue);
  ~LlmCallBlockBuilder();
  LlmCallBlockBuilder(LlmCallBlockBuilder&&) noexcept;
  LlmCallBlockBuilder& operator=(LlmCallBlockBuilder&&) noexcept;

  void append(std::string_view workspace, const LlmCall& call, const ResolvedIds& ids, UnixNanos received_at);

  std::size_t rows() const;
  std::size_t bytes() const;
  std::vector<TableBlock> take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::telemetry
