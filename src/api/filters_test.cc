#include "api/filters.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace fettle::api {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

const std::vector<std::string> kKinds = {"client_id", "run_id", "trace_id"};
const FilterContext kContext{.now = 1'000 * kNanosPerSecond, .identifier_kinds = kKinds};

http::Query query(std::string_view text) { return http::Query::parse(text).value(); }

TEST(SpanFilter, TakesEveryParameter) {
  const auto filter = span_filter(
      query("from=-10s&to=now&trace_id=ab&span_id=cd&service=web&service=api&name=GET%20%2F&status=error&kind=server"
            "&duration_ms_min=1.5&duration_ms_max=20&q=one&run_id=r1&run_id=r2&client_id=acme&attr.http.method=GET"
            "&resource.host.name=h&order=asc&limit=5"),
      kContext, kPageParameters);
  ASSERT_TRUE(filter) << filter.error().message();
  EXPECT_EQ(filter->time.from, 990 * kNanosPerSecond);
  EXPECT_EQ(filter->time.to, 1'000 * kNanosPerSecond);
  EXPECT_EQ(filter->trace_id, "ab");
  EXPECT_EQ(filter->span_id, "cd");
  EXPECT_THAT(filter->services, ElementsAre("web", "api"));
  EXPECT_THAT(filter->names, ElementsAre("GET /"));
  EXPECT_THAT(filter->statuses, ElementsAre(2));
  EXPECT_THAT(filter->kinds, ElementsAre(2));
  EXPECT_EQ(filter->duration_min, std::chrono::microseconds(1500));
  EXPECT_EQ(filter->duration_max, std::chrono::milliseconds(20));
  EXPECT_THAT(filter->text.words, ElementsAre("one"));
  ASSERT_EQ(filter->identifiers.size(), 2U);
  EXPECT_EQ(filter->identifiers[0].kind, "run_id");
  EXPECT_THAT(filter->identifiers[0].any_of, ElementsAre("r1", "r2"));
  ASSERT_EQ(filter->attributes.size(), 2U);
  EXPECT_EQ(filter->attributes[0].key, "http.method");
  EXPECT_FALSE(filter->attributes[0].of_resource);
  EXPECT_TRUE(filter->attributes[1].of_resource);
  EXPECT_EQ(filter->order, telemetry::Order::kOldestFirst);
}

TEST(SpanFilter, AnErrorNamesItsParameter) {
  for (const char* text : {"status=bad", "kind=x", "duration_ms_min=-1", "duration_ms_max=nan", "from=later",
                           "order=up", "servise=web", "level=info", "attr.=x", "service=", "q=%FF", "service=%C3%28"}) {
    const auto filter = span_filter(query(text), kContext, {});
    ASSERT_FALSE(filter) << text;
    EXPECT_EQ(filter.error().code(), ErrorCode::kInvalidArgument);
    const std::string_view name = std::string_view(text).substr(0, std::string_view(text).find('='));
    EXPECT_THAT(filter.error().message(), HasSubstr(std::string(name)));
  }
}

TEST(SpanFilter, AnEmptyOrInvertedRangeIsRefused) {
  EXPECT_FALSE(span_filter(query("from=now&to=-1h"), kContext, {}));
  EXPECT_FALSE(span_filter(query("from=5&to=5"), kContext, {}));
}

TEST(SpanFilter, TooManyFiltersAreRefused) {
  std::string text = "service=a";
  for (std::size_t i = 0; i < kFilterValuesMax; ++i) text += "&service=a";
  EXPECT_FALSE(span_filter(query(text), kContext, {}));
  EXPECT_FALSE(span_filter(query("service=" + std::string(kFilterValueBytesMax + 1, 'a')), kContext, {}));
}

TEST(LogFilter, ALevelIsALowerBound) {
  const auto filter = log_filter(query("level=warn&event_name=started"), kContext, {});
  ASSERT_TRUE(filter);
  EXPECT_EQ(filter->level_min, telemetry::Level::kWarn);
  EXPECT_EQ(telemetry::lowest_severity_number(*filter->level_min), 13);
  EXPECT_THAT(filter->event_names, ElementsAre("started"));
  EXPECT_FALSE(log_filter(query("level=warning"), kContext, {}));
}

TEST(JourneyFilter, AKindMustBeKnown) {
  EXPECT_EQ(journey_filter("r1", query("kind=run_id"), kContext, {})->kind, "run_id");
  EXPECT_FALSE(journey_filter("r1", query("kind=colour"), kContext, {}));
  EXPECT_FALSE(journey_filter("", query(""), kContext, {}));
}

TEST(PageRequest, LimitIsBetweenOneAndAThousand) {
  EXPECT_EQ(page_request(query(""))->rows_max, 100U);
  EXPECT_EQ(page_request(query("limit=1000"))->rows_max, 1'000U);
  for (const char* text : {"limit=0", "limit=1001", "limit=-1", "limit=ten", "limit=", "limit=1.5", "cursor="}) {
    EXPECT_FALSE(page_request(query(text))) << text;
  }
}

TEST(TextFilter, TellsWordsPhrasesAndPartsApart) {
  const auto text = parse_text(R"(disk  "no space left" *4231* pre* order-17 naïve "open)");
  ASSERT_TRUE(text);
  EXPECT_THAT(text->words, ElementsAre("disk", "naïve"));
  EXPECT_THAT(text->phrases, ElementsAre("no space left", "order-17", "open"));
  EXPECT_THAT(text->parts, ElementsAre("4231", "pre"));
}

TEST(TextFilter, NothingButStarsAndQuotesAsksForNothing) {
  for (const char* text : {"", "   ", "*", "**", "\"\"", "\""}) {
    const auto parsed = parse_text(text);
    ASSERT_TRUE(parsed) << text;
    EXPECT_TRUE(parsed->empty()) << text;
  }
}

TEST(TextFilter, TooManyWordsAreRefused) {
  std::string text;
  for (int i = 0; i < 33; ++i) text += "w ";
  EXPECT_FALSE(parse_text(text));
}

}  // namespace
}  // namespace fettle::api
