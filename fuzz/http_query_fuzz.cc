// Query strings and percent codes as strangers send them.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "http/message.h"

namespace {

void require(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using fettle::http::percent_decode;
  using fettle::http::percent_encode;
  using fettle::http::Query;
  const std::string_view text(reinterpret_cast<const char*>(data), size);

  // Whatever the bytes, encoding them can be undone.
  const auto back = percent_decode(percent_encode(text));
  require(back && *back == text);
  if (const auto decoded = percent_decode(text)) require(decoded->size() <= text.size());

  const auto query = Query::parse(text);
  if (!query) return 0;
  // What was understood, written out again, is understood as the same.
  std::string written;
  for (const auto& [name, value] : *query) written += percent_encode(name) + "=" + percent_encode(value) + "&";
  const auto again = Query::parse(written);
  require(again.has_value());
  auto other = again->begin();
  for (const auto& field : *query) {
    require(other != again->end() && *other == field);
    require(query->find(field.first) != nullptr);
    ++other;
  }
  require(other == again->end());
  return 0;
}
