// How this room's lists are asked for: a WHERE clause that holds the workspace and the caller's clients, so that a page
// is cut from what the caller may see and says nothing of the rest; and a key from which the next page goes on, so that
// none is skipped or shown twice while rows come and go.
//
//   Where where(view);
//   where.add_scope(view);
//   where.add_literal("state = 0");
//   return page_of<Approval>(view, "id, title", "approvals", where, {.unique = "id"}, page, approval_from);
//
// Inside the room.
#pragma once

#include <fmt/format.h>

#include <array>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "runs/page.h"
#include "runs/types.h"
#include "runs/unit.h"

namespace fettle::runs {

// Whether a member who sees some clients sees what belongs to none.
enum class Unowned : std::uint8_t { kHidden, kShown };

// A WHERE clause that grows, with its parameters: $1 is the workspace. The VALUES' BYTES MUST OUTLIVE IT.
class Where {
 public:
  // `table` is what stands before a column's point, if anything does.
  explicit Where(const View& view, std::string_view table = {})
      : prefix_(table.empty() ? std::string() : std::string(table) + ".") {
    values_.emplace_back(view.workspace());
    begin_anew();
  }

  // What stands for the value in the text.
  std::string parameter(db::Value value) {
    values_.push_back(value);
    return fmt::format("${}", values_.size());
  }
  // `condition` holds {} where the parameter goes.
  void add(fmt::format_string<std::string> condition, db::Value value) {
    text_ += " AND ";
    fmt::format_to(std::back_inserter(text_), condition, parameter(value));
  }
  void add_literal(std::string_view condition) {
    text_ += " AND ";
    text_ += condition;
  }
  void add_if(fmt::format_string<std::string> condition, const std::string& value) {
    if (!value.empty()) add(condition, value);
  }
  // Only the clients of the view's scope, if it is one of some. `view` outlives this.
  void add_scope(const View& view, Unowned unowned = Unowned::kHidden);

  const std::string& text() const { return text_; }
  // For a second clause with the same parameters.
  void begin_anew() { text_ = prefix_ + "workspace = $1"; }
  const std::vector<db::Value>& values() const { return values_; }

 private:
  std::string prefix_;
  std::string text_;
  std::vector<db::Value> values_;
};

// A list's order: integer expressions, the last of which no two rows share.
struct Keyset {
  std::string_view first = {};  // may repeat, never null; empty: none
  std::string_view unique;
  bool newest_first = true;  // descending
};

namespace listing {

using Key = std::array<std::int64_t, 2>;

// kInvalidArgument for a cursor that no list of this order gave.
Result<void> add_cursor(Where& where, const Keyset& order, std::string_view cursor);
std::string cursor_of(const Keyset& order, const Key& key);
// SELECT columns and the key FROM table WHERE … ORDER BY … LIMIT one more than the page.
std::string text_of(std::string_view columns, std::string_view table, Where& where, const Keyset& order,
                    std::int32_t limit);

}  // namespace listing

// `read` makes a T of (View&, const db::Row&), whose first columns are `columns`. `columns` and `table` are literals.
template <class T, class Read>
Result<PageOf<T>> page_of(View& view, std::string_view columns, std::string_view table, Where& where,
                          const Keyset& order, const PageRequest& page, Read read) {
  if (auto good = listing::add_cursor(where, order, page.cursor); !good) return std::unexpected(good.error());
  const std::string sql = listing::text_of(columns, table, where, order, page.limit);
  PageOf<T> out;
  listing::Key last{};
  for (const db::Row row : view.rows(db::Sql::assembled(sql), where.values())) {
    if (out.items.size() == static_cast<std::size_t>(page.limit)) {
      out.next = listing::cursor_of(order, last);
      break;
    }
    out.items.push_back(read(view, row));
    for (std::size_t i = 0; i < last.size(); ++i) {
      last[i] = row.get<std::int64_t>(row.size() - last.size() + i).value_or(0);
    }
  }
  return out;
}

}  // namespace fettle::runs
