#include "otlp/decode.h"
#include "otlp/json_request.h"

namespace fettle::otlp {
namespace {

class SpanReader {
 public:
  static constexpr const char* kResources = "resourceSpans";
  static constexpr const char* kScopes = "scopeSpans";
  static constexpr const char* kItems = "spans";

  SpanReader(JsonReader& json, Traces& out) : json_(json), out_(out) {}

  std::size_t size() const { return out_.spans.size(); }

  void read(dom::element element, std::uint32_t resource, std::uint32_t scope) {
    json_.assembler.count_item();
    const Assembler::Mark mark = json_.assembler.mark();
    const std::size_t first_event = out_.events.size();
    const std::size_t first_link = out_.links.size();
    JsonReader::List attributes;
    JsonReader::List events;
    JsonReader::List links;
    std::optional<dom::element> status;
    Span span;
    span.resource = resource;
    span.scope = scope;
    json_.members(element, "Span", [&](dom::element value) {
      if (json_.is("traceId")) {
        span.trace_id = json_.id(value);
      } else if (json_.is("spanId")) {
        span.span_id = json_.id(value);
      } else if (json_.is("parentSpanId")) {
        span.parent_span_id = json_.id(value);
      } else if (json_.is("traceState")) {
        span.trace_state = json_.string(value);
      } else if (json_.is("name")) {
        span.name = json_.string(value);
      } else if (json_.is("kind")) {
        span.kind = json_.enumerator(value);
      } else if (json_.is("startTimeUnixNano")) {
        span.start = json_.time(value);
      } else if (json_.is("endTimeUnixNano")) {
        span.end = json_.time(value);
      } else if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        span.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("events")) {
        events = json_.list(value);
      } else if (json_.is("droppedEventsCount")) {
        span.dropped_events_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("links")) {
        links = json_.list(value);
      } else if (json_.is("droppedLinksCount")) {
        span.dropped_links_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("status")) {
        status = value;
      } else if (json_.is("flags")) {
        span.flags = json_.integer<std::uint32_t>(value);
      }
    });
    if (status) {
      json_.members(*status, "Status", [&](dom::element value) {
        if (json_.is("message")) {
          span.status_message = json_.string(value);
        } else if (json_.is("code")) {
          span.status_code = json_.enumerator(value);
        }
      });
    }
    span.attributes = json_.attributes(attributes, span.dropped_attributes_count);
    if (events) {
      for (const dom::element event : *events) read_event(event);
    }
    if (links) {
      for (const dom::element link : *links) read_link(link);
    }
    span.events = since(out_.events, first_event);
    span.links = since(out_.links, first_link);
    if (const char* reason = judge(span)) {
      out_.rejections.add(reason);
      out_.events.resize(first_event);
      out_.links.resize(first_link);
      json_.assembler.rewind(mark);
    } else {
      out_.spans.push_back(span);
    }
  }

 private:
  void read_event(dom::element element) {
    json_.assembler.count_part();
    JsonReader::List attributes;
    Event event;
    json_.members(element, "Event", [&](dom::element value) {
      if (json_.is("timeUnixNano")) {
        event.time = json_.time(value);
      } else if (json_.is("name")) {
        event.name = json_.string(value);
      } else if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        event.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      }
    });
    event.attributes = json_.attributes(attributes, event.dropped_attributes_count);
    out_.events.push_back(event);
  }

  void read_link(dom::element element) {
    json_.assembler.count_part();
    JsonReader::List attributes;
    Link link;
    json_.members(element, "Link", [&](dom::element value) {
      if (json_.is("traceId")) {
        link.trace_id = json_.id(value);
      } else if (json_.is("spanId")) {
        link.span_id = json_.id(value);
      } else if (json_.is("traceState")) {
        link.trace_state = json_.string(value);
      } else if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        link.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("flags")) {
        link.flags = json_.integer<std::uint32_t>(value);
      }
    });
    link.attributes = json_.attributes(attributes, link.dropped_attributes_count);
    settle(link);
    out_.links.push_back(link);
  }

  JsonReader& json_;
  Traces& out_;
};

}  // namespace

Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Traces& out) {
  return decode_json_request<SpanReader>(body, limits, out);
}

}  // namespace fettle::otlp
