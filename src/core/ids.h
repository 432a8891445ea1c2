// Identifiers as types: a WorkspaceId will not pass for a ClientId, so a cross-client leak does not compile.
#pragma once

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace fettle {

template <class Tag>
struct Id {
  std::string value;
  auto operator<=>(const Id&) const = default;
};

using WorkspaceId = Id<struct WorkspaceTag>;
using ClientId = Id<struct ClientTag>;

// The name of a workspace: 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit. The rule is narrow
// because the name travels in URLs, labels and the engine's row filter.
bool is_workspace_name(std::string_view name);

// Lower-case hexadecimal of raw bytes.
std::string to_hex(std::string_view bytes);
void append_hex(std::string& out, std::string_view bytes);
// The bytes of hexadecimal text in either case; nothing on an odd length or another character.
std::optional<std::string> from_hex(std::string_view hex);
// True for non-empty hexadecimal text of even or odd length, either case.
bool is_hex(std::string_view text);

}  // namespace fettle

template <class Tag>
struct std::hash<fettle::Id<Tag>> {
  std::size_t operator()(const fettle::Id<Tag>& id) const noexcept { return std::hash<std::string>{}(id.value); }
};
