// A syntax tree as text: types and operators by name, and the canonical form of a query.
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>

#include "promql/ast.h"
#include "promql/duration.h"
#include "promql/functions.h"

namespace fettle::promql {
namespace {

std::string label_list(const std::vector<std::string>& labels) {
  std::string out;
  for (const std::string& label : labels) {
    if (!out.empty()) out += ", ";
    out += is_classic_label_name(label) ? label : quoted(label);
  }
  return "(" + out + ")";
}

std::string print_shift(const TimeShift& shift) {
  std::string out;
  switch (shift.at) {
    case TimeShift::At::kNone: break;
    case TimeShift::At::kTime: out += fmt::format(" @ {:.3f}", static_cast<double>(shift.at_ms) / 1000); break;
    case TimeShift::At::kStart: out += " @ start()"; break;
    case TimeShift::At::kEnd: out += " @ end()"; break;
  }
  if (shift.offset) out += " offset " + format_duration_expr(*shift.offset);
  return out;
}

std::string_view print_edges(EdgeMode edges) {
  if (edges == EdgeMode::kAnchored) return " anchored";
  if (edges == EdgeMode::kSmoothed) return " smoothed";
  return "";
}

// Names that would read as something else without quotes.
bool needs_quotes(std::string_view name) {
  static constexpr std::string_view kReserved[] = {"inf", "nan", "bool", "on", "ignoring", "group_left", "group_right"};
  if (!is_classic_metric_name(name) || name[0] == ':') return true;
  std::string small(name);
  for (char& c : small) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return std::find(std::begin(kReserved), std::end(kReserved), small) != std::end(kReserved);
}

std::string print_selector(const Selector& selector, const std::string& range) {
  const bool plain = !selector.name.empty() && !needs_quotes(selector.name);
  std::string inside = selector.name.empty() || plain ? "" : quoted(selector.name);
  for (const Matcher& matcher : selector.matchers) {
    const bool is_name = matcher.name() == kMetricName && matcher.op() == Matcher::Op::kEqual;
    if (!selector.name.empty() && is_name && matcher.value() == selector.name) continue;
    if (!inside.empty()) inside += ", ";
    inside += matcher.to_string();
  }
  std::string out = plain ? selector.name : "";
  if (!inside.empty() || !plain) out += "{" + inside + "}";
  return out + range + std::string(print_edges(selector.edges)) + print_shift(selector.shift);
}

std::string print_number(const NumberLiteral& number) {
  const double ms = std::round(number.value * 1000);
  if (number.is_duration && std::abs(ms) < kMillisMax) return format_duration(static_cast<std::int64_t>(ms));
  // Without a sign: "+Inf ^ 2" would be the sign of a power.
  if (std::isinf(number.value) && number.value > 0) return "Inf";
  return format_value(number.value);
}

std::string print_binary(const BinaryExpr& expr) {
  std::string out = fmt::format("{} {}", format_query(*expr.left), to_string(expr.op));
  const VectorMatching& matching = expr.matching;
  if (expr.returns_bool) out += " bool";
  if (matching.given) out += (matching.on ? " on " : " ignoring ") + label_list(matching.labels);
  if (matching.cardinality == VectorMatching::Cardinality::kManyToOne) {
    out += " group_left " + label_list(matching.include);
  }
  if (matching.cardinality == VectorMatching::Cardinality::kOneToMany) {
    out += " group_right " + label_list(matching.include);
  }
  if (matching.fill_left) out += fmt::format(" fill_left ({})", format_value(*matching.fill_left));
  if (matching.fill_right) out += fmt::format(" fill_right ({})", format_value(*matching.fill_right));
  return out + " " + format_query(*expr.right);
}

std::string print_aggregate(const AggregateExpr& expr) {
  std::string out(to_string(expr.op));
  if (expr.without || !expr.grouping.empty()) {
    out += (expr.without ? " without " : " by ") + label_list(expr.grouping) + " ";
  }
  out += "(";
  if (expr.param) out += format_query(*expr.param) + ", ";
  return out + format_query(*expr.expr) + ")";
}

}  // namespace

std::string_view to_string(ValueType type) {
  switch (type) {
    case ValueType::kScalar: return "scalar";
    case ValueType::kString: return "string";
    case ValueType::kInstantVector: return "instant vector";
    case ValueType::kRangeVector: return "range vector";
  }
  return "";
}

std::string_view to_string(BinaryOp op) {
  static constexpr std::string_view kNames[] = {
      "+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<", "<=", ">", ">=", "</", ">/", "and", "or", "unless"};
  return kNames[static_cast<std::size_t>(op)];
}

std::string_view to_string(AggregateOp op) {
  static constexpr std::string_view kNames[] = {"sum",     "avg",          "min",    "max",        "count",
                                                "group",   "stddev",       "stdvar", "quantile",   "topk",
                                                "bottomk", "count_values", "limitk", "limit_ratio"};
  return kNames[static_cast<std::size_t>(op)];
}

bool is_comparison(BinaryOp op) { return op >= BinaryOp::kEqual && op <= BinaryOp::kGreaterOrEqual; }
bool is_set_operator(BinaryOp op) { return op >= BinaryOp::kAnd; }

ValueType Expr::type() const {
  switch (kind) {
    case Kind::kNumber: return ValueType::kScalar;
    case Kind::kString: return ValueType::kString;
    case Kind::kSelector:
    case Kind::kAggregate: return ValueType::kInstantVector;
    case Kind::kMatrixSelector:
    case Kind::kSubquery: return ValueType::kRangeVector;
    case Kind::kParen: return as<ParenExpr>(*this).expr->type();
    case Kind::kUnary: return as<UnaryExpr>(*this).expr->type();
    case Kind::kCall: return as<CallExpr>(*this).function->returns;
    case Kind::kBinary: {
      const auto& binary = as<BinaryExpr>(*this);
      const bool scalar = binary.left->type() == ValueType::kScalar && binary.right->type() == ValueType::kScalar;
      return scalar ? ValueType::kScalar : ValueType::kInstantVector;
    }
  }
  return ValueType::kScalar;
}

const Expr& unwrapped(const Expr& expr) {
  return expr.kind == Expr::Kind::kParen ? unwrapped(*as<ParenExpr>(expr).expr) : expr;
}

std::string format_query(const Expr& expr) {
  switch (expr.kind) {
    case Expr::Kind::kNumber: return print_number(as<NumberLiteral>(expr));
    case Expr::Kind::kString: return quoted(as<StringLiteral>(expr).value);
    case Expr::Kind::kSelector: return print_selector(as<Selector>(expr), "");
    case Expr::Kind::kMatrixSelector: {
      const auto& matrix = as<MatrixSelector>(expr);
      return print_selector(*matrix.selector, "[" + format_duration_expr(*matrix.range) + "]");
    }
    case Expr::Kind::kSubquery: {
      const auto& subquery = as<Subquery>(expr);
      return fmt::format("{}[{}:{}]{}", format_query(*subquery.expr), format_duration_expr(*subquery.range),
                         subquery.step ? format_duration_expr(*subquery.step) : "", print_shift(subquery.shift));
    }
    case Expr::Kind::kParen: return "(" + format_query(*as<ParenExpr>(expr).expr) + ")";
    case Expr::Kind::kUnary: {
      const auto& unary = as<UnaryExpr>(expr);
      return (unary.negate ? "-" : "+") + format_query(*unary.expr);
    }
    case Expr::Kind::kBinary: return print_binary(as<BinaryExpr>(expr));
    case Expr::Kind::kAggregate: return print_aggregate(as<AggregateExpr>(expr));
    case Expr::Kind::kCall: {
      const auto& call = as<CallExpr>(expr);
      std::string args;
      for (const ExprPtr& arg : call.args) {
        if (!args.empty()) args += ", ";
        args += format_query(*arg);
      }
      return fmt::format("{}({})", call.function->name, args);
    }
  }
  return {};
}

}  // namespace fettle::promql
