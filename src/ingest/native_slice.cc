#include "ingest/native_slice.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <memory>
#include <utility>
#include <vector>

#include "ingest/bytes.h"

namespace fettle::ingest {
namespace {

constexpr int kTypeDepthMax = 16;
constexpr std::uint64_t kFlattened = 3;  // the serialisation version of JSON and of the Dynamic columns of its paths
constexpr std::uint64_t kIndexWidthMask = 0xFF;
constexpr std::uint64_t kNeedsGlobalDictionary = 0x100;

struct Type {
  enum class Kind { kFixed, kString, kLowCardinality, kArray, kNullable, kTuple, kJson };
  Kind kind = Kind::kFixed;
  std::size_t width = 0;    // of kFixed
  std::vector<Type> inner;  // of the item, the value, or the elements
};

// "Array(Nullable(String))" into "Array" and "Nullable(String)".
std::pair<std::string_view, std::string_view> cut_arguments(std::string_view text) {
  const auto open = text.find('(');
  if (open == std::string_view::npos || !text.ends_with(')')) return {text, {}};
  return {text.substr(0, open), text.substr(open + 1, text.size() - open - 2)};
}

std::vector<std::string_view> cut_list(std::string_view text) {
  std::vector<std::string_view> parts;
  int depth = 0;
  std::size_t begin = 0;
  bool is_quoted = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\'') is_quoted = !is_quoted;
    if (is_quoted) continue;
    if (text[i] == '(') ++depth;
    if (text[i] == ')') --depth;
    if (text[i] == ',' && depth == 0) {
      parts.push_back(text.substr(begin, i - begin));
      begin = i + 1;
    }
  }
  parts.push_back(text.substr(begin));
  for (std::string_view& part : parts) part.remove_prefix(std::min(part.find_first_not_of(' '), part.size()));
  return parts;
}

std::size_t fixed_width(std::string_view name, std::string_view arguments) {
  struct Width {
    std::string_view name;
    std::size_t bytes;
  };
  static constexpr std::array kWidths = {
      Width{"UInt8", 1},    Width{"UInt16", 2},     Width{"UInt32", 4}, Width{"UInt64", 8}, Width{"UInt128", 16},
      Width{"Int8", 1},     Width{"Int16", 2},      Width{"Int32", 4},  Width{"Int64", 8},  Width{"Int128", 16},
      Width{"Float32", 4},  Width{"Float64", 8},    Width{"Bool", 1},   Width{"Date", 2},   Width{"Date32", 4},
      Width{"DateTime", 4}, Width{"DateTime64", 8}, Width{"UUID", 16},  Width{"IPv4", 4},   Width{"IPv6", 16},
      Width{"Enum8", 1},    Width{"Enum16", 2}};
  for (const Width& width : kWidths) {
    if (width.name == name) return width.bytes;
  }
  std::size_t length = 0;
  if (name == "FixedString") std::from_chars(arguments.data(), arguments.data() + arguments.size(), length);
  return length;
}

bool parse_type(std::string_view text, Type& type, int depth = 0) {
  if (depth > kTypeDepthMax) return false;
  const auto [name, arguments] = cut_arguments(text);
  const auto with_inner = [&](Type::Kind kind, std::string_view inner) {
    type.kind = kind;
    return parse_type(inner, type.inner.emplace_back(), depth + 1);
  };
  if (name == "String") {
    type.kind = Type::Kind::kString;
    return true;
  }
  if (name == "LowCardinality") {
    return with_inner(Type::Kind::kLowCardinality, arguments) && type.inner[0].kind == Type::Kind::kString;
  }
  if (name == "Array") return with_inner(Type::Kind::kArray, arguments);
  if (name == "Nullable") return with_inner(Type::Kind::kNullable, arguments);
  if (name == "SimpleAggregateFunction") {
    const auto parts = cut_list(arguments);
    return parts.size() == 2 && parse_type(parts[1], type, depth + 1);
  }
  if (name == "Map") {
    type.kind = Type::Kind::kArray;
    return parse_type(fmt::format("Tuple({})", arguments), type.inner.emplace_back(), depth + 1);
  }
  if (name == "Tuple") {
    type.kind = Type::Kind::kTuple;
    for (std::string_view element : cut_list(arguments)) {
      // "name Type" or "Type": a space before any bracket follows a name.
      const auto space = element.substr(0, element.find('(')).find(' ');
      if (space != std::string_view::npos) element.remove_prefix(space + 1);
      if (!parse_type(element, type.inner.emplace_back(), depth + 1)) return false;
    }
    return true;
  }
  if (name == "JSON") {
    // Settings have an equals sign; a typed path has not, and would have a column of its own.
    type.kind = Type::Kind::kJson;
    const auto parts = cut_list(arguments);
    return arguments.empty() || std::ranges::all_of(parts, [](std::string_view part) { return part.contains('='); });
  }
  type.width = fixed_width(name, arguments);
  return type.width > 0;
}

// Rows first … first + count - 1 of `rows`.
struct Window {
  std::uint64_t rows;
  std::uint64_t first;
  std::uint64_t count;
};

// Copies columns from `in_` to `out_`, leaving out the rows that are not in the window. A prefix stands before the data
// of a whole column, nested ones included.
class Slicer {
 public:
  Slicer(ByteReader& in, ByteWriter& out) : in_(in), out_(out) {}

  bool column(const Type& type, Window window) {
    std::vector<Path> paths;
    return prefix(type, paths) && data(type, window, paths);
  }

 private:
  struct Path {
    std::vector<Type> types;
  };

  bool prefix(const Type& type, std::vector<Path>& paths) {
    switch (type.kind) {
      case Type::Kind::kFixed:
      case Type::Kind::kString: return true;
      case Type::Kind::kLowCardinality: out_.fixed(in_.fixed<std::uint64_t>()); return !in_.failed();
      case Type::Kind::kArray:
      case Type::Kind::kNullable:
      case Type::Kind::kTuple:
        return std::ranges::all_of(
            type.inner, [&](const Type& inner) { return inner.kind != Type::Kind::kJson && prefix(inner, paths); });
      case Type::Kind::kJson: return json_prefix(paths);
    }
    return false;
  }

  bool json_prefix(std::vector<Path>& paths) {
    if (!copy_version()) return false;
    const std::uint64_t count = in_.count(1);
    out_.varint(count);
    for (std::uint64_t i = 0; i < count; ++i) out_.string(in_.string());
    for (std::uint64_t i = 0; i < count && !in_.failed(); ++i) {
      Path& path = paths.emplace_back();
      if (!copy_version()) return false;
      const std::uint64_t types = in_.count(1);
      out_.varint(types);
      for (std::uint64_t t = 0; t < types && !in_.failed(); ++t) {
        const std::string_view name = in_.string();
        out_.string(name);
        Type& type = path.types.emplace_back();
        if (!parse_type(name, type) || !has_no_prefix(type)) return false;
      }
    }
    return !in_.failed();
  }

  bool copy_version() {
    const auto version = in_.fixed<std::uint64_t>();
    out_.fixed(version);
    return !in_.failed() && version == kFlattened;
  }

  static bool has_no_prefix(const Type& type) {
    return type.kind != Type::Kind::kLowCardinality && type.kind != Type::Kind::kJson &&
           std::ranges::all_of(type.inner, has_no_prefix);
  }

  bool data(const Type& type, Window window, const std::vector<Path>& paths) {
    switch (type.kind) {
      case Type::Kind::kFixed: return fixed(type.width, window);
      case Type::Kind::kString: return strings(window);
      case Type::Kind::kLowCardinality: return low_cardinality(window);
      case Type::Kind::kArray: return array(type, window, paths);
      case Type::Kind::kNullable: return fixed(1, window) && data(type.inner[0], window, paths);
      case Type::Kind::kTuple:
        return std::ranges::all_of(type.inner, [&](const Type& inner) { return data(inner, window, paths); });
      case Type::Kind::kJson: return json(window, paths);
    }
    return false;
  }

  bool fixed(std::size_t width, Window window) {
    if (window.rows > UINT32_MAX) return false;
    const std::string_view all = in_.raw(window.rows * width);
    if (in_.failed()) return false;
    out_.raw(all.substr(window.first * width, window.count * width));
    return true;
  }

  bool strings(Window window) {
    for (std::uint64_t row = 0; row < window.rows && !in_.failed(); ++row) {
      const std::string_view text = in_.string();
      if (row >= window.first && row < window.first + window.count) out_.string(text);
    }
    return !in_.failed();
  }

  bool low_cardinality(Window window) {
    if (window.rows == 0) return true;  // nothing at all is written then
    if (window.rows > UINT32_MAX) return false;
    const auto flags = in_.fixed<std::uint64_t>();
    const std::uint64_t width_code = flags & kIndexWidthMask;
    if (in_.failed() || (flags & kNeedsGlobalDictionary) != 0 || width_code > 3) return false;
    ByteWriter dictionary;
    const auto keys = in_.fixed<std::uint64_t>();
    for (std::uint64_t key = 0; key < keys && !in_.failed(); ++key) dictionary.string(in_.string());
    if (in_.fixed<std::uint64_t>() != window.rows || in_.failed()) return false;
    const std::size_t width = std::size_t{1} << width_code;
    const std::string_view numbers = in_.raw(window.rows * width);
    if (in_.failed()) return false;
    if (window.count == 0) return true;
    out_.fixed(flags);
    out_.fixed(keys);
    out_.raw(dictionary.bytes());
    out_.fixed(window.count);
    out_.raw(numbers.substr(window.first * width, window.count * width));
    return true;
  }

  bool array(const Type& type, Window window, const std::vector<Path>& paths) {
    if (window.rows > UINT32_MAX) return false;
    const std::string_view ends = in_.raw(window.rows * sizeof(std::uint64_t));
    if (in_.failed()) return false;
    const auto end_of = [&](std::uint64_t rows) {
      std::uint64_t end = 0;
      if (rows > 0) std::memcpy(&end, ends.data() + (rows - 1) * sizeof end, sizeof end);
      return end;
    };
    for (std::uint64_t row = 0; row < window.rows; ++row) {
      if (end_of(row + 1) < end_of(row)) return false;
    }
    const Window items = {end_of(window.rows), end_of(window.first),
                          end_of(window.first + window.count) - end_of(window.first)};
    for (std::uint64_t row = window.first; row < window.first + window.count; ++row) {
      out_.fixed(end_of(row + 1) - items.first);
    }
    return data(type.inner[0], items, paths);
  }

  // Per path one byte a row that says which of its types the value has, then the values of each type.
  bool json(Window window, const std::vector<Path>& paths) {
    for (const Path& path : paths) {
      if (path.types.size() >= UINT8_MAX) return false;
      const std::string_view numbers = in_.raw(window.rows);
      if (in_.failed()) return false;
      out_.raw(numbers.substr(window.first, window.count));
      std::vector<Window> values(path.types.size() + 1, Window{0, 0, 0});
      for (std::uint64_t row = 0; row < window.rows; ++row) {
        const auto number = static_cast<unsigned char>(numbers[row]);
        if (number >= values.size()) return false;
        Window& of_type = values[number];
        ++of_type.rows;
        if (row < window.first)
          ++of_type.first;
        else if (row < window.first + window.count)
          ++of_type.count;
      }
      for (std::size_t type = 0; type < path.types.size(); ++type) {
        if (!data(path.types[type], values[type], {})) return false;
      }
    }
    return true;
  }

  ByteReader& in_;
  ByteWriter& out_;
};

}  // namespace

Result<std::string> slice_block(std::string_view bytes, std::uint32_t columns, std::uint32_t rows, std::uint32_t first,
                                std::uint32_t count) {
  if (first > rows || count > rows - first) return fail(ErrorCode::kInternal, "a slice outside its block");
  ByteReader in(bytes);
  ByteWriter out;
  for (std::uint32_t column = 0; column < columns; ++column) {
    const std::string_view name = in.string();
    const std::string_view type_name = in.string();
    if (in.failed()) return fail(ErrorCode::kDataLoss, "a block with fewer columns than it says");
    Type type;
    if (!parse_type(type_name, type)) {
      return fail(ErrorCode::kUnsupported, fmt::format("column {} of type {} cannot be sliced", name, type_name));
    }
    out.string(name);
    out.string(type_name);
    if (!Slicer(in, out).column(type, {rows, first, count})) {
      return fail(ErrorCode::kDataLoss, fmt::format("column {} does not hold {} rows of {}", name, rows, type_name));
    }
  }
  if (!in.finished()) return fail(ErrorCode::kDataLoss, "a block with more bytes than its columns");
  return out.take();
}

}  // namespace fettle::ingest
