// The identifiers by which records of all kinds are found again: run_id, trace_id, ticket_id, …
#pragma once

#include <string>
#include <vector>

namespace fettle::ledger {

// `name` is a canonical identifier (lower-case letters, digits and '_', at most 64 bytes), `value` at most 256 bytes.
// An empty value counts as absent.
struct Identifier {
  std::string name;
  std::string value;
  bool operator==(const Identifier&) const = default;
};

using Identifiers = std::vector<Identifier>;

constexpr std::size_t kIdentifierNameBytesMax = 64;
constexpr std::size_t kIdentifierValueBytesMax = 256;
constexpr std::size_t kIdentifiersMax = 32;

}  // namespace fettle::ledger
