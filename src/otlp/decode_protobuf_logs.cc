#include "otlp/decode.h"
#include "otlp/protobuf_request.h"

namespace fettle::otlp {
namespace {

class LogReader {
 public:
  LogReader(ValueReader& values, Logs& out) : values_(values), out_(out) {}

  std::size_t size() const { return out_.records.size(); }

  void read(std::string_view bytes, std::uint32_t resource, std::uint32_t scope) {
    values_.assembler.count_item();
    const std::size_t first = out_.attributes.size();
    std::uint32_t cut = 0;
    std::string_view body;
    LogRecord& record = out_.records.emplace_back();
    record.resource = resource;
    record.scope = scope;
    Reader reader(bytes, "LogRecord");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kFixed64): record.time = to_nanos(reader.fixed64()); break;
        case tag(2, kVarint): record.severity_number = static_cast<std::int32_t>(reader.varint()); break;
        case tag(3, kLength): record.severity_text = values_.assembler.string(reader.bytes()); break;
        case tag(5, kLength): values_.merge(body, reader.bytes()); break;
        case tag(6, kLength): values_.attribute(reader, first, cut); break;
        case tag(7, kVarint): record.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(8, kFixed32): record.flags = reader.fixed32(); break;
        case tag(9, kLength): record.trace_id = reader.bytes(); break;
        case tag(10, kLength): record.span_id = reader.bytes(); break;
        case tag(11, kFixed64): record.observed_time = to_nanos(reader.fixed64()); break;
        case tag(12, kLength): record.event_name = values_.assembler.string(reader.bytes()); break;
        default: reader.skip();
      }
    }
    record.attributes = values_.close(first, cut, record.dropped_attributes_count);
    values_.any_value_whole(body, record.body);
    settle(record);
  }

 private:
  ValueReader& values_;
  Logs& out_;
};

}  // namespace

Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Logs& out) {
  return decode_protobuf_request<LogReader>(body, limits, out);
}

}  // namespace fettle::otlp
