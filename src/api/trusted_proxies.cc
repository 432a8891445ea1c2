#include "api/trusted_proxies.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cstring>

namespace fettle::api {
namespace {

constexpr std::size_t kProxiesMax = 100;
// Longer chains are read from their end; what is before does not count.
constexpr int kHopsMax = 20;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

bool is_forwarded_for(std::string_view name) {
  constexpr std::string_view kName = "x-forwarded-for";
  return std::ranges::equal(name, kName, {},
                            [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
}

// "127.0.0.1:5123" and "[::1]:80" without their ports; anything else as it is.
std::string_view host_of(std::string_view text) {
  if (text.starts_with('[')) return text.substr(1, text.find(']') == std::string_view::npos ? 0 : text.find(']') - 1);
  if (std::ranges::count(text, ':') == 1) return text.substr(0, text.find(':'));
  return text;
}

}  // namespace

bool TrustedProxies::read(std::string_view text, Address& out) {
  const std::string host(text);
  if (in_addr v4{}; inet_pton(AF_INET, host.c_str(), &v4) == 1) {
    out.fill(0);
    out[10] = out[11] = 0xff;
    std::memcpy(out.data() + 12, &v4, 4);
    return true;
  }
  return inet_pton(AF_INET6, host.c_str(), out.data()) == 1;
}

Result<TrustedProxies> TrustedProxies::parse(std::string_view text) {
  TrustedProxies out;
  while (!text.empty()) {
    const std::size_t end = text.find_first_of(", \t");
    const std::string_view part = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    if (part.empty()) continue;
    if (part == "unix") {
      out.unix_ = true;
      continue;
    }
    const auto broken = [&] {
      return fail(ErrorCode::kInvalidArgument,
                  fmt::format("expected an address, a network like 10.0.0.0/8, or 'unix', not '{}'", part));
    };
    Network network;
    const std::size_t slash = part.find('/');
    if (!read(part.substr(0, slash), network.address)) return broken();
    const bool is_v4 = part.substr(0, slash).find(':') == std::string_view::npos;
    const int most = is_v4 ? 32 : 128;
    int bits = most;
    if (slash != std::string_view::npos) {
      const std::string_view digits = part.substr(slash + 1);
      const auto [stop, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bits);
      if (error != std::errc() || stop != digits.data() + digits.size() || bits < 0 || bits > most) return broken();
    }
    network.bits = is_v4 ? bits + 96 : bits;
    out.networks_.push_back(network);
    if (out.networks_.size() > kProxiesMax) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("at most {} proxies are told apart", kProxiesMax));
    }
  }
  return out;
}

bool TrustedProxies::trusts(std::string_view host) const {
  if (host == "unix") return unix_;
  Address address{};
  if (networks_.empty() || !read(host, address)) return false;
  return std::ranges::any_of(networks_, [&](const Network& network) {
    const int whole = network.bits / 8;
    if (!std::equal(address.begin(), address.begin() + whole, network.address.begin())) return false;
    if (network.bits % 8 == 0) return true;
    const int mask = 0xff << (8 - network.bits % 8);
    const auto at = static_cast<std::size_t>(whole);
    return ((address[at] ^ network.address[at]) & mask) == 0;
  });
}

std::string TrustedProxies::client_of(const http::Request& request) const {
  std::string_view at = host_of(request.remote);
  if (!trusts(at)) return std::string(at);
  // Each proxy adds whom it heard from at the end: what an untrusted one wrote before that is hearsay.
  // It may add a field of its own instead of to the client's: they count as one list.
  std::string fields;
  for (const auto& [name, value] : request.headers) {
    if (!is_forwarded_for(name)) continue;
    if (!fields.empty()) fields += ',';
    fields += value;
  }
  std::string_view chain = fields;
  for (int hop = 0; hop < kHopsMax && !chain.empty(); ++hop) {
    const std::size_t comma = chain.rfind(',');
    const std::string_view last = host_of(trimmed(comma == std::string_view::npos ? chain : chain.substr(comma + 1)));
    chain = comma == std::string_view::npos ? std::string_view() : chain.substr(0, comma);
    Address address{};
    if (!read(last, address)) break;
    at = last;
    if (!trusts(at)) break;
  }
  return std::string(at);
}

bool TrustedProxies::is_secure(const http::Request& request) const {
  return trusts(host_of(request.remote)) && request.headers.get("X-Forwarded-Proto") == "https";
}

}  // namespace fettle::api
