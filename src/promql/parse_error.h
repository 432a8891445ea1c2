// What is wrong with a query, and where.
#pragma once

#include <string>

#include "promql/ast.h"

namespace fettle::promql {

struct ParseError {
  std::string message;  // without the place
  TextSpan at;
  std::string place;  // "line:column", both from 1

  // "1:7: parse error: unexpected …"
  std::string to_string() const { return place + ": parse error: " + message; }
};

// Carries a ParseError to parse(), which answers it as a value. Never leaves the room.
struct ParseFailure {
  std::string message;
  TextSpan at;
};

}  // namespace fettle::promql
