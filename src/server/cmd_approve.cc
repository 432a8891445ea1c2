// fettle approve: what waits for a decision, and deciding it.
#include <fmt/format.h>

#include <boost/json/serialize.hpp>
#include <cstdio>
#include <string>

#include "server/operator_commands.h"
#include "server/print_answer.h"
#include "server/show.h"

namespace fettle::server {
namespace {

namespace json = boost::json;

constexpr std::size_t kListMax = 1'000;

std::string target_of(const std::string& id) { return "/api/v1/approvals/" + http::percent_encode(id); }

}  // namespace

int list_approvals(const RemoteCommand& how, bool all) {
  return print_list(
      how, all ? "/api/v1/approvals?all=true" : "/api/v1/approvals", kListMax,
      Table({"APPROVAL", "STATE", "TITLE", "CLIENT", "RUN", "ROLE", "ASKED", "EXPIRES", "BY"}),
      [](const json::object& one) -> std::vector<Cell> {
        return {cell(one, "id"),
                state_cell(one, "state"),
                cell(one, "title"),
                cell(one, "client_id"),
                cell(one, "run_id"),
                cell(one, "role"),
                time_cell(one, "requested_at"),
                time_cell(one, "expires_at"),
                cell(one, "decided_by")};
      },
      "nothing waits for a decision");
}

int show_approval(const RemoteCommand& how, const std::string& id) {
  Remote remote(how.remote);
  auto answer = remote.get(target_of(id));
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
    return 0;
  }
  const json::object& one = answer->as_object();
  print_pairs({{"approval", text_of(one, "id")},
               {"state", text_of(one, "state")},
               {"title", text_of(one, "title")},
               {"client", text_of(one, "client_id")},
               {"run", text_of(one, "run_id")},
               {"role", text_of(one, "role")},
               {"asked", short_time(text_of(one, "requested_at"))},
               {"expires", short_time(text_of(one, "expires_at"))},
               {"decided by", text_of(one, "decided_by")},
               {"note", text_of(one, "note")},
               {"details", text_of(one, "details")}});
  return 0;
}

int decide_approval(const RemoteCommand& how, const std::string& id, bool approves, const std::string& note) {
  json::object body{{"decision", approves ? "approve" : "reject"}};
  if (!note.empty()) body["note"] = note;
  Remote remote(how.remote);
  auto answer = remote.send("POST", target_of(id) + "/decide", json::serialize(body));
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
  } else {
    fmt::print("{}  {}\n", text_of(answer->as_object(), "id"), text_of(answer->as_object(), "state"));
  }
  return 0;
}

}  // namespace fettle::server
