#include "http/ip_address.h"

#include <gtest/gtest.h>

namespace fettle::http {
namespace {

using enum AddressReach;

struct Case {
  const char* address;
  AddressReach reach;
};

TEST(IpAddressTest, WhatOnlyThisMachineCanReachIsNeverPublic) {
  constexpr Case kCases[] = {
      {"8.8.8.8", kPublic},
      {"1.1.1.1", kPublic},
      {"0.0.0.0", kThisHost},
      {"0.1.2.3", kThisHost},
      {"127.0.0.1", kLoopback},
      {"127.255.255.255", kLoopback},
      {"126.255.255.255", kPublic},
      {"128.0.0.0", kPublic},
      {"9.255.255.255", kPublic},
      {"10.0.0.0", kPrivate},
      {"10.255.255.255", kPrivate},
      {"11.0.0.0", kPublic},
      {"172.15.255.255", kPublic},
      {"172.16.0.0", kPrivate},
      {"172.31.255.255", kPrivate},
      {"172.32.0.0", kPublic},
      {"192.167.255.255", kPublic},
      {"192.168.0.0", kPrivate},
      {"192.168.255.255", kPrivate},
      {"192.169.0.0", kPublic},
      {"100.63.255.255", kPublic},
      {"100.64.0.0", kShared},
      {"100.100.100.200", kShared},  // a cloud's metadata
      {"100.127.255.255", kShared},
      {"100.128.0.0", kPublic},
      {"169.253.255.255", kPublic},
      {"169.254.169.254", kLinkLocal},  // most clouds' metadata
      {"169.255.0.0", kPublic},
      {"168.63.129.16", kMetadata},
      {"168.63.129.17", kPublic},
      {"192.0.0.192", kReserved},  // a cloud's metadata
      {"192.0.1.0", kPublic},
      {"192.0.2.1", kReserved},
      {"192.88.99.1", kReserved},
      {"198.17.255.255", kPublic},
      {"198.18.0.0", kReserved},
      {"198.19.255.255", kReserved},
      {"198.20.0.0", kPublic},
      {"198.51.100.7", kReserved},
      {"203.0.113.7", kReserved},
      {"223.255.255.255", kPublic},
      {"224.0.0.1", kMulticast},
      {"239.255.255.255", kMulticast},
      {"240.0.0.1", kReserved},
      {"255.255.255.254", kReserved},
      {"255.255.255.255", kMulticast},

      {"2606:4700:4700::1111", kPublic},
      {"2a00:1450:4001::8", kPublic},
      {"::", kThisHost},
      {"::1", kLoopback},
      {"fc00::1", kPrivate},
      {"fd00:ec2::254", kPrivate},  // a cloud's metadata
      {"fdff:ffff::1", kPrivate},
      {"fec0::1", kPrivate},
      {"fe80::1", kLinkLocal},
      {"febf::1", kLinkLocal},
      {"ff02::1", kMulticast},
      {"2001:db8::1", kReserved},
      {"3fff::1", kReserved},
      {"2001::1", kReserved},     // Teredo
      {"2001:10::1", kReserved},  // ORCHID
      {"2001:1ff::1", kReserved},
      {"2001:200::1", kPublic},
      {"4000::1", kReserved},
      {"1::1", kReserved},
      {"100::1", kReserved},        // discard
      {"5f00::1", kReserved},       // segment routing
      {"64:ff9b:1::1", kReserved},  // NAT64 of a site's own

      // IPv4 in other clothes.
      {"::ffff:127.0.0.1", kLoopback},
      {"::ffff:10.1.2.3", kPrivate},
      {"::ffff:a9fe:a9fe", kLinkLocal},
      {"::ffff:8.8.8.8", kPublic},
      {"::127.0.0.1", kLoopback},
      {"::10.0.0.1", kPrivate},
      {"64:ff9b::127.0.0.1", kLoopback},
      {"64:ff9b::a9fe:a9fe", kLinkLocal},
      {"64:ff9b::8.8.8.8", kPublic},
      {"2002:7f00:1::", kLoopback},
      {"2002:a00:1::1", kPrivate},
      {"2002:808:808::1", kPublic},
      {"2a00::5efe:10.0.0.1", kPrivate},
      {"2a00::200:5efe:10.0.0.1", kPrivate},
  };
  for (const Case& one : kCases) {
    const auto address = IpAddress::parse(one.address);
    ASSERT_TRUE(address) << one.address;
    EXPECT_EQ(to_string(reach_of(*address)), to_string(one.reach)) << one.address;
  }
}

TEST(IpAddressTest, OnlyTheUsualSpellingIsAnAddress) {
  for (const char* text : {"", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "1.2.3.4.5", "[::1]", "fe80::1%eth0",
                           "1.2.3.4 ", "localhost", "1.2.3.256", ":::"}) {
    EXPECT_FALSE(IpAddress::parse(text)) << text;
  }
  EXPECT_EQ(IpAddress::parse("::ffff:10.1.2.3"), IpAddress::parse("10.1.2.3"));
  EXPECT_EQ(IpAddress::parse("2A00:0:0::8")->text(), "2a00::8");
}

TEST(CidrTest, ARangeHoldsItsAddressesAndNoOthers) {
  const auto ten = Cidr::parse("10.0.0.0/8");
  ASSERT_TRUE(ten);
  EXPECT_TRUE(ten->contains(*IpAddress::parse("10.255.0.1")));
  EXPECT_TRUE(ten->contains(*IpAddress::parse("::ffff:10.0.0.1")));
  EXPECT_FALSE(ten->contains(*IpAddress::parse("11.0.0.0")));
  EXPECT_FALSE(ten->contains(*IpAddress::parse("a00::")));
  const auto odd = Cidr::parse("192.168.12.128/25");
  EXPECT_TRUE(odd->contains(*IpAddress::parse("192.168.12.255")));
  EXPECT_FALSE(odd->contains(*IpAddress::parse("192.168.12.127")));
  const auto six = Cidr::parse("fd00::/8");
  EXPECT_TRUE(six->contains(*IpAddress::parse("fdab::1")));
  EXPECT_FALSE(six->contains(*IpAddress::parse("fc00::1")));
  EXPECT_TRUE(Cidr::parse("::1")->contains(*IpAddress::parse("::1")));
  EXPECT_TRUE(Cidr::parse("0.0.0.0/0")->contains(*IpAddress::parse("8.8.8.8")));
  EXPECT_EQ(Cidr::parse("127.0.0.1")->text(), "127.0.0.1/32");
}

TEST(CidrTest, WhatIsNoRangeIsRefused) {
  for (const char* text : {"", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "10.0.0.0/8x", "10.0.0.1/8", "fd00::/129",
                           "localhost", "10.0.0.0/8/8"}) {
    const auto range = Cidr::parse(text);
    ASSERT_FALSE(range) << text;
    EXPECT_EQ(range.error().code(), ErrorCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace fettle::http
