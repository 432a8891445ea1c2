// The ledger in PostgreSQL: writer threads that fold transactions into SERIALIZABLE commits, and reader threads with
// REPEATABLE READ snapshots, each with a connection of its own that is made again when it breaks.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "core/mutex.h"
#include "db/database.h"
#include "db/jobs.h"
#include "db/postgres_connection.h"

namespace fettle::db {

class PostgresDatabase final : public Database {
 public:
  // Fails when the server cannot be reached now; later it is waited for.
  static Result<std::unique_ptr<Database>> open(const Secret& url, const Options& options, Clock& clock,
                                                metrics::Registry& registry);
  ~PostgresDatabase() override;

  Dialect dialect() const override { return Dialect::kPostgres; }
  Status status() const override;
  void close() override;

 protected:
  void submit_write(ErasedBody<Transaction> body, Done<void> done, WriteOptions options) override;
  void submit_read(ErasedBody<Reader> body, Done<void> done, ReadOptions options) override;

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
  void set_down(std::string why);

  // Constant after construction.
  const Secret url_;
  const Options options_;
  Clock& clock_;

  // Self-synchronised.
  Books books_;
  JobQueue<WriteJob> writes_;
  JobQueue<ReadJob> reads_;

  mutable Mutex mutex_;
  std::string down_ FETTLE_GUARDED_BY(mutex_);

  std::once_flag closed_;
  std::vector<std::thread> threads_;
};

}  // namespace fettle::db
