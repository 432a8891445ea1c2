// The JSON parser, and what it does for JSON whose meaning is plain although it is not quite JSON.
#pragma once

#include <simdjson.h>

#include <cstddef>
#include <string_view>

namespace fettle::otlp {

namespace dom = simdjson::dom;

// One parser a thread: it allocates about fifteen times the document, which is dear to do for each. Private to the
// room.
class ParserLease {
 public:
  ParserLease() = default;
  ParserLease(const ParserLease&) = delete;
  ParserLease& operator=(const ParserLease&) = delete;
  ~ParserLease();

  // The element lives until the next call on this thread. Repairs what JavaScript writes:
  //  - half a surrogate pair ("\ud83d"), where it cut a string between the two: becomes U+FFFD;
  //  - whole numbers beyond 64 bits (1e20 is 100000000000000000000 there): get an exponent, so that they are read as
  //    doubles.
  simdjson::simdjson_result<dom::element> parse(std::string_view json);
};

}  // namespace fettle::otlp
