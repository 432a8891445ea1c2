#include "otlp/decode.h"
#include "otlp/protobuf_request.h"

namespace fettle::otlp {
namespace {

class SpanReader {
 public:
  SpanReader(ValueReader& values, Traces& out) : values_(values), out_(out) {}

  std::size_t size() const { return out_.spans.size(); }

  void read(std::string_view bytes, std::uint32_t resource, std::uint32_t scope) {
    values_.assembler.count_item();
    const Assembler::Mark mark = values_.assembler.mark();
    const std::size_t first_event = out_.events.size();
    const std::size_t first_link = out_.links.size();
    const std::size_t first = out_.attributes.size();
    std::uint32_t cut = 0;
    // Events and links have attributes of their own: they wait until the span's are complete.
    events_.clear();
    links_.clear();
    Span& span = out_.spans.emplace_back();
    span.resource = resource;
    span.scope = scope;
    Reader reader(bytes, "Span");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): span.trace_id = reader.bytes(); break;
        case tag(2, kLength): span.span_id = reader.bytes(); break;
        case tag(3, kLength): span.trace_state = values_.assembler.string(reader.bytes()); break;
        case tag(4, kLength): span.parent_span_id = reader.bytes(); break;
        case tag(5, kLength): span.name = values_.assembler.string(reader.bytes()); break;
        case tag(6, kVarint): span.kind = static_cast<std::int32_t>(reader.varint()); break;
        case tag(7, kFixed64): span.start = to_nanos(reader.fixed64()); break;
        case tag(8, kFixed64): span.end = to_nanos(reader.fixed64()); break;
        case tag(9, kLength): values_.attribute(reader, first, cut); break;
        case tag(10, kVarint): span.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(11, kLength): events_.push_back(reader.bytes()); break;
        case tag(12, kVarint): span.dropped_events_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(13, kLength): links_.push_back(reader.bytes()); break;
        case tag(14, kVarint): span.dropped_links_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(15, kLength): read_status(reader.bytes(), span); break;
        case tag(16, kFixed32): span.flags = reader.fixed32(); break;
        default: reader.skip();
      }
    }
    span.attributes = values_.close(first, cut, span.dropped_attributes_count);
    for (const std::string_view event : events_) read_event(event);
    for (const std::string_view link : links_) read_link(link);
    span.events = since(out_.events, first_event);
    span.links = since(out_.links, first_link);
    if (const char* reason = judge(span)) {
      out_.rejections.add(reason);
      out_.spans.pop_back();
      out_.events.resize(first_event);
      out_.links.resize(first_link);
      values_.assembler.rewind(mark);
    }
  }

 private:
  void read_status(std::string_view bytes, Span& span) {
    Reader reader(bytes, "Status");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(2, kLength): span.status_message = values_.assembler.string(reader.bytes()); break;
        case tag(3, kVarint): span.status_code = static_cast<std::int32_t>(reader.varint()); break;
        default: reader.skip();
      }
    }
  }

  void read_event(std::string_view bytes) {
    values_.assembler.count_part();
    const std::size_t first = out_.attributes.size();
    std::uint32_t cut = 0;
    Event& event = out_.events.emplace_back();
    Reader reader(bytes, "Event");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kFixed64): event.time = to_nanos(reader.fixed64()); break;
        case tag(2, kLength): event.name = values_.assembler.string(reader.bytes()); break;
        case tag(3, kLength): values_.attribute(reader, first, cut); break;
        case tag(4, kVarint): event.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        default: reader.skip();
      }
    }
    event.attributes = values_.close(first, cut, event.dropped_attributes_count);
  }

  void read_link(std::string_view bytes) {
    values_.assembler.count_part();
    const std::size_t first = out_.attributes.size();
    std::uint32_t cut = 0;
    Link& link = out_.links.emplace_back();
    Reader reader(bytes, "Link");
    while (reader.next()) {
      switch (reader.tag()) {
        case tag(1, kLength): link.trace_id = reader.bytes(); break;
        case tag(2, kLength): link.span_id = reader.bytes(); break;
        case tag(3, kLength): link.trace_state = values_.assembler.string(reader.bytes()); break;
        case tag(4, kLength): values_.attribute(reader, first, cut); break;
        case tag(5, kVarint): link.dropped_attributes_count = static_cast<std::uint32_t>(reader.varint()); break;
        case tag(6, kFixed32): link.flags = reader.fixed32(); break;
        default: reader.skip();
      }
    }
    link.attributes = values_.close(first, cut, link.dropped_attributes_count);
    settle(link);
  }

  ValueReader& values_;
  Traces& out_;
  std::vector<std::string_view> events_;
  std::vector<std::string_view> links_;
};

}  // namespace

Result<void> decode_protobuf(std::string_view body, const DecodeLimits& limits, Traces& out) {
  return decode_protobuf_request<SpanReader>(body, limits, out);
}

}  // namespace fettle::otlp
