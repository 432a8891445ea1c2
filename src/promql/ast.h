// The syntax tree of a query. parse() makes one; it never changes afterwards and may be read by any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "promql/labels.h"
#include "promql/matcher.h"
#include "promql/value.h"

namespace fettle::promql {

// Bytes [begin, end) of the query.
struct TextSpan {
  std::size_t begin = 0;
  std::size_t end = 0;
};

enum class ValueType : std::uint8_t { kScalar, kString, kInstantVector, kRangeVector };
// "scalar", "string", "instant vector", "range vector"
std::string_view to_string(ValueType type);

// A length of time as it was written: a plain one, or arithmetic that may name the step and the range of the query.
struct DurationExpr {
  enum class Op : std::uint8_t {
    kSeconds,   // 300
    kDuration,  // 5m
    kStep,
    kRange,
    kMinOf,
    kMaxOf,
    kAdd,
    kSubtract,
    kMultiply,
    kDivide,
    kModulo,
    kPower,
    kNegate,
    kPlus,
    kParen
  };
  Op op = Op::kSeconds;
  double seconds = 0;
  std::unique_ptr<DurationExpr> left;
  std::unique_ptr<DurationExpr> right;
  TextSpan at;

  bool is_literal() const { return op == Op::kSeconds || op == Op::kDuration; }
};
using DurationPtr = std::unique_ptr<DurationExpr>;

struct Expr {
  enum class Kind : std::uint8_t {
    kNumber,
    kString,
    kSelector,
    kMatrixSelector,
    kSubquery,
    kParen,
    kUnary,
    kBinary,
    kAggregate,
    kCall
  };
  explicit Expr(Kind k) : kind(k) {}
  virtual ~Expr() = default;
  ValueType type() const;

  const Kind kind;
  TextSpan at;
  int depth = 1;
  // The same at every step of a range query, because every selector in it is pinned by @.
  bool step_invariant = false;
};
using ExprPtr = std::unique_ptr<Expr>;

struct NumberLiteral : Expr {
  NumberLiteral() : Expr(Kind::kNumber) {}
  double value = 0;
  bool is_duration = false;  // written as 5m
};

struct StringLiteral : Expr {
  StringLiteral() : Expr(Kind::kString) {}
  std::string value;
};

// offset and @, of a selector or a subquery. The order in which they were written means nothing.
struct TimeShift {
  enum class At : std::uint8_t { kNone, kTime, kStart, kEnd };
  DurationPtr offset;  // null: none
  At at = At::kNone;
  UnixMillis at_ms = 0;  // of kTime
};

// How samples at the edges of a window are made up.
enum class EdgeMode : std::uint8_t { kPlain, kAnchored, kSmoothed };

struct Selector : Expr {
  Selector() : Expr(Kind::kSelector) {}
  std::string name;  // as written before the braces or in them; also among the matchers
  std::vector<Matcher> matchers;
  TimeShift shift;
  EdgeMode edges = EdgeMode::kPlain;
};

struct MatrixSelector : Expr {
  MatrixSelector() : Expr(Kind::kMatrixSelector) {}
  std::unique_ptr<Selector> selector;
  DurationPtr range;
};

struct Subquery : Expr {
  Subquery() : Expr(Kind::kSubquery) {}
  ExprPtr expr;
  DurationPtr range;
  DurationPtr step;  // null: the default
  TimeShift shift;
};

struct ParenExpr : Expr {
  ParenExpr() : Expr(Kind::kParen) {}
  ExprPtr expr;
};

struct UnaryExpr : Expr {
  UnaryExpr() : Expr(Kind::kUnary) {}
  bool negate = false;
  ExprPtr expr;
};

enum class BinaryOp : std::uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,
  kPower,
  kAtan2,
  kEqual,
  kNotEqual,
  kLess,
  kLessOrEqual,
  kGreater,
  kGreaterOrEqual,
  kTrimUpper,
  kTrimLower,
  kAnd,
  kOr,
  kUnless
};
std::string_view to_string(BinaryOp op);
bool is_comparison(BinaryOp op);
bool is_set_operator(BinaryOp op);

struct VectorMatching {
  enum class Cardinality : std::uint8_t { kOneToOne, kManyToOne, kOneToMany, kManyToMany };
  Cardinality cardinality = Cardinality::kOneToOne;
  bool given = false;  // on or ignoring was written
  bool on = false;
  std::vector<std::string> labels;
  std::vector<std::string> include;  // of group_left and group_right
  std::optional<double> fill_left;
  std::optional<double> fill_right;
};

struct BinaryExpr : Expr {
  BinaryExpr() : Expr(Kind::kBinary) {}
  BinaryOp op = BinaryOp::kAdd;
  bool returns_bool = false;
  VectorMatching matching;
  ExprPtr left;
  ExprPtr right;
};

enum class AggregateOp : std::uint8_t {
  kSum,
  kAvg,
  kMin,
  kMax,
  kCount,
  kGroup,
  kStddev,
  kStdvar,
  kQuantile,
  kTopk,
  kBottomk,
  kCountValues,
  kLimitk,
  kLimitRatio
};
std::string_view to_string(AggregateOp op);

struct AggregateExpr : Expr {
  AggregateExpr() : Expr(Kind::kAggregate) {}
  AggregateOp op = AggregateOp::kSum;
  bool without = false;
  std::vector<std::string> grouping;
  ExprPtr param;  // null: takes none
  ExprPtr expr;
};

struct FunctionSignature;

struct CallExpr : Expr {
  CallExpr() : Expr(Kind::kCall) {}
  const FunctionSignature* function = nullptr;
  std::vector<ExprPtr> args;
};

template <class T>
const T& as(const Expr& expr) {
  return static_cast<const T&>(expr);
}

// The expression inside any parentheses.
const Expr& unwrapped(const Expr& expr);

// The query in its canonical form: parse() of it gives the same tree.
std::string format_query(const Expr& expr);
// 1h30m, for milliseconds; "0s"
std::string format_duration(std::int64_t ms);

}  // namespace fettle::promql
