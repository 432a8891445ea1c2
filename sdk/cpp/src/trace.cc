#include "fettle/sdk/trace.h"

#include <algorithm>
#include <cctype>

namespace fettle::sdk {

namespace {

thread_local Carried current;

constexpr std::string_view kCorrelation = "correlation_id";

std::string percent_encoded(std::string_view value) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    // The baggage-octets of W3C Baggage, but for the percent sign itself.
    const bool plain = byte > 0x20 && byte < 0x7F && std::string_view("\",;\\%").find(c) == std::string_view::npos;
    if (plain) {
      out += c;
    } else {
      out.append("%").append(1, kHex[byte >> 4]).append(1, kHex[byte & 15]);
    }
  }
  return out;
}

std::string percent_decoded(std::string_view value) {
  const auto hex = [](char c) { return c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10; };
  std::string out;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const bool escape = value[i] == '%' && i + 2 < value.size() &&
                        std::isxdigit(static_cast<unsigned char>(value[i + 1])) &&
                        std::isxdigit(static_cast<unsigned char>(value[i + 2]));
    if (escape) {
      out += static_cast<char>(hex(value[i + 1]) * 16 + hex(value[i + 2]));
      i += 2;
    } else {
      out += value[i];
    }
  }
  return out;
}

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// The value of a member of a baggage header; empty when there is none.
std::string baggage_member(std::string_view header, std::string_view name) {
  while (!header.empty()) {
    const std::string_view member = header.substr(0, header.find(','));
    header.remove_prefix(std::min(header.size(), member.size() + 1));
    const std::string_view pair = member.substr(0, member.find(';'));
    const std::size_t equals = pair.find('=');
    if (equals != std::string_view::npos && trimmed(pair.substr(0, equals)) == name) {
      return percent_decoded(trimmed(pair.substr(equals + 1)));
    }
  }
  return {};
}

bool is_lower_hex(std::string_view text) {
  return std::ranges::all_of(text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::vector<std::pair<std::string, std::string>> Carried::headers() const {
  std::vector<std::pair<std::string, std::string>> made;
  if (!traceparent.empty()) made.emplace_back("traceparent", traceparent);
  if (!tracestate.empty()) made.emplace_back("tracestate", tracestate);
  std::string all = baggage;
  if (!correlation_id.empty() && baggage_member(baggage, kCorrelation).empty()) {
    if (!all.empty()) all += ',';
    all.append(kCorrelation).append("=").append(percent_encoded(correlation_id));
  }
  if (!all.empty()) made.emplace_back("baggage", all);
  return made;
}

const Carried& carried_now() { return current; }

Carrying::Carrying(Carried carried) : before_(std::move(current)) {
  if (carried.correlation_id.empty()) carried.correlation_id = baggage_member(carried.baggage, kCorrelation);
  current = std::move(carried);
}

Carrying::~Carrying() { current = std::move(before_); }

std::pair<std::string, std::string> trace_ids(std::string_view traceparent) {
  // 00-<32 hex>-<16 hex>-<2 hex>
  if (traceparent.size() != 55 || traceparent[2] != '-' || traceparent[35] != '-' || traceparent[52] != '-') return {};
  const std::string_view trace = traceparent.substr(3, 32), span = traceparent.substr(36, 16);
  if (!is_lower_hex(trace) || !is_lower_hex(span)) return {};
  return {std::string(trace), std::string(span)};
}

}  // namespace fettle::sdk
