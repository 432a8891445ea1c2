// The ledger in PostgreSQL: writer threads that fold transactions into SERIALIZABLE commits, and reader threads with
// REPEATABLE READ snapshots, each with a connection of its own that is made again when it breaks.
#pragma once

#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "db/postgres_connection.h"
#include "db/queued_database.h"

namespace fettle::db {

class PostgresDatabase final : public QueuedDatabase {
 public:
  // Fails when the server cannot be reached now; later it is waited for.
  static Result<std::unique_ptr<Database>> open(const Secret& url, const Options& options, Clock& clock,
                                                metrics::Registry& registry);
  ~PostgresDatabase() override;

  Dialect dialect() const override { return Dialect::kPostgres; }
  void close() override;

 private:
  enum class Pass { kCommitted, kAgain, kFailed };
  // What the passes over one group know of it.
  struct Group {
    std::vector<WriteJob>& jobs;
    std::vector<Result<void>> outcomes;
    bool savepoints = false;  // a body failed in a pass without: now each has one
    unsigned repeats = 0;
    unsigned losses = 0;  // of the connection
    Error failure{ErrorCode::kInternal, ""};
  };

  PostgresDatabase(const Secret& url, const Options& options, Clock& clock, metrics::Registry& registry);
  Result<void> ensure(std::unique_ptr<PostgresConnection>& connection, std::chrono::milliseconds statement_timeout);
  void write_loop();
  void run_group(std::unique_ptr<PostgresConnection>& connection, std::vector<WriteJob>& jobs);
  Pass run_once(std::unique_ptr<PostgresConnection>& connection, Group& group);
  Pass after_trouble(PostgresConnection& connection, Group& group, Error error);
  void read_loop();
  Result<void> read_once(PostgresConnection& connection, ReadJob& job, PostgresConnection::Trouble& trouble);

  const Secret url_;
  std::once_flag closed_;
  std::vector<std::thread> threads_;
};

}  // namespace fettle::db
