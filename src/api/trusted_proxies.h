// Whose word about the client in front of them counts: X-Forwarded-For and X-Forwarded-Proto of these proxies alone.
//
//   auto trusted = TrustedProxies::parse("127.0.0.1, 10.0.0.0/8, unix");
//   std::string client = trusted->client_of(request);   // "203.0.113.7"
//
// Anybody can send these headers; from an address that is not listed they mean nothing. Constant once made; any thread.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"
#include "http/server.h"

namespace fettle::api {

class TrustedProxies {
 public:
  // None is trusted.
  TrustedProxies() = default;
  // Addresses, networks (10.0.0.0/8, fd00::/8) and "unix" for the Unix socket, with commas or blanks in between.
  // kInvalidArgument names the part that is none of these.
  static Result<TrustedProxies> parse(std::string_view text);

  // The address, without a port, that the request came from: the last one in X-Forwarded-For that is no proxy of ours,
  // or who is connected. "unix" when that is all that is known.
  std::string client_of(const http::Request& request) const;
  // Whether the client speaks TLS, as far as a proxy of ours says so: the server itself speaks none.
  bool is_secure(const http::Request& request) const;

 private:
  // IPv4 as IPv6 has it: ::ffff:a.b.c.d.
  using Address = std::array<std::uint8_t, 16>;
  struct Network {
    Address address{};
    int bits = 128;
  };
  static bool read(std::string_view text, Address& out);
  bool trusts(std::string_view host) const;

  std::vector<Network> networks_;
  bool unix_ = false;
};

}  // namespace fettle::api
