#include "promql/type_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "promql/functions.h"
#include "promql/parse_error.h"

namespace fettle::promql {
namespace {

[[noreturn]] void fail_at(const Expr& expr, std::string message) { throw ParseFailure{std::move(message), expr.at}; }

void expect_type(const Expr& expr, ValueType wanted, std::string_view context) {
  if (expr.type() == wanted) return;
  fail_at(expr, fmt::format("expected type {} in {}, got {}", to_string(wanted), context, to_string(expr.type())));
}

void check_selector(const Selector& selector) {
  const bool narrows = std::any_of(selector.matchers.begin(), selector.matchers.end(),
                                   [](const Matcher& matcher) { return !matcher.matches_empty(); });
  if (!narrows) fail_at(selector, "vector selector must contain at least one non-empty matcher");
}

// Functions whose value depends on the time of the evaluation even where their argument is pinned.
bool depends_on_time(const CallExpr& call) {
  static constexpr std::string_view kNames[] = {"day_of_month", "day_of_week", "day_of_year", "days_in_month",
                                                "hour",         "minute",      "month",       "predict_linear",
                                                "time",         "timestamp",   "year"};
  return std::find(std::begin(kNames), std::end(kNames), call.function->name) != std::end(kNames);
}

void check_call(CallExpr& call) {
  const FunctionSignature& function = *call.function;
  const std::size_t known = function.args.size();
  const std::size_t least = known - (function.optional < 0 ? 1 : static_cast<std::size_t>(function.optional));
  if (call.args.size() < least) {
    fail_at(call, fmt::format("expected {}{} argument(s) in call to \"{}\", got {}",
                              function.optional == 0 ? "" : "at least ", least, function.name, call.args.size()));
  }
  if (function.optional >= 0 && call.args.size() > known) {
    fail_at(call, fmt::format("expected {}{} argument(s) in call to \"{}\", got {}",
                              function.optional == 0 ? "" : "at most ", known, function.name, call.args.size()));
  }
  call.step_invariant = !depends_on_time(call);
  for (std::size_t i = 0; i < call.args.size(); ++i) {
    Expr& arg = *call.args[i];
    if (function.name == "info" && i == 1) {
      // The second is no expression: its matchers choose the info series and their labels, and may all be loose.
      if (arg.kind != Expr::Kind::kSelector) fail_at(arg, "expected label selectors only");
      const auto& selector = static_cast<Selector&>(arg);
      if (!selector.name.empty() || selector.shift.offset || selector.shift.at != TimeShift::At::kNone) {
        fail_at(arg, "expected label selectors only");
      }
      continue;
    }
    check_types(arg);
    expect_type(arg, function.args[std::min(i, known - 1)], fmt::format("call to function \"{}\"", function.name));
    call.step_invariant = call.step_invariant && arg.step_invariant;
  }
}

void check_aggregate(AggregateExpr& expr) {
  check_types(*expr.expr);
  expect_type(*expr.expr, ValueType::kInstantVector, "aggregation expression");
  expr.step_invariant = expr.expr->step_invariant;
  if (!expr.param) return;
  check_types(*expr.param);
  const bool text = expr.op == AggregateOp::kCountValues;
  expect_type(*expr.param, text ? ValueType::kString : ValueType::kScalar, "aggregation parameter");
  expr.step_invariant = expr.step_invariant && expr.param->step_invariant;
}

void check_binary(BinaryExpr& expr) {
  check_types(*expr.left);
  check_types(*expr.right);
  const ValueType left = expr.left->type();
  const ValueType right = expr.right->type();
  for (const Expr* side : {expr.left.get(), expr.right.get()}) {
    if (side->type() != ValueType::kScalar && side->type() != ValueType::kInstantVector) {
      fail_at(*side, "binary expression must contain only scalar and instant vector types");
    }
  }
  const bool both_scalar = left == ValueType::kScalar && right == ValueType::kScalar;
  const bool both_vectors = left == ValueType::kInstantVector && right == ValueType::kInstantVector;
  if (expr.returns_bool && !is_comparison(expr.op)) {
    fail_at(expr, "bool modifier can only be used on comparison operators");
  }
  if (both_scalar && is_comparison(expr.op) && !expr.returns_bool) {
    fail_at(expr, "comparisons between scalars must use BOOL modifier");
  }
  if (!both_vectors && is_set_operator(expr.op)) {
    fail_at(expr, fmt::format("set operator \"{}\" not allowed in binary scalar expression", to_string(expr.op)));
  }
  if (!both_vectors && expr.matching.given) {
    fail_at(expr, "vector matching only allowed between instant vectors");
  }
  if (!both_vectors && (expr.matching.fill_left || expr.matching.fill_right)) {
    fail_at(expr, "filling in missing series only allowed between instant vectors");
  }
  expr.step_invariant = expr.left->step_invariant && expr.right->step_invariant;
}

}  // namespace

void check_types(Expr& expr) {
  switch (expr.kind) {
    case Expr::Kind::kNumber:
    case Expr::Kind::kString: expr.step_invariant = true; break;
    case Expr::Kind::kSelector: {
      auto& selector = static_cast<Selector&>(expr);
      check_selector(selector);
      expr.step_invariant = selector.shift.at != TimeShift::At::kNone;
      break;
    }
    case Expr::Kind::kMatrixSelector: {
      auto& matrix = static_cast<MatrixSelector&>(expr);
      check_types(*matrix.selector);
      expr.step_invariant = matrix.selector->step_invariant;
      break;
    }
    case Expr::Kind::kSubquery: {
      auto& subquery = static_cast<Subquery&>(expr);
      check_types(*subquery.expr);
      if (subquery.expr->type() != ValueType::kInstantVector) {
        fail_at(*subquery.expr, fmt::format("subquery is only allowed on instant vector, got {} instead",
                                            to_string(subquery.expr->type())));
      }
      expr.step_invariant = subquery.shift.at != TimeShift::At::kNone;
      break;
    }
    case Expr::Kind::kParen: {
      auto& paren = static_cast<ParenExpr&>(expr);
      check_types(*paren.expr);
      expr.step_invariant = paren.expr->step_invariant;
      break;
    }
    case Expr::Kind::kUnary: {
      auto& unary = static_cast<UnaryExpr&>(expr);
      check_types(*unary.expr);
      const ValueType type = unary.expr->type();
      if (type != ValueType::kScalar && type != ValueType::kInstantVector) {
        fail_at(expr, fmt::format("unary expression only allowed on expressions of type scalar or instant vector, got "
                                  "\"{}\"",
                                  to_string(type)));
      }
      expr.step_invariant = unary.expr->step_invariant;
      break;
    }
    case Expr::Kind::kBinary: check_binary(static_cast<BinaryExpr&>(expr)); break;
    case Expr::Kind::kAggregate: check_aggregate(static_cast<AggregateExpr&>(expr)); break;
    case Expr::Kind::kCall: check_call(static_cast<CallExpr&>(expr)); break;
  }
}

}  // namespace fettle::promql
