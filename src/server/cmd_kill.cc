// fettle kill: stop work at once, see what was running, let it go on.
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

constexpr std::size_t kListMax = 1'000;
constexpr std::size_t kInFlightMax = 100'000;  // who stops something wants to see all of it

// "client acme, platform tiktok"
std::string reach_of(const json::object& one) {
  std::string reach;
  for (const auto& [name, label] : {std::pair{"client_id", "client"},
                                    {"platform", "platform"},
                                    {"lane", "lane"},
                                    {"workflow", "workflow"},
                                    {"tool", "tool"},
                                    {"agent", "agent"}}) {
    const std::string value = text_of(one, name);
    if (!value.empty()) reach += fmt::format("{}{} {}", reach.empty() ? "" : ", ", label, value);
  }
  return reach.empty() ? "the whole workspace" : reach;
}

}  // namespace

int list_switches(const RemoteCommand& how, bool all) {
  return print_list(
      how, all ? "/api/v1/switches?all=true" : "/api/v1/switches", kListMax,
      Table({"SWITCH", "MODE", "REACH", "SINCE", "BY", "REVOKED", "REASON", "RESUMED"}),
      [](const json::object& one) -> std::vector<Cell> {
        return {cell(one, "id"),        state_cell(one, "mode"), {.text = reach_of(one)}, time_cell(one, "thrown_at"),
                cell(one, "thrown_by"), number(one, "revoked"),  cell(one, "reason"),     time_cell(one, "resumed_at")};
      },
      "no switch is on");
}

int list_in_flight(const RemoteCommand& how, const std::string& id) {
  return print_list(
      how, "/api/v1/switches/" + http::percent_encode(id) + "/in-flight", kInFlightMax,
      Table({"RUN", "WORKFLOW", "CLIENT", "WORKER", "SINCE", "LAST PROGRESS"}),
      [](const json::object& run) -> std::vector<Cell> {
        return {cell(run, "run_id"),    cell(run, "workflow"),       cell(run, "client_id"),
                cell(run, "runner_id"), time_cell(run, "leased_at"), time_cell(run, "last_progress_at")};
      },
      "nothing is in flight in its reach", "still in flight in its reach:");
}

int throw_switch(const RemoteCommand& how, const SwitchCommand& command) {
  json::object body{{"mode", command.is_pause ? "pause" : "kill"}, {"reason", command.reason}};
  bool names_something = false;
  const std::pair<const char*, const std::string*> parts[] = {
      {"client_id", &command.client},  {"platform", &command.platform}, {"lane", &command.lane},
      {"workflow", &command.workflow}, {"tool", &command.tool},         {"agent", &command.agent}};
  for (const auto& [name, value] : parts) {
    if (value->empty()) continue;
    body[name] = *value;
    names_something = true;
  }
  if (!names_something && !command.all) {
    fmt::print(stderr, "fettle: say what to stop, such as --client or --platform, or --all for the whole workspace\n");
    return 2;
  }
  Remote remote(how.remote);
  auto answer = remote.send("POST", "/api/v1/switches", json::serialize(body));
  if (!answer) return complain(answer.error());
  const json::object& made = answer->as_object();
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
    return 0;
  }
  const bool takes = made.contains("revoking") && made.at("revoking").is_bool() && made.at("revoking").as_bool();
  fmt::print("{}  {} of {}: nothing starts any more; {} {} in flight\n", text_of(made, "id"), text_of(made, "mode"),
             reach_of(made), takes ? "taking away what is" : "not touching what is", text_of(made, "in_flight"));
  return list_in_flight(how, text_of(made, "id"));
}

int resume_switch(const RemoteCommand& how, const std::string& id, const std::string& reason) {
  Remote remote(how.remote);
  auto answer = remote.send("POST", fmt::format("/api/v1/switches/{}/resume", http::percent_encode(id)),
                            json::serialize(json::object{{"reason", reason}}));
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
  } else {
    fmt::print("{}  resumed: {}\n", text_of(answer->as_object(), "id"), reach_of(answer->as_object()));
  }
  return 0;
}

}  // namespace fettle::server
