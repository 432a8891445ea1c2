// fettle token: what programs sign in with.
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <string>

#include "server/operator_commands.h"
#include "server/print_answer.h"
#include "server/show.h"

namespace fettle::server {
namespace {

namespace json = boost::json;

std::string joined(const json::object& object, std::string_view name, std::string_view otherwise) {
  const auto* list = object.if_contains(json::string_view(name.data(), name.size()));
  if (list == nullptr || !list->is_array()) return std::string(otherwise);
  std::string text;
  for (const json::value& one : list->get_array()) {
    text += (text.empty() ? "" : ", ") + (one.is_string() ? std::string(one.get_string()) : "");
  }
  return printable(text);
}

}  // namespace

int list_tokens(const RemoteCommand& how) {
  Remote remote(how.remote);
  auto answer = remote.get("/api/v1/tokens");
  if (!answer) return complain(answer.error());
  const auto* tokens = answer->as_object().if_contains("tokens");
  if (tokens == nullptr || !tokens->is_array()) {
    return complain(Error(ErrorCode::kUnavailable, "the answer has no tokens"));
  }
  Table table({"TOKEN", "NAME", "ENDS IN", "SCOPES", "CLIENTS", "CREATED", "LAST USED", "EXPIRES", "REVOKED"});
  for (const json::value& one : tokens->get_array()) {
    if (!one.is_object()) continue;
    const json::object& token = one.get_object();
    if (how.json) {
      fmt::print("{}\n", json::serialize(token));
    } else {
      table.row({cell(token, "id"),
                 cell(token, "name"),
                 cell(token, "hint"),
                 {.text = joined(token, "scopes", "")},
                 {.text = joined(token, "clients", "all")},
                 time_cell(token, "created_at"),
                 time_cell(token, "last_used_at"),
                 time_cell(token, "expires_at"),
                 time_cell(token, "revoked_at")});
    }
  }
  if (how.json) return 0;
  if (table.empty()) {
    fmt::print("no tokens but those of the configuration\n");
  } else {
    table.print();
  }
  return 0;
}

int create_token(const RemoteCommand& how, const TokenCommand& command) {
  json::object body{{"name", command.name}, {"scopes", json::array(command.scopes.begin(), command.scopes.end())}};
  if (!command.clients.empty()) body["clients"] = json::array(command.clients.begin(), command.clients.end());
  if (command.payloads == "yes" || command.payloads == "no") body["payloads"] = command.payloads == "yes";
  if (!command.expires_at.empty()) body["expires_at"] = command.expires_at;
  Remote remote(how.remote);
  auto answer = remote.send("POST", "/api/v1/tokens", json::serialize(body));
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
    return 0;
  }
  // The token alone on standard output, so that it can go straight into a file.
  const json::object& made = answer->as_object();
  fmt::print("{}\n", text_of(made, "token"));
  fmt::print(stderr, "{}: shown once, stored as a hash. Keep it in a file of mode 0600.\n", text_of(made, "id"));
  return 0;
}

int revoke_token(const RemoteCommand& how, const std::string& id) {
  Remote remote(how.remote);
  return print_answer(how, remote.send("DELETE", "/api/v1/tokens/" + http::percent_encode(id), {}),
                      fmt::format("{} is revoked", printable(id)));
}

}  // namespace fettle::server
