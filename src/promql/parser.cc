#include "promql/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "core/json.h"
#include "promql/annotations.h"
#include "promql/duration.h"
#include "promql/functions.h"
#include "promql/lexer.h"
#include "promql/type_check.h"

namespace fettle::promql {
namespace {

using Kind = TokenKind;
using Cardinality = VectorMatching::Cardinality;

std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), [](unsigned char c) { return std::tolower(c); });
  return out;
}

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

class Parser {
 public:
  explicit Parser(std::string_view query) : tokens_(tokenize(query)) {}

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
  const Token& now() const { return tokens_[at_]; }
  const Token& next() const { return tokens_[std::min(at_ + 1, tokens_.size() - 1)]; }
  Token take() { return tokens_[now().kind == Kind::kEnd ? at_ : at_++]; }
  std::size_t last_end() const { return at_ == 0 ? 0 : tokens_[at_ - 1].end(); }

  [[noreturn]] void fail_at(const Token& token, std::string message) const {
    throw ParseFailure{std::move(message), {token.begin, token.end()}};
  }
  [[noreturn]] void unexpected(std::string_view wanted) const {
    const std::string what = now().kind == Kind::kEnd ? "end of input" : fmt::format("\"{}\"", now().source);
    fail_at(now(), fmt::format("unexpected {}, expected {}", what, wanted));
  }
  bool accept(Kind kind) {
    if (now().kind != kind) return false;
    ++at_;
    return true;
  }
  Token expect(Kind kind, std::string_view wanted) {
    if (now().kind != kind) unexpected(wanted);
    return take();
  }
  void expect_end() {
    if (now().kind != Kind::kEnd) fail_at(now(), fmt::format("unexpected \"{}\"", now().source));
  }
  bool is_word(const Token& token, std::string_view word) const {
    return token.kind == Kind::kIdentifier && token.source.size() == word.size() && lower(token.source) == word;
  }
  bool accept_word(std::string_view word) {
    if (!is_word(now(), word)) return false;
    ++at_;
    return true;
  }
  // Counts the depth of the recursion for as long as it lives.
  struct Deeper {
    explicit Deeper(Parser& p) : parser(p) {
      if (++parser.depth_ > kQueryDepthMax) parser.fail_at(parser.now(), "the expression is nested too deeply");
    }
    ~Deeper() { --parser.depth_; }
    Parser& parser;
  };
  template <class T>
  std::unique_ptr<T> finished(std::unique_ptr<T> expr, std::size_t begin, std::initializer_list<const Expr*> children) {
    expr->at = {begin, last_end()};
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
      matching.labels = label_list();
      const bool left = is_word(now(), "group_left");
      if (left || is_word(now(), "group_right")) {
        const Token group = take();
        if (is_set_operator(expr.op)) {
          fail_at(group, fmt::format("no grouping allowed for \"{}\" operation", to_string(expr.op)));
        }
        matching.cardinality = left ? Cardinality::kManyToOne : Cardinality::kOneToMany;
        if (now().kind == Kind::kLeftParen) matching.include = label_list();
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

  std::string label_name() {
    const Token token = take();
    if (token.kind == Kind::kIdentifier && is_classic_label_name(token.source)) return std::string(token.source);
    if (token.kind == Kind::kString && !token.text.empty() && is_utf8(token.text)) return token.text;
    --at_;
    unexpected("label");
  }

  std::vector<std::string> label_list() {
    expect(Kind::kLeftParen, "\"(\"");
    std::vector<std::string> labels;
    while (!accept(Kind::kRightParen)) {
      labels.push_back(label_name());
      if (accept(Kind::kComma)) continue;
      expect(Kind::kRightParen, "\",\" or \")\" in grouping opts");
      break;
    }
    return labels;
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
      case Kind::kLeftBrace: expr = selector(); break;
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
    return selector();
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
      expr->grouping = label_list();
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

  ExprPtr selector() {
    const std::size_t begin = now().begin;
    auto expr = std::make_unique<Selector>();
    const auto set_name = [&](const Token& token, std::string name) {
      if (!expr->name.empty()) {
        fail_at(token, fmt::format("metric name must not be set twice: \"{}\" or \"{}\"", expr->name, name));
      }
      expr->name = std::move(name);
    };
    if (now().kind == Kind::kIdentifier) {
      const Token token = take();
      set_name(token, std::string(token.source));
    }
    if (accept(Kind::kLeftBrace)) {
      while (!accept(Kind::kRightBrace)) {
        const Token token = now();
        if (token.kind == Kind::kString && (next().kind == Kind::kComma || next().kind == Kind::kRightBrace)) {
          if (token.text.empty() || !is_utf8(token.text)) fail_at(token, "metric name must be UTF-8 and not empty");
          take();
          set_name(token, token.text);
        } else {
          expr->matchers.push_back(matcher());
        }
        if (accept(Kind::kComma)) continue;
        expect(Kind::kRightBrace, "\",\" or \"}\" in label matching");
        break;
      }
    }
    if (!expr->name.empty()) {
      for (const Matcher& m : expr->matchers) {
        if (m.name() == kMetricName && m.op() == Matcher::Op::kEqual) {
          throw ParseFailure{fmt::format("metric name must not be set twice: \"{}\" or \"{}\"", expr->name, m.value()),
                             {begin, last_end()}};
        }
      }
      expr->matchers.push_back(*Matcher::make(Matcher::Op::kEqual, std::string(kMetricName), expr->name));
    }
    return finished(std::move(expr), begin, {});
  }

  Matcher matcher() {
    std::string name = label_name();
    const Token op_token = take();
    Matcher::Op op = Matcher::Op::kEqual;
    switch (op_token.kind) {
      case Kind::kAssign: break;
      case Kind::kNotEqual: op = Matcher::Op::kNotEqual; break;
      case Kind::kMatches: op = Matcher::Op::kMatches; break;
      case Kind::kNotMatches: op = Matcher::Op::kNotMatches; break;
      default:
        if (op_token.kind != Kind::kEnd) --at_;
        unexpected("label matching operator");
    }
    const Token value = expect(Kind::kString, "string in label matching");
    auto made = Matcher::make(op, std::move(name), value.text);
    if (!made) fail_at(value, made.error().message());
    return std::move(*made);
  }

  std::unique_ptr<Selector> bare_selector() {
    if (now().kind != Kind::kIdentifier && now().kind != Kind::kLeftBrace) unexpected("a series selector");
    ExprPtr expr = selector();
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
        shift.offset = duration_primary(true);
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
    DurationPtr range = now().kind == Kind::kColon ? nullptr : duration(1);
    if (range == nullptr) unexpected("duration");
    require_positive(*range);
    if (accept(Kind::kColon)) {
      auto subquery = std::make_unique<Subquery>();
      subquery->range = std::move(range);
      if (now().kind != Kind::kRightBracket) {
        subquery->step = duration(1);
        require_positive(*subquery->step);
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

  void require_positive(const DurationExpr& duration) const {
    if (!is_constant(duration)) return;
    const auto ms = duration_ms(duration, {});
    if (!ms) throw ParseFailure{ms.error().message(), duration.at};
    if (*ms <= 0) throw ParseFailure{"duration must be greater than 0", duration.at};
  }

  DurationPtr make_duration(DurationExpr::Op op, std::size_t begin, DurationPtr left = nullptr,
                            DurationPtr right = nullptr) {
    auto made = std::make_unique<DurationExpr>();
    made->op = op;
    made->left = std::move(left);
    made->right = std::move(right);
    made->at = {begin, last_end()};
    return made;
  }

  DurationPtr duration(int precedence_min) {
    const Deeper deeper(*this);
    const std::size_t begin = now().begin;
    DurationPtr left;
    if (now().kind == Kind::kMinus || now().kind == Kind::kPlus) {
      const bool negative = take().kind == Kind::kMinus;
      left = duration(3);
      left = make_duration(negative ? DurationExpr::Op::kNegate : DurationExpr::Op::kPlus, begin, std::move(left));
    } else {
      left = duration_primary(false);
    }
    for (int operators = 0;; ++operators) {
      if (operators > kQueryDepthMax) fail_at(now(), "the expression is nested too deeply");
      DurationExpr::Op op{};
      int precedence = 0;
      switch (now().kind) {
        case Kind::kPlus:
          op = DurationExpr::Op::kAdd;
          precedence = 1;
          break;
        case Kind::kMinus:
          op = DurationExpr::Op::kSubtract;
          precedence = 1;
          break;
        case Kind::kStar:
          op = DurationExpr::Op::kMultiply;
          precedence = 2;
          break;
        case Kind::kSlash:
          op = DurationExpr::Op::kDivide;
          precedence = 2;
          break;
        case Kind::kPercent:
          op = DurationExpr::Op::kModulo;
          precedence = 2;
          break;
        case Kind::kCaret:
          op = DurationExpr::Op::kPower;
          precedence = 3;
          break;
        default: return left;
      }
      if (precedence < precedence_min) return left;
      take();
      DurationPtr right = duration(precedence == 3 ? 3 : precedence + 1);
      left = make_duration(op, begin, std::move(left), std::move(right));
    }
  }

  DurationPtr duration_primary(bool may_be_signed) {
    const Deeper deeper(*this);
    const std::size_t begin = now().begin;
    if (may_be_signed && (now().kind == Kind::kMinus || now().kind == Kind::kPlus)) {
      const bool negative = take().kind == Kind::kMinus;
      DurationPtr inner = duration_primary(false);
      return make_duration(negative ? DurationExpr::Op::kNegate : DurationExpr::Op::kPlus, begin, std::move(inner));
    }
    if (now().kind == Kind::kNumber) {
      const Token token = take();
      DurationPtr literal =
          make_duration(token.is_duration ? DurationExpr::Op::kDuration : DurationExpr::Op::kSeconds, begin);
      literal->seconds = token.number;
      if (!(std::abs(token.number) * 1000 < kMillisMax)) fail_at(token, "duration out of range");
      return literal;
    }
    if (accept(Kind::kLeftParen)) {
      DurationPtr inner = duration(1);
      expect(Kind::kRightParen, "\")\"");
      return make_duration(DurationExpr::Op::kParen, begin, std::move(inner));
    }
    for (const bool is_step : {true, false}) {
      if (!is_word(now(), is_step ? "step" : "range")) continue;
      take();
      expect(Kind::kLeftParen, "\"(\"");
      expect(Kind::kRightParen, "\")\"");
      return make_duration(is_step ? DurationExpr::Op::kStep : DurationExpr::Op::kRange, begin);
    }
    for (const bool is_min : {true, false}) {
      if (!is_word(now(), is_min ? "min_of" : "max_of")) continue;
      take();
      expect(Kind::kLeftParen, "\"(\"");
      DurationPtr left = duration(1);
      expect(Kind::kComma, "\",\"");
      DurationPtr right = duration(1);
      expect(Kind::kRightParen, "\")\"");
      return make_duration(is_min ? DurationExpr::Op::kMinOf : DurationExpr::Op::kMaxOf, begin, std::move(left),
                           std::move(right));
    }
    unexpected("number, duration, step(), or range()");
  }

  std::vector<Token> tokens_;
  std::size_t at_ = 0;
  int depth_ = 0;
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
