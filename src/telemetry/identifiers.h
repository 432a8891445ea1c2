// The canonical identifiers: which there are, under which attribute keys they arrive, and how each is stored.
//
//   auto catalogue = IdentifierCatalogue::parse(yaml_text);
//   if (const IdentifierAlias* alias = catalogue->find("gen_ai.response.model")) ids.set(alias->kind, value);
//
// Constant after parsing, so any thread may read it; builders and resolvers keep a reference and must not outlive it.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace fettle::telemetry {

// The number of an identifier in the catalogue. Numbers are in stored rows (`promoted` masks): never reuse one.
using IdentifierKind = std::uint8_t;
constexpr std::size_t kIdentifierMax = 64;

// What the identifier index (value → traces) holds of a kind.
enum class IdentifierIndex : std::uint8_t {
  kNone,   // nothing: the value says nothing by itself
  kValue,  // that the value exists and when; its rows are found through the column
  kTrace,  // every trace in which the value occurs
};

struct IdentifierDefinition {
  IdentifierKind kind = 0;
  std::string name;
  bool is_column = false;            // a column of spans and logs
  bool is_low_cardinality = false;   // of type LowCardinality(String)
  bool is_rollup_dimension = false;  // the span roll-up is kept apart by it; low-cardinality columns only
  IdentifierIndex index = IdentifierIndex::kNone;
};

// One attribute key that means an identifier. Where several keys of one record mean the same kind, the alias of the
// lowest rank wins: 0 is the canonical name itself, then the aliases in the order of the catalogue.
struct IdentifierAlias {
  std::string key;
  IdentifierKind kind = 0;
  std::uint8_t rank = 0;
};

class IdentifierCatalogue {
 public:
  // kInvalidArgument names the line: an unknown key, a number or name or alias used twice, a number above the maximum.
  static Result<IdentifierCatalogue> parse(std::string_view yaml);
  IdentifierCatalogue(IdentifierCatalogue&&) noexcept;
  IdentifierCatalogue& operator=(IdentifierCatalogue&&) noexcept;
  ~IdentifierCatalogue();

  // The identifier an attribute key stands for, or null. A few nanoseconds; most keys are refused by their length.
  const IdentifierAlias* find(std::string_view key) const;
  // The definition of a number or a name, or null.
  const IdentifierDefinition* by_kind(IdentifierKind kind) const;
  const IdentifierDefinition* by_name(std::string_view name) const;
  // In the order of their numbers.
  const std::vector<IdentifierDefinition>& all() const;
  // A trace is kept whole for the long window when a span or an event of this name occurs in it ("escalation").
  bool is_keep_name(std::string_view name) const;

 private:
  struct Impl;
  explicit IdentifierCatalogue(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The identifiers of one span or log record. THE VALUES ARE VIEWS: they must outlive the calls they are given to.
// Values are text as the store shall have it; empty values are not set.
class ResolvedIds {
 public:
  void clear() { present_ = 0; }
  void set(IdentifierKind kind, std::string_view value) {
    if (value.empty()) return;
    values_[kind] = value;
    present_ |= std::uint64_t{1} << kind;
  }
  bool has(IdentifierKind kind) const { return (present_ >> kind & 1) != 0; }
  std::string_view get(IdentifierKind kind) const { return has(kind) ? values_[kind] : std::string_view{}; }
  std::uint64_t present() const { return present_; }

  // Calls visit(kind, value) for each that is set, in the order of their numbers.
  template <class Visit>
  void for_each(Visit&& visit) const {
    for (std::uint64_t left = present_; left != 0; left &= left - 1) {
      const auto kind = static_cast<IdentifierKind>(std::countr_zero(left));
      visit(kind, values_[kind]);
    }
  }

 private:
  std::uint64_t present_ = 0;
  std::array<std::string_view, kIdentifierMax> values_;
};

}  // namespace fettle::telemetry
