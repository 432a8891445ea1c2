// fettle retry; fettle dead discard: dead letters one by one, or many by filter as a job of the server's.
#include <fmt/format.h>
#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <string>

#include "core/clock.h"
#include "server/operator_commands.h"
#include "server/show.h"

namespace fettle::server {
namespace {

namespace json = boost::json;

constexpr auto kLookEvery = std::chrono::milliseconds(300);

json::object filter_of(const RunSelection& which) {
  json::object filter;
  const std::pair<const char*, const std::string*> parts[] = {
      {"workflow", &which.workflow},  {"client_id", &which.client}, {"platform", &which.platform},
      {"lane", &which.lane},          {"agent", &which.agent},      {"failure_reason", &which.reason},
      {"finished_from", &which.from}, {"finished_until", &which.to}};
  for (const auto& [name, value] : parts) {
    if (!value->empty()) filter[name] = *value;
  }
  return filter;
}

void print_job(const json::object& job) {
  fmt::print("{}  {} {}: {} of {} done, {} skipped\n", text_of(job, "job_id"), text_of(job, "action"),
             text_of(job, "state"), text_of(job, "done"), text_of(job, "total"), text_of(job, "skipped"));
}

// Until the job has ended; progress goes to a terminal only.
int follow(Remote& remote, const RemoteCommand& how, const std::string& job) {
  const bool shows_progress = !how.json && isatty(STDERR_FILENO) == 1;
  while (true) {
    auto answer = remote.get("/api/v1/bulk-jobs/" + http::percent_encode(job));
    if (!answer) return complain(answer.error());
    const json::object& now = answer->as_object();
    const std::string state = text_of(now, "state");
    if (shows_progress) fmt::print(stderr, "\r{} of {} ", text_of(now, "done"), text_of(now, "total"));
    if (state != "running") {
      if (shows_progress) fmt::print(stderr, "\r");
      if (how.json) {
        fmt::print("{}\n", json::serialize(*answer));
      } else {
        print_job(now);
      }
      return state == "finished" ? 0 : 1;
    }
    SystemClock().wait_for(kLookEvery, {});
  }
}

bool lacks_reason(const RetryCommand& command) {
  if (!command.reason.empty()) return false;
  fmt::print(stderr, "fettle: --reason is required: it stays in the audit\n");
  return true;
}

int many(const RemoteCommand& how, const RetryCommand& command, const std::string& action) {
  json::object filter = filter_of(command.which);
  if (filter.empty() && !command.all) {
    fmt::print(stderr, "fettle: say which: run ids, a filter such as --client, or --all\n");
    return 2;
  }
  json::object body{{"filter", std::move(filter)}, {"reason", command.reason}};
  if (command.from_start) body["from"] = "start";
  Remote remote(how.remote);
  auto answer = remote.send("POST", "/api/v1/runs/" + action, json::serialize(body));
  if (!answer) return complain(answer.error());
  if (command.waits) return follow(remote, how, text_of(answer->as_object(), "job_id"));
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
  } else {
    print_job(answer->as_object());
  }
  return 0;
}

int each(const RemoteCommand& how, const RetryCommand& command, const std::string& action) {
  Remote remote(how.remote);
  int worst = 0;
  json::object body{{"reason", command.reason}};
  if (command.from_start) body["from"] = "start";
  for (const std::string& run : command.runs) {
    auto answer = remote.send("POST", fmt::format("/api/v1/runs/{}/{}", http::percent_encode(run), action),
                              json::serialize(body));
    if (!answer) {
      worst = complain(answer.error().within(run));
    } else if (how.json) {
      fmt::print("{}\n", json::serialize(*answer));
    } else {
      fmt::print("{}  {}\n", text_of(answer->as_object(), "run_id"), text_of(answer->as_object(), "state"));
    }
  }
  return worst;
}

}  // namespace

int retry_runs(const RemoteCommand& how, const RetryCommand& command) {
  if (lacks_reason(command)) return 2;
  return command.runs.empty() ? many(how, command, "retry") : each(how, command, "retry");
}

int discard_runs(const RemoteCommand& how, const RetryCommand& command) {
  if (lacks_reason(command)) return 2;
  return command.runs.empty() ? many(how, command, "discard") : each(how, command, "discard");
}

int show_job(const RemoteCommand& how, const std::string& job) {
  Remote remote(how.remote);
  auto answer = remote.get("/api/v1/bulk-jobs/" + http::percent_encode(job));
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
  } else {
    print_job(answer->as_object());
  }
  return 0;
}

int abort_job(const RemoteCommand& how, const std::string& job, const std::string& reason) {
  Remote remote(how.remote);
  auto answer = remote.send("POST", fmt::format("/api/v1/bulk-jobs/{}/abort", http::percent_encode(job)),
                            json::serialize(json::object{{"reason", reason}}));
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
  } else {
    print_job(answer->as_object());
  }
  return 0;
}

}  // namespace fettle::server
