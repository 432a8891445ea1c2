#include "server/show.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <cstdlib>

namespace fettle::server {
namespace {

constexpr std::string_view kBetween = "  ";

std::string_view code_of(Tone tone) {
  switch (tone) {
    case Tone::kGood: return "32";
    case Tone::kBad: return "31";
    case Tone::kBusy: return "33";
    case Tone::kFaint: return "2";
    case Tone::kPlain: break;
  }
  return "";
}

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

std::size_t width_of(std::string_view text) {
  return static_cast<std::size_t>(std::ranges::count_if(text, starts_character));
}

std::string painted(std::string text, Tone tone, bool is_coloured) {
  if (!is_coloured || tone == Tone::kPlain || text.empty()) return text;
  return fmt::format("\x1b[{}m{}\x1b[0m", code_of(tone), text);
}

const boost::json::value* member(const boost::json::object& object, std::string_view name) {
  return object.if_contains(boost::json::string_view(name.data(), name.size()));
}

}  // namespace

bool has_colours() {
  const char* none = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  return (none == nullptr || *none == '\0') && terminal != nullptr && std::string_view(terminal) != "dumb" &&
         isatty(STDOUT_FILENO) == 1;
}

std::string Table::text(bool is_coloured) const {
  std::vector<std::size_t> widths;
  for (const std::string& head : heads_) widths.push_back(width_of(head));
  for (const auto& cells : rows_) {
    for (std::size_t i = 0; i < cells.size(); ++i) widths[i] = std::max(widths[i], width_of(cells[i].text));
  }
  std::string out;
  const auto append = [&](const std::vector<Cell>& cells) {
    // What stands to the right of the last text is not written, so that lines end where their text does.
    std::size_t count = cells.size();
    while (count > 0 && cells[count - 1].text.empty()) --count;
    for (std::size_t i = 0; i < count; ++i) {
      if (i > 0) out += kBetween;
      const std::string space(widths[i] - width_of(cells[i].text), ' ');
      const std::string text = painted(cells[i].text, cells[i].tone, is_coloured);
      out += cells[i].is_right ? space + text : text + (i + 1 == count ? std::string() : space);
    }
    out += '\n';
  };
  std::vector<Cell> heads;
  for (std::size_t i = 0; i < heads_.size(); ++i) {
    const bool is_right = !rows_.empty() && rows_.front()[i].is_right;
    heads.push_back({.text = heads_[i], .tone = Tone::kFaint, .is_right = is_right});
  }
  append(heads);
  for (const auto& cells : rows_) append(cells);
  return out;
}

void Table::print() const { fmt::print("{}", text(has_colours())); }

void print_pairs(const std::vector<std::pair<std::string, std::string>>& pairs) {
  std::size_t width = 0;
  for (const auto& [name, value] : pairs) {
    if (!value.empty()) width = std::max(width, name.size());
  }
  for (const auto& [name, value] : pairs) {
    if (!value.empty()) fmt::print("{:<{}}  {}\n", name, width, value);
  }
}

std::string printable(std::string text) {
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return text;
}

std::string short_time(const std::string& text) {
  return text.size() >= 23 ? text.substr(0, 10) + ' ' + text.substr(11, 12) : text;
}

std::string shortened(std::string text, std::size_t most) {
  if (width_of(text) <= most) return text;
  std::size_t characters = 0;
  const auto end = std::ranges::find_if(text, [&](char c) { return starts_character(c) && ++characters == most; });
  text.erase(end, text.end());
  return text + "…";
}

std::string text_of(const boost::json::object& object, std::string_view name) {
  const auto* value = member(object, name);
  if (value == nullptr || value->is_null()) return "";
  return printable(value->is_string() ? std::string(value->get_string()) : boost::json::serialize(*value));
}

Cell cell(const boost::json::object& object, std::string_view name) { return {.text = text_of(object, name)}; }

Cell number(const boost::json::object& object, std::string_view name) {
  return {.text = text_of(object, name), .is_right = true};
}

Cell time_cell(const boost::json::object& object, std::string_view name) {
  return {.text = short_time(text_of(object, name))};
}

Cell state_cell(const boost::json::object& object, std::string_view name) {
  constexpr auto kTones = std::to_array<std::pair<std::string_view, Tone>>({{"succeeded", Tone::kGood},
                                                                            {"completed", Tone::kGood},
                                                                            {"approved", Tone::kGood},
                                                                            {"finished", Tone::kGood},
                                                                            {"success", Tone::kGood},
                                                                            {"dead", Tone::kBad},
                                                                            {"failed", Tone::kBad},
                                                                            {"rejected", Tone::kBad},
                                                                            {"fail", Tone::kBad},
                                                                            {"blocked", Tone::kBad},
                                                                            {"kill", Tone::kBad},
                                                                            {"running", Tone::kBusy},
                                                                            {"open", Tone::kBusy},
                                                                            {"held", Tone::kBusy},
                                                                            {"pause", Tone::kBusy},
                                                                            {"discarded", Tone::kFaint},
                                                                            {"cancelled", Tone::kFaint},
                                                                            {"withdrawn", Tone::kFaint}});
  std::string text = text_of(object, name);
  const auto* found = std::ranges::find(kTones, std::string_view(text), &std::pair<std::string_view, Tone>::first);
  return {.text = std::move(text), .tone = found == kTones.end() ? Tone::kPlain : found->second};
}

const boost::json::object& object_in(const boost::json::object& object, std::string_view name) {
  static const boost::json::object kEmpty;
  const auto* value = member(object, name);
  return value != nullptr && value->is_object() ? value->get_object() : kEmpty;
}

int complain(const Error& error) {
  fmt::print(stderr, "fettle: {}\n", error.message());
  if (error.code() == ErrorCode::kUnauthenticated) {
    fmt::print(stderr, "give a token with --token-file or FETTLE_TOKEN_FILE; `fettle token create` makes one\n");
  }
  return 1;
}

}  // namespace fettle::server
