#include "core/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <cmath>

#include "core/clock.h"
#include "core/json.h"

namespace fettle::log {
namespace {

spdlog::logger& logger() {
  // Lives until the process ends: threads may log while statics are torn down.
  static auto* instance = [] {
    auto* made = new spdlog::logger("fettle", std::make_shared<spdlog::sinks::stderr_sink_mt>());
    made->set_pattern("%v");
    made->flush_on(spdlog::level::info);
    return made;
  }();
  return *instance;
}

spdlog::level::level_enum to_spdlog(Level level) {
  switch (level) {
    case Level::kDebug: return spdlog::level::debug;
    case Level::kInfo: return spdlog::level::info;
    case Level::kWarning: return spdlog::level::warn;
    case Level::kError: return spdlog::level::err;
  }
  return spdlog::level::info;
}

constexpr std::string_view name_of(Level level) {
  switch (level) {
    case Level::kDebug: return "debug";
    case Level::kInfo: return "info";
    case Level::kWarning: return "warning";
    case Level::kError: return "error";
  }
  return "info";
}

}  // namespace

Field::Field(std::string_view field_key, std::string_view value) : key(field_key) { append_json_string(json, value); }
Field::Field(std::string_view field_key, bool value) : key(field_key), json(value ? "true" : "false") {}
Field::Field(std::string_view field_key, double value)
    : key(field_key), json(std::isfinite(value) ? fmt::format("{}", value) : "null") {}

void set_level(Level level) { logger().set_level(to_spdlog(level)); }

void write(Level level, std::string_view event_name, std::initializer_list<Field> fields) {
  if (!logger().should_log(to_spdlog(level))) return;
  std::string line = fmt::format(R"({{"timestamp":"{}","level":"{}","event_name":)",
                                 format_rfc3339(SystemClock().now()), name_of(level));
  append_json_string(line, event_name);
  for (const Field& field : fields) {
    line.push_back(',');
    append_json_string(line, field.key);
    line.push_back(':');
    line += field.json;
  }
  line.push_back('}');
  logger().log(to_spdlog(level), line);
}

}  // namespace fettle::log
