#include "promql/duration.h"

#include <fmt/format.h>

#include <cmath>
#include <limits>

namespace fettle::promql {
namespace {

using Op = DurationExpr::Op;

double seconds_of(const DurationExpr& d, const DurationContext& context) {
  const auto left = [&] { return seconds_of(*d.left, context); };
  const auto right = [&] { return seconds_of(*d.right, context); };
  switch (d.op) {
    case Op::kSeconds:
    case Op::kDuration: return d.seconds;
    case Op::kStep: return static_cast<double>(context.step_ms) / 1000;
    case Op::kRange: return static_cast<double>(context.range_ms) / 1000;
    case Op::kMinOf: return std::min(left(), right());
    case Op::kMaxOf: return std::max(left(), right());
    case Op::kAdd: return left() + right();
    case Op::kSubtract: return left() - right();
    case Op::kMultiply: return left() * right();
    case Op::kDivide: return left() / right();
    case Op::kModulo: return std::fmod(left(), right());
    case Op::kPower: return std::pow(left(), right());
    case Op::kNegate: return -left();
    case Op::kPlus:
    case Op::kParen: return left();
  }
  return std::numeric_limits<double>::quiet_NaN();
}

}  // namespace

bool is_constant(const DurationExpr& d) {
  if (d.op == Op::kStep || d.op == Op::kRange) return false;
  return (!d.left || is_constant(*d.left)) && (!d.right || is_constant(*d.right));
}

Result<std::int64_t> duration_ms(const DurationExpr& duration, const DurationContext& context) {
  const double ms = std::round(seconds_of(duration, context) * 1000);
  if (std::isnan(ms) || std::isinf(ms)) return fail(ErrorCode::kInvalidArgument, "division by zero in a duration");
  if (std::abs(ms) >= kMillisMax) return fail(ErrorCode::kInvalidArgument, "duration out of range");
  return static_cast<std::int64_t>(ms);
}

std::string format_duration(std::int64_t ms) {
  if (ms == 0) return "0s";
  std::string out = ms < 0 ? "-" : "";
  auto rest = ms < 0 ? -static_cast<std::uint64_t>(ms) : static_cast<std::uint64_t>(ms);
  struct Unit {
    const char* name;
    std::uint64_t ms;
    bool whole;  // written only when nothing is left over, so that 400d does not turn into 1y5w
  };
  static constexpr Unit kUnits[] = {
      {"y", 31'536'000'000, true}, {"w", 604'800'000, true}, {"d", 86'400'000, false}, {"h", 3'600'000, false},
      {"m", 60'000, false},        {"s", 1000, false},       {"ms", 1, false}};
  for (const Unit& unit : kUnits) {
    if (rest < unit.ms || (unit.whole && rest % unit.ms != 0)) continue;
    out += fmt::format("{}{}", rest / unit.ms, unit.name);
    rest %= unit.ms;
  }
  return out;
}

std::string format_duration_expr(const DurationExpr& d) {
  const auto infix = [&](std::string_view op) {
    return fmt::format("{} {} {}", format_duration_expr(*d.left), op, format_duration_expr(*d.right));
  };
  switch (d.op) {
    case Op::kSeconds: return fmt::format("{}", format_value(d.seconds));
    case Op::kDuration: return format_duration(std::llround(d.seconds * 1000));
    case Op::kStep: return "step()";
    case Op::kRange: return "range()";
    case Op::kMinOf:
      return fmt::format("min_of({}, {})", format_duration_expr(*d.left), format_duration_expr(*d.right));
    case Op::kMaxOf:
      return fmt::format("max_of({}, {})", format_duration_expr(*d.left), format_duration_expr(*d.right));
    case Op::kAdd: return infix("+");
    case Op::kSubtract: return infix("-");
    case Op::kMultiply: return infix("*");
    case Op::kDivide: return infix("/");
    case Op::kModulo: return infix("%");
    case Op::kPower: return infix("^");
    case Op::kNegate: return "-" + format_duration_expr(*d.left);
    case Op::kPlus: return "+" + format_duration_expr(*d.left);
    case Op::kParen: return fmt::format("({})", format_duration_expr(*d.left));
  }
  return {};
}

}  // namespace fettle::promql
