#include "http/message.h"

#include <gtest/gtest.h>

#include "http/response_head.h"

namespace fettle::http {
namespace {

TEST(Headers, NamesCompareWithoutRegardToCase) {
  Headers headers;
  headers.add("Content-Type", "a");
  headers.add("content-type", "b");
  EXPECT_EQ(headers.get("CONTENT-TYPE"), "a");
  EXPECT_EQ(headers.count("Content-type"), 2U);
  EXPECT_FALSE(headers.has("Content-Typ"));
}

TEST(Headers, SetReplacesEveryFieldOfThatName) {
  Headers headers;
  headers.add("A", "1");
  headers.add("B", "2");
  headers.add("a", "3");
  headers.set("a", "4");
  EXPECT_EQ(headers.get("A"), "4");
  EXPECT_EQ(headers.count("A"), 1U);
  EXPECT_EQ(headers.get("B"), "2");
}

TEST(Query, DecodesNamesAndValuesInOrder) {
  const auto query = Query::parse("a=1&b=x+y&c%20d=%2B%26&e&=f&&a=2");
  ASSERT_TRUE(query);
  EXPECT_EQ(query->get("a"), "1");
  EXPECT_EQ(query->get("b"), "x y");
  EXPECT_EQ(query->get("c d"), "+&");
  ASSERT_NE(query->find("e"), nullptr);
  EXPECT_EQ(*query->find("e"), "");
  EXPECT_EQ(query->get(""), "f");
  EXPECT_EQ(query->find("g"), nullptr);
  EXPECT_EQ(std::distance(query->begin(), query->end()), 6);
}

TEST(Query, KeepsEqualsSignsOfTheValue) { EXPECT_EQ(Query::parse("q=a=b=")->get("q"), "a=b="); }

TEST(Query, RefusesABrokenPercentSequence) {
  for (const char* text : {"a=%", "a=%2", "a=%2g", "%zz=1", "a=%%20"}) {
    const auto query = Query::parse(text);
    ASSERT_FALSE(query) << text;
    EXPECT_EQ(query.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(Query, RefusesTheThousandAndFirstParameter) {
  std::string text;
  for (int i = 0; i < 1'000; ++i) text += "a=1&";
  EXPECT_TRUE(Query::parse(text));
  EXPECT_FALSE(Query::parse(text + "a=1"));
}

TEST(PercentCode, RoundTripsEveryByte) {
  std::string every;
  for (int i = 0; i < 256; ++i) every.push_back(static_cast<char>(i));
  const std::string encoded = percent_encode(every);
  EXPECT_EQ(encoded.find_first_of(" %\"/?&=+", 0), encoded.find('%'));
  EXPECT_EQ(percent_decode(encoded).value(), every);
}

TEST(PercentCode, LeavesAPlusSignInAPath) { EXPECT_EQ(percent_decode("a+b").value(), "a+b"); }

TEST(ResponseHead, KeepsControlCharactersOutOfValues) {
  Headers headers;
  headers.add("Location", "/a\r\nSet-Cookie: stolen=1\r\n\r\n<html>");
  headers.add("X-Nul", std::string("a\0b", 3));
  std::string head;
  append_head(head, 302, headers, {.content_length = 0});
  EXPECT_EQ(head,
            "HTTP/1.1 302 Found\r\nLocation: /a  Set-Cookie: stolen=1    <html>\r\nX-Nul: a b\r\n"
            "Content-Length: 0\r\n\r\n");
}

TEST(ResponseHead, LeavesOutFieldsThatAreNoFields) {
  Headers headers;
  headers.add("Bad Name", "x");
  headers.add("Bad\r\nX-Evil", "x");
  headers.add("", "x");
  headers.add("Good", "x");
  std::string head;
  append_head(head, 200, headers, {});
  EXPECT_EQ(head, "HTTP/1.1 200 OK\r\nGood: x\r\n\r\n");
}

TEST(ResponseHead, FramesTheMessageByItself) {
  Headers headers;
  headers.add("Content-Length", "999");
  headers.add("transfer-encoding", "chunked");
  headers.add("Connection", "upgrade");
  std::string head;
  append_head(head, 200, headers, {.content_length = 3, .close = true});
  EXPECT_EQ(head, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\n");
}

TEST(ResponseHead, ListsTokens) {
  EXPECT_TRUE(lists_token("close", "close"));
  EXPECT_TRUE(lists_token("keep-alive ,\tClose", "close"));
  EXPECT_FALSE(lists_token("closed", "close"));
  EXPECT_FALSE(lists_token("", "close"));
}

}  // namespace
}  // namespace fettle::http
