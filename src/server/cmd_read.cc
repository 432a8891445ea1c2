// fettle logs, fettle journey.
#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <string>

#include "core/clock.h"
#include "server/commands.h"
#include "server/show.h"

namespace fettle::server {
namespace {

void print_log(const boost::json::object& log) {
  std::string line = fmt::format("{}  {:<5}  {:<16}  {}", short_time(text_of(log, "ts")), text_of(log, "level"),
                                 text_of(log, "service_name"), text_of(log, "body"));
  if (const std::string trace = text_of(log, "trace_id"); !trace.empty()) line += "  trace=" + trace;
  fmt::print("{}\n", line);
}

void print_item(const boost::json::object& item) {
  if (text_of(item, "type") == "log") {
    print_log(item);
    return;
  }
  const auto* duration = item.if_contains("duration_ms");
  const double ms = duration != nullptr && duration->is_number() ? duration->to_number<double>() : 0;
  const std::string status = text_of(item, "status");
  fmt::print("{}  {:<5}  {:<16}  {}  {:.1f} ms{}\n", short_time(text_of(item, "ts")),
             status == "error" ? "ERROR" : "span", text_of(item, "service_name"), text_of(item, "name"), ms,
             status == "error" ? "  " + text_of(item, "status_message") : "");
}

void print_either(const boost::json::value& value, bool json, void (*print)(const boost::json::object&)) {
  if (json) {
    fmt::print("{}\n", boost::json::serialize(value));
  } else if (value.is_object()) {
    print(value.get_object());
  }
}

std::string log_filters(const LogsCommand& command) {
  std::string query;
  for (const std::string& service : command.services) add_parameter(query, "service", service);
  add_parameter(query, "level", command.level);
  add_parameter(query, "trace_id", command.trace);
  add_parameter(query, "q", command.text);
  return query;
}

// Follows for ever, over restarts of the server.
int follow_logs(Remote& remote, const LogsCommand& command) {
  std::string last_id;
  const std::string target = "/api/v1/logs/tail" + log_filters(command);
  while (true) {
    auto done = remote.events(target, last_id, [&](std::string_view event, std::string_view id, std::string_view data) {
      if (!id.empty()) last_id = id;
      if (event == "log") {
        if (command.json) {
          fmt::print("{}\n", data);
        } else {
          boost::json::error_code error;
          const auto log = boost::json::parse(boost::json::string_view(data.data(), data.size()), error);
          if (!error && log.is_object()) print_log(log.get_object());
        }
        std::fflush(stdout);
      } else if (event == "dropped") {
        fmt::print(stderr, "fettle: some lines were left out: {}\n", data);
      }
      return true;
    });
    if (!done && done.error().code() != ErrorCode::kUnavailable) return complain(done.error());
    fmt::print(stderr, "fettle: the connection ended; trying again\n");
    SystemClock().wait_for(std::chrono::seconds(2), {});
  }
}

}  // namespace

int run_logs(const LogsCommand& command) {
  Remote remote(command.remote);
  if (command.follow) return follow_logs(remote, command);
  std::string query = log_filters(command);
  add_parameter(query, "from", command.from);
  add_parameter(query, "to", command.to);
  add_parameter(query, "limit", std::to_string(command.limit));
  auto answer = remote.get("/api/v1/logs" + query);
  if (!answer) return complain(answer.error());
  const auto* logs = answer->as_object().if_contains("logs");
  if (logs == nullptr || !logs->is_array()) return complain(Error(ErrorCode::kUnavailable, "the answer has no logs"));
  // The newest are asked for, and shown last, next to the prompt.
  for (auto log = logs->get_array().rbegin(); log != logs->get_array().rend(); ++log) {
    print_either(*log, command.json, print_log);
  }
  return 0;
}

int run_journey(const JourneyCommand& command) {
  Remote remote(command.remote);
  std::string cursor;
  bool is_first = true;
  do {
    std::string query;
    add_parameter(query, "kind", command.kind);
    add_parameter(query, "limit", "1000");
    add_parameter(query, "cursor", cursor);
    auto answer = remote.get("/api/v1/journeys/" + http::percent_encode(command.value) + query);
    if (!answer) return complain(answer.error());
    const boost::json::object& page = answer->as_object();
    const auto* items = page.if_contains("items");
    const auto* kinds = page.if_contains("kinds");
    if (items == nullptr || !items->is_array() || kinds == nullptr || !kinds->is_array()) {
      return complain(Error(ErrorCode::kUnavailable, "the answer has no journey"));
    }
    if (is_first && !command.json) {
      for (const boost::json::value& kind : kinds->get_array()) {
        if (!kind.is_object()) continue;
        const auto& object = kind.get_object();
        fmt::print("{} {}  {} to {}\n", text_of(object, "kind"), printable(command.value),
                   short_time(text_of(object, "first_ts")), short_time(text_of(object, "last_ts")));
      }
      fmt::print("\n");
    }
    is_first = false;
    for (const boost::json::value& item : items->get_array()) print_either(item, command.json, print_item);
    cursor = text_of(page, "next_cursor");
  } while (!cursor.empty());
  return 0;
}

}  // namespace fettle::server
