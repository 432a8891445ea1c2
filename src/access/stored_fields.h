// How the room's values look in its tables and in audit records. Internal to the room.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "access/grant.h"
#include "core/error.h"

namespace fettle::access {

constexpr std::size_t kClientsMax = 1000;
constexpr std::size_t kClientBytesMax = 256;
constexpr std::size_t kNameBytesMax = 200;
constexpr std::size_t kEmailBytesMax = 254;

// A list of clients as a JSON array; null for no limit, which is an empty vector.
std::optional<std::string> clients_json(const std::vector<ClientId>& clients);
// kDataLoss for anything but null or a non-empty list: a damaged limit must not become none.
Result<std::vector<ClientId>> clients_from(const std::optional<std::string>& stored);
// kInvalidArgument for too many, empty, overlong or repeated clients.
Result<void> check_clients(const std::vector<ClientId>& clients);

std::string scopes_json(TokenScopes scopes);

// kDataLoss for a number that is no role.
Result<Role> role_from(std::int64_t stored);

// Trimmed and in lower case; kInvalidArgument for what cannot be an address.
Result<std::string> normalised_email(std::string_view text);
// 1 to 200 bytes of text without control characters.
Result<void> check_name(std::string_view what, std::string_view name);

// {"role":…,"clients":…,"payloads":…}, for audit records.
std::string membership_json(Role role, const std::vector<ClientId>& clients, std::optional<bool> payloads);

}  // namespace fettle::access
