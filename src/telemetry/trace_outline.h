// The outline of a trace, for a waterfall: every span as a short array, every name once. Internal to the reader.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/clock.h"

namespace fettle::telemetry {

class TraceOutline {
 public:
  // What a statement in FORMAT TSVRaw selects, ordered by time. Tabs and line ends in names become spaces: this is a
  // picture, the span itself keeps them.
  static constexpr std::string_view kColumns =
      "span_id, parent_span_id, toUnixTimestamp64Nano(ts), duration_ns, status_code, kind_code, "
      "translate(name, '\\t\\n\\r', '   '), translate(service_name, '\\t\\n\\r', '   ')";

  void add(std::string_view line);
  std::size_t size() const { return spans_.size(); }
  // The TraceOutline of docs/openapi.yaml. There must be a span.
  std::string document(std::string_view trace_id, bool is_partial) const;

 private:
  struct Span {
    std::string span_id;
    std::string parent;
    std::uint32_t name, service;
    UnixNanos start;
    std::uint64_t duration_ns;
    int status;
    int kind;
  };
  // Names repeat: each is sent once and named by its place.
  struct Names {
    std::unordered_map<std::string, std::uint32_t> places;
    std::vector<std::string> list;
    std::uint32_t of(std::string_view text);
    std::string json() const;
  };
  Names names_, services_;
  std::vector<Span> spans_;
};

}  // namespace fettle::telemetry
