#include "promql/parser.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "promql/functions.h"

namespace fettle::promql {
namespace {

std::string printed(std::string_view query) {
  const auto expr = parse(query);
  return expr ? format_query(**expr) : expr.error().to_string();
}

TEST(Parser, PrintsTheCanonicalForm) {
  const std::pair<const char*, const char*> kForms[] = {
      {"1+2*3", "1 + 2 * 3"},
      {"-a^2", "-a ^ 2"},
      {"- 5m", "-5m"},
      {"0x1F + 1_000 + .5e3", "31 + 1000 + 500"},
      {"iNf ^ nan", "Inf ^ NaN"},
      {"90m", "1h30m"},
      {"SUM(a) BY (x,)", "sum by (x) (a)"},
      {"topk without(\"odd name\") (5, a)", "topk without (\"odd name\") (5, a)"},
      {"a{b='c',d!~\"e\\n\"}", R"(a{b="c", d!~"e\n"})"},
      {"{\"odd.name\", \"l b\"=`x`}", R"({"odd.name", "l b"="x"})"},
      {"{__name__=\"a\"}", R"({__name__="a"})"},
      {"a[300] offset -5m @ 10", "a[300] @ 10.000 offset -5m"},
      {"sum(a)[1h:] @ end()", "sum(a)[1h:] @ end()"},
      {"a[5m:step()*2]", "a[5m:step() * 2]"},
      {"a + bool b", "1:1: parse error: bool modifier can only be used on comparison operators"},
      {"a / on(x) group_left b", "a / on (x) group_left () b"},
      {"a == bool ignoring(x) group_right(y) fill(0) b",
       "a == bool ignoring (x) group_right (y) fill_left (0) fill_right (0) b"},
      {"a and on() b", "a and on () b"},
      {"rate(a[5m] smoothed) </ 5", "rate(a[5m] smoothed) </ 5"},
      {"sum", "sum"},
      {"offset + by", "offset + by"},
      {"{\"inf\"} * 1", "{\"inf\"} * 1"},
  };
  for (const auto& [query, form] : kForms) EXPECT_EQ(printed(query), form) << query;
}

TEST(Parser, BindsAsThePrecedenceSays) {
  const auto expr = parse("a or b and c == d + e * f ^ g ^ h");
  ASSERT_TRUE(expr);
  const Expr* at = expr->get();
  for (const BinaryOp op : {BinaryOp::kOr, BinaryOp::kAnd, BinaryOp::kEqual, BinaryOp::kAdd, BinaryOp::kMultiply,
                            BinaryOp::kPower, BinaryOp::kPower}) {
    ASSERT_EQ(at->kind, Expr::Kind::kBinary);
    EXPECT_EQ(as<BinaryExpr>(*at).op, op);
    at = as<BinaryExpr>(*at).right.get();
  }
}

TEST(Parser, ErrorsSayWhereAndWhat) {
  const std::pair<const char*, const char*> kErrors[] = {
      {"", "1:1: parse error: no expression found in input"},
      {"a +", "1:4: parse error: unexpected end of input, expected an expression"},
      {"a\n  b", "2:3: parse error: unexpected \"b\""},
      {"sum(a", "1:6: parse error: unexpected end of input, expected \",\" or \")\""},
      {"a{b=1}", "1:5: parse error: unexpected \"1\", expected string in label matching"},
      {"a{b=~\"(\"}", "1:6: parse error: error parsing regexp"},
      {"5x", "1:1: parse error: bad number or duration syntax: \"5x\""},
      {"\"abc", "1:1: parse error: unterminated quoted string"},
      {"\"\\q\"", "1:2: parse error: unknown escape sequence"},
      {"a & b", "1:3: parse error: unexpected character: '&'"},
      {"{}", "1:1: parse error: vector selector must contain at least one non-empty matcher"},
      {"{a=~\".*\"}", "1:1: parse error: vector selector must contain"},
      {"a{__name__=\"b\"}", "1:1: parse error: metric name must not be set twice"},
      {"rate(a)", "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector"},
      {"rate(a[5m], 1)", "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2"},
      {"round()", "1:1: parse error: expected at least 1 argument(s)"},
      {"nosuch(a)", "1:1: parse error: unknown function with name \"nosuch\""},
      {"1 == 1", "1:1: parse error: comparisons between scalars must use BOOL modifier"},
      {"1 and a", "1:1: parse error: set operator \"and\" not allowed in binary scalar expression"},
      {"a and on(x) group_left b", "1:13: parse error: no grouping allowed for \"and\" operation"},
      {"a + on(x) group_left(x) b", "1:11: parse error: label \"x\" must not occur in ON and GROUP clause at once"},
      {"a[5m] + 1", "1:1: parse error: binary expression must contain only scalar and instant vector types"},
      {"-\"a\"", "1:1: parse error: unary expression only allowed on"},
      {"(a)[5m]", "1:4: parse error: ranges only allowed for vector selectors"},
      {"a offset 5m [5m]", "1:13: parse error: no offset modifiers allowed before range"},
      {"1 offset 5m", "1:3: parse error: offset modifier must be preceded by"},
      {"a offset 5m offset 5m", "1:13: parse error: offset may not be set multiple times"},
      {"a @ inf", "1:5: parse error: timestamp out of bounds for @ modifier"},
      {"a[0s]", "1:3: parse error: duration must be greater than 0"},
      {"a[1m/0]", "1:3: parse error: division by zero"},
      {"1[5m:]", "1:1: parse error: subquery is only allowed on instant vector, got scalar instead"},
      {"sum(1, a)", "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 1, got 2"},
      {"topk(\"x\", a)", "1:6: parse error: expected type scalar in aggregation parameter, got string"},
      {"bool", "1:1: parse error: unexpected \"bool\""},
  };
  for (const auto& [query, error] : kErrors) {
    const auto expr = parse(query);
    ASSERT_FALSE(expr) << query;
    EXPECT_THAT(expr.error().to_string(), testing::StartsWith(error)) << query;
    EXPECT_LE(expr.error().at.begin, std::string_view(query).size());
  }
}

TEST(Parser, DeepAndLongQueriesAreRefused) {
  const std::size_t many = 100'000;
  for (const std::string& query : {std::string(many, '('), std::string(many, '-') + "1", "a[" + std::string(many, '('),
                                   std::string(kQueryBytesMax + 1, ' ')}) {
    EXPECT_FALSE(parse(query));
  }
  std::string sum = "1";
  for (int i = 0; i < 1000; ++i) sum += "+1";
  EXPECT_FALSE(parse(sum));
}

TEST(Parser, StringsTakeEscapes) {
  const auto expr = parse(R"("\x41\101\u00e9\U0001F600\t\"'")");
  ASSERT_TRUE(expr);
  EXPECT_EQ(as<StringLiteral>(**expr).value, "AA\u00e9\U0001F600\t\"'");
}

TEST(Parser, MarksWhatDoesNotChangeFromStepToStep) {
  for (const char* query : {"a @ 1", "rate(a[5m] @ end())", "sum(a @ 1) + 1", "a[5m:] @ 1", "abs(a @ 1)"}) {
    EXPECT_TRUE((*parse(query))->step_invariant) << query;
  }
  for (const char* query : {"a", "a @ 1 + b", "time()", "minute(a @ 1)", "predict_linear(a[5m] @ 1, 5)", "sum(a)"}) {
    EXPECT_FALSE((*parse(query))->step_invariant) << query;
  }
}

TEST(Parser, SelectorsAndDurationsAlone) {
  EXPECT_EQ(parse_selector("up{a!=\"b\"}")->size(), 2U);
  EXPECT_FALSE(parse_selector("rate(up[5m])"));
  EXPECT_FALSE(parse_selector("up offset 5m"));
  EXPECT_EQ(*parse_duration("1h30m"), 5'400'000);
  EXPECT_EQ(*parse_duration("-1.5"), -1500);
  EXPECT_FALSE(parse_duration("5 m"));
  EXPECT_FALSE(parse_duration("1m1h"));
}

}  // namespace
}  // namespace fettle::promql
