// Text to syntax tree.
//
//   auto expr = parse("sum by (job) (rate(http_requests_total[5m]))");
//   if (!expr) return fail(ErrorCode::kInvalidArgument, expr.error().to_string());
//
// Pure and thread-safe. What parse() gives is well-formed and well-typed: evaluating it can only fail on the data.
#pragma once

#include <expected>
#include <string_view>
#include <vector>

#include "promql/ast.h"
#include "promql/parse_error.h"

namespace fettle::promql {

// A query longer or deeper than this is refused; people write a hundredth of it.
inline constexpr std::size_t kQueryBytesMax = 256 * 1024;
inline constexpr int kQueryDepthMax = 256;

std::expected<ExprPtr, ParseError> parse(std::string_view query);
// A bare selector without range or shift, `up{job="a"}`: what match[] takes.
std::expected<std::vector<Matcher>, ParseError> parse_selector(std::string_view text);
// `name{label="value"}` as a series of its own; every condition must be "=".
std::expected<Labels, ParseError> parse_series_labels(std::string_view text);
// "5m", "1h30m", "90" (seconds), "-5m": milliseconds.
std::expected<std::int64_t, ParseError> parse_duration(std::string_view text);

}  // namespace fettle::promql
