// Every string of a request that will be stored, for whoever looks into them or replaces them: redaction, repair.
//
//   for_each_string(traces, [&](std::string_view& text, std::string_view key) {
//     if (auto masked = redactor.mask(key, text)) text = traces.keep(std::move(*masked));
//   });
//
// `key` is the attribute that `text` is the value of: in nested maps the innermost key, in arrays the key of the array,
// empty for everything else (names, bodies, schema URLs, the keys themselves). A value is visited before its key, so
// both see the key as it was sent. Each string is visited once, however many items share its resource or scope. A
// replacement must live as long as the request: Common::keep sees to it. The callback may grow `arena` alone.
//
// Bytes values are not text and have a walk of their own, for_each_bytes; ids are visited by neither.
#pragma once

#include <cstdint>
#include <string_view>

#include "otlp/model.h"

namespace fettle::otlp {

// Replaces every ill-formed UTF-8 sequence in the strings of a request with U+FFFD. Returns how many strings it
// repaired.
std::int64_t repair_utf8(Traces& request);
std::int64_t repair_utf8(Logs& request);
std::int64_t repair_utf8(Metrics& request);

namespace detail {

// Calls `visit` with the text of a value of the wanted type, and with those of the arrays in it. Maps are left out:
// their entries stand in `attributes` like all others and are met there.
template <ValueType Wanted, class Visit>
void visit_value(Common& request, Value& value, std::string_view key, Visit& visit) {
  if (value.type == Wanted) {
    std::string_view text = value.text();
    visit(text, key);
    if (text.data() != value.data || text.size() != value.size) value.set_text(text);
  } else if (value.type == ValueType::kArray) {
    const Range children = value.children();
    for (std::uint32_t i = 0; i != children.count; ++i) {
      visit_value<Wanted>(request, request.values[children.first + i], key, visit);
    }
  }
}

template <bool WithKeys, class Visit>
void visit_common(Common& request, Visit& visit) {
  for (Resource& resource : request.resources) visit(resource.schema_url, std::string_view{});
  for (Scope& scope : request.scopes) {
    visit(scope.name, std::string_view{});
    visit(scope.version, std::string_view{});
    visit(scope.schema_url, std::string_view{});
  }
  for (EntityRef& entity : request.entity_refs) {
    visit(entity.schema_url, std::string_view{});
    visit(entity.type, std::string_view{});
    for (const Range keys : {entity.id_keys, entity.description_keys}) {
      for (std::uint32_t i = 0; i != keys.count; ++i) {
        visit_value<ValueType::kString>(request, request.values[keys.first + i], {}, visit);
      }
    }
  }
  // The attributes of everything, nested ones too: the decoders leave none here that no list refers to.
  for (Attribute& attribute : request.attributes) {
    visit_value<ValueType::kString>(request, attribute.value, attribute.key, visit);
    if constexpr (WithKeys) visit(attribute.key, std::string_view{});
  }
}

}  // namespace detail

// With WithKeys false the attribute keys are left out: for callers that know them already.
template <bool WithKeys = true, class Visit>
void for_each_string(Traces& request, Visit&& visit) {
  for (Span& span : request.spans) {
    visit(span.name, std::string_view{});
    visit(span.trace_state, std::string_view{});
    visit(span.status_message, std::string_view{});
  }
  for (Event& event : request.events) visit(event.name, std::string_view{});
  for (Link& link : request.links) visit(link.trace_state, std::string_view{});
  detail::visit_common<WithKeys>(request, visit);
}

template <bool WithKeys = true, class Visit>
void for_each_string(Logs& request, Visit&& visit) {
  for (LogRecord& record : request.records) {
    visit(record.severity_text, std::string_view{});
    visit(record.event_name, std::string_view{});
    visit(record.foreign_trace_id, std::string_view{});
    detail::visit_value<ValueType::kString>(request, record.body, {}, visit);
  }
  detail::visit_common<WithKeys>(request, visit);
}

template <bool WithKeys = true, class Visit>
void for_each_string(Metrics& request, Visit&& visit) {
  for (Metric& metric : request.metrics) {
    visit(metric.name, std::string_view{});
    visit(metric.description, std::string_view{});
    visit(metric.unit, std::string_view{});
  }
  detail::visit_common<WithKeys>(request, visit);
}

// The bytes values, with the key each belongs to as above.
template <class Request, class Visit>
void for_each_bytes(Request& request, Visit&& visit) {
  if constexpr (requires { request.records; }) {
    for (LogRecord& record : request.records) detail::visit_value<ValueType::kBytes>(request, record.body, {}, visit);
  }
  for (Attribute& attribute : request.attributes) {
    detail::visit_value<ValueType::kBytes>(request, attribute.value, attribute.key, visit);
  }
}

}  // namespace fettle::otlp
