// fettle user: the people of a workspace.
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <functional>
#include <string>

#include "server/operator_commands.h"
#include "server/print_answer.h"
#include "server/show.h"

namespace fettle::server {
namespace {

namespace json = boost::json;

constexpr std::size_t kPage = 1'000;

// Every member, page by page; visit() returns false to stop.
Result<void> each_member(Remote& remote, const std::function<bool(const json::object&)>& visit) {
  std::string after;
  while (true) {
    std::string target = "/api/v1/members";
    add_parameter(target, "after", after);
    auto answer = remote.get(target);
    if (!answer) return std::unexpected(std::move(answer).error());
    const auto* object = answer->if_object();
    const auto* members = object == nullptr ? nullptr : object->if_contains("members");
    if (members == nullptr || !members->is_array()) return fail(ErrorCode::kUnavailable, "the answer has no members");
    for (const json::value& one : members->get_array()) {
      if (!one.is_object()) continue;
      if (!visit(one.get_object())) return {};
      after = text_of(one.get_object(), "email");
    }
    if (members->get_array().size() < kPage) return {};
  }
}

// By address or id.
Result<json::object> find_member(Remote& remote, const std::string& who) {
  json::object found;
  auto done = each_member(remote, [&](const json::object& member) {
    if (text_of(member, "user_id") != who && text_of(member, "email") != who) return true;
    found = member;
    return false;
  });
  if (!done) return std::unexpected(std::move(done).error());
  if (found.empty()) return fail(ErrorCode::kNotFound, fmt::format("nobody here is called '{}'", who));
  return found;
}

std::string path_of(const json::object& member) {
  return "/api/v1/members/" + http::percent_encode(text_of(member, "user_id"));
}

std::string clients_of(const json::object& member) {
  const auto* clients = member.if_contains("clients");
  if (clients == nullptr || !clients->is_array()) return "all";
  std::string text;
  for (const json::value& client : clients->get_array()) {
    text += (text.empty() ? "" : ", ") + (client.is_string() ? std::string(client.get_string()) : "");
  }
  return printable(text);
}

std::string payloads_of(const json::object& member) {
  const std::string given = text_of(member, "payloads");
  return given.empty() ? "by role" : given == "true" ? "yes" : "no";
}

// Puts what the command names over what there is.
void apply(json::object& membership, const MemberCommand& command) {
  if (!command.role.empty()) membership["role"] = command.role;
  if (command.all_clients) membership["clients"] = nullptr;
  if (!command.clients.empty()) membership["clients"] = json::array(command.clients.begin(), command.clients.end());
  if (command.payloads == "role") membership["payloads"] = nullptr;
  if (command.payloads == "yes" || command.payloads == "no") membership["payloads"] = command.payloads == "yes";
}

int print_link(const RemoteCommand& how, const json::value& answer, std::string_view what) {
  if (how.json) {
    fmt::print("{}\n", json::serialize(answer));
    return 0;
  }
  const json::object& link = answer.get_object();
  fmt::print("{}{}\n", how.remote.url, text_of(link, "path"));
  fmt::print(stderr, "{} Shown once; good until {}. Send it to nobody else.\n", what,
             short_time(text_of(link, "expires_at")));
  return 0;
}

}  // namespace

int list_users(const RemoteCommand& how) {
  Remote remote(how.remote);
  Table table({"ADDRESS", "NAME", "ROLE", "CLIENTS", "PAYLOADS", "SINCE", "", "ID"});
  auto read = each_member(remote, [&](const json::object& member) {
    if (how.json) {
      fmt::print("{}\n", json::serialize(member));
    } else {
      const bool is_disabled = text_of(member, "disabled") == "true";
      table.row({cell(member, "email"),
                 cell(member, "name"),
                 cell(member, "role"),
                 {.text = clients_of(member)},
                 {.text = payloads_of(member)},
                 time_cell(member, "created_at"),
                 {.text = is_disabled ? "disabled" : "", .tone = Tone::kBad},
                 cell(member, "user_id")});
    }
    return true;
  });
  if (!read) return complain(read.error());
  if (how.json) return 0;
  if (table.empty()) {
    fmt::print("nobody yet; `fettle user invite` makes a link\n");
  } else {
    table.print();
  }
  return 0;
}

int invite_user(const RemoteCommand& how, const MemberCommand& command) {
  json::object body{{"email", command.who}};
  apply(body, command);
  Remote remote(how.remote);
  auto answer = remote.send("POST", "/api/v1/links", json::serialize(body));
  if (!answer) return complain(answer.error());
  return print_link(how, *answer, fmt::format("Lets {} in as {}.", printable(command.who), command.role));
}

int change_user(const RemoteCommand& how, const MemberCommand& command) {
  Remote remote(how.remote);
  auto member = find_member(remote, command.who);
  if (!member) return complain(member.error());
  // The server sets all three at once.
  json::object body{
      {"role", member->at("role")}, {"clients", member->at("clients")}, {"payloads", member->at("payloads")}};
  apply(body, command);
  return print_answer(how, remote.send("PATCH", path_of(*member), json::serialize(body)),
                      fmt::format("{} is {} now, clients: {}, payloads: {}", text_of(*member, "email"),
                                  text_of(body, "role"), clients_of(body), payloads_of(body)));
}

int remove_user(const RemoteCommand& how, const std::string& who) {
  Remote remote(how.remote);
  auto member = find_member(remote, who);
  if (!member) return complain(member.error());
  return print_answer(how, remote.send("DELETE", path_of(*member), {}),
                      fmt::format("{} is no member any more", text_of(*member, "email")));
}

int disable_user(const RemoteCommand& how, const std::string& who, bool disabled) {
  Remote remote(how.remote);
  auto member = find_member(remote, who);
  if (!member) return complain(member.error());
  return print_answer(
      how, remote.send("POST", path_of(*member) + "/disabled", json::serialize(json::object{{"disabled", disabled}})),
      fmt::format("the account of {} is {}", text_of(*member, "email"), disabled ? "closed" : "open"));
}

int make_password_link(const RemoteCommand& how, const std::string& who) {
  Remote remote(how.remote);
  auto member = find_member(remote, who);
  if (!member) return complain(member.error());
  auto answer = remote.send("POST", path_of(*member) + "/password-link", "{}");
  if (!answer) return complain(answer.error());
  return print_link(how, *answer, fmt::format("Sets a new password for {}.", text_of(*member, "email")));
}

}  // namespace fettle::server
