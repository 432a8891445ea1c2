#include "ingest/ndjson.h"

#include <absl/strings/string_view.h>
#include <absl/time/time.h>
#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <optional>
#include <tuple>

#include "core/ids.h"
#include "core/json.h"

namespace fettle::ingest {
namespace {

namespace dom = simdjson::dom;

constexpr std::size_t kErrorsMax = 20;
constexpr std::size_t kTraceIdBytes = 16;
constexpr std::size_t kSpanIdBytes = 8;

enum class Dialect { kGeneric, kPino, kStructlog };

// Numbers of the OpenTelemetry logs data model.
constexpr int kTrace = 1, kDebug = 5, kInfo = 9, kNotice = 10, kWarn = 13, kError = 17, kCritical = 18, kFatal = 21;

int severity_of_text(std::string_view text) {
  static constexpr std::pair<std::string_view, int> kNames[] = {
      {"trace", kTrace},    {"verbose", kTrace}, {"debug", kDebug},  {"info", kInfo},       {"information", kInfo},
      {"notice", kNotice},  {"warn", kWarn},     {"warning", kWarn}, {"error", kError},     {"err", kError},
      {"critical", kFatal}, {"fatal", kFatal},   {"panic", kFatal},  {"emergency", kFatal}, {"alert", kCritical + 1},
  };
  for (const auto& [name, number] : kNames) {
    if (std::ranges::equal(text, name, [](unsigned char a, unsigned char b) { return std::tolower(a) == b; }))
      return number;
  }
  return 0;
}

// A custom pino level takes its lower neighbour's number + 1.
int severity_of_pino(std::int64_t level) {
  static constexpr std::pair<std::int64_t, int> kLevels[] = {{10, kTrace}, {20, kDebug}, {30, kInfo},
                                                             {40, kWarn},  {50, kError}, {60, kFatal}};
  int number = 0;
  for (const auto& [at, severity] : kLevels) {
    if (level == at) return severity;
    if (level > at) number = severity + 1;
  }
  return number;
}

int severity_of_python(std::int64_t level) {
  if (level >= 50) return kFatal;
  if (level >= 40) return kError;
  if (level >= 30) return kWarn;
  if (level >= 20) return kInfo;
  return level >= 10 ? kDebug : 0;
}

// Seconds, milliseconds, microseconds or nanoseconds since the epoch, told apart by their magnitude: how many
// nanoseconds one unit of `value` is.
std::int64_t nanos_per_unit(double value) {
  if (value < 1e11) return kNanosPerSecond;
  if (value < 1e14) return kNanosPerMilli;
  return value < 1e17 ? 1'000 : 1;
}

UnixNanos time_of_integer(std::int64_t value) {
  return value > 0 ? value * nanos_per_unit(static_cast<double>(value)) : 0;
}

UnixNanos time_of_number(double value) {
  if (!std::isfinite(value) || value <= 0 || value >= 9.2e18) return 0;
  // Whole units apart from their fraction: as one product a double is off by some dozens of nanoseconds.
  const double whole = std::floor(value);
  const std::int64_t unit = nanos_per_unit(value);
  return static_cast<std::int64_t>(whole) * unit + std::llround((value - whole) * static_cast<double>(unit));
}

struct ParsedTime {
  UnixNanos time = 0;
  bool without_zone = false;
};

ParsedTime time_of_text(std::string_view text) {
  absl::Time time;
  std::string error;
  const absl::string_view view(text.data(), text.size());
  // Years outside what fits into nanoseconds since the epoch become "unknown" and not a wrong date.
  auto nanos = [&] {
    return time > absl::FromUnixNanos(0) && time < absl::FromUnixNanos(INT64_MAX) ? absl::ToUnixNanos(time) : 0;
  };
  if (absl::ParseTime(absl::RFC3339_full, view, &time, &error)) return {nanos(), false};
  for (const char* layout : {"%Y-%m-%dT%H:%M:%E*S", "%Y-%m-%d %H:%M:%E*S"}) {
    if (absl::ParseTime(layout, view, absl::UTCTimeZone(), &time, &error)) return {nanos(), true};
  }
  return {};
}

bool is_event_name(std::string_view text) {
  constexpr std::size_t kLengthMax = 256;
  auto letter = [](char c) { return c >= 'a' && c <= 'z'; };
  return !text.empty() && text.size() <= kLengthMax && letter(text.front()) &&
         std::ranges::all_of(text, [&](char c) { return letter(c) || (c >= '0' && c <= '9') || c == '_' || c == '.'; });
}

std::string_view trim_end(std::string_view text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.remove_suffix(1);
  return text;
}

// One line with its wrapper off.
struct Line {
  std::string_view text;
  std::string_view stream;  // "stdout", "stderr" or empty
  UnixNanos observed = 0;
};

class Decoder {
 public:
  Decoder(const NdjsonOptions& options, otlp::Logs& out) : options_(options), out_(out) {
    otlp::clear(out);
    out.scopes.emplace_back();
  }

  Result<NdjsonSummary> lines(std::string_view body) {
    while (!body.empty()) {
      const std::size_t end = std::min(body.find('\n'), body.size());
      ++line_number_;
      if (auto ok = raw_line(trim_end(body.substr(0, end))); !ok) return std::unexpected(std::move(ok).error());
      body.remove_prefix(std::min(end + 1, body.size()));
    }
    // A partial line whose end never came is a line all the same.
    for (auto& [stream, partial] : partials_) {
      if (!partial.text.empty()) {
        if (auto ok = plain_line({out_.keep(std::move(partial.text)), stream, partial.observed}); !ok) {
          return std::unexpected(std::move(ok).error());
        }
      }
    }
    return std::move(summary_);
  }

  Result<NdjsonSummary> whole(std::string_view body) {
    dom::element root;
    if (parser_.parse(body.data(), body.size(), true).get(root) != simdjson::SUCCESS) {
      return fail(ErrorCode::kInvalidArgument, "the body is not JSON: expected one object or an array of objects");
    }
    dom::array items;
    if (root.get(items) != simdjson::SUCCESS) return one(root, 1);
    std::uint64_t number = 0;
    for (const dom::element item : items) {
      if (auto ok = one(item, ++number); !ok) return ok;
    }
    return std::move(summary_);
  }

 private:
  struct Partial {
    std::string text;
    UnixNanos observed = 0;
  };

  Result<NdjsonSummary> one(dom::element item, std::uint64_t number) {
    line_number_ = number;
    dom::object object;
    if (item.get(object) != simdjson::SUCCESS) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("item {}: expected a JSON object", number));
    }
    if (auto ok = count_line(); !ok) return std::unexpected(std::move(ok).error());
    map_object(object, {{}, {}, options_.received_at});
    return std::move(summary_);
  }

  Result<void> count_line() {
    if (out_.records.size() >= options_.limits.items_max) {
      return fail(ErrorCode::kTooLarge, fmt::format("more than {} lines in one request", options_.limits.items_max));
    }
    ++summary_.lines;
    return {};
  }

  Result<void> raw_line(std::string_view text) {
    if (text.empty()) return {};
    dom::object object;
    if (text.front() == '{' && parser_.parse(text.data(), text.size(), true).get(object) == simdjson::SUCCESS) {
      std::string_view chunk, stream, time;
      const bool is_docker = object["log"].get(chunk) == simdjson::SUCCESS &&
                             (object["stream"].get(stream) == simdjson::SUCCESS) &&
                             object["time"].get(time) == simdjson::SUCCESS && object.size() <= 4;
      if (!is_docker) {
        if (auto ok = count_line(); !ok) return ok;
        map_object(object, {text, {}, options_.received_at});
        return {};
      }
      // The parser's strings are gone with the next parse, which plain_line() may do.
      return container_line(std::string(chunk), out_.keep(std::string(stream)), time_of_text(time).time,
                            !chunk.ends_with('\n'));
    }
    return cri_line(text);
  }

  // "<RFC 3339> stdout|stderr P|F <text>", else a plain line.
  Result<void> cri_line(std::string_view text) {
    const std::size_t after_time = text.find(' ');
    if (after_time != std::string_view::npos && after_time >= 20 && after_time <= 35) {
      const std::string_view rest = text.substr(after_time + 1);
      for (const std::string_view stream : {"stdout", "stderr"}) {
        if (!rest.starts_with(stream) || rest.size() < stream.size() + 3) continue;
        const std::string_view tag = rest.substr(stream.size(), 3);
        const ParsedTime time = time_of_text(text.substr(0, after_time));
        if (time.time != 0 && (tag == " P " || tag == " F ")) {
          return container_line(std::string(rest.substr(stream.size() + 3)), stream, time.time, tag == " P ");
        }
      }
    }
    return plain_line({text, {}, options_.received_at});
  }

  Result<void> container_line(std::string chunk, std::string_view stream, UnixNanos time, bool is_partial) {
    Partial& partial = partials_[stream];
    if (partial.text.empty()) partial.observed = time;
    if (partial.text.size() < options_.line_bytes_max) {
      partial.text.append(chunk, 0, options_.line_bytes_max - partial.text.size());
    }
    if (is_partial) return {};
    const std::string_view whole = out_.keep(std::move(partial.text));
    partial.text.clear();
    return plain_line({trim_end(whole), stream, partial.observed});
  }

  Result<void> plain_line(Line line) {
    if (line.text.empty()) return {};
    line.text = line.text.substr(0, options_.line_bytes_max);
    dom::object object;
    if (line.text.front() == '{') {
      if (parser_.parse(line.text.data(), line.text.size(), true).get(object) == simdjson::SUCCESS) {
        if (auto ok = count_line(); !ok) return ok;
        map_object(object, line);
        return {};
      }
      ++summary_.unparsable;
      if (summary_.errors.size() < kErrorsMax) {
        summary_.errors.push_back({line_number_, "begins like JSON but is not; kept as text"});
      }
    }
    if (continues_previous(line)) return {};
    if (auto ok = count_line(); !ok) return ok;
    otlp::LogRecord& record = new_record(line);
    record.body = otlp::Value::of_string(line.text);
    record.resource = resource_for({}, {}, 0, line.stream);
    last_text_ = {out_.records.size() - 1, line.stream};
    return {};
  }

  // Lines of a stack trace: indented, or one of the words that open a further part of it.
  bool continues_previous(const Line& line) {
    const bool is_continuation = line.text.front() == ' ' || line.text.front() == '\t' ||
                                 line.text.starts_with("Caused by:") || line.text.starts_with("During handling of");
    if (!is_continuation || !last_text_ || last_text_->first + 1 != out_.records.size() ||
        last_text_->second != line.stream) {
      return false;
    }
    otlp::LogRecord& record = out_.records[last_text_->first];
    if (record.body.size + line.text.size() + 1 > options_.line_bytes_max) return false;
    if (joined_record_ != last_text_->first) {
      joined_ = &out_.arena.emplace_back(record.body.text());
      joined_record_ = last_text_->first;
    }
    *joined_ += '\n';
    *joined_ += line.text;
    record.body.set_text(*joined_);
    return true;
  }

  otlp::LogRecord& new_record(const Line& line) {
    otlp::LogRecord& record = out_.records.emplace_back();
    record.observed_time = line.observed != 0 ? line.observed : options_.received_at;
    return record;
  }

  std::string_view keep(std::string_view text) { return out_.keep(std::string(text)); }

  static std::optional<std::int64_t> integer_of(dom::element value) {
    std::int64_t integer = 0;
    if (value.get(integer) == simdjson::SUCCESS) return integer;
    double number = 0;
    if (value.get(number) == simdjson::SUCCESS && std::abs(number) < 9e15) return static_cast<std::int64_t>(number);
    return std::nullopt;
  }

  otlp::Value to_value(dom::element element, std::uint32_t depth) {
    otlp::Value value;
    switch (element.type()) {
      case dom::element_type::STRING: {
        std::string_view text = std::string_view(element);
        return otlp::Value::of_string(keep(text.substr(0, options_.limits.string_bytes_max)));
      }
      case dom::element_type::BOOL:
        value.type = otlp::ValueType::kBool;
        value.boolean = bool(element);
        return value;
      case dom::element_type::INT64:
        value.type = otlp::ValueType::kInt;
        value.integer = std::int64_t(element);
        return value;
      case dom::element_type::UINT64:  // beyond int64: kept exact, as text
        return otlp::Value::of_string(keep(std::to_string(std::uint64_t(element))));
      case dom::element_type::DOUBLE:
        value.type = otlp::ValueType::kDouble;
        value.number = double(element);
        return value;
      case dom::element_type::NULL_VALUE: return value;
      case dom::element_type::ARRAY:
      case dom::element_type::OBJECT: break;
    }
    if (depth >= options_.limits.nesting_max) return otlp::Value::of_string(keep(simdjson::minify(element)));
    if (element.type() == dom::element_type::ARRAY) {
      std::vector<otlp::Value> children;
      for (const dom::element child : dom::array(element)) children.push_back(to_value(child, depth + 1));
      value.type = otlp::ValueType::kArray;
      value.size = static_cast<std::uint32_t>(children.size());
      value.first = static_cast<std::uint32_t>(out_.values.size());
      out_.values.insert(out_.values.end(), children.begin(), children.end());
      return value;
    }
    std::vector<otlp::Attribute> children;
    for (const auto [key, child] : dom::object(element)) set_attribute(children, key, to_value(child, depth + 1));
    value.type = otlp::ValueType::kMap;
    value.size = static_cast<std::uint32_t>(children.size());
    value.first = static_cast<std::uint32_t>(out_.attributes.size());
    out_.attributes.insert(out_.attributes.end(), children.begin(), children.end());
    return value;
  }

  // Duplicate keys: the last wins, counted.
  void set_attribute(std::vector<otlp::Attribute>& list, std::string_view key, otlp::Value value) {
    const auto existing = std::ranges::find(list, key, &otlp::Attribute::key);
    if (existing != list.end()) {
      ++out_.duplicate_attributes;
      existing->value = value;
    } else if (list.size() < options_.limits.attributes_max) {
      list.push_back({keep(key), value});
    } else {
      ++out_.truncated_attributes;
    }
  }

  static Dialect dialect_of(dom::object object) {
    const bool has_msg = object["msg"].error() == simdjson::SUCCESS;
    if (object["event"].is_string() && !has_msg) return Dialect::kStructlog;
    if (object["level"].is_number() &&
        (has_msg || object["pid"].error() == simdjson::SUCCESS || object["hostname"].error() == simdjson::SUCCESS)) {
      return Dialect::kPino;
    }
    return Dialect::kGeneric;
  }

  void map_object(dom::object object, const Line& line) {
    const Dialect dialect = dialect_of(object);
    otlp::LogRecord record;
    record.observed_time = line.observed != 0 ? line.observed : options_.received_at;
    std::vector<otlp::Attribute> attributes;
    std::string_view service, host;
    std::int64_t pid = 0;
    bool has_body = false;
    for (const auto [key, value] : object) {
      const bool is_text = value.is_string();
      const std::string_view text = is_text ? std::string_view(value) : std::string_view();
      if (key == "msg" || key == "message" || (key == "event" && dialect == Dialect::kStructlog) ||
          (key == "log" && is_text)) {
        // With both `event` and `message`, the message is the body and the event keeps its name below.
        if (!has_body || key == "msg" || key == "message") record.body = to_value(value, 1);
        has_body = true;
        if (key == "event" && is_event_name(text)) record.event_name = keep(text);
      } else if (key == "level" || key == "severity" || key == "lvl" || key == "level_number") {
        map_level(dialect, key, value, record);
      } else if (key == "time" || key == "timestamp" || key == "ts" || key == "@timestamp") {
        map_time(value, key, record, attributes);
      } else if ((key == "trace_id" || key == "traceId") && is_text) {
        const std::string raw = parse_trace_id(text);
        if (!raw.empty()) {
          record.trace_id = keep(raw);
        } else if (!text.empty()) {
          record.foreign_trace_id = keep(text.substr(0, options_.limits.string_bytes_max));
        }
      } else if ((key == "span_id" || key == "spanId") && is_text) {
        const auto raw = from_hex(text);
        if (raw && raw->size() == kSpanIdBytes) {
          record.span_id = keep(*raw);
        } else {
          set_attribute(attributes, key, to_value(value, 1));
        }
      } else if (key == "trace_flags") {
        const auto flags = is_text ? std::optional<std::int64_t>(std::strtol(std::string(text).c_str(), nullptr, 16))
                                   : integer_of(value);
        record.flags = static_cast<std::uint32_t>(flags.value_or(0)) & 0xff;
      } else if ((key == "event_name" || key == "event" || key == "action") && is_text) {
        if (record.event_name.empty() || key == "event_name") record.event_name = keep(text);
        if (key == "action") set_attribute(attributes, key, to_value(value, 1));
      } else if (key == "err" || key == "error" || key == "exception") {
        map_error(key, value, attributes);
      } else if ((key == "req" || key == "res") && value.is_object()) {
        map_http(key == "req", dom::object(value), attributes);
      } else if (key == "responseTime") {
        set_attribute(attributes, "duration_ms", to_value(value, 1));
      } else if ((key == "service.name" || key == "service" || (key == "name" && dialect == Dialect::kPino) ||
                  (key == "logger" && dialect == Dialect::kStructlog)) &&
                 is_text) {
        if (service.empty() || key.starts_with("service")) service = keep(text);
      } else if ((key == "hostname" || key == "host.name") && is_text) {
        host = keep(text);
      } else if ((key == "pid" || key == "process.pid") && integer_of(value)) {
        pid = *integer_of(value);
      } else {
        set_attribute(attributes, key, to_value(value, 1));
      }
    }
    if (!has_body && !record.event_name.empty()) record.body = otlp::Value::of_string(record.event_name);
    record.attributes = {static_cast<std::uint32_t>(out_.attributes.size()),
                         static_cast<std::uint32_t>(attributes.size())};
    out_.attributes.insert(out_.attributes.end(), attributes.begin(), attributes.end());
    record.resource = resource_for(service, host, pid, line.stream);
    out_.records.push_back(record);
  }

  void map_level(Dialect dialect, std::string_view key, dom::element value, otlp::LogRecord& record) {
    if (value.is_string()) {
      const std::string_view text = std::string_view(value);
      record.severity_text = keep(text);
      const int number = severity_of_text(text);
      if (number != 0 || record.severity_number == 0) record.severity_number = number;
      return;
    }
    const auto level = integer_of(value);
    if (!level) return;
    const bool is_python = key == "level_number" || dialect == Dialect::kStructlog;
    if (is_python && record.severity_number != 0) return;  // the word came first and is more exact
    // A bare number is ambiguous (20 is pino's debug and Python's info); without a structlog event it is read as
    // pino's.
    record.severity_number = is_python ? severity_of_python(*level) : severity_of_pino(*level);
    if (record.severity_text.empty()) record.severity_text = keep(std::to_string(*level));
  }

  void map_time(dom::element value, std::string_view key, otlp::LogRecord& record,
                std::vector<otlp::Attribute>& attributes) {
    ParsedTime parsed;
    if (value.is_string()) {
      parsed = time_of_text(std::string_view(value));
    } else if (value.is_int64()) {
      parsed.time = time_of_integer(std::int64_t(value));
    } else if (value.is_number()) {
      parsed.time = time_of_number(double(value));
    }
    if (parsed.time == 0) {
      set_attribute(attributes, key, to_value(value, 1));
      return;
    }
    record.time = parsed.time;
    if (parsed.without_zone) {
      otlp::Value flag;
      flag.type = otlp::ValueType::kBool;
      flag.boolean = true;
      set_attribute(attributes, "fettle.time_without_zone", flag);
    }
  }

  void map_error(std::string_view key, dom::element value, std::vector<otlp::Attribute>& attributes) {
    if (value.is_string()) {
      // structlog's `exception` is a formatted traceback; `error` and `err` are messages.
      set_attribute(attributes, key == "exception" ? "exception.stacktrace" : "exception.message", to_value(value, 1));
      return;
    }
    if (value.is_object()) {
      for (const auto [field, child] : dom::object(value)) {
        const std::string_view name = field;
        if (name == "type" || name == "message") {
          set_attribute(attributes, fmt::format("exception.{}", name), to_value(child, 1));
        } else if (name == "stack") {
          set_attribute(attributes, "exception.stacktrace", to_value(child, 1));
        } else if (name == "code") {
          set_attribute(attributes, "error_code", to_value(child, 1));
        } else {
          set_attribute(attributes, fmt::format("exception.{}", name), to_value(child, 1));
        }
      }
      return;
    }
    if (value.is_array()) {
      map_tracebacks(dom::array(value), attributes);
      return;
    }
    set_attribute(attributes, key, to_value(value, 1));
  }

  // structlog's dict_tracebacks: [{exc_type, exc_value, frames:[{filename, lineno, name, locals?}]}]. Locals are
  // dropped: they hold whatever the failing function had in hand.
  void map_tracebacks(dom::array tracebacks, std::vector<otlp::Attribute>& attributes) {
    std::string stack;
    bool is_first = true;
    for (const dom::element item : tracebacks) {
      std::string_view type, message;
      if (item["exc_type"].get(type) != simdjson::SUCCESS) continue;
      if (item["exc_value"].get(message) != simdjson::SUCCESS) message = {};
      if (is_first) {
        set_attribute(attributes, "exception.type", otlp::Value::of_string(keep(type)));
        set_attribute(attributes, "exception.message", otlp::Value::of_string(keep(message)));
      }
      is_first = false;
      stack += fmt::format("{}: {}\n", type, message);
      dom::array frames;
      if (item["frames"].get(frames) != simdjson::SUCCESS) continue;
      for (const dom::element frame : frames) {
        std::string_view file, name;
        std::int64_t number = 0;
        if (frame["filename"].get(file) != simdjson::SUCCESS) file = "?";
        if (frame["name"].get(name) != simdjson::SUCCESS) name = "?";
        if (frame["lineno"].get(number) != simdjson::SUCCESS) number = 0;
        stack += fmt::format("  {}:{} in {}\n", file, number, name);
      }
    }
    stack.resize(std::min<std::size_t>(stack.size(), options_.limits.string_bytes_max));
    if (!stack.empty())
      set_attribute(attributes, "exception.stacktrace", otlp::Value::of_string(out_.keep(std::move(stack))));
  }

  void map_http(bool is_request, dom::object http, std::vector<otlp::Attribute>& attributes) {
    for (const auto [field, value] : http) {
      const std::string_view name = field;
      if (is_request && name == "method") {
        set_attribute(attributes, "http.request.method", to_value(value, 1));
      } else if (is_request && name == "url" && value.is_string()) {
        const std::string_view url = std::string_view(value);
        const std::size_t question = std::min(url.find('?'), url.size());
        set_attribute(attributes, "url.path", otlp::Value::of_string(keep(url.substr(0, question))));
        if (question < url.size()) {
          set_attribute(attributes, "url.query", otlp::Value::of_string(keep(url.substr(question + 1))));
        }
      } else if (is_request && name == "id") {
        set_attribute(attributes, "request_id", to_value(value, 1));
      } else if (is_request && name == "remoteAddress") {
        set_attribute(attributes, "client.address", to_value(value, 1));
      } else if (!is_request && name == "statusCode") {
        set_attribute(attributes, "http.response.status_code", to_value(value, 1));
      } else {
        set_attribute(attributes, fmt::format("http.{}.{}", is_request ? "request" : "response", name),
                      to_value(value, 1));
      }
    }
  }

  // One resource for each distinct sender of the request.
  std::uint32_t resource_for(std::string_view service, std::string_view host, std::int64_t pid,
                             std::string_view stream) {
    if (service.empty()) service = options_.service_name;
    const auto key = std::tuple(std::string(service), std::string(host), pid, std::string(stream));
    const auto [entry, is_new] = resources_.try_emplace(key, static_cast<std::uint32_t>(out_.resources.size()));
    if (!is_new) return entry->second;
    otlp::Resource resource;
    resource.attributes.first = static_cast<std::uint32_t>(out_.attributes.size());
    auto add = [&](std::string_view name, std::string_view text) {
      if (text.empty()) return;
      out_.attributes.push_back({name, otlp::Value::of_string(keep(text))});
      ++resource.attributes.count;
    };
    add("service.name", service);
    add("host.name", host);
    add("container.id", options_.container_id);
    add("log.iostream", stream);
    if (pid != 0) {
      otlp::Value value;
      value.type = otlp::ValueType::kInt;
      value.integer = pid;
      out_.attributes.push_back({"process.pid", value});
      ++resource.attributes.count;
    }
    out_.resources.push_back(resource);
    return entry->second;
  }

  const NdjsonOptions& options_;
  otlp::Logs& out_;
  dom::parser parser_;
  NdjsonSummary summary_;
  std::uint64_t line_number_ = 0;
  std::map<std::string_view, Partial> partials_;
  std::map<std::tuple<std::string, std::string, std::int64_t, std::string>, std::uint32_t> resources_;
  std::optional<std::pair<std::size_t, std::string_view>> last_text_;  // record and stream
  std::string* joined_ = nullptr;  // the arena string that grows while lines continue one record
  std::size_t joined_record_ = SIZE_MAX;
};

}  // namespace

std::string parse_trace_id(std::string_view text) {
  std::string digits;
  const bool is_uuid = text.size() == 36 && text[8] == '-' && text[13] == '-' && text[18] == '-' && text[23] == '-';
  if (is_uuid) {
    std::ranges::remove_copy(text, std::back_inserter(digits), '-');
    text = digits;
  }
  if (text.size() != 2 * kTraceIdBytes) return {};
  std::string raw = from_hex(text).value_or(std::string());
  if (std::ranges::all_of(raw, [](char c) { return c == 0; })) return {};
  return raw;
}

Result<NdjsonSummary> decode_ndjson(std::string_view body, bool whole_json, const NdjsonOptions& options,
                                    otlp::Logs& out) {
  try {
    Decoder decoder(options, out);
    return whole_json ? decoder.whole(body) : decoder.lines(body);
  } catch (const simdjson::simdjson_error& error) {
    return fail(ErrorCode::kInternal, fmt::format("reading log lines: {}", error.what()));
  }
}

}  // namespace fettle::ingest
