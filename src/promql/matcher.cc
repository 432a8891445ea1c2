#include "promql/matcher.h"

#include <fmt/format.h>
#include <re2/re2.h>

namespace fettle::promql {
namespace {

// Enough for every expression people write, and an end for those they do not.
constexpr std::int64_t kRegexMemoryMax = 8 << 20;

re2::StringPiece piece(std::string_view text) { return {text.data(), text.size()}; }

}  // namespace

Result<std::shared_ptr<const re2::RE2>> compile_regex(std::string_view text) {
  RE2::Options options;
  options.set_dot_nl(true);
  options.set_log_errors(false);
  options.set_max_mem(kRegexMemoryMax);
  auto regex = std::make_shared<const RE2>(piece(text), options);
  if (!regex->ok()) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("error parsing regexp: {}: `{}`", regex->error(), regex->error_arg()));
  }
  return regex;
}

Result<Matcher> Matcher::make(Op op, std::string name, std::string value) {
  Matcher matcher;
  matcher.name_ = std::move(name);
  matcher.op_ = op;
  matcher.value_ = std::move(value);
  if (op == Op::kMatches || op == Op::kNotMatches) {
    auto regex = compile_regex(matcher.value_);
    if (!regex) return std::unexpected(std::move(regex).error());
    matcher.regex_ = std::move(*regex);
  }
  return matcher;
}

bool Matcher::matches(std::string_view value) const {
  switch (op_) {
    case Op::kEqual: return value == value_;
    case Op::kNotEqual: return value != value_;
    case Op::kMatches: return RE2::FullMatch(piece(value), *regex_);
    case Op::kNotMatches: return !RE2::FullMatch(piece(value), *regex_);
  }
  return false;
}

std::string_view to_string(Matcher::Op op) {
  switch (op) {
    case Matcher::Op::kEqual: return "=";
    case Matcher::Op::kNotEqual: return "!=";
    case Matcher::Op::kMatches: return "=~";
    case Matcher::Op::kNotMatches: return "!~";
  }
  return "";
}

std::string Matcher::to_string() const {
  return fmt::format("{}{}{}", is_classic_label_name(name_) ? name_ : quoted(name_), promql::to_string(op_),
                     quoted(value_));
}

}  // namespace fettle::promql
