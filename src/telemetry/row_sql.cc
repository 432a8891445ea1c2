#include "telemetry/row_sql.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <utility>

namespace fettle::telemetry {
namespace {

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

// A trace id in hex is stored in lower case; a foreign one as it was sent.
std::string stored_id(std::string_view id, std::size_t hex_digits) {
  const bool is_hex_id =
      id.size() == hex_digits && std::ranges::all_of(id, [](unsigned char c) { return std::isxdigit(c) != 0; });
  return is_hex_id ? lower(id) : std::string(id);
}

constexpr std::size_t kTraceIdDigits = 32;
constexpr std::size_t kSpanIdDigits = 16;

void add_in(Condition& condition, std::string_view column, const std::vector<std::string>& values) {
  if (!values.empty()) condition.add(fmt::format("{} IN {}", column, condition.bind_list(values)));
}

void add_numbers(Condition& condition, std::string_view column, const std::vector<std::uint8_t>& values) {
  if (values.empty()) return;
  std::string list;
  for (const std::uint8_t value : values) list += fmt::format("{}{}", list.empty() ? "" : ", ", value);
  condition.add(fmt::format("{} IN ({})", column, list));
}

void add_ids(Condition& condition, const std::string& trace_id, const std::string& span_id) {
  if (!trace_id.empty()) condition.add("trace_id = " + condition.bind("String", stored_id(trace_id, kTraceIdDigits)));
  if (!span_id.empty()) condition.add("span_id = " + condition.bind("String", stored_id(span_id, kSpanIdDigits)));
}

void add_identifiers(Condition& condition, const std::vector<IdentifierFilter>& filters,
                     const IdentifierCatalogue& catalogue) {
  for (const IdentifierFilter& filter : filters) {
    const IdentifierDefinition* definition = catalogue.by_name(filter.kind);
    if (definition == nullptr) {
      condition.add("0");  // a kind that does not exist has no rows
    } else if (definition->is_column) {
      add_in(condition, definition->name, filter.any_of);
    } else if (filter.kind == "trace_id" || filter.kind == "span_id") {
      add_in(condition, filter.kind, filter.any_of);
    }
  }
}

// A key's path in the JSON column: see AttributesColumn.
std::string path_of(std::string_view key) {
  std::string path;
  for (std::size_t i = 0; i < key.size(); ++i) {
    const std::string_view rest = key.substr(i);
    if (key[i] == '.') {
      path += "%2E";
    } else if (key[i] == '%' && (rest.starts_with("%2E") || rest.starts_with("%25"))) {
      path += "%25";
    } else {
      path += key[i];
    }
  }
  return path;
}

void add_attributes(Condition& condition, const std::vector<AttributeFilter>& filters,
                    const IdentifierCatalogue& catalogue) {
  for (const AttributeFilter& filter : filters) {
    if (filter.any_of.empty()) continue;
    const std::string values = condition.bind_list(filter.any_of);
    if (filter.of_resource) {
      // JSONExtractRaw leaves quotes around text, which toString of the parsed value would not.
      const std::string key = condition.bind("String", filter.key);
      condition.add(fmt::format("(JSONExtractString(resource, {0}) IN {1} OR JSONExtractRaw(resource, {0}) IN {1})",
                                key, values));
      continue;
    }
    std::string matches = fmt::format("ifNull(toString(getSubcolumn(attrs, {})), '') IN {}",
                                      condition.bind("String", path_of(filter.key)), values);
    const IdentifierDefinition* definition = catalogue.by_name(filter.key);
    if (definition != nullptr && definition->is_column) {
      matches = fmt::format("({} OR (bitTest(promoted, {}) AND {} IN {}))", matches, definition->kind, definition->name,
                            values);
    }
    condition.add(matches);
  }
}

bool is_plain_word(std::string_view word) {
  return !word.empty() && std::ranges::all_of(word, [](unsigned char c) { return std::isalnum(c) != 0 && c < 0x80; });
}

// In the body of a log: whole words by the text index, the rest by looking.
void add_body_text(Condition& condition, const TextFilter& text) {
  std::vector<std::string> words;
  const auto add_words_of = [&](std::string_view phrase) {
    std::string word;
    for (const char c : std::string(phrase) + ' ') {
      if (std::isalnum(static_cast<unsigned char>(c)) != 0) {
        word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      } else if (!word.empty()) {
        words.push_back(std::exchange(word, {}));
      }
    }
  };
  for (const std::string& word : text.words) {
    if (is_plain_word(word)) {
      words.push_back(lower(word));
    } else {
      condition.add(fmt::format("positionCaseInsensitiveUTF8(body, {}) > 0", condition.bind("String", word)));
    }
  }
  for (const std::string& phrase : text.phrases) {
    if (std::ranges::all_of(phrase, [](unsigned char c) { return c < 0x80; })) add_words_of(phrase);
    condition.add(fmt::format("positionCaseInsensitiveUTF8(body, {}) > 0", condition.bind("String", phrase)));
  }
  for (const std::string& part : text.parts) {
    condition.add(fmt::format("positionCaseInsensitiveUTF8(body, {}) > 0", condition.bind("String", part)));
  }
  if (!words.empty()) condition.add(fmt::format("hasAllTokens(body, {})", condition.bind_list(words)));
}

// In a span: its name, its status message and its attributes.
void add_span_text(Condition& condition, const TextFilter& text) {
  constexpr std::string_view kText = "concat(name, ' ', status_message, ' ', toJSONString(attrs))";
  for (const std::string& word : text.words) {
    const std::string bound = condition.bind("String", word);
    condition.add(is_plain_word(word) ? fmt::format("hasTokenCaseInsensitive({}, {})", kText, bound)
                                      : fmt::format("positionCaseInsensitiveUTF8({}, {}) > 0", kText, bound));
  }
  for (const auto* list : {&text.phrases, &text.parts}) {
    for (const std::string& part : *list) {
      condition.add(fmt::format("positionCaseInsensitiveUTF8({}, {}) > 0", kText, condition.bind("String", part)));
    }
  }
}

}  // namespace

void Condition::add(std::string_view sql) {
  if (!sql_.empty()) sql_ += " AND ";
  sql_ += sql;
}

std::string Condition::bind(std::string_view type, std::string value) {
  std::string name = fmt::format("p{}", parameters_.size());
  std::string sql = fmt::format("{{{}:{}}}", name, type);
  parameters_.emplace_back(std::move(name), std::move(value));
  return sql;
}

std::string Condition::bind_list(const std::vector<std::string>& values) {
  // An Array parameter has escapes of its own within those of every parameter, and stores do not agree on which of the
  // two are read: a value that needs any travels alone.
  const bool is_plain = std::ranges::none_of(values, [](const std::string& value) {
    return std::ranges::any_of(value,
                               [](char c) { return c == '\'' || c == '\\' || static_cast<unsigned char>(c) < ' '; });
  });
  std::string out = "[";
  for (const std::string& value : values) {
    if (out.size() > 1) out += ',';
    out += is_plain ? fmt::format("'{}'", value) : bind("String", value);
  }
  out += ']';
  return is_plain ? bind("Array(String)", std::move(out)) : out;
}

void add_scope(Condition& condition, const Scope& scope) {
  if (scope.clients.empty()) return;
  std::vector<std::string> clients;
  for (const ClientId& client : scope.clients) clients.push_back(client.value);
  condition.add(fmt::format("client_id IN {}", condition.bind_list(clients)));
}

void add_time(Condition& condition, const TimeRange& time) {
  if (time.from) condition.add("ts >= " + condition.bind("DateTime64(9, 'UTC')", sql_time(*time.from)));
  if (time.to) condition.add("ts < " + condition.bind("DateTime64(9, 'UTC')", sql_time(*time.to)));
}

void add_filter(Condition& condition, const SpanFilter& filter, const IdentifierCatalogue& catalogue) {
  add_ids(condition, filter.trace_id, filter.span_id);
  add_in(condition, "service_name", filter.services);
  add_in(condition, "name", filter.names);
  add_numbers(condition, "status_code", filter.statuses);
  add_numbers(condition, "kind_code", filter.kinds);
  if (filter.duration_min)
    condition.add(fmt::format("duration_ns >= {}", std::max<std::int64_t>(0, filter.duration_min->count())));
  if (filter.duration_max)
    condition.add(fmt::format("duration_ns <= {}", std::max<std::int64_t>(0, filter.duration_max->count())));
  add_identifiers(condition, filter.identifiers, catalogue);
  add_attributes(condition, filter.attributes, catalogue);
  add_span_text(condition, filter.text);
}

void add_filter(Condition& condition, const LogFilter& filter, const IdentifierCatalogue& catalogue) {
  add_ids(condition, filter.trace_id, filter.span_id);
  add_in(condition, "service_name", filter.services);
  add_in(condition, "event_name", filter.event_names);
  if (filter.level_min && *filter.level_min != Level::kUnset) {
    condition.add(fmt::format("severity_number >= {}", lowest_severity_number(*filter.level_min)));
  }
  add_identifiers(condition, filter.identifiers, catalogue);
  add_attributes(condition, filter.attributes, catalogue);
  add_body_text(condition, filter.text);
}

std::string sql_time(UnixNanos t) {
  // Outside of what the columns hold nothing lies; the store would refuse such a time.
  constexpr UnixNanos kFirst = 0;
  constexpr UnixNanos kLast = 9'214'646'400 * kNanosPerSecond;  // 2261-12-31
  t = std::clamp(t, kFirst, kLast);
  std::string text = format_rfc3339(t - t % kNanosPerSecond);
  text[10] = ' ';
  text.pop_back();
  return text + fmt::format(".{:09}", t % kNanosPerSecond);
}

}  // namespace fettle::telemetry
