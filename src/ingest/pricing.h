// What LLM calls cost, from a table of list prices: packs/prices.yaml, replaced or extended by the configuration.
//
//   auto table = PriceTable::parse(yaml_text);
//   PriceQuote quote = table->price("anthropic", "claude-sonnet-4-5", usage, span.start);
//   if (!quote.cost_nano_usd) …                       // no price is known: reported, never 0
//
// Constant after parsing; any thread may ask.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"

namespace fettle::ingest {

// As the sender reported it: providers differ in whether `input` contains the two cache counts.
struct Usage {
  std::uint64_t input = 0;
  std::uint64_t output = 0;
  std::uint64_t cache_read = 0;
  std::uint64_t cache_write = 0;
  std::uint64_t reasoning = 0;  // a part of output
  std::uint64_t images = 0;
  double video_seconds = 0;
};

// Disjoint classes: their sum is what the provider counted.
struct TokenClasses {
  std::uint64_t fresh = 0;
  std::uint64_t cache_read = 0;
  std::uint64_t cache_write = 0;
  std::uint64_t output = 0;  // without reasoning
  std::uint64_t reasoning = 0;
};

// Input that is at least as large as its cached parts contains them (OpenTelemetry's rule, and OpenAI's and Google's);
// smaller input was counted apart from them (Anthropic's own counts). Reasoning larger than output was counted apart.
TokenClasses disjoint(const Usage& usage);

struct PriceQuote {
  TokenClasses tokens;
  std::optional<std::int64_t> cost_nano_usd;  // billionths of a dollar; nothing: unpriced
  std::string_view price_row;                 // which row of the table; valid while the table lives; empty: unpriced
};

class PriceTable {
 public:
  // kInvalidArgument names the line and what was expected there.
  static Result<PriceTable> parse(std::string_view yaml);
  PriceTable(PriceTable&&) noexcept;
  PriceTable& operator=(PriceTable&&) noexcept;
  ~PriceTable();

  // The price valid at `at`: an exact model name before a pattern, a longer pattern before a shorter one, among rows
  // for one model the newest that was valid then.
  PriceQuote price(std::string_view provider, std::string_view model, const Usage& usage, UnixNanos at) const;
  // The version of the table, for reports.
  const std::string& version() const;

 private:
  struct Impl;
  explicit PriceTable(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::ingest
