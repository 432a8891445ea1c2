#include "telemetry/detached_parts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>

namespace fettle::telemetry {
namespace {

// What the store calls its reasons. `attaching` and `deleting` are a person's work in progress, and a part without a
// reason was detached by a statement.
constexpr std::array<std::string_view, 10> kReasons = {
    "broken",  "broken-on-start",          "broken-from-backup",        "clone",    "covered-by-broken",
    "ignored", "merge-not-byte-identical", "mutate-not-byte-identical", "noquorum", "unexpected"};

}  // namespace

Result<std::vector<DetachedParts>> detached_parts(Client& client, const StatementOptions& options) {
  StatementOptions asked = options;
  asked.parameters = {{"database", client.database()}};
  auto rows = client.query(
      "SELECT table, name FROM system.detached_parts WHERE database = {database:String} ORDER BY table LIMIT 10000",
      asked);
  if (!rows) return std::unexpected(std::move(rows).error().within("looking for detached parts"));
  std::vector<DetachedParts> parts;
  for (const auto& row : *rows) {
    if (!was_detached_by_store(row[1])) continue;
    if (parts.empty() || parts.back().table != row[0]) parts.push_back({.table = row[0], .count = 0});
    ++parts.back().count;
  }
  return parts;
}

bool was_detached_by_store(std::string_view folder_name) {
  const std::string_view reason = folder_name.substr(0, folder_name.find('_'));
  return std::ranges::find(kReasons, reason) != kReasons.end();
}

std::uint64_t total(const std::vector<DetachedParts>& parts) {
  std::uint64_t sum = 0;
  for (const DetachedParts& one : parts) sum += one.count;
  return sum;
}

std::string to_text(const std::vector<DetachedParts>& parts) {
  std::string text;
  for (const DetachedParts& one : parts) {
    fmt::format_to(std::back_inserter(text), "{}{} {}", text.empty() ? "" : ", ", one.table, one.count);
  }
  return text;
}

}  // namespace fettle::telemetry
