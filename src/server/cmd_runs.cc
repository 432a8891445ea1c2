// fettle runs, fettle dead.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>

#include "core/clock.h"
#include "server/operator_commands.h"
#include "server/print_answer.h"
#include "server/show.h"

namespace fettle::server {
namespace {

namespace json = boost::json;

constexpr std::size_t kErrorWidth = 60;
constexpr auto kWatchEvery = std::chrono::milliseconds(500);

bool is_over(std::string_view state) {
  constexpr auto kTerminal = std::to_array<std::string_view>({"succeeded", "failed", "dead", "cancelled", "discarded"});
  return std::ranges::find(kTerminal, state) != kTerminal.end();
}

// "API_TIMEOUT: Connection timeout after 5s", from whichever members are known.
std::string error_text(const json::object& error) {
  std::string name = text_of(error, "code");
  if (name.empty()) name = text_of(error, "name");
  const std::string message = text_of(error, "message");
  if (name.empty() || message.starts_with(name)) return message;
  return message.empty() ? name : name + ": " + message;
}

Cell retries_cell(const json::object& run) {
  return {.text = fmt::format("{}/{}", text_of(run, "retry_count"), text_of(run, "max_retries")), .is_right = true};
}

Result<std::string> payload_of(const std::string& given) {
  std::string text = given;
  if (given == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else if (given.starts_with('@')) {
    std::ifstream file(given.substr(1), std::ios::binary);
    if (!file) return fail(ErrorCode::kInvalidArgument, fmt::format("--payload: cannot read '{}'", given.substr(1)));
    text.assign(std::istreambuf_iterator<char>(file), {});
  }
  json::error_code error;
  const json::value ignored = json::parse(text, error);
  if (error) return fail(ErrorCode::kInvalidArgument, "--payload is not JSON: " + error.message());
  return text;
}

void print_steps(const json::array& steps) {
  if (steps.empty()) return;
  Table table({"STEP", "NAME", "STATE", "RETRIES", "MS", "TOKENS", "USD", "ERROR"});
  for (const json::value& one : steps) {
    if (!one.is_object()) continue;
    const json::object& step = one.get_object();
    const json::object& metrics = object_in(step, "metrics");
    table.row({number(step, "step"),
               cell(step, "name"),
               state_cell(step, "status"),
               number(step, "retry_count"),
               number(metrics, "duration_ms"),
               number(metrics, "tokens"),
               number(metrics, "cost_usd"),
               {.text = shortened(error_text(object_in(step, "error")), kErrorWidth)}});
  }
  fmt::print("\n");
  table.print();
}

void print_run(const json::object& run) {
  const std::string reason = text_of(run, "failure_reason");
  print_pairs({{"run", text_of(run, "run_id")},
               {"state", text_of(run, "state") + (reason.empty() ? "" : " (" + reason + ")")},
               {"workflow", text_of(run, "workflow")},
               {"client", text_of(run, "client_id")},
               {"platform", text_of(run, "platform")},
               {"lane", text_of(run, "lane")},
               {"agent", text_of(run, "agent")},
               {"retries", fmt::format("{} of {}", text_of(run, "retry_count"), text_of(run, "max_retries"))},
               {"waits for", text_of(run, "waits_for")},
               {"held by", text_of(run, "held_by")},
               {"due", short_time(text_of(run, "due_at"))},
               {"created", short_time(text_of(run, "created_at"))},
               {"started", short_time(text_of(run, "started_at"))},
               {"finished", short_time(text_of(run, "finished_at"))},
               {"worker", text_of(object_in(run, "lease"), "runner_id")},
               {"last progress", short_time(text_of(object_in(run, "lease"), "last_progress_at"))},
               {"used", fmt::format("{} tokens, {} USD", text_of(run, "tokens"), text_of(run, "cost_usd"))},
               {"last error", error_text(object_in(run, "last_error"))},
               {"correlation", text_of(run, "correlation_id")},
               {"trace", text_of(run, "trace_id")}});
  if (const auto* steps = run.if_contains("steps"); steps != nullptr && steps->is_array()) {
    print_steps(steps->get_array());
  }
}

}  // namespace

std::string runs_target(std::string path, const RunSelection& which) {
  for (const std::string& state : which.states) add_parameter(path, "state", state);
  add_parameter(path, "workflow", which.workflow);
  add_parameter(path, "client_id", which.client);
  add_parameter(path, "platform", which.platform);
  add_parameter(path, "lane", which.lane);
  add_parameter(path, "agent", which.agent);
  add_parameter(path, "failure_reason", which.reason);
  add_parameter(path, "from", which.from);
  add_parameter(path, "to", which.to);
  return path;
}

int list_runs(const RemoteCommand& how, const RunSelection& which) {
  return print_list(
      how, runs_target("/api/v1/runs", which), which.limit,
      Table({"RUN", "STATE", "WORKFLOW", "CLIENT", "PLATFORM", "RETRIES", "CREATED", "USD", "LAST ERROR"}),
      [](const json::object& run) -> std::vector<Cell> {
        return {cell(run, "run_id"),
                state_cell(run, "state"),
                cell(run, "workflow"),
                cell(run, "client_id"),
                cell(run, "platform"),
                retries_cell(run),
                time_cell(run, "created_at"),
                number(run, "cost_usd"),
                {.text = shortened(error_text(object_in(run, "last_error")), kErrorWidth)}};
      },
      "no runs");
}

int list_dead(const RemoteCommand& how, const RunSelection& which) {
  RunSelection dead = which;
  dead.states = {"dead"};
  return print_list(
      how, runs_target("/api/v1/runs/failed", dead), which.limit,
      Table({"RUN", "WORKFLOW", "CLIENT", "REASON", "RETRIES", "DIED", "TOKENS", "USD", "ERROR"}),
      [](const json::object& run) -> std::vector<Cell> {
        return {cell(run, "run_id"),
                cell(run, "workflow"),
                cell(run, "client_id"),
                {.text = text_of(run, "failure_reason"), .tone = Tone::kBad},
                retries_cell(run),
                time_cell(run, "finished_at"),
                number(run, "tokens"),
                number(run, "cost_usd"),
                {.text = shortened(error_text(object_in(run, "last_error")), kErrorWidth)}};
      },
      "no dead letters");
}

int show_run(const RemoteCommand& how, const std::string& run) {
  Remote remote(how.remote);
  auto answer = remote.get("/api/v1/runs/" + http::percent_encode(run));
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
  } else if (answer->is_object()) {
    print_run(answer->get_object());
  }
  return 0;
}

int watch_run(const RemoteCommand& how, const std::string& run) {
  Remote remote(how.remote);
  std::string shown;
  while (true) {
    auto answer = remote.get("/api/v1/runs/" + http::percent_encode(run));
    if (!answer) return complain(answer.error());
    if (!answer->is_object()) return complain(Error(ErrorCode::kUnavailable, "the answer is no run"));
    const json::object& now = answer->get_object();
    const std::string state = text_of(now, "state");
    const bool ended = is_over(state);
    const std::string line =
        fmt::format("{}  retries {}/{}", state, text_of(now, "retry_count"), text_of(now, "max_retries"));
    if (!how.json && line != shown) fmt::print("{}  {}\n", short_time(format_rfc3339(SystemClock().now())), line);
    if (ended) {
      if (how.json) fmt::print("{}\n", json::serialize(*answer));
      if (const std::string error = error_text(object_in(now, "last_error")); !how.json && state != "succeeded") {
        fmt::print("{}\n", error);
      }
      return state == "succeeded" ? 0 : 1;
    }
    shown = line;
    std::fflush(stdout);
    SystemClock().wait_for(kWatchEvery, {});
  }
}

int enqueue_run(const RemoteCommand& how, const EnqueueCommand& run) {
  json::object body{{"workflow", run.workflow}};
  const std::pair<const char*, const std::string*> texts[] = {
      {"client_id", &run.client}, {"platform", &run.platform}, {"lane", &run.lane},
      {"agent", &run.agent},      {"run_at", &run.run_at},     {"idempotency_key", &run.key}};
  for (const auto& [name, value] : texts) {
    if (!value->empty()) body[name] = *value;
  }
  for (const auto& [name, value] : {std::pair{"priority", &run.priority}, {"max_retries", &run.max_retries}}) {
    if (!value->empty()) body[name] = json::parse(*value);
  }
  std::string text = json::serialize(body);
  if (!run.payload.empty()) {
    auto payload = payload_of(run.payload);
    if (!payload) {
      complain(payload.error());
      return 2;
    }
    // As it was given: numbers keep their digits.
    text.back() = ',';
    text += "\"payload\":" + *payload + '}';
  }
  Remote remote(how.remote);
  auto answer = remote.send("POST", "/api/v1/runs", text);
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
    return 0;
  }
  const json::object& made = answer->get_object();
  const bool is_new = text_of(made, "created") == "true";
  fmt::print("{}  {}{}\n", text_of(made, "run_id"), text_of(made, "state"), is_new ? "" : "  (made before)");
  return 0;
}

namespace {

int post_change(const RemoteCommand& how, const std::string& run, std::string_view change, const json::object& body) {
  Remote remote(how.remote);
  auto answer =
      remote.send("POST", fmt::format("/api/v1/runs/{}/{}", http::percent_encode(run), change), json::serialize(body));
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
  } else {
    fmt::print("{}  {}\n", text_of(answer->get_object(), "run_id"), text_of(answer->get_object(), "state"));
  }
  return 0;
}

}  // namespace

int change_run(const RemoteCommand& how, const std::string& run, const std::string& change, const std::string& reason) {
  return post_change(how, run, change, {{"reason", reason}});
}

int force_run(const RemoteCommand& how, const std::string& run, const std::string& state, const std::string& reason) {
  return post_change(how, run, "force", {{"state", state}, {"reason", reason}});
}

}  // namespace fettle::server
