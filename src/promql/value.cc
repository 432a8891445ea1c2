#include "promql/value.h"

#include <fmt/format.h>

#include <charconv>

namespace fettle::promql {

std::string format_value(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  const double magnitude = std::abs(value);
  const bool exponent = value != 0 && (magnitude < 1e-6 || magnitude >= 1e21);
  char buffer[400];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), value,
                                 exponent ? std::chars_format::scientific : std::chars_format::fixed);
  return {buffer, end.ptr};
}

std::string format_short(double value) {
  if (!std::isfinite(value)) return format_value(value);
  const double magnitude = std::abs(value);
  const bool exponent = value != 0 && (magnitude < 1e-4 || magnitude >= 1e6);
  char buffer[64];
  const auto end = std::to_chars(std::begin(buffer), std::end(buffer), value,
                                 exponent ? std::chars_format::scientific : std::chars_format::fixed);
  return {buffer, end.ptr};
}

}  // namespace fettle::promql
