#include "promql/labels.h"

#include <xxhash.h>

#include <algorithm>

namespace fettle::promql {
namespace {

bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Lengths as varints and then the bytes, so that no two label sets are the same string.
void append_part(std::string& out, std::string_view part) {
  std::uint64_t length = part.size();
  for (; length >= 0x80; length >>= 7) out.push_back(static_cast<char>(0x80 | (length & 0x7f)));
  out.push_back(static_cast<char>(length));
  out.append(part);
}

}  // namespace

Labels::Labels(std::vector<Label> labels) : labels_(std::move(labels)) {
  std::sort(labels_.begin(), labels_.end());
  std::size_t kept = 0;
  for (std::size_t i = 0; i < labels_.size(); ++i) {
    if (i + 1 < labels_.size() && labels_[i + 1].name == labels_[i].name) continue;
    if (labels_[i].value.empty()) continue;
    if (kept != i) labels_[kept] = std::move(labels_[i]);
    ++kept;
  }
  labels_.resize(kept);
}

std::string_view Labels::get(std::string_view name) const {
  for (const Label& label : labels_) {
    if (label.name == name) return label.value;
  }
  return {};
}

std::uint64_t Labels::hash() const {
  std::string bytes;
  for (const Label& label : labels_) {
    append_part(bytes, label.name);
    append_part(bytes, label.value);
  }
  return XXH64(bytes.data(), bytes.size(), 0);
}

std::string Labels::to_string() const {
  std::string out = "{";
  for (const Label& label : labels_) {
    if (out.size() > 1) out += ", ";
    out += is_classic_label_name(label.name) ? label.name : quoted(label.name);
    out += "=";
    out += quoted(label.value);
  }
  return out + "}";
}

void Labels::set(std::string_view name, std::string_view value) {
  const auto at = std::lower_bound(labels_.begin(), labels_.end(), name,
                                   [](const Label& label, std::string_view wanted) { return label.name < wanted; });
  const bool there = at != labels_.end() && at->name == name;
  if (value.empty()) {
    if (there) labels_.erase(at);
  } else if (there) {
    at->value = value;
  } else {
    labels_.insert(at, {std::string(name), std::string(value)});
  }
}

void Labels::remove(std::string_view name) { set(name, {}); }

Labels Labels::without_metadata() const {
  Labels out = *this;
  for (const std::string_view name : {kMetricName, kMetricType, kMetricUnit}) out.remove(name);
  return out;
}

Labels Labels::matching(bool on, std::span<const std::string> names) const {
  Labels out;
  for (const Label& label : labels_) {
    const bool named = std::find(names.begin(), names.end(), label.name) != names.end();
    if (on ? named : !named && label.name != kMetricName) out.labels_.push_back(label);
  }
  return out;
}

std::string quoted(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"': out += "\\\""; break;
      case '\\': out += "\\\\"; break;
      case '\n': out += "\\n"; break;
      case '\t': out += "\\t"; break;
      case '\r': out += "\\r"; break;
      default:
        if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
          out += "\\x";
          out += kHex[static_cast<unsigned char>(c) >> 4];
          out += kHex[c & 15];
        } else {
          out += c;
        }
    }
  }
  return out + "\"";
}

bool is_classic_label_name(std::string_view name) {
  return !name.empty() && is_letter(name[0]) &&
         std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c); });
}

bool is_classic_metric_name(std::string_view name) {
  return !name.empty() && (is_letter(name[0]) || name[0] == ':') &&
         std::all_of(name.begin(), name.end(), [](char c) { return is_letter(c) || is_digit(c) || c == ':'; });
}

}  // namespace fettle::promql
