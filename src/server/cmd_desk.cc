// fettle escalations, fettle workers: what was handed to a person, and who does the work.
#include <fmt/format.h>

#include <boost/json/serialize.hpp>
#include <string>

#include "server/operator_commands.h"
#include "server/print_answer.h"
#include "server/show.h"

namespace fettle::server {
namespace {

namespace json = boost::json;

constexpr std::size_t kListMax = 1'000;

int post(const RemoteCommand& how, const std::string& target, const json::object& body, const std::string& said) {
  Remote remote(how.remote);
  return print_answer(how, remote.send("POST", target, json::serialize(body)), said);
}

std::string escalation(const std::string& id, std::string_view what) {
  return fmt::format("/api/v1/escalations/{}/{}", http::percent_encode(id), what);
}

}  // namespace

int list_escalations(const RemoteCommand& how, bool all) {
  return print_list(
      how, all ? "/api/v1/escalations?all=true" : "/api/v1/escalations", kListMax,
      Table({"ESCALATION", "SEVERITY", "SUBJECT", "OWNER", "CLIENT", "RUN", "OPENED"}),
      [](const json::object& one) -> std::vector<Cell> {
        return {cell(one, "id"),        number(one, "severity"), cell(one, "subject"),       cell(one, "owner"),
                cell(one, "client_id"), cell(one, "run_id"),     time_cell(one, "opened_at")};
      },
      "nothing is escalated");
}

int assign_escalation(const RemoteCommand& how, const std::string& id, const std::string& owner) {
  return post(how, escalation(id, "assign"), {{"owner", owner}}, fmt::format("{}  {}", id, owner));
}

int resolve_escalation(const RemoteCommand& how, const std::string& id, const std::string& note) {
  json::object body;
  if (!note.empty()) body["note"] = note;
  return post(how, escalation(id, "resolve"), body, fmt::format("{}  resolved", id));
}

int list_workers(const RemoteCommand& how) {
  return print_list(
      how, "/api/v1/workers", kListMax, Table({"WORKER", "POOL", "STATE", "IN USE", "CAPACITY", "SEEN"}),
      [](const json::object& one) -> std::vector<Cell> {
        return {cell(one, "runner_id"), cell(one, "pool"),       state_cell(one, "state"),
                number(one, "in_use"),  number(one, "capacity"), time_cell(one, "seen_at")};
      },
      "no worker is registered");
}

int drain_worker(const RemoteCommand& how, const std::string& id, const std::string& reason) {
  json::object body;
  if (!reason.empty()) body["reason"] = reason;
  return post(how, fmt::format("/api/v1/workers/{}/drain", http::percent_encode(id)), body,
              fmt::format("{}  draining", id));
}

}  // namespace fettle::server
