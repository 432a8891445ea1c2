// IP addresses as values, and what lies behind one: the open internet, or a network that only this machine can reach.
//
//   auto address = IpAddress::parse("::ffff:10.0.0.7");       // an IPv4 address in IPv6 clothes is the IPv4 address
//   if (reach_of(*address) != AddressReach::kPublic && !allowed(…)) refuse
//
// Pure; any thread.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"

namespace fettle::http {

class IpAddress {
 public:
  // 4 or 16 bytes in network order. IPv4-mapped IPv6 (::ffff:0:0/96) becomes IPv4: it reaches the same host.
  static IpAddress of_v4(std::span<const std::uint8_t, 4> bytes);
  static IpAddress of_v6(std::span<const std::uint8_t, 16> bytes);
  // The usual text, without brackets, port or zone; nothing for anything else ("127.1" and "0x7f000001" included).
  static std::optional<IpAddress> parse(std::string_view text);

  bool is_v4() const { return is_v4_; }
  std::span<const std::uint8_t> bytes() const { return std::span(bytes_).first(is_v4_ ? 4 : 16); }
  std::string text() const;
  auto operator<=>(const IpAddress&) const = default;

 private:
  bool is_v4_ = true;
  std::array<std::uint8_t, 16> bytes_{};
};

enum class AddressReach : std::uint8_t {
  kPublic,
  kThisHost,   // 0.0.0.0/8, ::
  kLoopback,   // 127.0.0.0/8, ::1
  kPrivate,    // RFC 1918, fc00::/7, fec0::/10
  kShared,     // 100.64.0.0/10: a carrier's own network, and a cloud's metadata
  kLinkLocal,  // 169.254.0.0/16, fe80::/10: metadata of most clouds among it
  kMetadata,   // a cloud's own addresses in ranges that are public otherwise
  kMulticast,  // broadcast too
  kReserved,   // documentation, benchmarks, tunnels that hide where they lead, what nobody was given yet
};
std::string_view to_string(AddressReach reach);

// By the address itself, or by the IPv4 address that a translating prefix carries (NAT64 64:ff9b::/96, 6to4 2002::/16,
// IPv4-compatible ::/96). Of IPv6 only 2000::/3 can be public.
AddressReach reach_of(const IpAddress& address);

// A range as people write it: "10.0.0.0/8", "fd00::/8", or one address.
class Cidr {
 public:
  // kInvalidArgument says what is wrong; bits behind the prefix must be zero.
  static Result<Cidr> parse(std::string_view text);
  bool contains(const IpAddress& address) const;
  std::string text() const;
  bool operator==(const Cidr&) const = default;

 private:
  IpAddress base_;
  int prefix_bits_ = 0;
};

}  // namespace fettle::http
