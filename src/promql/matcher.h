// One condition on a label. Regular expressions are RE2's, anchored at both ends, and "." matches a line break.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"
#include "promql/labels.h"

namespace re2 {
class RE2;
}

namespace fettle::promql {

class Matcher {
 public:
  enum class Op : std::uint8_t { kEqual, kNotEqual, kMatches, kNotMatches };

  // kInvalidArgument when `value` is not a regular expression.
  static Result<Matcher> make(Op op, std::string name, std::string value);

  const std::string& name() const { return name_; }
  Op op() const { return op_; }
  const std::string& value() const { return value_; }
  // `value` is empty where a series lacks the label.
  bool matches(std::string_view value) const;
  bool matches_empty() const { return matches({}); }
  // name="value"
  std::string to_string() const;

 private:
  Matcher() = default;

  std::string name_;
  Op op_ = Op::kEqual;
  std::string value_;
  // Shared, since matchers are copied into selections and the compiled expression never changes.
  std::shared_ptr<const re2::RE2> regex_;
};

std::string_view to_string(Matcher::Op op);
// `text` as an anchored regular expression; kInvalidArgument with what is wrong.
Result<std::shared_ptr<const re2::RE2>> compile_regex(std::string_view text);

}  // namespace fettle::promql
