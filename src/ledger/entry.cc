#include "ledger/entry.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>
#include <cstring>

#include "core/json.h"

namespace fettle::ledger {
namespace {

constexpr std::string_view kDetailsPrefix("fettle-audit-details-v1\0", 24);

// Lets a string through up to the first byte that needs care.
std::size_t plain_length(std::string_view text) {
  std::size_t i = 0;
  for (; i + 8 <= text.size(); i += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, text.data() + i, 8);
    constexpr std::uint64_t kOnes = 0x0101010101010101ULL;
    constexpr std::uint64_t kHighs = 0x8080808080808080ULL;
    const auto holds_byte = [&](unsigned char byte) {
      const std::uint64_t difference = word ^ (kOnes * byte);
      return (difference - kOnes) & ~difference & kHighs;
    };
    const std::uint64_t below_space = (word - kOnes * 0x20) & ~word & kHighs;
    if ((holds_byte('"') | holds_byte('\\') | below_space | (word & kHighs)) != 0) break;
  }
  for (; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') break;
  }
  return i;
}

class Members {
 public:
  explicit Members(std::string& out) : out_(out) { out_.push_back('{'); }
  void close() { out_.push_back('}'); }

  void text(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    begin(name);
    append_canonical_string(out_, value);
  }
  void number(std::string_view name, std::uint64_t value) {
    begin(name);
    std::array<char, 20> digits;
    out_.append(digits.data(), std::to_chars(digits.begin(), digits.end(), value).ptr);
  }
  void list(std::string_view name, std::span<const std::string> values) {
    if (values.empty()) return;
    begin(name);
    char before = '[';
    for (const std::string& value : values) {
      out_.push_back(before);
      append_canonical_string(out_, value);
      before = ',';
    }
    out_.push_back(']');
  }
  void object(std::string_view name, std::span<const Identifier> values) {
    if (values.empty()) return;
    begin(name);
    Members inner(out_);
    for (const Identifier& identifier : values) inner.text(identifier.name, identifier.value);
    inner.close();
  }
  void json(std::string_view name, std::string_view value) {
    if (value.empty()) return;
    begin(name);
    out_ += value;
  }

 private:
  // Names are ours, or identifiers' names: nothing in them needs an escape.
  void begin(std::string_view name) {
    if (!first_) out_.push_back(',');
    first_ = false;
    out_.push_back('"');
    out_ += name;
    out_ += "\":";
  }
  std::string& out_;
  bool first_ = true;
};

// The end of the JSON string that starts at `begin`, behind its closing quote; 0 when it does not end.
std::size_t end_of_string(std::string_view text, std::size_t begin) {
  for (std::size_t i = begin + 1; i < text.size(); ++i) {
    const void* quote = std::memchr(text.data() + i, '"', text.size() - i);
    if (quote == nullptr) return 0;
    const auto at = static_cast<std::size_t>(static_cast<const char*>(quote) - text.data());
    std::size_t slashes = 0;
    while (at - slashes > begin + 1 && text[at - slashes - 1] == '\\') ++slashes;
    if (slashes % 2 == 0) return at + 1;
    i = at;
  }
  return 0;
}

// Behind the value that starts at `begin`: a string, a number, or a list or object of strings. 0 when it is none.
std::size_t end_of_value(std::string_view text, std::size_t begin) {
  if (begin >= text.size()) return 0;
  const char first = text[begin];
  if (first == '"') return end_of_string(text, begin);
  if (first == '[' || first == '{') {
    const char last = first == '[' ? ']' : '}';
    for (std::size_t i = begin + 1; i < text.size();) {
      if (text[i] == last) return i + 1;
      if (text[i] == '"') {
        i = end_of_string(text, i);
        if (i == 0) return 0;
      } else if (text[i] == ',' || text[i] == ':') {
        ++i;
      } else {
        return 0;
      }
    }
    return 0;
  }
  std::size_t i = begin;
  while (i < text.size() && text[i] >= '0' && text[i] <= '9') ++i;
  return i == begin ? 0 : i;
}

bool append_unicode(std::string& out, std::string_view hex) {
  unsigned code = 0;
  const auto [end, error] = std::from_chars(hex.data(), hex.data() + hex.size(), code, 16);
  // Canonical text escapes only what is below a space.
  if (error != std::errc() || end != hex.data() + hex.size() || code >= 0x20) return false;
  out.push_back(static_cast<char>(code));
  return true;
}

bool read_list(std::string_view json, std::vector<std::string>& out) {
  if (json.size() < 2 || json.front() != '[') return false;
  for (std::size_t i = 1; i + 1 < json.size();) {
    const std::size_t end = end_of_string(json, i);
    auto value = end == 0 ? std::nullopt : unquote(json.substr(i, end - i));
    if (!value) return false;
    out.push_back(std::move(*value));
    i = end;
    if (i + 1 < json.size() && json[i++] != ',') return false;
  }
  return true;
}

}  // namespace

void append_canonical_string(std::string& out, std::string_view text) {
  out.push_back('"');
  while (!text.empty()) {
    const std::size_t plain = plain_length(text);
    out += text.substr(0, plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
    const auto c = static_cast<unsigned char>(text.front());
    if (c >= 0x80) {
      // Up to the next ASCII byte: sequences are not torn.
      std::size_t length = 1;
      while (length < text.size() && static_cast<unsigned char>(text[length]) >= 0x80) ++length;
      if (is_utf8(text.substr(0, length))) {
        out += text.substr(0, length);
      } else {
        out += to_utf8(text.substr(0, length));
      }
      text.remove_prefix(length);
      continue;
    }
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\b': out += "\\b"; break;
      case '\f': out += "\\f"; break;
      case '\n': out += "\\n"; break;
      case '\r': out += "\\r"; break;
      case '\t': out += "\\t"; break;
      default: out += fmt::format("\\u{:04x}", c);
    }
    text.remove_prefix(1);
  }
  out.push_back('"');
}

void append_entry(std::string& out, const WorkspaceId& workspace, std::uint64_t position, UnixNanos recorded_at,
                  const AuditRecord& record, const std::optional<Digest>& details_hash) {
  Members members(out);
  members.text("action", record.action);
  members.text("actor_id", record.actor_id);
  members.text("actor_type", record.actor_type);
  members.text("at", format_rfc3339(record.at));
  members.text("audit_id", record.audit_id);
  members.text("client_id", record.client_id);
  members.text("correlation_id", record.correlation_id);
  if (details_hash) members.text("details_hash", to_hex(*details_hash));
  members.list("evidence", record.evidence);
  members.object("identifiers", record.identifiers);
  members.text("lane", record.lane);
  members.text("payload_hash", record.payload_hash);
  members.text("platform", record.platform);
  members.text("policy_snapshot_id", record.policy_snapshot_id);
  members.number("position", position);
  members.list("proof", record.proof);
  members.text("reason", record.reason);
  members.text("recorded_at", format_rfc3339(recorded_at));
  members.text("request_id", record.request_id);
  members.text("result", to_string(record.result));
  members.text("role", record.role);
  members.text("span_id", record.span_id);
  members.text("surface", record.surface);
  members.text("target_id", record.target_id);
  members.list("target_ids", record.target_ids);
  members.text("target_type", record.target_type);
  members.text("trace_id", record.trace_id);
  members.text("workspace", workspace.value);
  members.close();
}

std::string details_of(const AuditRecord& record) {
  if (record.payload_summary.empty() && record.payload.empty() && record.before.empty() && record.after.empty())
    return {};
  std::string out;
  Members members(out);
  members.json("after", record.after);
  members.json("before", record.before);
  members.json("payload", record.payload);
  members.text("summary", record.payload_summary);
  members.close();
  return out;
}

Digest details_hash(std::string_view salt, std::string_view details) { return sha256({kDetailsPrefix, salt, details}); }

bool for_each_member(std::string_view entry, const MemberCallback& member) {
  if (entry.size() < 2 || entry.front() != '{' || entry.back() != '}') return false;
  std::size_t i = 1;
  while (i < entry.size() - 1) {
    if (entry[i] != '"') return false;
    const std::size_t name_end = end_of_string(entry, i);
    if (name_end == 0 || name_end >= entry.size() || entry[name_end] != ':') return false;
    const std::size_t value_end = end_of_value(entry, name_end + 1);
    if (value_end == 0 || value_end > entry.size() - 1) return false;
    if (!member(entry.substr(i + 1, name_end - i - 2), entry.substr(name_end + 1, value_end - name_end - 1)))
      return false;
    i = value_end;
    if (i == entry.size() - 1) return true;
    if (entry[i++] != ',') return false;
  }
  return i == entry.size() - 1 && entry.size() == 2;
}

std::optional<std::string> unquote(std::string_view json) {
  if (json.size() < 2 || json.front() != '"' || json.back() != '"') return std::nullopt;
  json = json.substr(1, json.size() - 2);
  std::string out;
  out.reserve(json.size());
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (json[i] != '\\') {
      out.push_back(json[i]);
      continue;
    }
    if (++i == json.size()) return std::nullopt;
    switch (json[i]) {
      case '"': out.push_back('"'); break;
      case '\\': out.push_back('\\'); break;
      case 'b': out.push_back('\b'); break;
      case 'f': out.push_back('\f'); break;
      case 'n': out.push_back('\n'); break;
      case 'r': out.push_back('\r'); break;
      case 't': out.push_back('\t'); break;
      case 'u':
        if (i + 4 >= json.size() || !append_unicode(out, json.substr(i + 1, 4))) return std::nullopt;
        i += 4;
        break;
      default: return std::nullopt;
    }
  }
  return out;
}

std::optional<std::uint64_t> position_of(std::string_view entry) {
  std::optional<std::uint64_t> position;
  const bool is_entry = for_each_member(entry, [&](std::string_view name, std::string_view value) {
    if (name != "position") return true;
    std::uint64_t number = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    if (error == std::errc() && end == value.data() + value.size()) position = number;
    return true;
  });
  return is_entry ? position : std::nullopt;
}

Result<ReadEntry> read_entry(std::string_view entry) {
  ReadEntry read;
  AuditRecord& record = read.record;
  const struct {
    std::string_view name;
    std::string* target;
  } texts[] = {{"action", &record.action},
               {"actor_id", &record.actor_id},
               {"actor_type", &record.actor_type},
               {"audit_id", &record.audit_id},
               {"client_id", &record.client_id},
               {"correlation_id", &record.correlation_id},
               {"lane", &record.lane},
               {"payload_hash", &record.payload_hash},
               {"platform", &record.platform},
               {"policy_snapshot_id", &record.policy_snapshot_id},
               {"reason", &record.reason},
               {"request_id", &record.request_id},
               {"role", &record.role},
               {"span_id", &record.span_id},
               {"surface", &record.surface},
               {"target_id", &record.target_id},
               {"target_type", &record.target_type},
               {"trace_id", &record.trace_id},
               {"workspace", &read.workspace.value}};
  const bool is_entry = for_each_member(entry, [&](std::string_view name, std::string_view value) {
    if (name == "position") {
      return std::from_chars(value.data(), value.data() + value.size(), read.position).ec == std::errc();
    }
    if (name == "proof") return read_list(value, record.proof);
    if (name == "evidence") return read_list(value, record.evidence);
    if (name == "target_ids") return read_list(value, record.target_ids);
    if (name == "identifiers") {
      return for_each_member(value, [&](std::string_view inner, std::string_view inner_value) {
        auto text = unquote(inner_value);
        if (text) record.identifiers.push_back({std::string(inner), std::move(*text)});
        return text.has_value();
      });
    }
    auto text = unquote(value);
    if (!text) return false;
    if (name == "at" || name == "recorded_at") {
      const auto time = parse_rfc3339(*text);
      if (time) (name == "at" ? record.at : read.recorded_at) = *time;
      return time.has_value();
    }
    if (name == "details_hash") {
      read.details_hash = digest_of_hex(*text);
      return read.details_hash.has_value();
    }
    if (name == "result") {
      const auto result = audit_result_named(*text);
      if (result) record.result = *result;
      return result.has_value();
    }
    for (const auto& [known, target] : texts) {
      if (name != known) continue;
      *target = std::move(*text);
      return true;
    }
    return false;
  });
  if (!is_entry || read.position == 0)
    return fail(ErrorCode::kDataLoss, "the entry of an audit record is not canonical");
  return read;
}

void for_each_key(const AuditRecord& record, const std::function<void(std::string_view, std::string_view)>& key) {
  const std::pair<std::string_view, std::string_view> keys[] = {
      {"action", record.action},       {"actor_id", record.actor_id},
      {"audit_id", record.audit_id},   {"client_id", record.client_id},
      {"trace_id", record.trace_id},   {"correlation_id", record.correlation_id},
      {"span_id", record.span_id},     {"request_id", record.request_id},
      {"target_id", record.target_id}, {"policy_snapshot_id", record.policy_snapshot_id}};
  for (const auto& [name, value] : keys) {
    if (!value.empty()) key(name, value);
  }
  for (const std::string& target : record.target_ids) {
    key("target_id", target);
    if (record.target_type == "run") key("run_id", target);
  }
  for (const Identifier& identifier : record.identifiers) key(identifier.name, identifier.value);
}

std::int64_t index_hash(std::string_view name, std::string_view value) {
  const Digest digest = sha256({name, std::string_view("\0", 1), value});
  std::int64_t hash = 0;
  for (std::size_t i = 0; i < sizeof hash; ++i)
    hash = static_cast<std::int64_t>(static_cast<std::uint64_t>(hash) << 8 | digest[i]);
  return hash;
}

std::vector<std::int64_t> index_hashes(const AuditRecord& record) {
  std::vector<std::int64_t> hashes;
  for_each_key(record,
               [&](std::string_view name, std::string_view value) { hashes.push_back(index_hash(name, value)); });
  std::ranges::sort(hashes);
  const auto doubles = std::ranges::unique(hashes);
  hashes.erase(doubles.begin(), doubles.end());
  return hashes;
}

std::optional<UnixNanos> parse_rfc3339(std::string_view text) {
  // As format_rfc3339() writes it: 2026-11-21T09:14:32.5Z.
  constexpr std::size_t kSeconds = 19;
  if (text.size() < kSeconds + 1 || text.back() != 'Z' || text[4] != '-' || text[7] != '-' || text[10] != 'T' ||
      text[13] != ':' || text[16] != ':') {
    return std::nullopt;
  }
  const auto number = [&](std::size_t at, std::size_t length) -> int {
    int value = 0;
    for (std::size_t i = at; i < at + length; ++i) {
      if (text[i] < '0' || text[i] > '9') return -1;
      value = value * 10 + (text[i] - '0');
    }
    return value;
  };
  const int parts[] = {number(0, 4), number(5, 2), number(8, 2), number(11, 2), number(14, 2), number(17, 2)};
  for (const int part : parts) {
    if (part < 0) return std::nullopt;
  }
  const std::chrono::year_month_day date{std::chrono::year(parts[0]),
                                         std::chrono::month(static_cast<unsigned>(parts[1])),
                                         std::chrono::day(static_cast<unsigned>(parts[2]))};
  if (!date.ok() || parts[3] > 23 || parts[4] > 59 || parts[5] > 59) return std::nullopt;
  UnixNanos nanos = 0;
  const std::string_view fraction = text.substr(kSeconds, text.size() - kSeconds - 1);
  if (!fraction.empty()) {
    if (fraction.size() < 2 || fraction.size() > 10 || fraction[0] != '.') return std::nullopt;
    nanos = number(kSeconds + 1, fraction.size() - 1);
    if (nanos < 0) return std::nullopt;
    for (std::size_t i = fraction.size() - 1; i < 9; ++i) nanos *= 10;
  }
  const auto days = std::chrono::sys_days(date).time_since_epoch().count();
  // The years that 64 bits of nanoseconds hold; the last one of them in full.
  if (parts[0] < 1678 || parts[0] > 2261) return std::nullopt;
  return days * kNanosPerDay + (parts[3] * 3600LL + parts[4] * 60LL + parts[5]) * kNanosPerSecond + nanos;
}

}  // namespace fettle::ledger
