#include "telemetry/identifiers.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <optional>
#include <set>
#include <string>

#include "telemetry/columns.h"

namespace fettle::telemetry {
namespace {

constexpr std::string_view kOwnPrefix = "fettle.";
constexpr std::size_t kAliasesMax = 200;

std::unexpected<Error> refuse(const YAML::Node& node, std::string_view what) {
  return fail(ErrorCode::kInvalidArgument, fmt::format("identifiers, line {}: {}", node.Mark().line + 1, what));
}

// A name becomes a column: it is held to what needs no quoting.
bool is_column_name(std::string_view name) {
  if (name.empty() || name.size() > 64 || name.front() < 'a' || name.front() > 'z') return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

}  // namespace

struct IdentifierCatalogue::Impl {
  std::vector<IdentifierDefinition> definitions;
  std::vector<IdentifierAlias> aliases;
  std::array<std::int8_t, kIdentifierMax> by_kind{};  // index into definitions, or -1
  std::vector<std::string> keep_names;
  std::uint64_t keep_name_lengths = 0;

  // Open addressing over hash_text(), never more than a quarter full: most look-ups end at an empty slot.
  std::vector<std::uint16_t> slots;  // 1 + index into aliases, or 0
  std::uint64_t key_lengths = 0;     // which lengths (up to 63) any key has

  void build_slots() {
    slots.assign(std::bit_ceil(aliases.size() * 4 + 1), 0);
    for (std::size_t i = 0; i < aliases.size(); ++i) {
      std::size_t slot = hash_text(aliases[i].key) & (slots.size() - 1);
      while (slots[slot] != 0) slot = (slot + 1) & (slots.size() - 1);
      slots[slot] = static_cast<std::uint16_t>(i + 1);
      key_lengths |= std::uint64_t{1} << std::min<std::size_t>(aliases[i].key.size(), 63);
    }
  }

  Result<void> add(const YAML::Node& node) {
    static const std::set<std::string> kKnown = {"number",          "name",   "aliases", "column",
                                                 "low_cardinality", "rollup", "index"};
    if (!node.IsMap()) return refuse(node, "an identifier is a map of number, name, column, index and aliases");
    for (const auto& field : node) {
      if (!kKnown.contains(field.first.as<std::string>())) {
        return refuse(field.first, fmt::format("unknown key '{}'", field.first.as<std::string>()));
      }
    }
    IdentifierDefinition definition;
    if (!node["number"] || !node["name"]) return refuse(node, "an identifier needs a number and a name");
    const int number = node["number"].as<int>();
    if (number < 0 || number >= static_cast<int>(kIdentifierMax)) {
      return refuse(node["number"], fmt::format("number {} is not within 0 to {}", number, kIdentifierMax - 1));
    }
    definition.kind = static_cast<IdentifierKind>(number);
    definition.name = node["name"].as<std::string>();
    if (!is_column_name(definition.name)) {
      return refuse(node["name"], "a name is 1 to 64 of a-z, 0-9 and '_', beginning with a letter");
    }
    definition.is_column = node["column"] && node["column"].as<bool>();
    definition.is_low_cardinality = node["low_cardinality"] && node["low_cardinality"].as<bool>();
    definition.is_rollup_dimension = node["rollup"] && node["rollup"].as<bool>();
    if (definition.is_rollup_dimension && !(definition.is_column && definition.is_low_cardinality)) {
      return refuse(node["rollup"], "only a low-cardinality column can be a dimension of the roll-up");
    }
    const std::string index = node["index"] ? node["index"].as<std::string>() : "none";
    if (index == "trace") {
      definition.index = IdentifierIndex::kTrace;
    } else if (index == "value") {
      definition.index = IdentifierIndex::kValue;
    } else if (index != "none") {
      return refuse(node["index"], "index is one of trace, value, none");
    }
    if (by_kind[definition.kind] >= 0) return refuse(node["number"], fmt::format("number {} is used twice", number));
    by_kind[definition.kind] = 0;

    std::vector<std::string> keys = {definition.name, std::string(kOwnPrefix) + definition.name};
    for (const auto& alias : node["aliases"]) keys.push_back(alias.as<std::string>());
    if (keys.size() > kAliasesMax) return refuse(node["aliases"], "too many aliases");
    for (std::size_t rank = 0; rank < keys.size(); ++rank) {
      const bool is_taken = std::any_of(aliases.begin(), aliases.end(),
                                        [&](const IdentifierAlias& other) { return other.key == keys[rank]; });
      if (keys[rank].empty() || is_taken)
        return refuse(node, fmt::format("key '{}' is empty or used twice", keys[rank]));
      aliases.push_back({keys[rank], definition.kind, static_cast<std::uint8_t>(rank)});
    }
    definitions.push_back(std::move(definition));
    return {};
  }
};

Result<IdentifierCatalogue> IdentifierCatalogue::parse(std::string_view yaml) {
  auto impl = std::make_unique<Impl>();
  impl->by_kind.fill(-1);
  try {
    const YAML::Node root = YAML::Load(std::string(yaml));
    if (!root.IsMap() || !root["identifiers"] || !root["identifiers"].IsSequence()) {
      return refuse(root, "a list named 'identifiers' is missing");
    }
    for (const auto& field : root) {
      const auto name = field.first.as<std::string>();
      if (name != "identifiers" && name != "keep_names") {
        return refuse(field.first, fmt::format("unknown key '{}'", name));
      }
    }
    for (const auto& node : root["identifiers"]) {
      if (auto added = impl->add(node); !added) return std::unexpected(std::move(added).error());
    }
    for (const auto& name : root["keep_names"]) {
      impl->keep_names.push_back(name.as<std::string>());
      impl->keep_name_lengths |= std::uint64_t{1} << std::min<std::size_t>(name.as<std::string>().size(), 63);
    }
  } catch (const YAML::Exception& e) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("identifiers, line {}: {}", e.mark.line + 1, e.msg));
  }
  std::sort(impl->definitions.begin(), impl->definitions.end(),
            [](const auto& a, const auto& b) { return a.kind < b.kind; });
  for (std::size_t i = 0; i < impl->definitions.size(); ++i) {
    impl->by_kind[impl->definitions[i].kind] = static_cast<std::int8_t>(i);
  }
  impl->build_slots();
  return IdentifierCatalogue(std::move(impl));
}

IdentifierCatalogue::IdentifierCatalogue(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
IdentifierCatalogue::IdentifierCatalogue(IdentifierCatalogue&&) noexcept = default;
IdentifierCatalogue& IdentifierCatalogue::operator=(IdentifierCatalogue&&) noexcept = default;
IdentifierCatalogue::~IdentifierCatalogue() = default;

const IdentifierAlias* IdentifierCatalogue::find(std::string_view key) const {
  if ((impl_->key_lengths >> std::min<std::size_t>(key.size(), 63) & 1) == 0) return nullptr;
  const std::size_t mask = impl_->slots.size() - 1;
  for (std::size_t slot = hash_text(key) & mask; impl_->slots[slot] != 0; slot = (slot + 1) & mask) {
    const IdentifierAlias& alias = impl_->aliases[impl_->slots[slot] - 1u];
    if (alias.key == key) return &alias;
  }
  return nullptr;
}

const IdentifierDefinition* IdentifierCatalogue::by_kind(IdentifierKind kind) const {
  if (kind >= kIdentifierMax || impl_->by_kind[kind] < 0) return nullptr;
  return &impl_->definitions[static_cast<std::size_t>(impl_->by_kind[kind])];
}

const IdentifierDefinition* IdentifierCatalogue::by_name(std::string_view name) const {
  const IdentifierAlias* alias = find(name);
  return alias == nullptr || alias->rank != 0 ? nullptr : by_kind(alias->kind);
}

const std::vector<IdentifierDefinition>& IdentifierCatalogue::all() const { return impl_->definitions; }

bool IdentifierCatalogue::is_keep_name(std::string_view name) const {
  if ((impl_->keep_name_lengths >> std::min<std::size_t>(name.size(), 63) & 1) == 0) return false;
  return std::find(impl_->keep_names.begin(), impl_->keep_names.end(), name) != impl_->keep_names.end();
}

}  // namespace fettle::telemetry
