#include "promql/script.h"

#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <optional>

#include "promql/memory_source.h"
#include "promql/parser.h"
#include "promql/script_compare.h"
#include "promql/script_load.h"

namespace fettle::promql {
namespace {

std::string_view trimmed(std::string_view text) {
  const std::size_t begin = text.find_first_not_of(" \t\r");
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(" \t\r") - begin + 1);
}

std::vector<std::string> lines_of(std::string_view text) {
  std::vector<std::string> lines;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = trimmed(text.substr(0, end));
    // A comment ends a block as a blank line does.
    if (line.starts_with('#')) line = {};
    lines.emplace_back(line);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return lines;
}

// The next word of `text`, which is taken off it.
std::string_view word(std::string_view& text) {
  text = trimmed(text);
  const std::size_t end = std::min(text.find_first_of(" \t"), text.size());
  const std::string_view found = text.substr(0, end);
  text = trimmed(text.substr(end));
  return found;
}

std::int64_t duration_in(std::string_view text) {
  const auto ms = parse_duration(text);
  if (!ms) throw ScriptFailure{fmt::format("\"{}\" is no duration: {}", text, ms.error().message)};
  return *ms;
}

// Something that must, or must not, be said beside the result.
struct ExpectedText {
  enum class How : std::uint8_t { kAny, kExact, kRegex };
  How how = How::kAny;
  std::string text;

  bool matches(const std::string& actual) const {
    if (how == How::kAny) return true;
    if (how == How::kExact) return actual == text;
    return RE2::PartialMatch(actual, text);
  }
};

ExpectedText expected_text(std::string_view rest) {
  for (const auto& [prefix, how] :
       {std::pair{"msg:", ExpectedText::How::kExact}, std::pair{"regex:", ExpectedText::How::kRegex}}) {
    if (rest.starts_with(prefix)) return {how, std::string(trimmed(rest.substr(std::string_view(prefix).size())))};
  }
  if (!rest.empty()) throw ScriptFailure{fmt::format("cannot read the expectation \"{}\"", rest)};
  return {};
}

struct Evaluated {
  std::string query;
  bool range = false;
  UnixMillis at_ms = 0;
  QueryRange bounds;
  bool ordered = false;
  bool no_warnings = false;
  bool no_infos = false;
  std::vector<ExpectedText> failures;
  std::vector<ExpectedText> warnings;
  std::vector<ExpectedText> infos;
  std::optional<std::string> text;         // expect string
  std::optional<QueryRange> range_vector;  // expect range vector
  Expectation result;
};

void read_expect(std::string_view rest, Evaluated& eval) {
  const std::string_view what = word(rest);
  if (what == "fail")
    eval.failures.push_back(expected_text(rest));
  else if (what == "warn")
    eval.warnings.push_back(expected_text(rest));
  else if (what == "info")
    eval.infos.push_back(expected_text(rest));
  else if (what == "no_warn")
    eval.no_warnings = true;
  else if (what == "no_info")
    eval.no_infos = true;
  else if (what == "ordered")
    eval.ordered = true;
  else if (what == "string") {
    const auto literal = parse(rest);
    if (!literal || (*literal)->kind != Expr::Kind::kString) throw ScriptFailure{"expected a string"};
    eval.text = as<StringLiteral>(**literal).value;
  } else if (what == "range" && rest.starts_with("vector from")) {
    word(rest);
    word(rest);
    QueryRange bounds;
    bounds.start_ms = duration_in(word(rest));
    word(rest);
    bounds.end_ms = duration_in(word(rest));
    word(rest);
    bounds.step_ms = duration_in(word(rest));
    eval.range_vector = bounds;
  } else {
    throw ScriptFailure{fmt::format("unknown expectation \"{}\"", what)};
  }
}

Evaluated read_eval(const std::vector<std::string>& block) {
  Evaluated eval;
  std::string_view rest = block[0];
  const std::string_view command = word(rest);
  if (command == "eval_fail") eval.failures.emplace_back();
  if (command == "eval_warn") eval.warnings.emplace_back();
  if (command == "eval_info") eval.infos.emplace_back();
  if (command == "eval_ordered") eval.ordered = true;
  const std::string_view mode = word(rest);
  if (mode == "instant") {
    if (rest.starts_with("at ")) {
      word(rest);
      eval.at_ms = duration_in(word(rest));
    }
  } else if (mode == "range") {
    eval.range = true;
    if (word(rest) != "from") throw ScriptFailure{"expected \"from\""};
    eval.bounds.start_ms = duration_in(word(rest));
    if (word(rest) != "to") throw ScriptFailure{"expected \"to\""};
    eval.bounds.end_ms = duration_in(word(rest));
    if (word(rest) != "step") throw ScriptFailure{"expected \"step\""};
    eval.bounds.step_ms = duration_in(word(rest));
  } else {
    throw ScriptFailure{fmt::format("\"{}\" is neither instant nor range", mode)};
  }
  eval.query = rest;
  for (std::size_t i = 1; i < block.size(); ++i) {
    std::string_view line = block[i];
    if (line.starts_with("expect ")) {
      word(line);
      read_expect(line, eval);
    } else if (line.starts_with("expected_fail_message")) {
      word(line);
      eval.failures = {{ExpectedText::How::kExact, std::string(line)}};
    } else if (line.starts_with("expected_fail_regexp")) {
      word(line);
      eval.failures = {{ExpectedText::How::kRegex, std::string(line)}};
    } else {
      eval.result.add(line);
    }
  }
  return eval;
}

// Whether the query asks for its own bounds, so that another range gives another answer.
bool asks_for_bounds(std::string_view query) {
  return RE2::PartialMatch(re2::StringPiece(query.data(), query.size()), R"((?i)\b(start|end|step|range)\s*\()");
}

class Script {
 public:
  explicit Script(std::string_view text) : lines_(lines_of(text)) {}

  std::vector<ScriptCase> run() {
    for (std::size_t i = 0; i < lines_.size();) {
      if (lines_[i].empty()) {
        ++i;
        continue;
      }
      std::vector<std::string> block;
      const std::size_t line = i + 1;
      while (i < lines_.size() && !lines_[i].empty()) {
        block.push_back(lines_[i++]);
        if (block[0] == "clear") break;
      }
      ScriptCase result{.outcome = ScriptCase::Outcome::kPassed, .line = line, .statement = block[0], .reason = {}};
      try {
        if (!statement(block, result)) continue;
      } catch (const ScriptFailure& failure) {
        result.outcome = ScriptCase::Outcome::kFailed;
        result.reason = failure.message;
      }
      cases_.push_back(std::move(result));
    }
    return std::move(cases_);
  }

 private:
  // False for a statement that is no case.
  bool statement(const std::vector<std::string>& block, ScriptCase& result) {
    std::string_view rest = block[0];
    const std::string_view command = word(rest);
    if (command == "clear") {
      source_.clear();
      start_times_ = false;
      return false;
    }
    if (command == "load" || command == "load_with_nhcb") {
      const LoadedWith with = load(source_, duration_in(rest), {block.begin() + 1, block.end()});
      start_times_ |= with.start_times;
      if (command == "load_with_nhcb") add_custom_histograms(source_);
      return false;
    }
    if (command != "eval" && !command.starts_with("eval_")) {
      throw ScriptFailure{fmt::format("unknown statement \"{}\"", command)};
    }
    if (start_times_) {
      result.outcome = ScriptCase::Outcome::kSkipped;
      result.reason = "start timestamps of samples are not kept";
      return true;
    }
    check(read_eval(block));
    return true;
  }

  void check(const Evaluated& eval) {
    const auto expr = parse(eval.query);
    if (!expr) return check_failure(eval, expr.error().to_string());
    const QueryOptions options;
    const auto result = eval.range ? query_range(source_, **expr, eval.query, eval.bounds, options)
                                   : query_instant(source_, **expr, eval.query, eval.at_ms, options);
    if (!result) return check_failure(eval, result.error().message());
    if (!eval.failures.empty()) throw ScriptFailure{"expected an error, but there was none"};
    check_annotations(eval, result->annotations);
    check_value(eval, result->value);
    if (eval.range || eval.ordered || asks_for_bounds(eval.query)) return;
    const ValueType type = (*expr)->type();
    if (type == ValueType::kInstantVector || type == ValueType::kScalar) check_as_range(eval, **expr);
  }

  static void check_failure(const Evaluated& eval, const std::string& message) {
    if (eval.failures.empty()) throw ScriptFailure{fmt::format("unexpected error: {}", message)};
    for (const ExpectedText& expected : eval.failures) {
      if (!expected.matches(message)) {
        throw ScriptFailure{fmt::format("expected an error with \"{}\", got: {}", expected.text, message)};
      }
    }
  }

  static void check_annotations(const Evaluated& eval, const std::vector<Annotation>& annotations) {
    for (const bool warnings : {true, false}) {
      const std::vector<ExpectedText>& expected = warnings ? eval.warnings : eval.infos;
      const std::string_view kind = warnings ? "warning" : "info";
      std::vector<std::string> actual;
      for (const Annotation& annotation : annotations) {
        if ((annotation.kind == Annotation::Kind::kWarning) == warnings) actual.push_back(annotation.text);
      }
      if ((warnings ? eval.no_warnings : eval.no_infos) && !actual.empty()) {
        throw ScriptFailure{fmt::format("unexpected {}: {}", kind, actual[0])};
      }
      if (expected.empty()) continue;
      for (const ExpectedText& wanted : expected) {
        if (std::none_of(actual.begin(), actual.end(), [&](const std::string& text) { return wanted.matches(text); })) {
          throw ScriptFailure{fmt::format("expected {} \"{}\" is missing{}", kind, wanted.text,
                                          actual.empty() ? "" : "; there is: " + actual[0])};
        }
      }
      for (const std::string& text : actual) {
        if (std::none_of(expected.begin(), expected.end(), [&](const ExpectedText& e) { return e.matches(text); })) {
          throw ScriptFailure{fmt::format("unexpected {}: {}", kind, text)};
        }
      }
    }
  }

  static void check_value(const Evaluated& eval, const Value& value) {
    if (eval.text) {
      const auto* text = std::get_if<std::string>(&value);
      if (text == nullptr || *text != *eval.text) throw ScriptFailure{"the string differs"};
      return;
    }
    if (eval.range) return eval.result.check_matrix(std::get<Matrix>(value), eval.bounds);
    if (eval.range_vector) {
      const auto* matrix = std::get_if<Matrix>(&value);
      if (matrix == nullptr) throw ScriptFailure{"expected a range vector"};
      return eval.result.check_matrix(*matrix, *eval.range_vector);
    }
    if (const auto* scalar = std::get_if<Scalar>(&value)) return eval.result.check_scalar(scalar->value);
    if (const auto* vector = std::get_if<Vector>(&value)) return eval.result.check_vector(*vector, eval.ordered);
    throw ScriptFailure{"the result is of another type"};
  }

  void check_as_range(const Evaluated& eval, const Expr& expr) {
    constexpr std::int64_t kStepMs = 60'000;
    const auto result =
        query_range(source_, expr, eval.query,
                    {.start_ms = eval.at_ms - kStepMs, .end_ms = eval.at_ms + kStepMs, .step_ms = kStepMs}, {});
    if (!result) {
      throw ScriptFailure{fmt::format("unexpected error as a range query: {}", result.error().message())};
    }
    Vector vector;
    for (const ResultSeries& series : std::get<Matrix>(result->value)) {
      for (const FloatPoint& point : series.floats) {
        if (point.at_ms == eval.at_ms) vector.push_back({series.labels, {point.at_ms, point.value, nullptr}});
      }
      for (const HistogramPoint& point : series.histograms) {
        if (point.at_ms == eval.at_ms) vector.push_back({series.labels, {point.at_ms, 0, point.histogram}});
      }
    }
    try {
      if (expr.type() == ValueType::kScalar) {
        eval.result.check_scalar(vector.size() == 1 ? vector[0].sample.value : stale_marker());
      } else {
        eval.result.check_vector(vector, false);
      }
    } catch (const ScriptFailure& failure) {
      throw ScriptFailure{"as a range query: " + failure.message};
    }
  }

  std::vector<std::string> lines_;
  MemorySource source_;
  bool start_times_ = false;
  std::vector<ScriptCase> cases_;
};

}  // namespace

std::vector<ScriptCase> run_script(std::string_view text) { return Script(text).run(); }

}  // namespace fettle::promql
