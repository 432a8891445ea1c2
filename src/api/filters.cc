#include "api/filters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <optional>

#include "api/times.h"
#include "core/ids.h"
#include "core/json.h"

namespace fettle::api {
namespace {

using telemetry::AttributeFilter;
using telemetry::IdentifierFilter;

constexpr std::size_t kTextTermsMax = 32;

std::unexpected<Error> refused(std::string_view name, std::string_view why) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("parameter '{}': {}", name.substr(0, 128), why));
}

bool contains(std::span<const std::string_view> names, std::string_view name) {
  return std::ranges::find(names, name) != names.end();
}

std::optional<std::uint8_t> index_of(std::span<const std::string_view> names, std::string_view name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<std::uint8_t>(found - names.begin());
}

// Several values of one kind or key are alternatives, so they share an entry.
void add(std::vector<IdentifierFilter>& filters, std::string_view kind, const std::string& value) {
  for (IdentifierFilter& filter : filters) {
    if (filter.kind == kind) return filter.any_of.push_back(value);
  }
  filters.push_back({.kind = std::string(kind), .any_of = {value}});
}

void add(std::vector<AttributeFilter>& filters, std::string_view key, const std::string& value, bool of_resource) {
  for (AttributeFilter& filter : filters) {
    if (filter.key == key && filter.of_resource == of_resource) return filter.any_of.push_back(value);
  }
  filters.push_back({.key = std::string(key), .any_of = {value}, .of_resource = of_resource});
}

Result<std::chrono::nanoseconds> duration_ms(std::string_view name, const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value) || value < 0 || value > 1e12) {
    return refused(name, "expected a number of milliseconds, 0 or more");
  }
  return std::chrono::nanoseconds(static_cast<std::int64_t>(value * 1e6));
}

Result<telemetry::Order> order_of(const std::string& text) {
  if (text == "desc") return telemetry::Order::kNewestFirst;
  if (text == "asc") return telemetry::Order::kOldestFirst;
  return refused("order", "expected 'desc' (newest first) or 'asc'");
}

Result<void> check_value(std::string_view name, const std::string& value) {
  if (value.empty()) return refused(name, "is empty; leave it out instead");
  if (value.size() > kFilterValueBytesMax) {
    return refused(name, fmt::format("is longer than {} bytes", kFilterValueBytesMax));
  }
  if (!is_utf8(value)) return refused(name, "is not valid UTF-8");
  return {};
}

Result<void> check_range(const telemetry::TimeRange& time) {
  if (time.from && time.to && *time.from >= *time.to) return refused("to", "must be later than 'from'");
  return {};
}

// What spans, logs and journeys have in common. True when the parameter was taken.
Result<bool> take_time(telemetry::TimeRange& time, const std::string& name, const std::string& value,
                       const FilterContext& context) {
  if (name != "from" && name != "to") return false;
  auto parsed = parse_time(value, context.now);
  if (!parsed) return refused(name, parsed.error().message());
  (name == "from" ? time.from : time.to) = *parsed;
  return true;
}

template <class Filter>
Result<bool> take_common(Filter& filter, const std::string& name, const std::string& value,
                         const FilterContext& context) {
  if (auto taken = take_time(filter.time, name, value, context); !taken || *taken) return taken;
  if (name == "trace_id") {
    filter.trace_id = value;
  } else if (name == "span_id") {
    filter.span_id = value;
  } else if (name == "service") {
    filter.services.push_back(value);
  } else if (name == "order") {
    auto order = order_of(value);
    if (!order) return std::unexpected(std::move(order).error());
    filter.order = *order;
  } else if (name == "q") {
    auto text = parse_text(value);
    if (!text) return std::unexpected(std::move(text).error());
    filter.text = std::move(*text);
  } else if (name.starts_with("attr.") && name.size() > 5) {
    add(filter.attributes, std::string_view(name).substr(5), value, false);
  } else if (name.starts_with("resource.") && name.size() > 9) {
    add(filter.attributes, std::string_view(name).substr(9), value, true);
  } else if (std::ranges::find(context.identifier_kinds, name) != context.identifier_kinds.end()) {
    add(filter.identifiers, name, value);
  } else {
    return false;
  }
  return true;
}

std::unexpected<Error> unknown(std::string_view name) {
  return refused(name, "is not known here; attributes are 'attr.<key>', and docs/openapi.yaml lists the rest");
}

// Letters, digits and whatever is not ASCII.
bool is_one_word(std::string_view text) {
  return std::ranges::all_of(text, [](unsigned char c) { return c >= 0x80 || std::isalnum(c) != 0; });
}

// Walks over the parameters: `take` answers whether it took one.
template <class Take>
Result<void> each(const http::Query& query, std::span<const std::string_view> others, Take&& take) {
  std::size_t values = 0;
  for (const auto& [name, value] : query) {
    if (contains(others, name)) continue;
    if (++values > kFilterValuesMax)
      return refused(name, fmt::format("is one of more than {} filters", kFilterValuesMax));
    if (auto good = check_value(name, value); !good) return good;
    Result<bool> taken = take(name, value);
    if (!taken) return std::unexpected(std::move(taken).error());
    if (!*taken && name != "workspace") return unknown(name);
  }
  return {};
}

}  // namespace

Result<telemetry::SpanFilter> span_filter(const http::Query& query, const FilterContext& context,
                                          std::span<const std::string_view> others) {
  static constexpr std::string_view kStatuses[] = {"unset", "ok", "error"};
  static constexpr std::string_view kKinds[] = {"unspecified", "internal", "server", "client", "producer", "consumer"};
  telemetry::SpanFilter filter;
  auto done = each(query, others, [&](const std::string& name, const std::string& value) -> Result<bool> {
    if (name == "name") {
      filter.names.push_back(value);
    } else if (name == "status") {
      const auto status = index_of(kStatuses, value);
      if (!status) return refused(name, "expected unset, ok or error");
      filter.statuses.push_back(*status);
    } else if (name == "kind") {
      const auto kind = index_of(kKinds, value);
      if (!kind) return refused(name, "expected internal, server, client, producer, consumer or unspecified");
      filter.kinds.push_back(*kind);
    } else if (name == "duration_ms_min" || name == "duration_ms_max") {
      auto duration = duration_ms(name, value);
      if (!duration) return std::unexpected(std::move(duration).error());
      (name == "duration_ms_min" ? filter.duration_min : filter.duration_max) = *duration;
    } else {
      return take_common(filter, name, value, context);
    }
    return true;
  });
  if (done) done = check_range(filter.time);
  if (!done) return std::unexpected(std::move(done).error());
  return filter;
}

Result<telemetry::LogFilter> log_filter(const http::Query& query, const FilterContext& context,
                                        std::span<const std::string_view> others) {
  telemetry::LogFilter filter;
  auto done = each(query, others, [&](const std::string& name, const std::string& value) -> Result<bool> {
    if (name == "level") {
      const auto level = index_of(telemetry::kLevelNames, value);
      if (!level) return refused(name, "expected trace, debug, info, warn, error or fatal");
      filter.level_min = static_cast<telemetry::Level>(*level);
    } else if (name == "event_name") {
      filter.event_names.push_back(value);
    } else {
      return take_common(filter, name, value, context);
    }
    return true;
  });
  if (done) done = check_range(filter.time);
  if (!done) return std::unexpected(std::move(done).error());
  return filter;
}

Result<telemetry::JourneyFilter> journey_filter(std::string value, const http::Query& query,
                                                const FilterContext& context,
                                                std::span<const std::string_view> others) {
  if (auto good = check_value("value", value); !good) return std::unexpected(std::move(good).error());
  telemetry::JourneyFilter filter{
      .value = std::move(value), .kind = "", .time = {}, .spans = false, .logs = false, .events = false};
  auto done = each(query, others, [&](const std::string& name, const std::string& text) -> Result<bool> {
    if (name == "items") {
      for (std::string_view rest = text; !rest.empty();) {
        const std::string_view item = rest.substr(0, rest.find(','));
        rest.remove_prefix(std::min(item.size() + 1, rest.size()));
        bool* const wanted = item == "span"    ? &filter.spans
                             : item == "log"   ? &filter.logs
                             : item == "event" ? &filter.events
                                               : nullptr;
        if (wanted == nullptr) return refused(name, "expected span, log and event, separated by commas");
        *wanted = true;
      }
      return true;
    }
    if (name != "kind") return take_time(filter.time, name, text, context);
    if (std::ranges::find(context.identifier_kinds, text) == context.identifier_kinds.end()) {
      return refused(name, fmt::format("'{}' is not a kind of identifier", text.substr(0, 64)));
    }
    filter.kind = text;
    return true;
  });
  if (done) done = check_range(filter.time);
  if (!done) return std::unexpected(std::move(done).error());
  return filter;
}

Result<std::uint32_t> number_parameter(const http::Query& query, std::string_view name, std::uint32_t least,
                                       std::uint32_t most, std::uint32_t otherwise) {
  const std::string* text = query.find(name);
  if (text == nullptr) return otherwise;
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text->data(), text->data() + text->size(), value);
  if (error != std::errc() || end != text->data() + text->size() || value < least || value > most) {
    return refused(name, fmt::format("expected a whole number from {} to {}", least, most));
  }
  return value;
}

Result<telemetry::PageRequest> page_request(const http::Query& query) {
  telemetry::PageRequest page;
  auto rows = number_parameter(query, "limit", 1, kPageRowsMax, page.rows_max);
  if (!rows) return std::unexpected(std::move(rows).error());
  page.rows_max = *rows;
  if (const std::string* cursor = query.find("cursor")) {
    if (cursor->empty() || cursor->size() > 1'024) return refused("cursor", "is not one that an answer gave");
    page.after = telemetry::Cursor{*cursor};
  }
  return page;
}

Result<void> only_parameters(const http::Query& query, std::span<const std::string_view> known) {
  for (const auto& [name, value] : query) {
    // Every route may be told the workspace so; the authenticator has read it.
    if (name != "workspace" && !contains(known, name)) return unknown(name);
  }
  return {};
}

Result<telemetry::TextFilter> parse_text(std::string_view text) {
  telemetry::TextFilter filter;
  std::size_t terms = 0;
  while (true) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t' || text.front() == '\n'))
      text.remove_prefix(1);
    if (text.empty()) return filter;
    if (++terms > kTextTermsMax) return refused("q", fmt::format("has more than {} words", kTextTermsMax));
    if (text.front() == '"') {
      const std::size_t end = text.find('"', 1);
      const std::string_view phrase = text.substr(1, end == std::string_view::npos ? end : end - 1);
      if (!phrase.empty()) filter.phrases.emplace_back(phrase);
      text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
      continue;
    }
    const std::string_view word = text.substr(0, text.find_first_of(" \t\n\""));
    text.remove_prefix(word.size());
    const bool starred = word.front() == '*' || word.back() == '*';
    if (!starred) {
      // "order-17" is two words for the store's index, next to each other.
      (is_one_word(word) ? filter.words : filter.phrases).emplace_back(word);
      continue;
    }
    std::string_view part = word;
    while (!part.empty() && part.front() == '*') part.remove_prefix(1);
    while (!part.empty() && part.back() == '*') part.remove_suffix(1);
    if (!part.empty()) filter.parts.emplace_back(part);
  }
}

}  // namespace fettle::api
