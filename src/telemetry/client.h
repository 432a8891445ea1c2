// Statements to the store over ClickHouse's HTTP interface: the embedded engine or a server of the user's own.
//
//   Client client("unix:/var/lib/fettle/engine.sock");
//   auto rows = client.query("SELECT name FROM fettle.series WHERE name = {n:String}",
//                            {.parameters = {{"n", name}}});
//
// Every statement names the workspace it reads (setting log_comment): the store's row filter shows it nothing else, and
// nothing at all without one. Thread-safe; each call blocks until the store has answered.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/scope.h"
#include "telemetry/block.h"

namespace fettle::telemetry {

// Reads every workspace: for the server's own work, never for what a user asked.
constexpr std::string_view kEveryWorkspace = "*";

using NameValues = std::vector<std::pair<std::string, std::string>>;

struct StatementOptions {
  std::string workspace{kEveryWorkspace};
  NameValues parameters;  // bound by the store where the statement says {name:Type}, never pasted into it
  NameValues settings;
  std::chrono::milliseconds time_max{30'000};  // the store's own limit as well
  std::size_t response_bytes_max = 64 * 1024 * 1024;
  std::string query_id;  // names the statement in the store's list of processes
  std::stop_token stop;  // ends the call with kCancelled; the store kills the statement when its caller is gone
};

// Rows as text, in the store's own notation for each type; NULL is the text "\N".
using TextRows = std::vector<std::vector<std::string>>;

class Client {
 public:
  // `url` is "unix:/path", or "http[s]://[user:password@]host[:port]/[?database=name]" for a ClickHouse server.
  static Result<std::unique_ptr<Client>> connect(std::string_view url, std::string_view ca_file = {});
  ~Client();

  // A statement without a result.
  Result<void> execute(std::string_view sql, const StatementOptions& options = {});
  // A small result; `sql` has no FORMAT clause.
  Result<TextRows> query(std::string_view sql, const StatementOptions& options = {});
  // Any result in the format that `sql` names, piece by piece; `sink` returns false to stop (kCancelled). A store that
  // fails after it began to answer ends the body early: the call then fails too.
  Result<void> stream(std::string_view sql, const StatementOptions& options,
                      const std::function<bool(std::string_view)>& sink);

  // One INSERT of Native blocks, the concatenation of `pieces`; durable on success. The same token twice lands once.
  // kInvalidArgument and kTooLarge: refused for good as it is. Anything else: nobody knows, send it again; kInternal:
  // the fault is the store's own, its schema or its version, and says nothing against the rows.
  Result<void> insert(Table table, std::span<const std::string_view> pieces, std::string_view token,
                      const StatementOptions& options = {});
  // Are there rows of this ingest_id in the day's partition? False for tables without that column.
  Result<bool> has_ingest_id(Table table, std::int32_t day, std::uint64_t ingest_id,
                             const StatementOptions& options = {});

  const std::string& database() const;

 private:
  struct Impl;
  explicit Client(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// ClickHouse's number of an error that came from the store, 0 for others.
int engine_code_of(const Error& error);
// What a caller can do about an error of that number; `message` tells apart the two meanings of 252.
ErrorCode to_error_code(int engine_code, std::string_view message);
// The same of an insert, whose statement is ours: kInvalidArgument only where the rows can be at fault.
ErrorCode to_insert_error_code(int engine_code, std::string_view message);

}  // namespace fettle::telemetry
