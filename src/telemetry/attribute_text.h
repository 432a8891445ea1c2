// Attributes as JSON text: for what is stored once and read rarely (resources, events, links) and for label values.
//
// Integers and doubles stay apart (1 and 1.0); NaN and infinities become the strings "NaN", "Infinity", "-Infinity",
// bytes base64 strings, empty values null: opentelemetry-specification, common, "AnyValue as text".
#pragma once

#include <cstdint>
#include <string>

#include "otlp/model.h"

namespace fettle::telemetry {

// Appends {"key":value,…}. Duplicate keys keep their last value.
void append_attributes_json(std::string& out, const otlp::Common& request, otlp::Range attributes);
// Appends one value as JSON. Deeper than 64 levels becomes null.
void append_value_json(std::string& out, const otlp::Common& request, const otlp::Value& value, int depth = 0);
// Appends a value as plain text: strings unquoted, numbers and booleans as JSON has them, bytes as base64, arrays and
// maps as compact JSON, nothing for an empty value.
void append_value_text(std::string& out, const otlp::Common& request, const otlp::Value& value);
// The shortest text that reads back as the same double, always with a point or an exponent.
void append_double(std::string& out, double value);

}  // namespace fettle::telemetry
