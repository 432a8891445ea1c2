// The ledger in one SQLite file: a writer thread that folds transactions into commits, reader threads with snapshots,
// and a checkpointer that keeps the write-ahead log short without stopping the writer.
#pragma once

#include <atomic>
#include <filesystem>
#include <memory>
#include <thread>
#include <vector>

#include "core/mutex.h"
#include "db/queued_database.h"
#include "db/sqlite_connection.h"

namespace fettle::db {

class SqliteDatabase final : public QueuedDatabase {
 public:
  static Result<std::unique_ptr<Database>> open(const std::filesystem::path& file, const Options& options, Clock& clock,
                                                metrics::Registry& registry);
  ~SqliteDatabase() override;

  Dialect dialect() const override { return Dialect::kSqlite; }
  bool joins() const override { return true; }
  void close() override;

 protected:
  void submit_write(ErasedBody<Transaction> body, Done<void> done, WriteOptions options) override;

 private:
  // What one pass over a group came to.
  enum class Pass { kCommitted, kAgain, kFailed };

  SqliteDatabase(std::filesystem::path file, const Options& options, Clock& clock, metrics::Registry& registry);
  void write_loop();
  void run_group(std::vector<WriteJob>& jobs);
  Pass run_once(std::vector<WriteJob>& jobs, std::vector<Result<void>>& outcomes, std::vector<bool>& settled,
                bool& undoable, Error& failure);
  Result<void> ensure_writer();
  void watch_log();
  void read_loop();
  void checkpoint_loop();

  const std::filesystem::path file_;

  // The writer thread's own.
  std::unique_ptr<SqliteConnection> writer_;
  std::uint64_t checkpoint_at_bytes_;
  std::vector<WriteJob> joining_;  // asked for by the body that runs

  mutable Mutex mutex_;
  Condition checkpoint_due_;
  bool checkpoint_wanted_ FETTLE_GUARDED_BY(mutex_) = false;
  bool closing_ FETTLE_GUARDED_BY(mutex_) = false;

  std::atomic<std::uint64_t> log_bytes_{0};
  std::atomic<std::uint64_t> copied_bytes_{0};  // of them, by the checkpointer's last round

  std::once_flag closed_;
  std::thread checkpoint_thread_;
  std::vector<std::thread> read_threads_;
  std::thread write_thread_;
};

}  // namespace fettle::db
