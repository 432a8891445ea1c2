#include "api/trusted_proxies.h"

#include <gtest/gtest.h>

namespace fettle::api {
namespace {

http::Request from(std::string remote, std::string forwarded_for, std::string proto = "") {
  http::Request request;
  request.remote = std::move(remote);
  if (!forwarded_for.empty()) request.headers.add("X-Forwarded-For", std::move(forwarded_for));
  if (!proto.empty()) request.headers.add("X-Forwarded-Proto", std::move(proto));
  return request;
}

std::string client(const std::string& trusted, const http::Request& request) {
  return TrustedProxies::parse(trusted).value().client_of(request);
}

TEST(TrustedProxiesTest, NobodysWordCountsUntilSomebodyIsTrusted) {
  EXPECT_EQ(TrustedProxies().client_of(from("127.0.0.1:5123", "203.0.113.7")), "127.0.0.1");
  EXPECT_EQ(client("10.0.0.0/8", from("192.0.2.1:80", "203.0.113.7")), "192.0.2.1");
  EXPECT_FALSE(TrustedProxies().is_secure(from("127.0.0.1:5123", "", "https")));
}

TEST(TrustedProxiesTest, TheLastAddressThatIsNoProxyOfOursIsTheClient) {
  EXPECT_EQ(client("127.0.0.1", from("127.0.0.1:5123", "203.0.113.7")), "203.0.113.7");
  EXPECT_EQ(client("127.0.0.1", from("127.0.0.1:5123", "198.51.100.9, 203.0.113.7")), "203.0.113.7")
      << "what a client sent itself stands before what our proxy heard";
  EXPECT_EQ(client("127.0.0.1, 10.0.0.0/8", from("127.0.0.1:1", "203.0.113.7, 10.20.30.40")), "203.0.113.7");
  EXPECT_EQ(client("127.0.0.1", from("127.0.0.1:1", "203.0.113.7, 10.20.30.40")), "10.20.30.40");
  EXPECT_EQ(client("unix", from("unix", "2001:db8::7")), "2001:db8::7");
  EXPECT_EQ(client("::1", from("[::1]:80", "[2001:db8::7]:443")), "2001:db8::7");
  EXPECT_EQ(client("127.0.0.1", from("127.0.0.1:1", "not an address")), "127.0.0.1");
  EXPECT_EQ(client("127.0.0.1", from("127.0.0.1:1", "")), "127.0.0.1");
}

TEST(TrustedProxiesTest, NetworksAreToldApartToTheBit) {
  EXPECT_EQ(client("10.1.0.0/15", from("10.1.255.255:1", "203.0.113.7")), "203.0.113.7") << "10.0 and 10.1";
  EXPECT_EQ(client("10.1.0.0/15", from("10.2.0.0:1", "203.0.113.7")), "10.2.0.0");
  EXPECT_EQ(client("fd00::/8", from("[fdff::1]:1", "203.0.113.7")), "203.0.113.7");
  EXPECT_EQ(client("0.0.0.0/0", from("[fdff::1]:1", "203.0.113.7")), "fdff::1") << "IPv4 alone";
  EXPECT_TRUE(TrustedProxies::parse("10.0.0.0/8")->is_secure(from("10.1.1.1:1", "", "https")));
  EXPECT_FALSE(TrustedProxies::parse("10.0.0.0/8")->is_secure(from("10.1.1.1:1", "", "http")));
}

TEST(TrustedProxiesTest, WhatIsNoAddressIsRefused) {
  for (const char* text : {"localhost", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "fd00::/129", "10.0.0.0/8x"}) {
    EXPECT_EQ(TrustedProxies::parse(text).error().code(), ErrorCode::kInvalidArgument) << text;
  }
  EXPECT_TRUE(TrustedProxies::parse(""));
}

}  // namespace
}  // namespace fettle::api
