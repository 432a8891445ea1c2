#include "ingest/pricing.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <ostream>

namespace fettle::ingest {
namespace {

constexpr UnixNanos kNow = 1'795'000'000 * kNanosPerSecond;

PriceTable shipped() {
  std::ifstream in(FETTLE_SOURCE_DIR "/packs/prices.yaml");
  auto table = PriceTable::parse(std::string(std::istreambuf_iterator<char>(in), {}));
  EXPECT_TRUE(table) << table.error().message();
  return *std::move(table);
}

struct UsageCase {
  const char* provider;
  Usage reported;
  TokenClasses expected;
};
void PrintTo(const UsageCase& usage, std::ostream* out) { *out << usage.provider; }
class Disjoint : public testing::TestWithParam<UsageCase> {};
TEST_P(Disjoint, ClassesAddUpToWhatTheProviderCounted) {
  const auto& [provider, reported, expected] = GetParam();
  const TokenClasses got = disjoint(reported);
  EXPECT_EQ(got.fresh, expected.fresh) << provider;
  EXPECT_EQ(got.cache_read, expected.cache_read) << provider;
  EXPECT_EQ(got.cache_write, expected.cache_write) << provider;
  EXPECT_EQ(got.output, expected.output) << provider;
  EXPECT_EQ(got.reasoning, expected.reasoning) << provider;
}
// One vector for each provider's own way of counting.
INSTANTIATE_TEST_SUITE_P(
    Providers, Disjoint,
    testing::Values(UsageCase{"openai: prompt_tokens contain cached_tokens, completion_tokens contain reasoning_tokens",
                              {.input = 2006, .output = 300, .cache_read = 1920, .reasoning = 128},
                              {86, 1920, 0, 172, 128}},
                    UsageCase{"anthropic, its own counts: input_tokens leave cache reads and writes out",
                              {.input = 50, .output = 503, .cache_read = 100'000, .cache_write = 248},
                              {50, 100'000, 248, 503, 0}},
                    UsageCase{"anthropic through OpenTelemetry: input_tokens contain them",
                              {.input = 100'298, .output = 503, .cache_read = 100'000, .cache_write = 248},
                              {50, 100'000, 248, 503, 0}},
                    UsageCase{"google: promptTokenCount contains cachedContentTokenCount; thoughts are counted apart",
                              {.input = 1000, .output = 20, .cache_read = 600, .reasoning = 80},
                              {400, 600, 0, 20, 80}},
                    UsageCase{"mistral: no classes", {.input = 10, .output = 20}, {10, 0, 0, 20, 0}},
                    UsageCase{"nothing at all", {}, {}}));

TEST(PriceTable, ShippedTablePricesKnownModels) {
  const PriceTable table = shipped();
  const PriceQuote quote = table.price("anthropic", "claude-sonnet-4-5-20250929",
                                       {.input = 1'000'000, .output = 1'000'000, .cache_read = 400'000}, kNow);
  // 600,000 fresh at $3, 400,000 cache reads at $0.30 and a million output at $15 the million.
  EXPECT_EQ(quote.cost_nano_usd, 1'800'000'000 + 120'000'000 + 15'000'000'000);
  EXPECT_EQ(quote.price_row, "anthropic/claude-sonnet-4*");
  EXPECT_EQ(table.price("aws.bedrock", "claude-haiku-4-5", {.input = 1000}, kNow).cost_nano_usd, 1'000'000);
}

TEST(PriceTable, TheLongestPatternWins) {
  EXPECT_EQ(shipped().price("openai", "gpt-5-mini-2025-08-07", {.output = 1'000'000}, kNow).price_row,
            "openai/gpt-5-mini*");
  EXPECT_EQ(shipped().price("openai", "gpt-5", {.output = 1'000'000}, kNow).price_row, "openai/gpt-5*");
}

TEST(PriceTable, AnUnknownModelIsUnpricedAndNeverFree) {
  const PriceTable table = shipped();
  for (const auto& [provider, model] : {std::pair("anthropic", "claude-99"), {"nobody", "gpt-5"}, {"", ""}}) {
    const PriceQuote quote = table.price(provider, model, {.input = 1000, .output = 10}, kNow);
    EXPECT_FALSE(quote.cost_nano_usd) << provider << ' ' << model;
    EXPECT_EQ(quote.tokens.fresh, 1000U);
  }
}

TEST(PriceTable, WhatARowHasNoPriceForLeavesTheCallUnpriced) {
  EXPECT_FALSE(shipped().price("openai", "dall-e-3", {.input = 5, .images = 1}, kNow).cost_nano_usd);
  EXPECT_EQ(shipped().price("openai", "dall-e-3", {.images = 2}, kNow).cost_nano_usd, 80'000'000);
  EXPECT_EQ(shipped().price("openai", "sora-2", {.video_seconds = 2.5}, kNow).cost_nano_usd, 250'000'000);
}

TEST(PriceTable, ThePriceOfTheTimeOfTheCallCounts) {
  const auto table = PriceTable::parse(R"(
models:
  - {provider: p, model: m, per_million: {input: 1, output: 1}}
  - {provider: p, model: m, valid_from: 2026-01-01, per_million: {input: 2, output: 2, reasoning: 4}}
)");
  ASSERT_TRUE(table);
  EXPECT_EQ(table->price("p", "m", {.input = 1000}, 1'700'000'000 * kNanosPerSecond).cost_nano_usd, 1'000'000);
  EXPECT_EQ(table->price("p", "m", {.input = 1000}, kNow).cost_nano_usd, 2'000'000);
  EXPECT_EQ(table->price("p", "m", {.output = 1000, .reasoning = 500}, kNow).cost_nano_usd, 3'000'000);
  EXPECT_EQ(table->price("p", "m", {.input = 1}, kNow).price_row, "p/m@2026-01-01");
}

TEST(PriceTable, RefusesMistakesWithTheirLine) {
  for (const char* bad : {"models:\n  - {model: m}", "models:\n  - {provider: p, model: m}", "modls: []",
                          "models:\n  - {provider: p, model: m, per_million: {input: -1, output: 1}}",
                          "models:\n  - {provider: p, model: m, valid_from: soon, per_image: 1}", "[1,",
                          "models:\n  - {provider: p, model: m, per_million: {input: cheap, output: 1}}"}) {
    const auto table = PriceTable::parse(bad);
    ASSERT_FALSE(table) << bad;
    EXPECT_NE(table.error().message().find("line "), std::string::npos) << table.error().message();
  }
}

}  // namespace
}  // namespace fettle::ingest
