#include "api/json_reader.h"

#include <gtest/gtest.h>

namespace fettle::api {
namespace {

struct Read {
  std::string text, payload;
  std::int64_t count = 0;
  double cost = 0;
  bool flag = false;
  std::optional<UnixNanos> at;
  std::vector<std::string> names;
  std::int32_t fence = 0;
  std::int64_t inner = 0;
};

Result<Read> read(std::string body) {
  auto document = JsonDocument::parse(body);
  if (!document) return std::unexpected(document.error());
  Read out;
  const JsonPlace top;
  auto done = read_members(document->root(), top, [&](Member& member) {
    return member.text("text", out.text, 8) || member.integer("count", out.count, 0, 10) ||
           member.number("cost", out.cost) || member.boolean("flag", out.flag) || member.time("at", out.at) ||
           member.json("payload", out.payload, 32) || member.texts("names", out.names, 2) ||
           member.fence("fence", out.fence) ||
           member.array("items", 3, [&](simdjson::dom::element item, const JsonPlace& place) {
             return read_members(item, place, [&](Member& inner) { return inner.integer("count", out.inner, 0, 10); });
           });
  });
  if (!done) return std::unexpected(done.error());
  return out;
}

TEST(JsonReader, ReadsEachKindOfValue) {
  const auto out = read(R"({"text":"a\"b","count":3.0,"cost":0.25,"flag":true,"at":"2027-01-15T08:00:00.5Z",
                            "payload":{"b": [1, 2.5, "x"]},"names":["p","q"],"fence":"7","items":[{"count":4}]})");
  ASSERT_TRUE(out) << out.error().message();
  EXPECT_EQ(out->text, "a\"b");
  EXPECT_EQ(out->count, 3);
  EXPECT_EQ(out->cost, 0.25);
  EXPECT_TRUE(out->flag);
  EXPECT_EQ(out->at, 1'800'000'000'500'000'000);
  EXPECT_EQ(out->payload, R"({"b":[1,2.5,"x"]})");
  EXPECT_EQ(out->names, (std::vector<std::string>{"p", "q"}));
  EXPECT_EQ(out->fence, 7);
  EXPECT_EQ(out->inner, 4);
}

TEST(JsonReader, NullIsAbsentButForJson) {
  const auto out = read(R"({"text":null,"count":null,"cost":null,"flag":null,"at":null,"names":null,"items":null,
                            "payload":null})");
  ASSERT_TRUE(out) << out.error().message();
  EXPECT_FALSE(out->at.has_value());
  EXPECT_EQ(out->payload, "null");
}

TEST(JsonReader, WhatOthersWroteLosesItsNulsAndNothingElse) {
  std::string body = R"({"stack":"a\u0000b"})";
  auto document = JsonDocument::parse(body);
  ASSERT_TRUE(document);
  std::string stack;
  const JsonPlace top;
  ASSERT_TRUE(read_members(document->root(), top, [&](Member& member) { return member.prose("stack", stack); }));
  EXPECT_EQ(stack, "ab");
}

TEST(JsonReader, WhatIsWrongIsNamedByItsPlace) {
  struct Case {
    const char* body;
    ErrorCode code;
    const char* says;
  };
  for (const Case& one : {
           Case{R"({"text":5})", ErrorCode::kInvalidArgument, "text: expected a string, got a whole number"},
           Case{R"({"text":"123456789"})", ErrorCode::kTooLarge, "text: has 9 bytes, at most 8 fit"},
           Case{R"({"text":"a\u0000b"})", ErrorCode::kInvalidArgument, "text: holds a NUL character"},
           Case{R"({"count":"5"})", ErrorCode::kInvalidArgument, "count: expected a whole number from 0 to 10"},
           Case{R"({"count":2.5})", ErrorCode::kInvalidArgument, "count: expected a whole number from 0 to 10"},
           Case{R"({"count":11})", ErrorCode::kInvalidArgument, "count: expected 0 to 10, got 11"},
           Case{R"({"cost":-1})", ErrorCode::kInvalidArgument, "cost: expected a number that is not negative"},
           Case{R"({"at":"-5m"})", ErrorCode::kInvalidArgument, "at: expected an RFC 3339 time"},
           Case{R"({"at":5})", ErrorCode::kInvalidArgument, "at: expected an RFC 3339 time"},
           Case{R"({"fence":true})", ErrorCode::kInvalidArgument, "fence: expected a whole number"},
           Case{R"({"fence":"x"})", ErrorCode::kInvalidArgument, "fence: expected the fence"},
           Case{R"({"names":["a","b","c"]})", ErrorCode::kTooLarge, "names: has 3 items, at most 2 fit"},
           Case{R"({"names":["a",5]})", ErrorCode::kInvalidArgument, "names[1]: expected a string"},
           Case{R"({"payload":"0123456789012345678901234567890123456789"})", ErrorCode::kTooLarge,
                "payload: has 42 bytes, at most 32 fit"},
           Case{R"({"items":[{"count":1},{"count":true}]})", ErrorCode::kInvalidArgument, "items[1].count: expected"},
           Case{R"({"items":[{"cuont":1}]})", ErrorCode::kInvalidArgument, "items[0].cuont: this member is not known"},
           Case{R"({"items":[5]})", ErrorCode::kInvalidArgument, "items[0]: expected an object"},
           Case{R"({"other":1})", ErrorCode::kInvalidArgument, "other: this member is not known"},
           Case{R"([])", ErrorCode::kInvalidArgument, "must be a JSON object"},
           Case{R"({"text":)", ErrorCode::kInvalidArgument, "not JSON"},
           Case{"{\"text\":\"\xFF\"}", ErrorCode::kInvalidArgument, "not JSON"},
           Case{"", ErrorCode::kInvalidArgument, "the body is empty"},
       }) {
    const auto out = read(one.body);
    ASSERT_FALSE(out) << one.body;
    EXPECT_EQ(out.error().code(), one.code) << one.body;
    EXPECT_NE(out.error().message().find(one.says), std::string::npos) << one.body << ": " << out.error().message();
  }
}

TEST(JsonReader, WhatNestsTooDeeplyIsRefused) {
  std::string body = R"({"payload":)" + std::string(200, '[') + std::string(200, ']') + "}";
  EXPECT_FALSE(read(body));
}

}  // namespace
}  // namespace fettle::api
