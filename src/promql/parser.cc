#include "promql/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "promql/annotations.h"
#include "promql/duration.h"
#include "promql/functions.h"
#include "promql/token_stream.h"
#include "promql/type_check.h"

namespace fettle::promql {
namespace {

using Kind = TokenKind;
using Cardinality = VectorMatching::Cardinality;

struct Infix {
  BinaryOp op;
  int precedence;
};
constexpr int kPowerPrecedence = 6;

constexpr std::pair<std::string_view, AggregateOp> kAggregates[] = {
    {"sum", AggregateOp::kSum},           {"avg", AggregateOp::kAvg},
    {"min", AggregateOp::kMin},           {"max", AggregateOp::kMax},
    {"count", AggregateOp::kCount},       {"group", AggregateOp::kGroup},
    {"stddev", AggregateOp::kStddev},     {"stdvar", AggregateOp::kStdvar},
    {"quantile", AggregateOp::kQuantile}, {"topk", AggregateOp::kTopk},
    {"bottomk", AggregateOp::kBottomk},   {"count_values", AggregateOp::kCountValues},
    {"limitk", AggregateOp::kLimitk},     {"limit_ratio", AggregateOp::kLimitRatio},
};

bool takes_param(AggregateOp op) {
  return op == AggregateOp::kQuantile || op == AggregateOp::kTopk || op == AggregateOp::kBottomk ||
         op == AggregateOp::kCountValues || op == AggregateOp::kLimitk || op == AggregateOp::kLimitRatio;
}

class Parser : private TokenStream {
 public:
  using TokenStream::TokenStream;

  ExprPtr whole() {
    if (now().kind == Kind::kEnd) fail_at(now(), "no expression found in input");
    ExprPtr expr = binary(1);
    expect_end();
    check_types(*expr);
    return expr;
  }

  std::vector<Matcher> whole_selector() {
    const auto selector = bare_selector();
    return selector->matchers;
  }

  Labels whole_series() {
    const auto selector = bare_selector();
    std::vector<Label> labels;
    for (const Matcher& matcher : selector->matchers) {
      if (matcher.op() != Matcher::Op::kEqual) {
        throw ParseFailure{"a series is described by \"=\" alone", selector->at};
      }
      labels.push_back({matcher.name(), matcher.value()});
    }
    return Labels(std::move(labels));
  }

  double whole_duration() {
    const bool negative = accept(Kind::kMinus);
    if (!negative) accept(Kind::kPlus);
    const Token number = expect(Kind::kNumber, "duration");
    expect_end();
    return negative ? -number.number : number.number;
  }

 private:
  template <class T>
  std::unique_ptr<T> finished(std::unique_ptr<T> expr, std::size_t begin, std::initializer_list<const Expr*> children) {
    expr = located(std::move(expr), begin);
    for (const Expr* child : children) {
      if (child != nullptr) expr->depth = std::max(expr->depth, child->depth + 1);
    }
    if (expr->depth > kQueryDepthMax) throw ParseFailure{"the expression is nested too deeply", expr->at};
    return expr;
  }

  std::optional<Infix> infix() const {
    switch (now().kind) {
      case Kind::kEqual: return Infix{BinaryOp::kEqual, 3};
      case Kind::kNotEqual: return Infix{BinaryOp::kNotEqual, 3};
      case Kind::kLess: return Infix{BinaryOp::kLess, 3};
      case Kind::kLessOrEqual: return Infix{BinaryOp::kLessOrEqual, 3};
      case Kind::kGreater: return Infix{BinaryOp::kGreater, 3};
      case Kind::kGreaterOrEqual: return Infix{BinaryOp::kGreaterOrEqual, 3};
      case Kind::kTrimUpper: return Infix{BinaryOp::kTrimUpper, 3};
      case Kind::kTrimLower: return Infix{BinaryOp::kTrimLower, 3};
      case Kind::kPlus: return Infix{BinaryOp::kAdd, 4};
      case Kind::kMinus: return Infix{BinaryOp::kSubtract, 4};
      case Kind::kStar: return Infix{BinaryOp::kMultiply, 5};
      case Kind::kSlash: return Infix{BinaryOp::kDivide, 5};
      case Kind::kPercent: return Infix{BinaryOp::kModulo, 5};
      case Kind::kCaret: return Infix{BinaryOp::kPower, kPowerPrecedence};
      default: break;
    }
    if (is_word(now(), "atan2")) return Infix{BinaryOp::kAtan2, 5};
    if (is_word(now(), "and")) return Infix{BinaryOp::kAnd, 2};
    if (is_word(now(), "unless")) return Infix{BinaryOp::kUnless, 2};
    if (is_word(now(), "or")) return Infix{BinaryOp::kOr, 1};
    return std::nullopt;
  }

  ExprPtr binary(int precedence_min) {
    const Deeper deeper(*this);
    ExprPtr left = unary();
    for (;;) {
      const auto found = infix();
      if (!found || found->precedence < precedence_min) return left;
      take();
      auto expr = std::make_unique<BinaryExpr>();
      expr->op = found->op;
      modifiers(*expr);
      // A power binds to the right: a^b^c is a^(b^c).
      expr->right = binary(found->precedence == kPowerPrecedence ? kPowerPrecedence : found->precedence + 1);
      expr->left = std::move(left);
      const std::size_t begin = expr->left->at.begin;
      const Expr* a = expr->left.get();
      const Expr* b = expr->right.get();
      left = finished(std::move(expr), begin, {a, b});
    }
  }

  void modifiers(BinaryExpr& expr) {
    if (accept_word("bool")) expr.returns_bool = true;
    VectorMatching& matching = expr.matching;
    if (is_set_operator(expr.op)) matching.cardinality = Cardinality::kManyToMany;
    const bool on = is_word(now(), "on");
    if (on || is_word(now(), "ignoring")) {
      take();
      matching.given = true;
      matching.on = on;
      matching.labels = read_label_list(*this);
      const bool left = is_word(now(), "group_left");
      if (left || is_word(now(), "group_right")) {
        const Token group = take();
        if (is_set_operator(expr.op)) {
          fail_at(group, fmt::format("no grouping allowed for \"{}\" operation", to_string(expr.op)));
        }
        matching.cardinality = left ? Cardinality::kManyToOne : Cardinality::kOneToMany;
        if (now().kind == Kind::kLeftParen) matching.include = read_label_list(*this);
        for (const std::string& label : matching.include) {
          const bool listed = std::find(matching.labels.begin(), matching.labels.end(), label) != matching.labels.end();
          if (listed && on) {
            fail_at(group, fmt::format("label \"{}\" must not occur in ON and GROUP clause at once", label));
          }
        }
      }
    }
    for (;;) {
      const bool both = is_word(now(), "fill");
      const bool left = is_word(now(), "fill_left");
      if ((!both && !left && !is_word(now(), "fill_right")) || next().kind != Kind::kLeftParen) return;
      const Token word = take();
      if (is_set_operator(expr.op)) {
        fail_at(word, fmt::format("filling in missing series not allowed for set operators"));
      }
      take();
      const bool negative = accept(Kind::kMinus);
      if (!negative) accept(Kind::kPlus);
      double value = 0;
      if (is_word(now(), "inf") || is_word(now(), "nan")) {
        value = is_word(take(), "inf") ? std::numeric_limits<double>::infinity() : std::bit_cast<double>(kNanBits);
      } else {
        value = expect(Kind::kNumber, "number in fill").number;
      }
      if (negative) value = -value;
      expect(Kind::kRightParen, "\")\" after the fill value");
      if (both || left) matching.fill_left = value;
      if (both || !left) matching.fill_right = value;
    }
  }

  ExprPtr unary() {
    if (now().kind != Kind::kMinus && now().kind != Kind::kPlus) return primary();
    const Deeper deeper(*this);
    const Token sign = take();
    ExprPtr operand = binary(kPowerPrecedence);
    if (operand->kind == Expr::Kind::kNumber) {
      if (sign.kind == Kind::kMinus) static_cast<NumberLiteral&>(*operand).value *= -1;
      operand->at.begin = sign.begin;
      return operand;
    }
    auto expr = std::make_unique<UnaryExpr>();
    expr->negate = sign.kind == Kind::kMinus;
    expr->expr = std::move(operand);
    const Expr* child = expr->expr.get();
    return finished(std::move(expr), sign.begin, {child});
  }

  ExprPtr primary() {
    const std::size_t begin = now().begin;
    ExprPtr expr;
    switch (now().kind) {
      case Kind::kNumber: {
        const Token token = take();
        expr = number(token.number, token.is_duration, begin);
        break;
      }
      case Kind::kString: {
        auto literal = std::make_unique<StringLiteral>();
        literal->value = take().text;
        expr = finished(std::move(literal), begin, {});
        break;
      }
      case Kind::kLeftParen: {
        const Deeper deeper(*this);
        take();
        auto paren = std::make_unique<ParenExpr>();
        paren->expr = binary(1);
        expect(Kind::kRightParen, "\")\"");
        const Expr* child = paren->expr.get();
        expr = finished(std::move(paren), begin, {child});
        break;
      }
      case Kind::kLeftBrace: expr = read_selector(*this); break;
      case Kind::kIdentifier: expr = named(); break;
      default: unexpected("an expression");
    }
    return postfix(std::move(expr));
  }

  ExprPtr number(double value, bool is_duration, std::size_t begin) {
    auto literal = std::make_unique<NumberLiteral>();
    literal->value = value;
    literal->is_duration = is_duration;
    return finished(std::move(literal), begin, {});
  }

  ExprPtr named() {
    const std::string word = lower(now().source);
    const std::size_t begin = now().begin;
    if (word == "inf" || word == "nan") {
      take();
      return number(word == "inf" ? std::numeric_limits<double>::infinity() : std::bit_cast<double>(kNanBits), false,
                    begin);
    }
    const bool call = next().kind == Kind::kLeftParen;
    for (const auto& [name, op] : kAggregates) {
      if (word == name && (call || is_word(next(), "by") || is_word(next(), "without"))) return aggregate(op);
    }
    if (call) return function_call();
    for (const std::string_view reserved : {"bool", "on", "ignoring", "group_left", "group_right"}) {
      if (word == reserved) unexpected("an expression");
    }
    return read_selector(*this);
  }

  ExprPtr aggregate(AggregateOp op) {
    const std::size_t begin = take().begin;
    auto expr = std::make_unique<AggregateExpr>();
    expr->op = op;
    const auto grouping = [&] {
      const bool by = is_word(now(), "by");
      if (!by && !is_word(now(), "without")) return false;
      take();
      expr->without = !by;
      expr->grouping = read_label_list(*this);
      return true;
    };
    const bool before = grouping();
    const Token open = expect(Kind::kLeftParen, "\"(\" in aggregation");
    std::vector<ExprPtr> args = arguments();
    const std::size_t wanted = takes_param(op) ? 2 : 1;
    if (args.size() != wanted) {
      throw ParseFailure{fmt::format("wrong number of arguments for aggregate expression provided, expected {}, got {}",
                                     wanted, args.size()),
                         {begin, last_end()}};
    }
    if (!before) grouping();
    expr->expr = std::move(args.back());
    if (wanted == 2) expr->param = std::move(args.front());
    const Expr* a = expr->expr.get();
    const Expr* b = expr->param.get();
    return finished(std::move(expr), begin, {a, b});
  }

  // After "(", with the ")".
  std::vector<ExprPtr> arguments() {
    std::vector<ExprPtr> args;
    if (accept(Kind::kRightParen)) return args;
    for (;;) {
      args.push_back(binary(1));
      if (accept(Kind::kComma)) {
        if (now().kind == Kind::kRightParen) fail_at(now(), "trailing commas not allowed in function call args");
        continue;
      }
      expect(Kind::kRightParen, "\",\" or \")\"");
      return args;
    }
  }

  ExprPtr function_call() {
    const Token name = take();
    auto call = std::make_unique<CallExpr>();
    call->function = find_function(name.source);
    if (call->function == nullptr) fail_at(name, fmt::format("unknown function with name \"{}\"", name.source));
    take();
    call->args = arguments();
    for (const ExprPtr& arg : call->args) call->depth = std::max(call->depth, arg->depth + 1);
    return finished(std::move(call), name.begin, {});
  }

  std::unique_ptr<Selector> bare_selector() {
    if (now().kind != Kind::kIdentifier && now().kind != Kind::kLeftBrace) unexpected("a series selector");
    ExprPtr expr = read_selector(*this);
    expect_end();
    return std::unique_ptr<Selector>(static_cast<Selector*>(expr.release()));
  }

  ExprPtr postfix(ExprPtr expr) {
    for (;;) {
      if (now().kind == Kind::kLeftBracket) {
        expr = bracketed(std::move(expr));
      } else if (is_word(now(), "offset")) {
        const Token word = take();
        TimeShift& shift = shift_of(*expr, word, "offset");
        if (shift.offset) fail_at(word, "offset may not be set multiple times");
        shift.offset = read_offset(*this);
        expr->at.end = last_end();
      } else if (now().kind == Kind::kAt) {
        const Token at = take();
        TimeShift& shift = shift_of(*expr, at, "@");
        if (shift.at != TimeShift::At::kNone) fail_at(at, "@ <timestamp> may not be set multiple times");
        pin(shift);
        expr->at.end = last_end();
      } else if ((is_word(now(), "anchored") || is_word(now(), "smoothed")) &&
                 (expr->kind == Expr::Kind::kSelector || expr->kind == Expr::Kind::kMatrixSelector)) {
        const bool anchored = is_word(now(), "anchored");
        const Token word = take();
        Selector& inner = selector_of(*expr);
        if (inner.edges != EdgeMode::kPlain) fail_at(word, "anchored and smoothed may be set once");
        if (anchored && expr->kind == Expr::Kind::kSelector) {
          fail_at(word, "anchored modifier can only be used with range selectors");
        }
        inner.edges = anchored ? EdgeMode::kAnchored : EdgeMode::kSmoothed;
        expr->at.end = last_end();
      } else {
        return expr;
      }
    }
  }

  static Selector& selector_of(Expr& expr) {
    if (expr.kind == Expr::Kind::kSelector) return static_cast<Selector&>(expr);
    return *static_cast<MatrixSelector&>(expr).selector;
  }

  TimeShift& shift_of(Expr& expr, const Token& word, std::string_view modifier) {
    if (expr.kind == Expr::Kind::kSubquery) return static_cast<Subquery&>(expr).shift;
    if (expr.kind == Expr::Kind::kSelector || expr.kind == Expr::Kind::kMatrixSelector) return selector_of(expr).shift;
    fail_at(word,
            fmt::format("{} modifier must be preceded by an instant vector selector or range vector selector or a "
                        "subquery",
                        modifier));
  }

  void pin(TimeShift& shift) {
    const bool start = is_word(now(), "start");
    if ((start || is_word(now(), "end")) && next().kind == Kind::kLeftParen) {
      take();
      take();
      expect(Kind::kRightParen, "\")\"");
      shift.at = start ? TimeShift::At::kStart : TimeShift::At::kEnd;
      return;
    }
    const Token first = now();
    const bool negative = accept(Kind::kMinus);
    if (!negative) accept(Kind::kPlus);
    if (is_word(now(), "inf") || is_word(now(), "nan")) fail_at(now(), "timestamp out of bounds for @ modifier");
    const double seconds = expect(Kind::kNumber, "timestamp").number;
    const double ms = std::round((negative ? -seconds : seconds) * 1000);
    if (!(std::abs(ms) < kMillisMax)) fail_at(first, "timestamp out of bounds for @ modifier");
    shift.at = TimeShift::At::kTime;
    shift.at_ms = static_cast<UnixMillis>(ms);
  }

  ExprPtr bracketed(ExprPtr inner) {
    const Token open = take();
    const std::size_t begin = inner->at.begin;
    DurationPtr range = now().kind == Kind::kColon ? nullptr : read_duration(*this);
    if (range == nullptr) unexpected("duration");
    if (accept(Kind::kColon)) {
      auto subquery = std::make_unique<Subquery>();
      subquery->range = std::move(range);
      if (now().kind != Kind::kRightBracket) {
        subquery->step = read_duration(*this);
      }
      expect(Kind::kRightBracket, "\"]\"");
      subquery->expr = std::move(inner);
      const Expr* child = subquery->expr.get();
      return finished(std::move(subquery), begin, {child});
    }
    expect(Kind::kRightBracket, "\":\" or \"]\"");
    if (inner->kind != Expr::Kind::kSelector) fail_at(open, "ranges only allowed for vector selectors");
    auto matrix = std::make_unique<MatrixSelector>();
    matrix->selector.reset(static_cast<Selector*>(inner.release()));
    if (matrix->selector->shift.offset) fail_at(open, "no offset modifiers allowed before range");
    if (matrix->selector->shift.at != TimeShift::At::kNone) fail_at(open, "no @ modifiers allowed before range");
    if (matrix->selector->edges != EdgeMode::kPlain) fail_at(open, "no anchored or smoothed allowed before range");
    matrix->range = std::move(range);
    return finished(std::move(matrix), begin, {});
  }
};

template <class F>
auto guarded(std::string_view text, F&& work) -> std::expected<decltype(work()), ParseError> {
  try {
    if (text.size() > kQueryBytesMax) throw ParseFailure{"the query is too long", {0, 0}};
    return work();
  } catch (const ParseFailure& failure) {
    return std::unexpected(ParseError{failure.message, failure.at, line_and_column(text, failure.at.begin)});
  }
}

}  // namespace

std::expected<ExprPtr, ParseError> parse(std::string_view query) {
  return guarded(query, [&] { return Parser(query).whole(); });
}

std::expected<std::vector<Matcher>, ParseError> parse_selector(std::string_view text) {
  return guarded(text, [&] { return Parser(text).whole_selector(); });
}

std::expected<Labels, ParseError> parse_series_labels(std::string_view text) {
  return guarded(text, [&] { return Parser(text).whole_series(); });
}

std::expected<std::int64_t, ParseError> parse_duration(std::string_view text) {
  return guarded(text, [&] {
    const double ms = std::round(Parser(text).whole_duration() * 1000);
    if (!(std::abs(ms) < kMillisMax)) throw ParseFailure{"duration out of range", {0, text.size()}};
    return static_cast<std::int64_t>(ms);
  });
}

}  // namespace fettle::promql
