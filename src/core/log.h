// The server's own log: one JSON object a line on standard error, with the fields it asks of others (timestamp, level,
// event_name and free ones). Values pass through as given, so callers never log payloads, tokens or headers.
//
//   log::info("engine_started", {{"pid", pid}, {"took_ms", took_ms}});
#pragma once

#include <concepts>
#include <initializer_list>
#include <string>
#include <string_view>

namespace fettle::log {

enum class Level { kDebug, kInfo, kWarning, kError };

// A field already rendered as JSON.
struct Field {
  Field(std::string_view field_key, std::string_view value);
  Field(std::string_view field_key, const char* value) : Field(field_key, std::string_view(value)) {}
  Field(std::string_view field_key, const std::string& value) : Field(field_key, std::string_view(value)) {}
  Field(std::string_view field_key, bool value);
  Field(std::string_view field_key, double value);
  template <std::integral T>
  Field(std::string_view field_key, T value) : key(field_key), json(std::to_string(value)) {}

  std::string key;
  std::string json;
};

void set_level(Level level);
// Thread-safe; a line is written whole.
void write(Level level, std::string_view event_name, std::initializer_list<Field> fields);

inline void debug(std::string_view event_name, std::initializer_list<Field> fields = {}) {
  write(Level::kDebug, event_name, fields);
}
inline void info(std::string_view event_name, std::initializer_list<Field> fields = {}) {
  write(Level::kInfo, event_name, fields);
}
inline void warning(std::string_view event_name, std::initializer_list<Field> fields = {}) {
  write(Level::kWarning, event_name, fields);
}
inline void error(std::string_view event_name, std::initializer_list<Field> fields = {}) {
  write(Level::kError, event_name, fields);
}

}  // namespace fettle::log
