#include "runs/listing.h"

#include <optional>

namespace fettle::runs {

void Where::add_scope(const View& view, Unowned unowned) {
  if (view.scope().clients.empty()) return;
  std::string names;
  if (unowned == Unowned::kShown) names = prefix_ + "client = ''";
  for (const ClientId& client : view.scope().clients) {
    if (!names.empty()) names += " OR ";
    names += prefix_ + "client = " + parameter(client);
  }
  add_literal("(" + names + ")");
}

namespace listing {

Result<void> add_cursor(Where& where, const Keyset& order, std::string_view cursor) {
  if (cursor.empty()) return {};
  const auto none_of_ours = [] {
    return fail(ErrorCode::kInvalidArgument, "parameter 'cursor': this is none of ours");
  };
  const std::string_view sign = order.newest_first ? "<" : ">";
  if (order.first.empty()) {
    const auto unique = parse_number("", cursor);
    if (!unique) return none_of_ours();
    where.add_literal(fmt::format("{} {} {}", order.unique, sign, where.parameter(*unique)));
    return {};
  }
  const std::size_t point = cursor.find('.');
  if (point == std::string_view::npos) return none_of_ours();
  const auto first = parse_number("", cursor.substr(0, point));
  const auto unique = parse_number("", cursor.substr(point + 1));
  if (!first || !unique) return none_of_ours();
  const std::string at = where.parameter(*first);
  where.add_literal(fmt::format("({}, {}) {} ({}, {})", order.first, order.unique, sign, at, where.parameter(*unique)));
  return {};
}

std::string cursor_of(const Keyset& order, const Key& key) {
  if (order.first.empty()) return format_number("", key[1]);
  return format_number("", key[0]) + "." + format_number("", key[1]);
}

std::string text_of(std::string_view columns, std::string_view table, Where& where, const Keyset& order,
                    std::int32_t limit) {
  const std::string_view first = order.first.empty() ? "0" : order.first;
  const std::string_view way = order.newest_first ? " DESC" : "";
  const std::string by = order.first.empty() ? fmt::format("{}{}", order.unique, way)
                                             : fmt::format("{}{}, {}{}", order.first, way, order.unique, way);
  // One more than the page, to know whether there is another.
  const std::string rows = where.parameter(std::int64_t{limit} + 1);
  return fmt::format("SELECT {}, {} AS key_first, {} AS key_unique FROM {} WHERE {} ORDER BY {} LIMIT {}", columns,
                     first, order.unique, table, where.text(), by, rows);
}

}  // namespace listing
}  // namespace fettle::runs
