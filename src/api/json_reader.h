// A request's JSON, read into typed values in one pass: what is missing, of another type, too large or not known is an
// error that names the member ("reports[3].fence: expected a whole number from 0 to 2147483647, got a string").
//
//   auto document = JsonDocument::parse(request.body);
//   auto read = read_members(document->root(), "", [&](Member& member) {
//     return member.text("workflow", run.workflow) || member.integer("priority", run.priority, 0, 9);
//   });
//
// A member that is null counts as absent. Values are copied out: the document lives until the next parse() on the same
// thread, whose memory it uses.
#pragma once

#include <simdjson.h>

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"

namespace fettle::api {

class JsonDocument {
 public:
  // kInvalidArgument when the text is not a JSON object, is not UTF-8 or nests deeper than kJsonDepthMax. `text` may be
  // given room at its end.
  static Result<JsonDocument> parse(std::string& text);

  simdjson::dom::element root() const { return root_; }

 private:
  explicit JsonDocument(simdjson::dom::element root) : root_(root) {}
  simdjson::dom::element root_;
};

constexpr std::size_t kJsonDepthMax = 128;
constexpr std::size_t kTextBytesMax = 64 * 1024;  // of one string where the room sets no limit of its own

// Where a value is in the body, for messages; made into text only when something is wrong. Lives on the stack.
struct JsonPlace {
  const JsonPlace* outer = nullptr;
  std::string_view name;      // of a member
  std::ptrdiff_t index = -1;  // of an item
  std::string text() const;   // "reports[3].fence"
  std::string text_of(std::string_view member) const;
};

// One member of an object while it is looked for: each function answers whether the member has this name, and if so has
// read it (or remembered what is wrong with it).
class Member {
 public:
  Member(const JsonPlace& place, std::string_view name, simdjson::dom::element value)
      : place_(place), name_(name), value_(value) {}

  bool text(std::string_view name, std::string& out, std::size_t bytes_max = kTextBytesMax);
  bool text(std::string_view name, std::optional<std::string>& out, std::size_t bytes_max = kTextBytesMax);
  // Of what others wrote, a stack for one: NULs are left out instead of refused.
  bool prose(std::string_view name, std::string& out, std::size_t bytes_max = kTextBytesMax);
  bool boolean(std::string_view name, bool& out);
  bool boolean(std::string_view name, std::optional<bool>& out);
  template <class T>
  bool integer(std::string_view name, T& out, std::int64_t least, std::int64_t most) {
    if (name != name_) return false;
    std::int64_t value = 0;
    if (whole_number(value, least, most)) out = static_cast<T>(value);
    return true;
  }
  template <class T>
  bool integer(std::string_view name, std::optional<T>& out, std::int64_t least, std::int64_t most) {
    if (name != name_) return false;
    std::int64_t value = 0;
    if (whole_number(value, least, most)) out = static_cast<T>(value);
    return true;
  }
  // From 0 to `most`.
  bool number(std::string_view name, double& out, double most = std::numeric_limits<double>::max());
  bool time(std::string_view name, UnixNanos& out);
  bool time(std::string_view name, std::optional<UnixNanos>& out);
  // The value as compact JSON; kTooLarge with its size.
  bool json(std::string_view name, std::string& out, std::size_t bytes_max);
  bool texts(std::string_view name, std::vector<std::string>& out, std::size_t items_max);
  // A fencing number: as a number, or as the text that it was once given as.
  bool fence(std::string_view name, std::int32_t& out);

  // For what has members or items of its own; `read` answers Result<void> and is called unless the value is null.
  template <class Read>
  bool object(std::string_view name, Read read) {
    if (name != name_) return false;
    if (value_.is_null()) return true;
    const JsonPlace inner{&place_, name_};
    if (!value_.is_object()) return expected("an object");
    note(read(value_, inner));
    return true;
  }
  // `read` gets each item and its place.
  template <class Read>
  bool array(std::string_view name, std::size_t items_max, Read read) {
    if (name != name_) return false;
    if (value_.is_null()) return true;
    if (!value_.is_array()) return expected("an array");
    const simdjson::dom::array items = value_.get_array().value_unsafe();
    if (!check_count(items.size(), items_max)) return true;
    const JsonPlace inner{&place_, name_};
    std::ptrdiff_t index = 0;
    for (const simdjson::dom::element item : items) {
      const JsonPlace place{&inner, {}, index++};
      if (!note(read(item, place))) break;
    }
    return true;
  }

  std::string_view name() const { return name_; }
  const simdjson::dom::element& value() const { return value_; }
  std::optional<Error> take_error() { return std::move(error_); }

 private:
  bool whole_number(std::int64_t& out, std::int64_t least, std::int64_t most);
  bool check_count(std::size_t count, std::size_t count_max);
  // Remembers the error; true, so that a reader can return it.
  bool expected(std::string_view what);
  bool fail_with(ErrorCode code, std::string_view what);
  bool note(Result<void> result);

  const JsonPlace& place_;
  const std::string_view name_;
  const simdjson::dom::element value_;
  std::optional<Error> error_;
};

std::unexpected<Error> unknown_member(const JsonPlace& place, std::string_view name);
std::unexpected<Error> missing_member(const JsonPlace& place, std::string_view name, std::string_view what);
std::unexpected<Error> not_an_object(const JsonPlace& place);

// Calls `read` for each member; it answers whether it knows the member.
template <class Read>
Result<void> read_members(simdjson::dom::element element, const JsonPlace& place, Read read) {
  if (!element.is_object()) return not_an_object(place);
  // By value: a range-for of this language version does not keep the temporaries of its range.
  const simdjson::dom::object members = element.get_object().value_unsafe();
  for (const auto [name, value] : members) {
    Member member(place, name, value);
    const bool known = read(member);
    if (auto error = member.take_error()) return std::unexpected(std::move(*error));
    if (!known) return unknown_member(place, name);
  }
  return {};
}

}  // namespace fettle::api
