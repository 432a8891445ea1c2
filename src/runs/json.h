// Small JSON objects, written without a tree: events, audits and what is kept beside a run.
//
//   JsonObject body;
//   body.add("attempt", 2).add("reason", "timeout").add_json("error", error);
//   unit.event("run.failed", ids, std::move(body).text());
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <string>
#include <string_view>

#include "core/json.h"

namespace fettle::runs {

class JsonObject {
 public:
  JsonObject& add(std::string_view key, std::string_view value) {
    begin(key);
    append_json_string(text_, value);
    return *this;
  }
  JsonObject& add(std::string_view key, const char* value) { return add(key, std::string_view(value)); }
  JsonObject& add(std::string_view key, bool value) { return add_json(key, value ? "true" : "false"); }
  JsonObject& add(std::string_view key, double value) { return add_json(key, fmt::format("{}", value)); }
  template <std::integral T>
  JsonObject& add(std::string_view key, T value) {
    begin(key);
    fmt::format_to(std::back_inserter(text_), "{}", value);
    return *this;
  }
  // Left out when empty.
  JsonObject& add_text(std::string_view key, std::string_view value) { return value.empty() ? *this : add(key, value); }
  JsonObject& add_json(std::string_view key, std::string_view json) {
    begin(key);
    text_ += json;
    return *this;
  }
  std::string text() && {
    text_ += '}';
    return std::move(text_);
  }

 private:
  void begin(std::string_view key) {
    if (text_.size() > 1) text_ += ',';
    append_json_string(text_, key);
    text_ += ':';
  }
  std::string text_ = "{";
};

}  // namespace fettle::runs
