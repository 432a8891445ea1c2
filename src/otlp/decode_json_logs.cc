#include "otlp/decode.h"
#include "otlp/json_request.h"

namespace fettle::otlp {
namespace {

class LogReader {
 public:
  static constexpr const char* kResources = "resourceLogs";
  static constexpr const char* kScopes = "scopeLogs";
  static constexpr const char* kItems = "logRecords";

  LogReader(JsonReader& json, Logs& out) : json_(json), out_(out) {}

  std::size_t size() const { return out_.records.size(); }

  void read(dom::element element, std::uint32_t resource, std::uint32_t scope) {
    json_.assembler.count_item();
    JsonReader::List attributes;
    std::optional<dom::element> body;
    LogRecord record;
    record.resource = resource;
    record.scope = scope;
    json_.members(element, "LogRecord", [&](dom::element value) {
      if (json_.is("timeUnixNano")) {
        record.time = json_.time(value);
      } else if (json_.is("observedTimeUnixNano")) {
        record.observed_time = json_.time(value);
      } else if (json_.is("severityNumber")) {
        record.severity_number = json_.enumerator(value);
      } else if (json_.is("severityText")) {
        record.severity_text = json_.string(value);
      } else if (json_.is("body")) {
        body = value;
      } else if (json_.is("attributes")) {
        attributes = json_.list(value);
      } else if (json_.is("droppedAttributesCount")) {
        record.dropped_attributes_count = json_.integer<std::uint32_t>(value);
      } else if (json_.is("flags")) {
        record.flags = json_.integer<std::uint32_t>(value);
      } else if (json_.is("traceId")) {
        record.trace_id = json_.id(value);
      } else if (json_.is("spanId")) {
        record.span_id = json_.id(value);
      } else if (json_.is("eventName")) {
        record.event_name = json_.string(value);
      }
    });
    record.attributes = json_.attributes(attributes, record.dropped_attributes_count);
    if (body) json_.any_value_whole(*body, record.body);
    settle(record);
    out_.records.push_back(record);
  }

 private:
  JsonReader& json_;
  Logs& out_;
};

}  // namespace

Result<void> decode_json(std::string_view body, const DecodeLimits& limits, Logs& out) {
  return decode_json_request<LogReader>(body, limits, out);
}

}  // namespace fettle::otlp
