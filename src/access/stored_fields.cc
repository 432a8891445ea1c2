#include "access/stored_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>
#include <cctype>
#include <set>
#include <utility>

#include "core/json.h"

namespace fettle::access {
namespace {

namespace json = boost::json;

json::value clients_value(const std::vector<ClientId>& clients) {
  if (clients.empty()) return nullptr;
  json::array array;
  for (const ClientId& client : clients) array.emplace_back(client.value);
  return array;
}

bool is_control(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte < 0x20 || byte == 0x7F;
}

}  // namespace

std::optional<std::string> clients_json(const std::vector<ClientId>& clients) {
  if (clients.empty()) return std::nullopt;
  return json::serialize(clients_value(clients));
}

Result<std::vector<ClientId>> clients_from(const std::optional<std::string>& stored) {
  std::vector<ClientId> clients;
  if (!stored) return clients;
  boost::system::error_code broken;
  const json::value value = json::parse(*stored, broken);
  if (!broken && value.is_array()) {
    for (const json::value& client : value.get_array()) {
      if (!client.is_string() || client.get_string().empty()) {
        clients.clear();
        break;
      }
      clients.push_back({std::string(client.get_string())});
    }
  }
  if (clients.empty()) return fail(ErrorCode::kDataLoss, "a stored limit to clients is not a list of clients");
  return clients;
}

Result<void> check_clients(const std::vector<ClientId>& clients) {
  if (clients.size() > kClientsMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("at most {} clients can be named", kClientsMax));
  }
  std::set<std::string_view> seen;
  for (const ClientId& client : clients) {
    if (client.value.empty() || client.value.size() > kClientBytesMax || !is_utf8(client.value) ||
        std::ranges::any_of(client.value, is_control)) {
      return fail(ErrorCode::kInvalidArgument, fmt::format("a client is named with 1 to {} bytes", kClientBytesMax));
    }
    if (!seen.insert(client.value).second) return fail(ErrorCode::kInvalidArgument, "a client is named twice");
  }
  return {};
}

std::string scopes_json(TokenScopes scopes) {
  json::array array;
  for (const TokenScope scope : kTokenScopes) {
    if (scopes & bit(scope)) array.emplace_back(to_string(scope));
  }
  return json::serialize(array);
}

Result<Role> role_from(std::int64_t stored) {
  for (const Role role : kRoles) {
    if (std::to_underlying(role) == stored) return role;
  }
  return fail(ErrorCode::kDataLoss, "a stored role is none of the known ones");
}

Result<std::string> normalised_email(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const std::size_t at = out.find('@');
  const bool good = out.size() <= kEmailBytesMax && at != std::string::npos && at != 0 && at + 1 < out.size() &&
                    out.find('@', at + 1) == std::string::npos && is_utf8(out) &&
                    std::ranges::none_of(out, [](char c) { return is_control(c) || c == ' '; });
  if (!good) return fail(ErrorCode::kInvalidArgument, "that is not an e-mail address");
  return out;
}

Result<void> check_name(std::string_view what, std::string_view name) {
  if (name.empty() || name.size() > kNameBytesMax || !is_utf8(name) || std::ranges::any_of(name, is_control)) {
    return fail(ErrorCode::kInvalidArgument,
                fmt::format("{} has 1 to {} bytes and no control characters", what, kNameBytesMax));
  }
  return {};
}

std::string membership_json(Role role, const std::vector<ClientId>& clients, std::optional<bool> payloads) {
  return json::serialize(json::object{{"role", to_string(role)},
                                      {"clients", clients_value(clients)},
                                      {"payloads", payloads ? json::value(*payloads) : json::value(nullptr)}});
}

}  // namespace fettle::access
