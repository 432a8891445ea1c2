// Protobuf bytes spelled out field by field, also in ways that no encoder would write them.
//
//   const std::string body = traces({Wire().bytes(1, kTraceId).bytes(2, kSpanId).text(5, "GET /")});
#pragma once

#include <initializer_list>
#include <protozero/pbf_writer.hpp>
#include <string>
#include <string_view>

namespace fettle::otlp::testing {

class Wire {
 public:
  Wire& varint(std::uint32_t field, std::uint64_t value) {
    return with([&](protozero::pbf_writer& out) { out.add_uint64(field, value); });
  }
  Wire& zigzag(std::uint32_t field, std::int32_t value) {
    return with([&](protozero::pbf_writer& out) { out.add_sint32(field, value); });
  }
  Wire& fixed64(std::uint32_t field, std::uint64_t value) {
    return with([&](protozero::pbf_writer& out) { out.add_fixed64(field, value); });
  }
  Wire& fixed32(std::uint32_t field, std::uint32_t value) {
    return with([&](protozero::pbf_writer& out) { out.add_fixed32(field, value); });
  }
  Wire& number(std::uint32_t field, double value) {
    return with([&](protozero::pbf_writer& out) { out.add_double(field, value); });
  }
  Wire& bytes(std::uint32_t field, std::string_view value) {
    return with([&](protozero::pbf_writer& out) { out.add_bytes(field, value.data(), value.size()); });
  }
  Wire& text(std::uint32_t field, std::string_view value) { return bytes(field, value); }
  Wire& message(std::uint32_t field, const Wire& child) { return bytes(field, child.data_); }
  Wire& raw(std::string_view bytes) {
    data_ += bytes;
    return *this;
  }
  // A KeyValue with this AnyValue.
  Wire& attribute(std::uint32_t field, std::string_view key, const Wire& value) {
    return message(field, Wire().text(1, key).message(2, value));
  }
  Wire& attribute(std::uint32_t field, std::string_view key, std::string_view value) {
    return attribute(field, key, Wire().text(1, value));
  }

  const std::string& data() const { return data_; }

 private:
  template <class Add>
  Wire& with(Add add) {
    protozero::pbf_writer out(data_);
    add(out);
    return *this;
  }

  std::string data_;
};

inline constexpr std::string_view kTraceId = "0123456789abcdef";
inline constexpr std::string_view kSpanId = "01234567";

// Items in one scope of one resource; the envelope is alike for all signals.
inline std::string request_of(std::initializer_list<Wire> items) {
  Wire scope;
  scope.message(1, Wire().text(1, "library").text(2, "1.2"));
  for (const Wire& item : items) scope.message(2, item);
  Wire resource;
  resource.message(1, Wire().attribute(1, "service.name", "shop"));
  resource.message(2, scope);
  return Wire().message(1, resource).data();
}

// A span that nothing is wrong with.
inline Wire valid_span() { return Wire().bytes(1, kTraceId).bytes(2, kSpanId); }

}  // namespace fettle::otlp::testing
