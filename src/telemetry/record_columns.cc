#include "telemetry/record_columns.h"

#include <algorithm>
#include <limits>

#include "core/json.h"
#include "telemetry/attribute_text.h"

namespace fettle::telemetry {
namespace {

constexpr std::string_view kLow = "LowCardinality(String)";
constexpr std::uint8_t kNoColumn = 0xff;

struct HexTable {
  std::array<char, 512> digits;
  HexTable() {
    constexpr char kDigits[] = "0123456789abcdef";
    for (std::size_t i = 0; i < 256; ++i) {
      digits[2 * i] = kDigits[i >> 4];
      digits[2 * i + 1] = kDigits[i & 15];
    }
  }
};

void append_member(std::string& out, std::string_view name, std::string_view json) {
  out.append(out.empty() ? "{" : ",");
  append_json_string(out, name);
  out.push_back(':');
  out.append(json);
}

void append_text_member(std::string& out, std::string_view name, std::string_view text) {
  if (text.empty()) return;
  std::string json;
  append_json_string(json, text);
  append_member(out, name, json);
}

void append_count_member(std::string& out, std::string_view name, std::uint32_t count) {
  if (count != 0) append_member(out, name, std::to_string(count));
}

}  // namespace

void set_hex(StringColumn& column, std::size_t row, std::string_view id) {
  static const HexTable table;
  if (id.empty()) return;
  if (id.size() > 32) id = id.substr(0, 32);
  char* to = column.set_in_place(row, id.size() * 2);
  for (const char byte : id) {
    std::memcpy(to, table.digits.data() + 2 * static_cast<std::size_t>(static_cast<unsigned char>(byte)), 2);
    to += 2;
  }
}

std::uint32_t to_seconds(UnixNanos t) {
  if (t <= 0) return 0;
  return static_cast<std::uint32_t>(
      std::min<std::int64_t>(t / kNanosPerSecond, std::numeric_limits<std::uint32_t>::max()));
}

void RequestTexts::begin(std::string_view workspace, const otlp::Common& request, UnixNanos received_at) {
  request_ = &request;
  workspace_.assign(workspace);
  received_at_ = received_at;
  ++generation_;
  if (resources_.size() < request.resources.size()) resources_.resize(request.resources.size());
  for (ResourceText& text : resources_) text.is_rendered = false;
}

const RequestTexts::ResourceText& RequestTexts::resource(std::uint32_t index) {
  static const ResourceText kNone;
  if (index >= request_->resources.size()) return kNone;
  ResourceText& text = resources_[index];
  if (text.is_rendered) return text;
  text.is_rendered = true;
  text.json.clear();
  text.service_name.clear();
  const otlp::Range attributes = request_->resources[index].attributes;
  if (attributes.count != 0) append_attributes_json(text.json, *request_, attributes);
  for (std::uint32_t i = 0; i < attributes.count; ++i) {
    const otlp::Attribute& attribute = request_->attributes[attributes.first + i];
    if (attribute.key != "service.name") continue;
    text.service_name.clear();
    append_value_text(text.service_name, *request_, attribute.value);
  }
  return text;
}

std::string RequestTexts::envelope(std::uint32_t resource_index, std::uint32_t scope_index) const {
  std::string out;
  if (resource_index < request_->resources.size()) {
    const otlp::Resource& resource = request_->resources[resource_index];
    append_text_member(out, "resource_schema_url", resource.schema_url);
    append_count_member(out, "resource_dropped_attributes_count", resource.dropped_attributes_count);
  }
  if (scope_index < request_->scopes.size()) {
    const otlp::Scope& scope = request_->scopes[scope_index];
    append_text_member(out, "scope_schema_url", scope.schema_url);
    append_count_member(out, "scope_dropped_attributes_count", scope.dropped_attributes_count);
    if (scope.attributes.count != 0) {
      std::string attributes;
      append_attributes_json(attributes, *request_, scope.attributes);
      append_member(out, "scope_attributes", attributes);
    }
  }
  if (!out.empty()) out.push_back('}');
  return out;
}

void OriginColumns::enter(RequestTexts& texts) {
  generation_ = texts.generation();
  workspace_number_ = workspace_.number_of(texts.workspace());
  numbers_.assign(texts.request().resources.size(), Numbers{});
  is_pair_known_ = false;
}

void OriginColumns::append(std::size_t row, RequestTexts& texts, std::uint32_t resource, std::uint32_t scope) {
  if (generation_ != texts.generation()) enter(texts);
  workspace_.set_number(row, workspace_number_);
  received_at_.set(row, to_seconds(texts.received_at()));
  if (!is_pair_known_ || resource != resource_ || scope != scope_) {
    is_pair_known_ = true;
    resource_ = resource;
    scope_ = scope;
    const otlp::Common& request = texts.request();
    const bool is_scope = scope < request.scopes.size();
    scope_name_number_ = scope_name_.number_of(is_scope ? request.scopes[scope].name : std::string_view{});
    scope_version_number_ = scope_version_.number_of(is_scope ? request.scopes[scope].version : std::string_view{});
    envelope_number_ = envelope_.number_of(texts.envelope(resource, scope));
  }
  service_number_ = 0;
  if (resource < numbers_.size()) {
    Numbers& numbers = numbers_[resource];
    if (!numbers.is_known) {
      const RequestTexts::ResourceText& text = texts.resource(resource);
      numbers.is_known = true;
      numbers.resource = resource_text_.number_of(text.json);
      numbers.service = service_.number_of(text.service_name);
    }
    if (numbers.resource != 0) resource_text_.set_number(row, numbers.resource);
    service_number_ = numbers.service;
    if (numbers.service != 0) service_.set_number(row, numbers.service);
  }
  if (scope_name_number_ != 0) scope_name_.set_number(row, scope_name_number_);
  if (scope_version_number_ != 0) scope_version_.set_number(row, scope_version_number_);
  if (envelope_number_ != 0) envelope_.set_number(row, envelope_number_);
}

std::size_t OriginColumns::byte_count() const {
  return workspace_.byte_count() + service_.byte_count() + resource_text_.byte_count() + scope_name_.byte_count() +
         scope_version_.byte_count() + envelope_.byte_count() + received_at_.byte_count();
}

void OriginColumns::render(std::size_t rows, ByteBuffer& out, std::uint32_t& columns) {
  render_column("workspace", kLow, workspace_, rows, out, columns);
  render_column("received_at", "DateTime", received_at_, rows, out, columns);
  render_column("service_name", kLow, service_, rows, out, columns);
  render_column("resource", kLow, resource_text_, rows, out, columns);
  render_column("scope_name", kLow, scope_name_, rows, out, columns);
  render_column("scope_version", kLow, scope_version_, rows, out, columns);
  render_column("envelope", kLow, envelope_, rows, out, columns);
}

void OriginColumns::clear() {
  generation_ = 0;
  workspace_.clear();
  received_at_.clear();
  service_.clear();
  resource_text_.clear();
  scope_name_.clear();
  scope_version_.clear();
  envelope_.clear();
}

IdentifierColumns::IdentifierColumns(const IdentifierCatalogue& catalogue) {
  index_.fill(kNoColumn);
  for (const IdentifierDefinition& definition : catalogue.all()) {
    if (!definition.is_column) continue;
    index_[definition.kind] = static_cast<std::uint8_t>(columns_.size());
    mask_ |= std::uint64_t{1} << definition.kind;
    Column& column = columns_.emplace_back();
    column.name = definition.name;
    column.is_low_cardinality = definition.is_low_cardinality;
  }
}

void IdentifierColumns::append(std::size_t row, const ResolvedIds& ids) {
  last_row_ = row;
  for (std::uint64_t left = ids.present() & mask_; left != 0; left &= left - 1) {
    const auto kind = static_cast<IdentifierKind>(std::countr_zero(left));
    Column& column = columns_[index_[kind]];
    const std::string_view value = ids.get(kind);
    byte_count_ += 1 + (column.is_low_cardinality ? 0 : value.size());
    if (column.is_low_cardinality) {
      column.last = column.low.set(row, value);
      column.row_of_last = row;
    } else {
      column.high.set(row, value);
    }
  }
}

void IdentifierColumns::render(std::size_t rows, ByteBuffer& out, std::uint32_t& columns) {
  for (Column& column : columns_) {
    if (column.is_low_cardinality) {
      render_column(column.name, kLow, column.low, rows, out, columns);
    } else {
      render_column(column.name, "String", column.high, rows, out, columns);
    }
  }
}

void IdentifierColumns::clear() {
  byte_count_ = 0;
  for (Column& column : columns_) {
    column.low.clear();
    column.row_of_last = kNoRow;
    column.high.clear();
  }
}

}  // namespace fettle::telemetry
