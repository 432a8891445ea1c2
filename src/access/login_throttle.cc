#include "access/login_throttle.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>

#include "core/ids.h"

namespace fettle::access {

std::string network_of(std::string_view address) {
  std::string host(address);
  if (host.starts_with('[')) {
    host = host.substr(1, host.find(']') - 1);
  } else if (std::ranges::count(host, ':') == 1) {
    host.resize(host.find(':'));
  }
  std::array<unsigned char, 16> v6{};
  if (inet_pton(AF_INET6, host.c_str(), v6.data()) != 1) return host;
  constexpr std::array<unsigned char, 12> kMappedV4 = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  const std::string_view bytes(reinterpret_cast<const char*>(v6.data()), v6.size());
  // An IPv4 address in IPv6 clothes: all of them share their first 64 bits.
  if (std::equal(kMappedV4.begin(), kMappedV4.end(), v6.begin())) return to_hex(bytes.substr(12));
  return to_hex(bytes.substr(0, 8));
}

LoginThrottle::Entry& LoginThrottle::touch(std::string key, const Rule& rule) {
  const auto now = clock_.monotonic();
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    Entry& entry = *found->second;
    if (now - entry.last > rule.forget_after && now >= entry.blocked_until) {
      entry.failures = 0;
      entry.refused_since = false;
    }
    entries_.splice(entries_.end(), entries_, found->second);
    return entry;
  }
  if (entries_.size() >= options_.entries_max) {
    by_key_.erase(entries_.front().key);
    entries_.pop_front();
  }
  entries_.push_back({.key = key, .failures = 0, .last = now, .blocked_until = {}, .refused_since = false});
  by_key_.emplace(std::move(key), std::prev(entries_.end()));
  return entries_.back();
}

void LoginThrottle::count(Entry& entry, const Rule& rule) {
  const auto now = clock_.monotonic();
  entry.last = now;
  entry.refused_since = false;
  if (++entry.failures <= rule.free) return;
  const int doublings = std::min(entry.failures - rule.free - 1, 20);
  entry.blocked_until = now + std::min<std::chrono::seconds>(rule.wait_max, rule.first_wait * (1LL << doublings));
}

std::expected<void, LoginThrottle::Refusal> LoginThrottle::begin(std::string_view account, std::string_view address) {
  MutexLock lock(mutex_);
  // The address last, so that making room for it cannot remove the account's entry from under us.
  Entry& by_account = touch("a:" + std::string(account), options_.account);
  Entry& by_address = touch("n:" + network_of(address), options_.address);
  const auto now = clock_.monotonic();
  Entry& slower = by_address.blocked_until > by_account.blocked_until ? by_address : by_account;
  if (slower.blocked_until > now) {
    const bool is_first = !std::exchange(slower.refused_since, true);
    return std::unexpected(Refusal{
        .error = Error(ErrorCode::kResourceExhausted, "too many failed sign-ins; wait before trying again")
                     .with_retry_after(std::chrono::ceil<std::chrono::milliseconds>(slower.blocked_until - now)),
        .is_first = is_first,
        .by_address = &slower == &by_address});
  }
  count(by_account, options_.account);
  count(by_address, options_.address);
  return {};
}

void LoginThrottle::succeeded(std::string_view account, std::string_view address) {
  MutexLock lock(mutex_);
  if (const auto found = by_key_.find("a:" + std::string(account)); found != by_key_.end()) {
    entries_.erase(found->second);
    by_key_.erase(found);
  }
  if (const auto found = by_key_.find("n:" + network_of(address)); found != by_key_.end()) {
    Entry& entry = *found->second;
    if (entry.failures > 0) --entry.failures;
    // Not more than this one attempt: an address that guesses at many accounts does not get off by its own one.
    if (entry.failures <= options_.address.free) entry.blocked_until = {};
  }
}

std::size_t LoginThrottle::size() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

}  // namespace fettle::access
