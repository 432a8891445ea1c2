#include "telemetry/attributes_column.h"

#include <algorithm>
#include <array>

#include "telemetry/attribute_text.h"
#include "telemetry/identifiers.h"

namespace fettle::telemetry {
namespace {

constexpr std::uint64_t kFlattened = 3;  // the serialisation version of both JSON and its Dynamic paths
constexpr int kMapDepthMax = 16;         // deeper maps are stored as JSON text

// Bounds of a block: its type numbers alone would fill this much, or the engine would see this many paths.
constexpr std::size_t kTypeBytesMax = 16 * 1024 * 1024;
constexpr std::size_t kPathsMax = 2'000;

constexpr std::array<std::string_view, 10> kTypeNames = {
    "String",
    "Int64",
    "Float64",
    "Bool",
    "Array(UInt8)",
    "Array(Nullable(String))",
    "Array(Nullable(Int64))",
    "Array(Nullable(Float64))",
    "Array(Nullable(Bool))",
    "Tuple(json String)",
};

// The engine reads a dot in a path as nesting, so a dot in a key is written %2E; with json_type_escape_dots_in_keys=1
// it prints the key as it was. A key that itself holds "%2E" or "%25" gets its percent sign written %25.
void append_path(ByteBuffer& out, std::string_view key, std::string& scratch) {
  scratch.clear();
  for (std::size_t i = 0; i < key.size(); ++i) {
    const std::string_view rest = key.substr(i);
    if (key[i] == '.') {
      scratch.append("%2E");
    } else if (key[i] == '%' && (rest.starts_with("%2E") || rest.starts_with("%25"))) {
      scratch.append("%25");
    } else {
      scratch.push_back(key[i]);
    }
  }
  out.append_string(scratch);
}

}  // namespace

bool AttributesColumn::is_crowded(std::size_t rows) const {
  const std::size_t count = keys_.count();
  return count > kPathsMax || count * rows > kTypeBytesMax;
}

std::uint32_t AttributesColumn::path_of(std::string_view key) {
  // Instrumentation writes its attributes in the same order every time: what followed the last key then, follows now.
  if (predicted_ < keys_.count() && keys_.at(predicted_) == key) [[likely]] {
    return predicted_;
  }
  const std::uint32_t known = keys_.count();
  const std::uint32_t path = keys_.intern(key);
  if (path == known) {
    if (paths_.size() == path) paths_.emplace_back();
    const IdentifierDefinition* definition = catalogue_ == nullptr ? nullptr : catalogue_->by_name(key);
    paths_[path].column = definition != nullptr && definition->is_column ? definition->kind : kNoColumn;
    paths_[path].next = path + 1;
  }
  return path;
}

std::uint64_t AttributesColumn::append(std::size_t row, const otlp::Common& request, otlp::Range attributes,
                                       const ResolvedIds* ids) {
  std::uint64_t left_out = 0;
  std::uint32_t previous = StringTable::kNone;
  predicted_ = 0;
  const otlp::Attribute* attribute = request.attributes.data() + attributes.first;
  for (const otlp::Attribute* end = attribute + attributes.count; attribute != end; ++attribute) {
    const std::uint32_t path = path_of(attribute->key);
    if (previous != StringTable::kNone) paths_[previous].next = path;
    previous = path;
    predicted_ = paths_[path].next;
    const std::uint8_t column = paths_[path].column;
    if (column != kNoColumn) {
      const std::uint64_t bit = std::uint64_t{1} << column;
      if (ids != nullptr && attribute->value.type == otlp::ValueType::kString && ids->has(column) &&
          ids->get(column) == attribute->value.text()) {
        left_out |= bit;
        if (paths_[path].rows > row) take_back(row, paths_[path]);
        continue;
      }
      left_out &= ~bit;
    }
    put(row, request, path, attribute->value);
  }
  return left_out;
}

// The key came before in this row: its value goes.
void AttributesColumn::take_back(std::size_t row, Path& path) {
  const char number = path.types.data()[row];
  Values& values = path.values[static_cast<std::size_t>(number) - 1];
  values.bytes.truncate(values.last_bytes);
  values.nulls.truncate(values.last_nulls);
  if (!values.ends.empty()) values.ends.pop_back();
  path.types.truncate(row);
  path.rows = row;
}

AttributesColumn::Values& AttributesColumn::open(std::size_t row, Path& path, Type type) {
  is_used_ = true;
  path.is_used = true;
  if (path.rows > row) take_back(row, path);
  if (path.rows < row) path.types.append_zeros(row - path.rows);
  std::size_t index = 0;
  while (index < path.values.size() && path.values[index].type != type) ++index;
  if (index == path.values.size()) path.values.emplace_back().type = type;
  path.types.append_value(static_cast<std::uint8_t>(index + 1));
  path.rows = row + 1;
  Values& values = path.values[index];
  values.last_bytes = values.bytes.size();
  values.last_nulls = values.nulls.size();
  return values;
}

void AttributesColumn::put(std::size_t row, const otlp::Common& request, std::uint32_t index,
                           const otlp::Value& value) {
  Path& path = paths_[index];
  switch (value.type) {
    case otlp::ValueType::kString: open(row, path, kString).bytes.append_string(value.text()); break;
    case otlp::ValueType::kInt: open(row, path, kInt64).bytes.append_value(value.integer); break;
    case otlp::ValueType::kDouble: open(row, path, kFloat64).bytes.append_value(value.number); break;
    case otlp::ValueType::kBool:
      open(row, path, kBool).bytes.append_value(static_cast<std::uint8_t>(value.boolean));
      break;
    case otlp::ValueType::kBytes: {
      Values& values = open(row, path, kBytes);
      values.bytes.append(value.text());
      values.ends.push_back(values.bytes.size());
      break;
    }
    case otlp::ValueType::kArray: put_array(row, request, path, value); break;
    case otlp::ValueType::kMap:
      if (value.size == 0) {
        put_json(row, request, path, value);
      } else {
        put_map(row, request, std::string(keys_.at(index)), value, 0);
      }
      break;
    case otlp::ValueType::kEmpty: put_json(row, request, path, value); break;
  }
  byte_count_ += value.type == otlp::ValueType::kString ? value.size + 2 : 9;
}

void AttributesColumn::put_map(std::size_t row, const otlp::Common& request, std::string_view key,
                               const otlp::Value& value, int depth) {
  const otlp::Range entries = value.children();
  for (std::uint32_t i = 0; i < entries.count; ++i) {
    const otlp::Attribute& entry = request.attributes[entries.first + i];
    std::string path_key;
    path_key.reserve(key.size() + 1 + entry.key.size());
    path_key.append(key).append(1, '.').append(entry.key);
    if (entry.value.type == otlp::ValueType::kMap && entry.value.size != 0 && depth < kMapDepthMax) {
      put_map(row, request, path_key, entry.value, depth + 1);
      continue;
    }
    predicted_ = StringTable::kNone;
    const std::uint32_t path = path_of(path_key);
    if (entry.value.type == otlp::ValueType::kMap) {
      put_json(row, request, paths_[path], entry.value);
    } else {
      put(row, request, path, entry.value);
    }
  }
}

void AttributesColumn::put_array(std::size_t row, const otlp::Common& request, Path& path, const otlp::Value& value) {
  const otlp::Range items = value.children();
  otlp::ValueType kind = otlp::ValueType::kEmpty;
  bool is_mixed = false;
  for (std::uint32_t i = 0; i < items.count; ++i) {
    const otlp::ValueType item = request.values[items.first + i].type;
    if (item == otlp::ValueType::kEmpty) continue;
    is_mixed = is_mixed || (kind != otlp::ValueType::kEmpty && item != kind);
    kind = item;
  }
  Type type = kStrings;
  switch (kind) {
    case otlp::ValueType::kEmpty:
    case otlp::ValueType::kString: type = kStrings; break;
    case otlp::ValueType::kInt: type = kInt64s; break;
    case otlp::ValueType::kDouble: type = kFloat64s; break;
    case otlp::ValueType::kBool: type = kBools; break;
    default: is_mixed = true; break;
  }
  if (is_mixed) {
    put_json(row, request, path, value);
    return;
  }
  Values& values = open(row, path, type);
  for (std::uint32_t i = 0; i < items.count; ++i) {
    const otlp::Value& item = request.values[items.first + i];
    const bool is_null = item.type == otlp::ValueType::kEmpty;
    values.nulls.append_value(static_cast<std::uint8_t>(is_null));
    switch (type) {
      case kStrings: values.bytes.append_string(is_null ? std::string_view{} : item.text()); break;
      case kInt64s: values.bytes.append_value(is_null ? 0 : item.integer); break;
      case kFloat64s: values.bytes.append_value(is_null ? 0.0 : item.number); break;
      default: values.bytes.append_value(static_cast<std::uint8_t>(!is_null && item.boolean)); break;
    }
  }
  values.ends.push_back(values.nulls.size());
}

void AttributesColumn::put_json(std::size_t row, const otlp::Common& request, Path& path, const otlp::Value& value) {
  scratch_.clear();
  append_value_json(scratch_, request, value);
  open(row, path, kJson).bytes.append_string(scratch_);
}

void AttributesColumn::render(std::size_t rows, ByteBuffer& out) {
  const std::uint32_t count = keys_.count();
  std::uint64_t used = 0;
  for (std::uint32_t i = 0; i < count; ++i) used += paths_[i].is_used;
  out.append_value(kFlattened);
  out.append_varint(used);
  for (std::uint32_t i = 0; i < count; ++i) {
    if (paths_[i].is_used) append_path(out, keys_.at(i), scratch_);
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    const Path& path = paths_[i];
    if (!path.is_used) continue;
    out.append_value(kFlattened);
    out.append_varint(path.values.size());
    for (const Values& values : path.values) out.append_string(kTypeNames[values.type]);
  }
  for (std::uint32_t i = 0; i < count; ++i) {
    Path& path = paths_[i];
    if (!path.is_used) continue;
    // Here 0 is "none" and types count from 1; in the engine types count from 0 and "none" comes last.
    const auto none = static_cast<std::uint8_t>(path.values.size());
    auto* to = reinterpret_cast<std::uint8_t*>(out.extend(rows));
    const auto* from = reinterpret_cast<const std::uint8_t*>(path.types.data());
    for (std::size_t row = 0; row < path.rows; ++row) {
      to[row] = std::min(static_cast<std::uint8_t>(from[row] - 1), none);
    }
    std::memset(to + path.rows, none, rows - path.rows);
    for (const Values& values : path.values) {
      for (const std::uint64_t end : values.ends) out.append_value(end);
      out.append(values.nulls.view());
      out.append(values.bytes.view());
    }
  }
}

void AttributesColumn::clear() {
  for (std::uint32_t i = 0; i < keys_.count(); ++i) {
    Path& path = paths_[i];
    path.rows = 0;
    path.types.clear();
    path.is_used = false;
    for (Values& values : path.values) {
      values.bytes.clear();
      values.nulls.clear();
      values.ends.clear();
      values.last_bytes = values.last_nulls = 0;
    }
    path.values.clear();
  }
  keys_.clear();
  predicted_ = 0;
  is_used_ = false;
  byte_count_ = 0;
}

}  // namespace fettle::telemetry
