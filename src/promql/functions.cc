#include "promql/functions.h"

#include <algorithm>
#include <array>
#include <string>
#include <unordered_map>

namespace fettle::promql {
namespace {

constexpr ValueType kS = ValueType::kScalar;
constexpr ValueType kT = ValueType::kString;
constexpr ValueType kV = ValueType::kInstantVector;
constexpr ValueType kM = ValueType::kRangeVector;

const std::vector<FunctionSignature>& table() {
  static const std::vector<FunctionSignature> functions = [] {
    std::vector<FunctionSignature> all = {
        {"clamp", {kV, kS, kS}},
        {"clamp_max", {kV, kS}},
        {"clamp_min", {kV, kS}},
        {"double_exponential_smoothing", {kM, kS, kS}},
        {"end", {}, 0, kS},
        {"histogram_fraction", {kS, kS, kV}},
        {"histogram_quantile", {kS, kV}},
        {"histogram_quantiles", {kV, kT, kS, kS}, -1},
        {"info", {kV, kV}, 1},
        {"label_join", {kV, kT, kT, kT}, -1},
        {"label_replace", {kV, kT, kT, kT, kT}},
        {"max_of", {kS, kS}, 0, kS},
        {"min_of", {kS, kS}, 0, kS},
        {"pi", {}, 0, kS},
        {"predict_linear", {kM, kS}},
        {"quantile_over_time", {kS, kM}},
        {"range", {}, 0, kS},
        {"round", {kV, kS}, 1},
        {"scalar", {kV}, 0, kS},
        {"sort_by_label", {kV, kT}, -1},
        {"sort_by_label_desc", {kV, kT}, -1},
        {"start", {}, 0, kS},
        {"step", {}, 0, kS},
        {"time", {}, 0, kS},
        {"vector", {kS}},
    };
    for (const std::string_view name : {"abs",
                                        "absent",
                                        "acos",
                                        "acosh",
                                        "asin",
                                        "asinh",
                                        "atan",
                                        "atanh",
                                        "ceil",
                                        "cos",
                                        "cosh",
                                        "deg",
                                        "exp",
                                        "floor",
                                        "histogram_avg",
                                        "histogram_count",
                                        "histogram_stddev",
                                        "histogram_stdvar",
                                        "histogram_sum",
                                        "ln",
                                        "log10",
                                        "log2",
                                        "rad",
                                        "sgn",
                                        "sin",
                                        "sinh",
                                        "sort",
                                        "sort_desc",
                                        "sqrt",
                                        "tan",
                                        "tanh",
                                        "timestamp"}) {
      all.push_back({name, {kV}});
    }
    for (const std::string_view name : {"absent_over_time",
                                        "avg_over_time",
                                        "changes",
                                        "count_over_time",
                                        "delta",
                                        "deriv",
                                        "first_over_time",
                                        "idelta",
                                        "increase",
                                        "irate",
                                        "last_over_time",
                                        "mad_over_time",
                                        "max_over_time",
                                        "min_over_time",
                                        "present_over_time",
                                        "rate",
                                        "resets",
                                        "stddev_over_time",
                                        "stdvar_over_time",
                                        "sum_over_time",
                                        "ts_of_first_over_time",
                                        "ts_of_last_over_time",
                                        "ts_of_max_over_time",
                                        "ts_of_min_over_time"}) {
      all.push_back({name, {kM}});
    }
    for (const std::string_view name :
         {"day_of_month", "day_of_week", "day_of_year", "days_in_month", "hour", "minute", "month", "year"}) {
      all.push_back({name, {kV}, 1});
    }
    return all;
  }();
  return functions;
}

}  // namespace

const FunctionSignature* find_function(std::string_view name) {
  static const std::unordered_map<std::string_view, const FunctionSignature*> by_name = [] {
    std::unordered_map<std::string_view, const FunctionSignature*> names;
    for (const FunctionSignature& function : table()) names.emplace(function.name, &function);
    return names;
  }();
  const auto found = by_name.find(name);
  return found == by_name.end() ? nullptr : found->second;
}

std::span<const FunctionSignature> all_functions() { return table(); }

}  // namespace fettle::promql
