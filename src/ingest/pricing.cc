#include "ingest/pricing.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <stdexcept>
#include <tuple>
#include <vector>

namespace fettle::ingest {
namespace {

constexpr double kNanosPerDollar = 1e9;
constexpr double kTokensPerMillion = 1e6;

// Nano-dollars for one token. List prices have at most a few decimals per million tokens, so a double is exact enough:
// 2^53 nano-dollars are nine million dollars.
struct Row {
  std::string name;     // "anthropic/claude-sonnet-4*@2025-05-22"
  std::string pattern;  // without the asterisk
  bool is_prefix = false;
  UnixNanos valid_from = 0;
  std::optional<double> input, cache_read, cache_write, output, reasoning;  // nano-dollars a token
  std::optional<double> image, video_second;                                // nano-dollars each
};

class Refused : public std::runtime_error {
 public:
  Refused(const YAML::Node& at, const std::string& what)
      : std::runtime_error(fmt::format("line {}: {}", at.Mark().line + 1, what)) {}
};

double dollars(const YAML::Node& node) {
  double value = 0;
  try {
    value = node.as<double>();
  } catch (const YAML::Exception&) {
    throw Refused(node, "expected a price in dollars");
  }
  if (!std::isfinite(value) || value < 0) throw Refused(node, "a price is zero or more");
  return value;
}

UnixNanos date(const YAML::Node& node) {
  const auto text = node.as<std::string>();
  int year = 0;
  unsigned month = 0, day = 0;
  char tail = 0;
  if (std::sscanf(text.c_str(), "%4d-%2u-%2u%c", &year, &month, &day, &tail) != 3) {
    throw Refused(node, "valid_from is a date like 2025-05-22");
  }
  const std::chrono::year_month_day ymd{std::chrono::year(year), std::chrono::month(month), std::chrono::day(day)};
  if (!ymd.ok()) throw Refused(node, "valid_from is no date of the calendar");
  return std::chrono::sys_days(ymd).time_since_epoch().count() * kNanosPerDay;
}

void allow_only(const YAML::Node& node, const std::set<std::string>& known) {
  for (const auto& entry : node) {
    const auto key = entry.first.as<std::string>();
    if (!known.contains(key)) throw Refused(entry.first, fmt::format("unknown key \"{}\"", key));
  }
}

Row read_row(const YAML::Node& node, const std::string& provider) {
  allow_only(node, {"provider", "model", "per_million", "per_image", "per_video_second", "valid_from"});
  if (!node["model"]) throw Refused(node, "a price needs a model");
  Row row;
  const auto model = node["model"].as<std::string>();
  row.is_prefix = model.ends_with('*');
  row.pattern = row.is_prefix ? model.substr(0, model.size() - 1) : model;
  if (node["valid_from"]) row.valid_from = date(node["valid_from"]);
  if (const YAML::Node prices = node["per_million"]) {
    allow_only(prices, {"input", "cache_read", "cache_write", "output", "reasoning"});
    const auto each = [&](const char* key) -> std::optional<double> {
      if (!prices[key]) return std::nullopt;
      return dollars(prices[key]) * (kNanosPerDollar / kTokensPerMillion);
    };
    row.input = each("input");
    row.cache_read = each("cache_read");
    row.cache_write = each("cache_write");
    row.output = each("output");
    row.reasoning = each("reasoning");
    if (!row.input || !row.output) throw Refused(prices, "per_million needs input and output");
  }
  if (node["per_image"]) row.image = dollars(node["per_image"]) * kNanosPerDollar;
  if (node["per_video_second"]) row.video_second = dollars(node["per_video_second"]) * kNanosPerDollar;
  if (!row.input && !row.image && !row.video_second)
    throw Refused(node, "expected per_million, per_image or per_video_second");
  row.name = fmt::format("{}/{}", provider, model);
  if (row.valid_from != 0) row.name += "@" + format_rfc3339(row.valid_from).substr(0, 10);
  return row;
}

// Nothing when something was used that the row has no price for: a sum with a hole in it is not a cost.
std::optional<std::int64_t> cost_of(const Row& row, const TokenClasses& tokens, const Usage& usage) {
  double nanos = 0;
  const auto add = [&](double used, std::optional<double> price) {
    if (used == 0) return true;
    if (!price) return false;
    nanos += used * *price;
    return true;
  };
  const auto or_else = [](std::optional<double> price, std::optional<double> otherwise) {
    return price ? price : otherwise;
  };
  const bool whole = add(static_cast<double>(tokens.fresh), row.input) &&
                     add(static_cast<double>(tokens.cache_read), or_else(row.cache_read, row.input)) &&
                     add(static_cast<double>(tokens.cache_write), or_else(row.cache_write, row.input)) &&
                     add(static_cast<double>(tokens.output), row.output) &&
                     add(static_cast<double>(tokens.reasoning), or_else(row.reasoning, row.output)) &&
                     add(static_cast<double>(usage.images), row.image) && add(usage.video_seconds, row.video_second);
  if (!whole || nanos > 9e18) return std::nullopt;
  return std::llround(nanos);
}

}  // namespace

TokenClasses disjoint(const Usage& usage) {
  TokenClasses tokens;
  tokens.cache_read = usage.cache_read;
  tokens.cache_write = usage.cache_write;
  const std::uint64_t cached = usage.cache_read + usage.cache_write;
  tokens.fresh = usage.input >= cached ? usage.input - cached : usage.input;
  tokens.reasoning = usage.reasoning;
  tokens.output = usage.output >= usage.reasoning ? usage.output - usage.reasoning : usage.output;
  return tokens;
}

struct PriceTable::Impl {
  std::string version;
  std::map<std::string, std::string, std::less<>> providers;
  std::map<std::string, std::vector<Row>, std::less<>> rows;  // by provider

  const Row* find(std::string_view provider, std::string_view model, UnixNanos at) const {
    if (const auto other = providers.find(provider); other != providers.end()) provider = other->second;
    const auto list = rows.find(provider);
    if (list == rows.end()) return nullptr;
    const Row* best = nullptr;
    const auto rank = [](const Row& row) { return std::tuple(!row.is_prefix, row.pattern.size(), row.valid_from); };
    for (const Row& row : list->second) {
      const bool matches = row.is_prefix ? model.starts_with(row.pattern) : model == row.pattern;
      if (matches && row.valid_from <= at && (best == nullptr || rank(row) >= rank(*best))) best = &row;
    }
    return best;
  }
};

Result<PriceTable> PriceTable::parse(std::string_view yaml) {
  auto impl = std::make_unique<Impl>();
  try {
    const YAML::Node root = YAML::Load(std::string(yaml));
    if (!root.IsMap()) throw Refused(root, "expected version, models and providers");
    allow_only(root, {"version", "models", "providers"});
    if (root["version"]) impl->version = root["version"].as<std::string>();
    for (const auto& entry : root["providers"]) {
      impl->providers.emplace(entry.first.as<std::string>(), entry.second.as<std::string>());
    }
    for (const YAML::Node& node : root["models"]) {
      if (!node["provider"]) throw Refused(node, "a price needs a provider");
      const auto provider = node["provider"].as<std::string>();
      impl->rows[provider].push_back(read_row(node, provider));
    }
  } catch (const Refused& error) {
    return fail(ErrorCode::kInvalidArgument, error.what());
  } catch (const YAML::Exception& error) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("line {}: {}", error.mark.line + 1, error.msg));
  }
  return PriceTable(std::move(impl));
}

PriceTable::PriceTable(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
PriceTable::PriceTable(PriceTable&&) noexcept = default;
PriceTable& PriceTable::operator=(PriceTable&&) noexcept = default;
PriceTable::~PriceTable() = default;

PriceQuote PriceTable::price(std::string_view provider, std::string_view model, const Usage& usage,
                             UnixNanos at) const {
  PriceQuote quote;
  quote.tokens = disjoint(usage);
  const Row* row = impl_->find(provider, model, at);
  if (row == nullptr) return quote;
  quote.cost_nano_usd = cost_of(*row, quote.tokens, usage);
  if (quote.cost_nano_usd) quote.price_row = row->name;
  return quote;
}

const std::string& PriceTable::version() const { return impl_->version; }

}  // namespace fettle::ingest
