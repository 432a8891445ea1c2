// A JSON object appended to a text: answers are written in one string, without a tree.
//
//   ObjectText run(out);
//   run.text("run_id", id).number("attempt", 2).time("started_at", started).json("payload", payload);
//   run.end();
//
// A value that is absent is written as null, so that an answer always has the same members.
#pragma once

#include <fmt/format.h>

#include <concepts>
#include <iterator>
#include <optional>
#include <string>
#include <string_view>

#include "api/times.h"
#include "core/json.h"

namespace fettle::api {

class ObjectText {
 public:
  explicit ObjectText(std::string& out) : out_(out) { out_ += '{'; }

  ObjectText& text(std::string_view name, std::string_view value) {
    key(name);
    append_json_string(out_, value);
    return *this;
  }
  // Null when empty.
  ObjectText& text_or_null(std::string_view name, std::string_view value) {
    return value.empty() ? json(name, "null") : text(name, value);
  }
  template <std::same_as<std::optional<std::string>> T>
  ObjectText& text_or_null(std::string_view name, const T& value) {
    return value ? text(name, *value) : json(name, "null");
  }
  template <std::integral T>
  ObjectText& number(std::string_view name, T value) {
    key(name);
    fmt::format_to(std::back_inserter(out_), "{}", value);
    return *this;
  }
  ObjectText& number(std::string_view name, double value) {
    key(name);
    fmt::format_to(std::back_inserter(out_), "{}", value);
    return *this;
  }
  template <class T>
  ObjectText& number(std::string_view name, const std::optional<T>& value) {
    return value ? number(name, *value) : json(name, "null");
  }
  ObjectText& boolean(std::string_view name, bool value) { return json(name, value ? "true" : "false"); }
  ObjectText& time(std::string_view name, UnixNanos value) {
    key(name);
    out_ += '"';
    append_time_ms(out_, value);
    out_ += '"';
    return *this;
  }
  ObjectText& time(std::string_view name, const std::optional<UnixNanos>& value) {
    return value ? time(name, *value) : json(name, "null");
  }
  // `value` is JSON.
  ObjectText& json(std::string_view name, std::string_view value) {
    key(name);
    out_ += value;
    return *this;
  }
  // Null when it is absent or empty.
  ObjectText& json_or_null(std::string_view name, const std::optional<std::string>& value) {
    return json(name, value && !value->empty() ? std::string_view(*value) : std::string_view("null"));
  }
  // The members of a JSON object become members of this one.
  ObjectText& members_of(std::string_view object) {
    if (object.size() <= 2) return *this;
    comma();
    out_ += object.substr(1, object.size() - 2);
    return *this;
  }
  // For a value that the caller appends itself.
  std::string& key(std::string_view name) {
    comma();
    out_ += '"';
    out_ += name;  // ours: nothing to escape
    out_ += "\":";
    return out_;
  }
  void end() { out_ += '}'; }

 private:
  void comma() {
    if (!first_) out_ += ',';
    first_ = false;
  }
  std::string& out_;
  bool first_ = true;
};

// A JSON array appended to a text: `write` is called for each item with the text to append to.
template <class Range, class Write>
void append_array(std::string& out, const Range& items, Write write) {
  out += '[';
  bool first = true;
  for (const auto& item : items) {
    if (!first) out += ',';
    first = false;
    write(out, item);
  }
  out += ']';
}

}  // namespace fettle::api
