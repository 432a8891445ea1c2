// HTTP requests and responses as values.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"

namespace fettle::http {

// Header fields in arrival order; names compare without regard to case.
class Headers {
 public:
  void add(std::string name, std::string value) { fields_.emplace_back(std::move(name), std::move(value)); }
  // Replaces every field of that name.
  void set(std::string_view name, std::string value);
  // The first value of that name, or empty.
  std::string_view get(std::string_view name) const;
  // How many fields carry that name.
  std::size_t count(std::string_view name) const;
  bool has(std::string_view name) const { return count(name) != 0; }
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

// Query parameters in arrival order, percent-decoded ('+' is a space).
class Query {
 public:
  // kInvalidArgument on a broken percent sequence or more than 1,000 parameters.
  static Result<Query> parse(std::string_view text);
  // The first value of that name; null when absent.
  const std::string* find(std::string_view name) const;
  std::string_view get(std::string_view name) const;
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

std::string percent_encode(std::string_view text);
// kInvalidArgument on a broken sequence.
Result<std::string> percent_decode(std::string_view text);

struct Response {
  int status = 200;
  Headers headers;
  std::string body;

  // A response with a content type and body.
  static Response make(int status, std::string_view content_type, std::string body);
};

std::string_view reason_phrase(int status);

}  // namespace fettle::http
