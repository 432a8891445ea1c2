// fettle escalations, fettle workers: what was handed to a person, and who does the work.
#include <fmt/format.h>

#include <boost/json/serialize.hpp>
#include <cstdio>
#include <string>

#include "server/operator_commands.h"
#include "server/show.h"

namespace fettle::server {
namespace {

namespace json = boost::json;

constexpr std::size_t kListMax = 1'000;

template <class Row>
int print_list(const RemoteCommand& how, const std::string& target, Table& table, Row row, std::string_view none) {
  Remote remote(how.remote);
  auto done = remote.items(target, kListMax, [&](const json::object& one) {
    if (how.json) {
      fmt::print("{}\n", json::serialize(one));
    } else {
      table.row(row(one));
    }
    return true;
  });
  if (!done) return complain(done.error());
  if (how.json) return 0;
  if (table.empty()) {
    fmt::print("{}\n", none);
  } else {
    table.print();
  }
  return 0;
}

int post(const RemoteCommand& how, const std::string& target, const json::object& body, const std::string& said) {
  Remote remote(how.remote);
  auto answer = remote.send("POST", target, json::serialize(body));
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
  } else {
    fmt::print("{}\n", said);
  }
  return 0;
}

std::string escalation(const std::string& id, std::string_view what) {
  return fmt::format("/api/v1/escalations/{}/{}", http::percent_encode(id), what);
}

}  // namespace

int list_escalations(const RemoteCommand& how, bool all) {
  Table table({"ESCALATION", "SEVERITY", "SUBJECT", "OWNER", "CLIENT", "RUN", "OPENED"});
  return print_list(
      how, all ? "/api/v1/escalations?all=true" : "/api/v1/escalations", table,
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
  Table table({"WORKER", "POOL", "STATE", "IN USE", "CAPACITY", "SEEN"});
  return print_list(
      how, "/api/v1/workers", table,
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
