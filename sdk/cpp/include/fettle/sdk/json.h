// A JSON value: what payloads, results and answers are made of.
//
//   Json payload = Json::object({{"email", "ada@example.com"}, {"tries", 3}});
//   std::string_view email = payload["email"].as_string();
//
// A plain value: copy it, move it, use it on any thread. Members keep their order.
#pragma once

#include <concepts>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "fettle/sdk/error.h"

namespace fettle::sdk {

class Json {
 public:
  struct Member;
  using Array = std::vector<Json>;
  using Object = std::vector<Member>;

  Json() noexcept;  // null
  Json(std::nullptr_t) noexcept : Json() {}
  Json(bool value);
  template <std::integral I>
    requires(!std::same_as<I, bool>)
  Json(I value) : Json(Integer{static_cast<std::int64_t>(value)}) {}
  Json(double value);
  Json(const char* value) : Json(std::string(value)) {}
  Json(std::string_view value) : Json(std::string(value)) {}
  Json(std::string value);
  Json(Array value);
  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(const Json& other);
  Json& operator=(Json&& other) noexcept;
  ~Json();
  static Json array(std::initializer_list<Json> items);
  static Json object();
  static Json object(std::initializer_list<Member> members);
  static Json of_members(Object members);

  // kInvalidValue when it is no JSON text.
  static Result<Json> parse(std::string_view text);
  // The text, without blanks. NaN and infinities, which JSON cannot say, are null.
  std::string text() const;
  void append_text_to(std::string& out) const;

  bool is_null() const;
  bool is_object() const;
  bool is_number() const;
  bool is_string() const;

  // What the value is, or `otherwise` when it is something else.
  bool as_bool(bool otherwise = false) const;
  std::int64_t as_int(std::int64_t otherwise = 0) const;
  double as_double(double otherwise = 0) const;
  std::string_view as_string(std::string_view otherwise = {}) const;
  const Array& items() const;     // empty when it is no array
  const Object& members() const;  // empty when it is no object

  // A member of an object; null when there is none of that name.
  const Json& operator[](std::string_view name) const;
  // Adds a member, or replaces the one of that name. What is no object becomes one.
  Json& set(std::string_view name, Json value);
  // Adds it unless it says nothing: absent is written as no member at all.
  Json& set_if(std::string_view name, std::string_view value);
  void push_back(Json item);

  bool operator==(const Json& other) const;

 private:
  struct Integer {
    std::int64_t value;
  };
  explicit Json(Integer integer);

  std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object> value_;

  friend std::string canonical_json(const Json& value);
};

struct Json::Member {
  std::string name;
  Json value;
  bool operator==(const Member& other) const = default;
};

// A string as JSON writes it, with its quotes.
void append_quoted(std::string& out, std::string_view text);

// As RFC 8785 has it: sorted names, numbers as ECMAScript writes them.
std::string canonical_json(const Json& value);
// SHA-256 of that, in hex: neither the order of members nor the language is a difference.
std::string payload_hash(const Json& payload);

}  // namespace fettle::sdk
