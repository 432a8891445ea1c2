// What spans and log records have in common as columns: where they came from, whose they are, and their identifiers.
// Internal to the block builders.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "otlp/model.h"
#include "telemetry/columns.h"
#include "telemetry/identifiers.h"

namespace fettle::telemetry {

// The resources and scopes of the request being appended, as text, each rendered when it is first asked for.
class RequestTexts {
 public:
  void begin(std::string_view workspace, const otlp::Common& request, UnixNanos received_at);

  struct ResourceText {
    bool is_rendered = false;
    std::string json;
    std::string service_name;
  };
  const ResourceText& resource(std::uint32_t index);
  // What is rarely set (schema URLs, scope attributes, dropped counts) as one JSON object; empty when nothing is.
  std::string envelope(std::uint32_t resource, std::uint32_t scope) const;

  const otlp::Common& request() const { return *request_; }
  std::string_view workspace() const { return workspace_; }
  UnixNanos received_at() const { return received_at_; }
  // Differs from one begin() to the next.
  std::uint64_t generation() const { return generation_; }

 private:
  const otlp::Common* request_ = nullptr;
  std::string workspace_;
  UnixNanos received_at_ = 0;
  std::uint64_t generation_ = 0;
  std::vector<ResourceText> resources_;
};

// workspace, received_at, service_name, resource, scope_name, scope_version, envelope.
class OriginColumns {
 public:
  // The numbers of the row appended last, and the values they stand for.
  std::uint32_t workspace_number() const { return workspace_number_; }
  std::uint32_t service_number() const { return service_number_; }
  std::string_view workspace(std::uint32_t number) const { return workspace_.value(number); }
  std::string_view service(std::uint32_t number) const { return service_.value(number); }

  void append(std::size_t row, RequestTexts& texts, std::uint32_t resource, std::uint32_t scope);
  std::size_t byte_count() const;
  void render(std::size_t rows, ByteBuffer& out, std::uint32_t& columns);
  void clear();

 private:
  struct Numbers {
    std::uint32_t resource = 0;
    std::uint32_t service = 0;
    bool is_known = false;
  };
  void enter(RequestTexts& texts);

  std::uint64_t generation_ = 0;
  std::uint32_t workspace_number_ = 0;
  std::uint32_t service_number_ = 0;
  std::vector<Numbers> numbers_;  // by resource of the request
  // The pair seen last; neighbours share it.
  std::uint32_t resource_ = 0, scope_ = 0;
  bool is_pair_known_ = false;
  std::uint32_t scope_name_number_ = 0, scope_version_number_ = 0, envelope_number_ = 0;

  LowCardinalityColumn workspace_, service_, resource_text_, scope_name_, scope_version_, envelope_;
  FixedColumn<std::uint32_t> received_at_;
};

// One column for every identifier of the catalogue that is one.
class IdentifierColumns {
 public:
  explicit IdentifierColumns(const IdentifierCatalogue& catalogue);
  void append(std::size_t row, const ResolvedIds& ids);
  // Of the row appended last: the number of a low-cardinality value, 0 where it has none.
  std::uint32_t number(IdentifierKind kind) const {
    const Column& column = columns_[index_[kind]];
    return column.row_of_last == last_row_ ? column.last : 0;
  }
  std::string_view value(IdentifierKind kind, std::uint32_t number) const {
    return columns_[index_[kind]].low.value(number);
  }
  std::size_t byte_count() const { return byte_count_; }
  void render(std::size_t rows, ByteBuffer& out, std::uint32_t& columns);
  void clear();

 private:
  static constexpr std::size_t kNoRow = static_cast<std::size_t>(-1);
  struct Column {
    std::string name;
    bool is_low_cardinality = false;
    LowCardinalityColumn low;
    StringColumn high;
    std::size_t row_of_last = kNoRow;
    std::uint32_t last = 0;
  };

  std::vector<Column> columns_;
  std::array<std::uint8_t, kIdentifierMax> index_;  // into columns_, or 0xff
  std::uint64_t mask_ = 0;
  std::size_t byte_count_ = 0;
  std::size_t last_row_ = 0;
};

// Writes an id as hexadecimal text into a column; an empty id is left to padding.
void set_hex(StringColumn& column, std::size_t row, std::string_view id);

// Seconds since the epoch as the engine's DateTime has them, held to its range.
std::uint32_t to_seconds(UnixNanos t);

}  // namespace fettle::telemetry
