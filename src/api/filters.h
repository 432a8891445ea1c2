// Query parameters into questions: the strict reading of filters, pages and text searches.
//
// A parameter that is not known is an error, not silence: a misspelt filter would otherwise widen the answer.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "http/message.h"
#include "telemetry/reader.h"

namespace fettle::api {

struct FilterContext {
  UnixNanos now = 0;
  std::span<const std::string> identifier_kinds;
};

constexpr std::uint32_t kPageRowsMax = 1'000;
constexpr std::size_t kFilterValuesMax = 200;        // of one request, all parameters together
constexpr std::size_t kFilterValueBytesMax = 8'192;  // of one value

// Each takes the parameters of one endpoint; `others` are names that the caller reads itself. kInvalidArgument names
// the parameter.
Result<telemetry::SpanFilter> span_filter(const http::Query& query, const FilterContext& context,
                                          std::span<const std::string_view> others);
Result<telemetry::LogFilter> log_filter(const http::Query& query, const FilterContext& context,
                                        std::span<const std::string_view> others);
Result<telemetry::JourneyFilter> journey_filter(std::string value, const http::Query& query,
                                                const FilterContext& context, std::span<const std::string_view> others);

// `limit` and `cursor`.
constexpr std::string_view kPageParameters[] = {"limit", "cursor"};
Result<telemetry::PageRequest> page_request(const http::Query& query);

// An integer parameter between two bounds, or `otherwise` when it is absent.
Result<std::uint32_t> number_parameter(const http::Query& query, std::string_view name, std::uint32_t least,
                                       std::uint32_t most, std::uint32_t otherwise);

// kInvalidArgument for any parameter that is neither `workspace` nor in `known`.
Result<void> only_parameters(const http::Query& query, std::span<const std::string_view> known);

// Words that must all occur, "quoted phrases", and *parts* of words.
Result<telemetry::TextFilter> parse_text(std::string_view text);

}  // namespace fettle::api
