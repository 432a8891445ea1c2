#include "http/ip_address.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

namespace fettle::http {
namespace {

using enum AddressReach;

struct Range {
  std::array<std::uint8_t, 16> base;
  int prefix_bits;
  AddressReach reach;
};

bool shares_prefix(std::span<const std::uint8_t> a, std::span<const std::uint8_t> b, int bits) {
  const auto whole = static_cast<std::size_t>(bits / 8);
  if (!std::equal(a.begin(), a.begin() + whole, b.begin())) return false;
  if (bits % 8 == 0) return true;
  const auto mask = static_cast<std::uint8_t>(0xff << (8 - bits % 8));
  return (a[whole] & mask) == (b[whole] & mask);
}

// IANA's special-purpose registries as far as nobody on the open internet answers there; the first that fits counts.
constexpr Range kV4[] = {
    {{0}, 8, kThisHost},
    {{127}, 8, kLoopback},
    {{10}, 8, kPrivate},
    {{172, 16}, 12, kPrivate},
    {{192, 168}, 16, kPrivate},
    {{100, 64}, 10, kShared},
    {{169, 254}, 16, kLinkLocal},
    {{168, 63, 129, 16}, 32, kMetadata},
    {{192, 0, 0}, 24, kReserved},
    {{192, 0, 2}, 24, kReserved},
    {{192, 88, 99}, 24, kReserved},
    {{198, 18}, 15, kReserved},
    {{198, 51, 100}, 24, kReserved},
    {{203, 0, 113}, 24, kReserved},
    {{224}, 4, kMulticast},
    {{255, 255, 255, 255}, 32, kMulticast},
    {{240}, 4, kReserved},
};

constexpr Range kV6[] = {
    {{}, 128, kThisHost},
    {{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1}, 128, kLoopback},
    {{0xfc}, 7, kPrivate},
    {{0xfe, 0xc0}, 10, kPrivate},
    {{0xfe, 0x80}, 10, kLinkLocal},
    {{0xff}, 8, kMulticast},
    {{0x20, 0x01, 0x0d, 0xb8}, 32, kReserved},  // documentation
    {{0x3f, 0xff}, 20, kReserved},              // documentation
    {{0x20, 0x01}, 23, kReserved},              // protocols; Teredo, which carries its IPv4 address scrambled
};

constexpr std::array<std::uint8_t, 12> kNat64 = {0, 0x64, 0xff, 0x9b};
constexpr std::array<std::uint8_t, 12> kCompatible = {};
constexpr std::array<std::uint8_t, 12> kMapped = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

template <std::size_t N>
std::optional<AddressReach> find(const Range (&ranges)[N], std::span<const std::uint8_t> bytes) {
  for (const Range& range : ranges) {
    if (shares_prefix(bytes, range.base, range.prefix_bits)) return range.reach;
  }
  return std::nullopt;
}

AddressReach reach_of_v4(std::span<const std::uint8_t> bytes) { return find(kV4, bytes).value_or(kPublic); }

AddressReach reach_of_v6(std::span<const std::uint8_t> bytes) {
  if (const auto known = find(kV6, bytes)) return *known;
  if (shares_prefix(bytes, kNat64, 96) || shares_prefix(bytes, kCompatible, 96)) return reach_of_v4(bytes.subspan(12));
  if (bytes[0] == 0x20 && bytes[1] == 0x02) return reach_of_v4(bytes.subspan(2, 4));
  // An interface identifier by ISATAP names the IPv4 host behind the tunnel, whatever the prefix.
  if ((bytes[8] & 0xfd) == 0 && bytes[9] == 0 && bytes[10] == 0x5e && bytes[11] == 0xfe) {
    if (const AddressReach inner = reach_of_v4(bytes.subspan(12)); inner != kPublic) return inner;
  }
  return (bytes[0] & 0xe0) == 0x20 ? kPublic : kReserved;
}

}  // namespace

IpAddress IpAddress::of_v4(std::span<const std::uint8_t, 4> bytes) {
  IpAddress out;
  std::ranges::copy(bytes, out.bytes_.begin());
  return out;
}

IpAddress IpAddress::of_v6(std::span<const std::uint8_t, 16> bytes) {
  if (shares_prefix(bytes, kMapped, 96)) return of_v4(bytes.last<4>());
  IpAddress out;
  out.is_v4_ = false;
  std::ranges::copy(bytes, out.bytes_.begin());
  return out;
}

std::optional<IpAddress> IpAddress::parse(std::string_view text) {
  if (text.size() > INET6_ADDRSTRLEN) return std::nullopt;
  const std::string terminated(text);
  std::array<std::uint8_t, 16> bytes{};
  if (::inet_pton(AF_INET, terminated.c_str(), bytes.data()) == 1) return of_v4(std::span(bytes).first<4>());
  if (::inet_pton(AF_INET6, terminated.c_str(), bytes.data()) == 1) return of_v6(bytes);
  return std::nullopt;
}

std::string IpAddress::text() const {
  char out[INET6_ADDRSTRLEN] = {};
  ::inet_ntop(is_v4_ ? AF_INET : AF_INET6, bytes_.data(), out, sizeof(out));
  return out;
}

std::string_view to_string(AddressReach reach) {
  switch (reach) {
    case kPublic: return "public";
    case kThisHost: return "unspecified";
    case kLoopback: return "loopback";
    case kPrivate: return "private";
    case kShared: return "shared";
    case kLinkLocal: return "link-local";
    case kMetadata: return "metadata";
    case kMulticast: return "multicast";
    case kReserved: return "reserved";
  }
  return "unknown";
}

AddressReach reach_of(const IpAddress& address) {
  return address.is_v4() ? reach_of_v4(address.bytes()) : reach_of_v6(address.bytes());
}

Result<Cidr> Cidr::parse(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto base = IpAddress::parse(text.substr(0, slash));
  if (!base) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("'{}' is not a range of addresses such as 10.0.0.0/8 or fd00::/8", text));
  }
  Cidr out;
  out.base_ = *base;
  const int bits = static_cast<int>(base->bytes().size()) * 8;
  out.prefix_bits_ = bits;
  if (slash != std::string_view::npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.prefix_bits_);
    if (error != std::errc() || end != digits.data() + digits.size() || out.prefix_bits_ < 0 ||
        out.prefix_bits_ > bits) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("'{}': expected a prefix of 0 to {} bits", text, bits));
    }
  }
  for (int bit = out.prefix_bits_; bit < bits; ++bit) {
    if (base->bytes()[static_cast<std::size_t>(bit / 8)] & (0x80 >> (bit % 8))) {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("'{}' names a host inside the range: write where the range begins", text));
    }
  }
  return out;
}

bool Cidr::contains(const IpAddress& address) const {
  return address.is_v4() == base_.is_v4() && shares_prefix(address.bytes(), base_.bytes(), prefix_bits_);
}

std::string Cidr::text() const { return fmt::format("{}/{}", base_.text(), prefix_bits_); }

}  // namespace fettle::http
