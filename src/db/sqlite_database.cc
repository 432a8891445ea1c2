#include "db/sqlite_database.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <pthread.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "core/log.h"

namespace fettle::db {
namespace {

constexpr std::uint64_t kPageBytes = 4'096;
// A log that is to be so long is of a ledger that is busy.
constexpr std::uint64_t kLongLogBytes = 16ULL << 20;
// What the writer copies itself: a millisecond or two.
constexpr std::uint64_t kLeftBytesMax = 1ULL << 20;

// Whose body runs on this thread.
thread_local const SqliteDatabase* in_body_of = nullptr;

// A body's view of the connection.
class SqliteTransaction final : public Transaction {
 public:
  enum class Mode {
    kRead,
    kWrite,
    kUndoable,  // opens a savepoint before the first statement that could change something
  };
  SqliteTransaction(SqliteConnection& connection, Mode mode) : connection_(connection), mode_(mode) {}

  Dialect dialect() const override { return Dialect::kSqlite; }

  Result<Rows> query(const Sql& sql, Params params) override {
    const std::string_view text = sql.text(Dialect::kSqlite);
    if (failed_) return std::unexpected(*failed_);
    if (mode_ != Mode::kRead && !written_) {
      auto readonly = connection_.is_readonly(text);
      if (!readonly) return note(Result<Rows>(std::unexpected(readonly.error())));
      if (!*readonly) {
        if (auto begun = begin_writing(); !begun) return std::unexpected(begun.error());
      }
    }
    return note(connection_.query(text, params));
  }

  Result<void> each(const Sql& sql, Params params, const std::function<Result<void>(const Row&)>& row) override {
    if (failed_) return std::unexpected(*failed_);
    if (auto begun = begin_writing(); !begun) return begun;
    return note(connection_.each(sql.text(Dialect::kSqlite), params, row));
  }

  Result<std::int64_t> execute(const Sql& sql, Params params) override {
    if (failed_) return std::unexpected(*failed_);
    if (auto begun = begin_writing(); !begun) return std::unexpected(begun.error());
    return note(connection_.execute(sql.text(Dialect::kSqlite), params));
  }

  Result<std::int64_t> execute_many(const Sql& sql, std::size_t width, std::span<const Value> rows) override {
    if (failed_) return std::unexpected(*failed_);
    if (rows.empty()) return 0;
    if (auto begun = begin_writing(); !begun) return std::unexpected(begun.error());
    return note(connection_.execute_many(sql.text(Dialect::kSqlite), width, rows));
  }

  const std::optional<Error>& failed() const { return failed_; }
  // Whether it may have changed something.
  bool has_written() const { return written_; }

 private:
  Result<void> begin_writing() {
    if (mode_ == Mode::kRead || written_) return {};
    Result<void> opened;
    if (mode_ == Mode::kUndoable) opened = note(connection_.control("SAVEPOINT body"));
    written_ = opened.has_value();
    return opened;
  }
  template <class T>
  Result<T> note(Result<T> result) {
    if (!result && !failed_) failed_ = result.error();
    return result;
  }

  SqliteConnection& connection_;
  const Mode mode_;
  bool written_ = false;
  std::optional<Error> failed_;
};

// Makes the log so long before it is needed: a write over what is there is confirmed in half the time of one that makes
// the file longer. What follows the log's last frame is not read, whatever it is. Under the writer's lock, so nobody
// appends meanwhile. Without it everything works as well, so a failure (a full disk) is nobody's.
void lengthen_log(SqliteConnection& writer, const std::filesystem::path& file, std::uint64_t bytes) {
  constexpr std::size_t kPieceBytes = 1 << 20;
  const int descriptor = ::open((file.string() + "-wal").c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  if (writer.control("BEGIN IMMEDIATE")) {
    const std::string piece(kPieceBytes, '\0');
    struct stat now{};
    bool good = ::fstat(descriptor, &now) == 0;
    for (auto at = static_cast<std::uint64_t>(now.st_size); good && at < bytes;) {
      const ssize_t count =
          ::pwrite(descriptor, piece.data(), std::min<std::uint64_t>(piece.size(), bytes - at), static_cast<off_t>(at));
      good = count > 0;
      at += good ? static_cast<std::uint64_t>(count) : 0;
    }
    if (::fdatasync(descriptor) != 0) log::warning("ledger_log_not_lengthened", {{"error", std::strerror(errno)}});
    (void)writer.control("ROLLBACK");
  }
  ::close(descriptor);
}

// Errors after which the neighbours in a commit cannot succeed either.
bool fails_all(const Error& error) {
  switch (error.code()) {
    case ErrorCode::kUnavailable:
    case ErrorCode::kDataLoss:
    case ErrorCode::kResourceExhausted: return true;
    default: return false;
  }
}

}  // namespace

Result<std::unique_ptr<Database>> SqliteDatabase::open(const std::filesystem::path& file, const Options& options,
                                                       Clock& clock, metrics::Registry& registry) {
  std::unique_ptr<SqliteDatabase> database(new SqliteDatabase(file, options, clock, registry));
  if (auto ready = database->ensure_writer(); !ready) return std::unexpected(ready.error());
  if (options.wal_bytes_target >= kLongLogBytes) lengthen_log(*database->writer_, file, options.wal_bytes_target);
  SqliteDatabase& self = *database;
  database->write_thread_ = std::thread([&self] {
    ::pthread_setname_np(::pthread_self(), "db-write");
    self.write_loop();
  });
  for (unsigned i = 0; i < std::max(options.readers, 1U); ++i) {
    database->read_threads_.emplace_back([&self] {
      ::pthread_setname_np(::pthread_self(), "db-read");
      self.read_loop();
    });
  }
  database->checkpoint_thread_ = std::thread([&self] {
    ::pthread_setname_np(::pthread_self(), "db-checkpoint");
    self.checkpoint_loop();
  });
  return database;
}

SqliteDatabase::SqliteDatabase(std::filesystem::path file, const Options& options, Clock& clock,
                               metrics::Registry& registry)
    : QueuedDatabase(options, clock, registry),
      file_(std::move(file)),
      checkpoint_at_bytes_(options.wal_bytes_target) {}

SqliteDatabase::~SqliteDatabase() { close(); }

void SqliteDatabase::close() {
  std::call_once(closed_, [this] {
    writes_.close();
    reads_.close();
    if (write_thread_.joinable()) write_thread_.join();
    for (std::thread& thread : read_threads_) thread.join();
    {
      MutexLock lock(mutex_);
      closing_ = true;
    }
    checkpoint_due_.notify_all();
    if (checkpoint_thread_.joinable()) checkpoint_thread_.join();
    // The last connection to go writes the log into the file.
    writer_.reset();
  });
}

void SqliteDatabase::submit_write(ErasedBody<Transaction> body, Done<void> done, WriteOptions options) {
  if (!options.joins || in_body_of != this) {
    return QueuedDatabase::submit_write(std::move(body), std::move(done), std::move(options));
  }
  joining_.push_back({std::move(body), std::move(done), std::move(options)});
}

// ---- the writer ----------------------------------------------------------------------------------------------------

Result<void> SqliteDatabase::ensure_writer() {
  if (writer_ != nullptr) return {};
  auto opened = SqliteConnection::open(file_, SqliteConnection::Mode::kWriter, options_, clock_);
  if (!opened) return std::unexpected(opened.error());
  writer_ = std::move(*opened);
  sqlite3_wal_hook(
      writer_->handle(),
      [](void* self, sqlite3*, const char*, int pages) {
        static_cast<SqliteDatabase*>(self)->log_bytes_ = static_cast<std::uint64_t>(pages) * kPageBytes;
        return SQLITE_OK;
      },
      this);
  return {};
}

// Commits whatever queued while the last commit ran; nobody waits for company.
void SqliteDatabase::write_loop() {
  std::vector<WriteJob> jobs;
  while (writes_.take(jobs, options_.fold_max, [](const WriteJob& job) { return job.options.alone; })) {
    run_group(jobs);
    watch_log();
  }
}

void SqliteDatabase::run_group(std::vector<WriteJob>& jobs) {
  const auto begun = clock_.monotonic();
  std::vector<Result<void>> outcomes(jobs.size());
  std::vector<bool> settled(jobs.size(), false);
  Error failure(ErrorCode::kInternal, "");
  Pass pass = Pass::kAgain;
  bool undoable = false;
  // Each further pass but the second has settled at least one body, so this ends.
  while (pass == Pass::kAgain) pass = run_once(jobs, outcomes, settled, undoable, failure);
  if (pass == Pass::kFailed) {
    // Also those that failed by themselves: what they saw of their neighbours did not come to be.
    for (Result<void>& outcome : outcomes) outcome = std::unexpected(failure);
  }
  std::size_t committed = 0;
  for (const Result<void>& outcome : outcomes) committed += outcome.has_value() ? 1 : 0;
  if (pass == Pass::kCommitted) {
    const double seconds = std::chrono::duration<double>(clock_.monotonic() - begun).count();
    if (committed != 0) books_.committed(committed, seconds);
    set_down("");
  }
  books_.failed(jobs.size() - committed);
  for (std::size_t i = 0; i < jobs.size(); ++i) complete(jobs[i].done, std::move(outcomes[i]));
  jobs.clear();
}

SqliteDatabase::Pass SqliteDatabase::run_once(std::vector<WriteJob>& jobs, std::vector<Result<void>>& outcomes,
                                              std::vector<bool>& settled, bool& undoable, Error& failure) {
  const auto give_up = [&](Error error) {
    failure = std::move(error);
    if (writer_ != nullptr) {
      if (writer_->in_transaction()) (void)writer_->control("ROLLBACK");
      // After an I/O error neither SQLite's cache nor the kernel's can be relied upon: start from what the disk holds.
      if (writer_->broken() || writer_->in_transaction()) writer_.reset();
    }
    if (failure.code() != ErrorCode::kInternal) set_down(failure.message());
    return Pass::kFailed;
  };

  if (auto ready = ensure_writer(); !ready) return give_up(std::move(ready).error());
  SqliteConnection& connection = *writer_;
  connection.set_deadline(std::nullopt);
  // Immediate: the lock is taken here, where waiting for another process harms nobody, and never in the middle.
  if (auto begun = connection.control("BEGIN IMMEDIATE"); !begun) return give_up(std::move(begun).error());

  for (std::size_t i = 0; i < jobs.size(); ++i) {
    if (settled[i]) continue;
    SqliteTransaction tx(connection, undoable ? SqliteTransaction::Mode::kUndoable : SqliteTransaction::Mode::kWrite);
    if (!jobs[i].options.alone) connection.set_deadline(clock_.monotonic() + options_.write_deadline);
    in_body_of = this;
    Result<void> outcome = run_body(jobs[i].body, tx);
    in_body_of = nullptr;
    connection.set_deadline(std::nullopt);
    for (WriteJob& job : joining_) jobs.push_back(std::move(job));
    joining_.clear();
    outcomes.resize(jobs.size());
    settled.resize(jobs.size());
    if (tx.failed()) outcome = std::unexpected(*tx.failed());
    if (!connection.in_transaction()) {
      // SQLite undid the whole transaction: an interrupted statement, or a store in trouble.
      if (outcome || fails_all(outcome.error())) {
        return give_up(outcome ? Error(ErrorCode::kInternal, "a body ended the transaction that it was in")
                               : std::move(outcome).error());
      }
      outcomes[i] = std::move(outcome);
      settled[i] = true;
      books_.repeated();
      return Pass::kAgain;
    }
    if (tx.failed() && fails_all(*tx.failed())) return give_up(*tx.failed());
    if (tx.has_written() && !undoable && !outcome) {
      // It cannot be undone by itself. Nearly all bodies succeed, and a savepoint copies every page that its body
      // touches, so savepoints are for a second pass.
      if (auto undone = connection.control("ROLLBACK"); !undone) return give_up(std::move(undone).error());
      if (jobs.size() == 1) {
        outcomes[i] = std::move(outcome);
        return Pass::kCommitted;
      }
      undoable = true;
      books_.repeated();
      return Pass::kAgain;
    }
    if (tx.has_written() && undoable) {
      if (!outcome) {
        if (auto undone = connection.control("ROLLBACK TO body"); !undone) return give_up(std::move(undone).error());
      }
      if (auto released = connection.control("RELEASE body"); !released) return give_up(std::move(released).error());
    }
    outcomes[i] = std::move(outcome);
  }
  if (auto committed = connection.control("COMMIT"); !committed) {
    Error error = std::move(committed).error();
    if (connection.broken()) error = std::move(error).within("committing, it is unknown whether it happened");
    return give_up(std::move(error));
  }
  return Pass::kCommitted;
}

// ---- the log -------------------------------------------------------------------------------------------------------

// A checkpoint copies the log into the file. Beside the writer it costs nobody anything, but cannot reset a log that
// keeps growing: once little is left, or past wal_bytes_max, the writer stops for the rest, and the next commit starts
// it anew. A log that goes round is written over, which the disk confirms in half the time that it takes to make a file
// longer.
void SqliteDatabase::watch_log() {
  const std::uint64_t bytes = log_bytes_.load();
  if (bytes < options_.wal_bytes_target) {
    checkpoint_at_bytes_ = options_.wal_bytes_target;
    copied_bytes_ = 0;
  }
  if (bytes < options_.wal_bytes_target || writer_ == nullptr) return;
  const std::uint64_t copied = copied_bytes_.load();
  if (bytes >= options_.wal_bytes_max || (copied != 0 && bytes - std::min(bytes, copied) <= kLeftBytesMax)) {
    copied_bytes_ = 0;
    checkpoint_at_bytes_ = bytes + options_.wal_bytes_target / 4;
    sqlite3_wal_checkpoint_v2(writer_->handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, nullptr);
    return;
  }
  if (bytes < checkpoint_at_bytes_) return;
  checkpoint_at_bytes_ = bytes + options_.wal_bytes_target / 4;
  {
    MutexLock lock(mutex_);
    checkpoint_wanted_ = true;
  }
  checkpoint_due_.notify_one();
}

void SqliteDatabase::checkpoint_loop() {
  Options options = options_;
  options.writer_cache_bytes = 0;
  std::unique_ptr<SqliteConnection> connection;
  for (;;) {
    {
      MutexLock lock(mutex_);
      while (!checkpoint_wanted_ && !closing_) checkpoint_due_.wait(lock);
      if (closing_) return;
      checkpoint_wanted_ = false;
    }
    if (connection == nullptr) {
      auto opened = SqliteConnection::open(file_, SqliteConnection::Mode::kWriter, options, clock_);
      if (!opened) {
        log::warning("ledger_checkpoint_failed", {{"error", opened.error().message()}});
        continue;
      }
      connection = std::move(*opened);
    }
    int pages_copied = 0;
    const int code =
        sqlite3_wal_checkpoint_v2(connection->handle(), nullptr, SQLITE_CHECKPOINT_PASSIVE, nullptr, &pages_copied);
    if (code == SQLITE_OK && pages_copied > 0) copied_bytes_ = static_cast<std::uint64_t>(pages_copied) * kPageBytes;
    if (code != SQLITE_OK && (code & 0xff) != SQLITE_BUSY) {
      log::warning("ledger_checkpoint_failed", {{"error", sqlite3_errmsg(connection->handle())}});
      connection.reset();
    }
  }
}

// ---- the readers ---------------------------------------------------------------------------------------------------

void SqliteDatabase::read_loop() {
  std::unique_ptr<SqliteConnection> connection;
  std::vector<ReadJob> jobs;
  while (reads_.take(jobs, 1, [](const ReadJob&) { return true; })) {
    ReadJob& job = jobs.front();
    Result<void> outcome;
    if (connection == nullptr) {
      auto opened = SqliteConnection::open(file_, SqliteConnection::Mode::kReader, options_, clock_);
      if (opened) {
        connection = std::move(*opened);
      } else {
        outcome = std::unexpected(std::move(opened).error());
      }
    }
    if (connection != nullptr) {
      connection->set_deadline(clock_.monotonic() + job.options.deadline.value_or(options_.read_deadline));
      outcome = connection->control("BEGIN");
      if (outcome) {
        SqliteTransaction snapshot(*connection, SqliteTransaction::Mode::kRead);
        outcome = run_body(job.body, snapshot);
        if (snapshot.failed()) outcome = std::unexpected(*snapshot.failed());
      }
      connection->set_deadline(std::nullopt);
      if (connection->in_transaction()) (void)connection->control("ROLLBACK");
      if (connection->broken() || connection->in_transaction()) connection.reset();
    }
    books_.read(outcome.has_value());
    complete(job.done, std::move(outcome));
    jobs.clear();
  }
}

}  // namespace fettle::db
