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

std::size_t LoginThrottle::level_of(const Entry& entry) {
  return std::min(static_cast<std::size_t>(entry.failures), kLevels - 1);
}

// Quiet for so long that its failures do not count any more.
bool LoginThrottle::is_over(const Entry& entry) const {
  const auto now = clock_.monotonic();
  return now - entry.last > entry.rule->forget_after && now >= entry.blocked_until;
}

void LoginThrottle::settle(Entries::iterator entry, std::size_t before) {
  Entries& list = entries_[level_of(*entry)];
  list.splice(list.end(), entries_[before], entry);
}

bool LoginThrottle::make_room(std::string_view keep) {
  if (by_key_.size() < options_.entries_max) return true;
  const auto now = clock_.monotonic();
  // Each list is in the order of its last attempts: what is over stands in front.
  for (const bool only_over : {true, false}) {
    for (Entries& list : entries_) {
      auto victim = list.begin();
      if (victim != list.end() && victim->key == keep) ++victim;
      if (victim == list.end() || (only_over ? !is_over(*victim) : victim->blocked_until > now)) continue;
      by_key_.erase(victim->key);
      list.erase(victim);
      return true;
    }
  }
  return false;
}

LoginThrottle::Entry& LoginThrottle::touch(std::string key, const Rule& rule, std::string_view keep) {
  const auto now = clock_.monotonic();
  Entry* entry = &crowd_;
  std::size_t before = 0;
  const auto found = by_key_.find(key);
  if (found != by_key_.end()) {
    entry = &*found->second;
    before = level_of(*entry);
  } else if (make_room(keep)) {
    Entries& list = entries_.front();
    list.push_back({.key = key, .rule = &rule, .last = now});
    by_key_.emplace(std::move(key), std::prev(list.end()));
    return list.back();
  }
  if (is_over(*entry)) {
    entry->failures = 0;
    entry->refused_since = false;
  }
  if (found != by_key_.end()) settle(found->second, before);
  return *entry;
}

void LoginThrottle::count(Entry& entry) {
  const auto now = clock_.monotonic();
  const Rule& rule = *entry.rule;
  const std::size_t before = level_of(entry);
  entry.last = now;
  entry.refused_since = false;
  ++entry.failures;
  if (const auto found = by_key_.find(entry.key); found != by_key_.end()) settle(found->second, before);
  if (entry.failures <= rule.free) return;
  const int doublings = std::min(entry.failures - rule.free - 1, 20);
  entry.blocked_until = now + std::min<std::chrono::seconds>(rule.wait_max, rule.first_wait * (1LL << doublings));
}

std::expected<void, LoginThrottle::Refusal> LoginThrottle::begin(std::string_view account, std::string_view address) {
  MutexLock lock(mutex_);
  const std::string account_key = "a:" + std::string(account);
  Entry& by_account = touch(account_key, options_.account);
  Entry& by_address = touch("n:" + network_of(address), options_.address, account_key);
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
  count(by_account);
  if (&by_address != &by_account) count(by_address);
  return {};
}

void LoginThrottle::succeeded(std::string_view account, std::string_view address) {
  MutexLock lock(mutex_);
  if (const auto found = by_key_.find("a:" + std::string(account)); found != by_key_.end()) {
    entries_[level_of(*found->second)].erase(found->second);
    by_key_.erase(found);
  }
  const auto found = by_key_.find("n:" + network_of(address));
  Entry& by_address = found != by_key_.end() ? *found->second : crowd_;
  const std::size_t before = level_of(by_address);
  if (by_address.failures > 0) --by_address.failures;
  // Not more than this one attempt: an address that guesses at many accounts does not get off by its own one.
  if (by_address.failures <= by_address.rule->free) by_address.blocked_until = {};
  if (found != by_key_.end()) settle(found->second, before);
}

std::size_t LoginThrottle::size() const {
  MutexLock lock(mutex_);
  return by_key_.size();
}

}  // namespace fettle::access
