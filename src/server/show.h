// What commands show to people: aligned tables, short times, and colours on a terminal alone.
//
//   Table table({"RUN", "STATE", "TRIES"});
//   table.row({{text_of(run, "run_id")}, {state, Tone::kBad}, number(3)});
//   table.print();
#pragma once

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace fettle::server {

enum class Tone { kPlain, kGood, kBad, kBusy, kFaint };

struct Cell {
  std::string text;
  Tone tone = Tone::kPlain;
  bool is_right = false;  // numbers stand at the right
};

class Table {
 public:
  explicit Table(std::vector<std::string> heads) : heads_(std::move(heads)) {}
  // As many cells as there are heads.
  void row(std::vector<Cell> cells) { rows_.push_back(std::move(cells)); }
  bool empty() const { return rows_.empty(); }
  // Lines without white space at their end.
  std::string text(bool is_coloured) const;
  // To standard output, coloured if that shows colours.
  void print() const;

 private:
  std::vector<std::string> heads_;
  std::vector<std::vector<Cell>> rows_;
};

// "name  value" lines, the values below each other; a pair without a value is left out.
void print_pairs(const std::vector<std::pair<std::string, std::string>>& pairs);

// Whether standard output is a terminal that shows colours and NO_COLOR is not set.
bool has_colours();

// Text from outside must not move the cursor or colour the terminal.
std::string printable(std::string text);
// "2026-11-21T09:14:32.123456789Z" to the millisecond, as people read it.
std::string short_time(const std::string& text);
// At most `most` characters, with an ellipsis where it is cut.
std::string shortened(std::string text, std::size_t most);

// A member as printable text: strings as they are, numbers and truth as JSON writes them, nothing for null.
std::string text_of(const boost::json::object& object, std::string_view name);
Cell cell(const boost::json::object& object, std::string_view name);
Cell number(const boost::json::object& object, std::string_view name);
Cell time_cell(const boost::json::object& object, std::string_view name);
// A state of work: bad ones stand out.
Cell state_cell(const boost::json::object& object, std::string_view name);

// An object inside; empty when there is none.
const boost::json::object& object_in(const boost::json::object& object, std::string_view name);

// Says what went wrong on standard error, and with which exit code the program ends: 1.
int complain(const Error& error);

}  // namespace fettle::server
