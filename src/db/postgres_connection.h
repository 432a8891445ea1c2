// One connection to PostgreSQL, in libpq's pipeline mode: what needs no answer (BEGIN, SAVEPOINT, RELEASE) waits and
// travels with the next statement, so that a body costs one round trip for each of its own statements.
// Stays on one thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/error.h"
#include "core/secret.h"
#include "db/database.h"

struct pg_conn;
struct pg_result;

namespace fettle::db {

class PostgresParams;

// A connection with our settings. The caller's to finish. kUnavailable when the server does not answer or lets nobody
// in; no message holds the URL.
Result<pg_conn*> connect_postgres(const Secret& url, const Options& options);

class PostgresConnection {
 public:
  // What the last failed call leaves the caller to do.
  enum class Trouble {
    kNone,
    kPlain,   // the statement was wrong or refused; the transaction is aborted
    kRepeat,  // the transaction must be run again: a conflict, a deadlock, a plan that is out of date
    kLost,    // the connection is gone
  };

  // kUnavailable when the server does not answer or lets nobody in. No message holds the URL.
  static Result<std::unique_ptr<PostgresConnection>> open(const Secret& url, const Options& options,
                                                          std::chrono::milliseconds statement_timeout);
  ~PostgresConnection();
  PostgresConnection(const PostgresConnection&) = delete;
  PostgresConnection& operator=(const PostgresConnection&) = delete;

  // Sent before the next statement. A failure shows there.
  void defer(std::string command) { deferred_.push_back(std::move(command)); }
  // The same for a command that begins a transaction; first, while there is none, drops what is to be dropped.
  void begin(std::string command);
  // Sends what waits, then `command`, and returns the tag of its answer ("COMMIT").
  Result<std::string> control(std::string_view command);

  Result<Rows> query(std::string_view text, Params params);
  Result<void> each(std::string_view text, Params params, const std::function<Result<void>(const Row&)>& row);
  Result<std::int64_t> execute(std::string_view text, Params params);
  Result<std::int64_t> execute_many(std::string_view text, std::size_t width, std::span<const Value> rows);
  // Sent, or at least on its way, when it returns; answered together with the next statement, whose failure is then
  // that of this one.
  Result<void> post(std::string_view text, std::size_t width, std::span<const Value> rows);
  // Waits for the answers to what was posted.
  Result<void> settle();
  // Whether one is still to come.
  bool awaits_posted() const { return expected_.find('w') != std::string::npos; }

  Trouble trouble() const { return trouble_; }
  // How long the server may be silent after a statement before it counts as gone; nothing: as long as it likes. Until
  // the next call.
  void set_patience(std::optional<std::chrono::milliseconds> patience) { patience_ = patience; }
  // False once the server has gone, as far as the socket tells without asking.
  bool alive();

 private:
  struct Prepared {
    std::string key;   // the kinds of the parameters, then the text
    std::string name;  // on the server
  };
  struct ClearResult {
    void operator()(pg_result* result) const;
  };
  using PgResult = std::unique_ptr<pg_result, ClearResult>;

  explicit PostgresConnection(const Options& options) : options_(options) {}

  Result<Rows> query_at_most(std::string_view text, Params params, std::uint64_t rows_max);
  // Each queues messages for the server; the answers are collected in order by finish().
  bool send_deferred();
  bool send_statement(std::string_view text, std::span<const Value> values, char what = 's');
  // The same for `rows` of that many values under `many`, the text for all of them.
  bool send_rows(const std::string& many, std::size_t width, std::span<const Value> rows);
  // Rows of a plain INSERT as `copy` takes them; outside the pipeline, so it waits for what was sent before.
  Result<std::int64_t> copy_rows(std::string_view text, const std::string& copy, std::size_t width,
                                 std::span<const Value> rows);
  Result<void> send_copied(std::size_t width, std::span<const Value> rows);
  bool send_prepared(std::string_view text, const PostgresParams& params, char what = 's');
  // Syncs, then hands the answers of the statements themselves (not of what was deferred) to `take`, in order.
  Result<void> finish(std::string_view text, const std::function<Result<void>(pg_result*)>& take);
  // The next answer, waiting as long as the server may take; null at the end of a statement's answers.
  Result<PgResult> next_result();
  Result<void> pump(bool want_answer);
  Error server_error(const pg_result* result, std::string_view text);
  Error lost(std::string_view what);
  // By the text behind the kinds in key_.
  const Prepared* find_prepared(std::string_view text, bool& is_new);

  const Options& options_;
  pg_conn* handle_ = nullptr;
  Trouble trouble_ = Trouble::kNone;
  std::optional<std::chrono::milliseconds> patience_;
  std::vector<std::string> deferred_;
  std::vector<std::string> housekeeping_;

  // What was sent and not answered yet, one letter each: d deferred, p prepare, s statement, w posted.
  std::string expected_;
  std::vector<std::string> preparing_;  // keys, in the order of 'p'

  // Most recently used first; the map's keys point into the list.
  std::list<Prepared> prepared_;
  std::unordered_map<std::string_view, std::list<Prepared>::iterator> by_key_;
  std::uint64_t names_ = 0;
  std::string key_;  // scratch
};

}  // namespace fettle::db
