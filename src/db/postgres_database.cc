#include "db/postgres_database.h"

#include <fmt/format.h>

#include <optional>
#include <utility>

#include "core/log.h"

namespace fettle::db {
namespace {

using Trouble = PostgresConnection::Trouble;

// How often a group is begun anew because its connection broke before the commit was sent.
constexpr unsigned kLossesMax = 2;
// How much longer than its statement_timeout the server may be silent before it counts as gone.
constexpr std::chrono::seconds kSilenceMax{5};
// Past 64 savepoints that wrote, the server keeps a transaction's numbers on disk instead of in memory.
constexpr std::size_t kPostgresFoldMax = 60;

bool only_reads(std::string_view text) {
  const auto start = text.find_first_not_of(" \t\r\n(");
  return start != std::string_view::npos && text.substr(start).starts_with("SELECT");
}

class PostgresTransaction final : public Transaction {
 public:
  // With `deadline` (on the clock), no statement is sent past it.
  PostgresTransaction(PostgresConnection& connection, bool savepoint, Clock& clock,
                      std::optional<std::chrono::nanoseconds> deadline)
      : connection_(connection), savepoint_wanted_(savepoint), clock_(clock), deadline_(deadline) {}

  Dialect dialect() const override { return Dialect::kPostgres; }

  Result<Rows> query(const Sql& sql, Params params) override {
    const std::string_view text = sql.text(Dialect::kPostgres);
    if (auto ready = prepare(!only_reads(text)); !ready) return std::unexpected(ready.error());
    return note(connection_.query(text, params));
  }

  Result<void> each(const Sql& sql, Params params, const std::function<Result<void>(const Row&)>& row) override {
    if (auto ready = prepare(false); !ready) return ready;
    return note(connection_.each(sql.text(Dialect::kPostgres), params, row));
  }

  Result<std::int64_t> execute(const Sql& sql, Params params) override {
    if (auto ready = prepare(true); !ready) return std::unexpected(ready.error());
    return note(connection_.execute(sql.text(Dialect::kPostgres), params));
  }

  Result<std::int64_t> execute_many(const Sql& sql, std::size_t width, std::span<const Value> rows) override {
    if (rows.empty()) return 0;
    if (auto ready = prepare(true); !ready) return std::unexpected(ready.error());
    return note(connection_.execute_many(sql.text(Dialect::kPostgres), width, rows));
  }

  Result<void> post(const Sql& sql, std::size_t width, std::span<const Value> rows) override {
    if (rows.empty()) return {};
    if (auto ready = prepare(true); !ready) return ready;
    return note(connection_.post(sql.text(Dialect::kPostgres), width, rows));
  }
  // Waits for the answers to what was posted.
  void settle() {
    if (!failed_ && connection_.awaits_posted()) (void)note(connection_.settle());
  }

  const std::optional<Error>& failed() const { return failed_; }
  Trouble trouble() const { return trouble_; }
  bool has_savepoint() const { return savepoint_; }
  bool has_written() const { return written_; }

 private:
  Result<void> prepare(bool writes) {
    if (failed_) return std::unexpected(*failed_);
    if (deadline_ && clock_.monotonic() > *deadline_) {
      failed_ = Error(ErrorCode::kDeadlineExceeded, "the transaction took longer than its deadline");
      return std::unexpected(*failed_);
    }
    if (savepoint_wanted_ && !savepoint_) {
      connection_.defer("SAVEPOINT body");
      savepoint_ = true;
    }
    written_ = written_ || writes;
    return {};
  }
  template <class T>
  Result<T> note(Result<T> result) {
    if (!result && !failed_) {
      failed_ = result.error();
      trouble_ = connection_.trouble();
    }
    return result;
  }

  PostgresConnection& connection_;
  const bool savepoint_wanted_;
  Clock& clock_;
  const std::optional<std::chrono::nanoseconds> deadline_;
  bool savepoint_ = false;
  bool written_ = false;
  Trouble trouble_ = Trouble::kNone;
  std::optional<Error> failed_;
};

}  // namespace

Result<std::unique_ptr<Database>> PostgresDatabase::open(const Secret& url, const Options& options, Clock& clock,
                                                         metrics::Registry& registry) {
  std::unique_ptr<PostgresDatabase> database(new PostgresDatabase(url, options, clock, registry));
  std::unique_ptr<PostgresConnection> first;
  if (auto ready = database->ensure(first, options.write_deadline); !ready) {
    return std::unexpected(std::move(ready).error().within("opening the ledger"));
  }
  PostgresDatabase& self = *database;
  for (unsigned i = 0; i < std::max(options.writers, 1U); ++i)
    self.threads_.emplace_back([&self] { self.write_loop(); });
  for (unsigned i = 0; i < std::max(options.readers, 1U); ++i)
    self.threads_.emplace_back([&self] { self.read_loop(); });
  return database;
}

PostgresDatabase::PostgresDatabase(const Secret& url, const Options& options, Clock& clock, metrics::Registry& registry)
    : QueuedDatabase(options, clock, registry), url_(url) {}

PostgresDatabase::~PostgresDatabase() { close(); }

void PostgresDatabase::close() {
  std::call_once(closed_, [this] {
    writes_.close();
    reads_.close();
    for (std::thread& thread : threads_) thread.join();
  });
}

Result<void> PostgresDatabase::ensure(std::unique_ptr<PostgresConnection>& connection,
                                      std::chrono::milliseconds statement_timeout) {
  if (connection != nullptr && connection->alive()) return {};
  connection.reset();
  auto opened = PostgresConnection::open(url_, options_, statement_timeout);
  if (!opened) {
    set_down(opened.error().message());
    return std::unexpected(opened.error());
  }
  connection = std::move(*opened);
  set_down("");
  return {};
}

// ---- writers -------------------------------------------------------------------------------------------------------

void PostgresDatabase::write_loop() {
  std::unique_ptr<PostgresConnection> connection;
  std::vector<WriteJob> jobs;
  const std::size_t fold_max = std::min(options_.fold_max, kPostgresFoldMax);
  while (writes_.take(jobs, fold_max, [](const WriteJob& job) { return job.options.alone; })) {
    run_group(connection, jobs);
  }
}

void PostgresDatabase::run_group(std::unique_ptr<PostgresConnection>& connection, std::vector<WriteJob>& jobs) {
  const auto begun = clock_.monotonic();
  Group group{jobs, std::vector<Result<void>>(jobs.size())};
  Pass pass = Pass::kAgain;
  // Ends, because every way back is counted.
  while (pass == Pass::kAgain) pass = run_once(connection, group);
  if (pass == Pass::kFailed) {
    for (Result<void>& outcome : group.outcomes) outcome = std::unexpected(group.failure);
  }
  std::size_t committed = 0;
  for (const Result<void>& outcome : group.outcomes) committed += outcome.has_value() ? 1 : 0;
  if (committed != 0) {
    books_.committed(committed, std::chrono::duration<double>(clock_.monotonic() - begun).count());
  }
  books_.failed(jobs.size() - committed);
  for (std::size_t i = 0; i < jobs.size(); ++i) complete(jobs[i].done, std::move(group.outcomes[i]));
  jobs.clear();
}

// What a failure before the commit was sent means for the group: nothing of it has happened.
PostgresDatabase::Pass PostgresDatabase::after_trouble(PostgresConnection& connection, Group& group, Error error) {
  const Trouble trouble = connection.trouble();
  if (trouble == Trouble::kLost) {
    books_.repeated();
    if (++group.losses <= kLossesMax) return Pass::kAgain;
  } else {
    (void)connection.control("ROLLBACK");
    if (trouble == Trouble::kRepeat) {
      books_.repeated();
      if (++group.repeats <= options_.repeats_max) return Pass::kAgain;
      error = std::move(error).within(fmt::format("after {} repeats", options_.repeats_max));
    }
  }
  group.failure = std::move(error);
  return Pass::kFailed;
}

PostgresDatabase::Pass PostgresDatabase::run_once(std::unique_ptr<PostgresConnection>& connection, Group& group) {
  if (auto ready = ensure(connection, options_.write_deadline); !ready) {
    group.failure = std::move(ready).error();
    return Pass::kFailed;
  }
  PostgresConnection& link = *connection;
  const bool alone = group.jobs.size() == 1;
  link.set_patience(options_.write_deadline + kSilenceMax);
  link.begin("BEGIN ISOLATION LEVEL SERIALIZABLE");
  if (group.jobs.front().options.alone) {
    link.set_patience(std::nullopt);
    link.defer("SET LOCAL statement_timeout = 0");
    link.defer("SET LOCAL lock_timeout = 0");
    link.defer("SET LOCAL idle_in_transaction_session_timeout = 0");
  }
  for (std::size_t i = 0; i < group.jobs.size(); ++i) {
    WriteJob& job = group.jobs[i];
    std::optional<std::chrono::nanoseconds> deadline;
    if (!job.options.alone) deadline = clock_.monotonic() + options_.write_deadline;
    PostgresTransaction tx(link, group.savepoints, clock_, deadline);
    Result<void> outcome = run_body(job.body, tx);
    // Where one has failed, each answers for itself; else what it posted goes along with the next body's statements.
    if (group.savepoints) tx.settle();
    if (tx.failed()) outcome = std::unexpected(*tx.failed());
    if (!outcome) {
      if (tx.trouble() == Trouble::kRepeat || tx.trouble() == Trouble::kLost) {
        return after_trouble(link, group, outcome.error());
      }
      if (tx.has_savepoint()) {
        link.defer("ROLLBACK TO body");
      } else if (tx.has_written() || tx.failed()) {
        // Without savepoints (each costs the server a transaction number) a failure undoes the neighbours: they are
        // run again, this time with.
        auto undone = link.control("ROLLBACK");
        // It was skipped because something posted had failed.
        if (!undone && link.trouble() == Trouble::kPlain) undone = link.control("ROLLBACK");
        if (!undone) return after_trouble(link, group, undone.error());
        if (alone) {
          group.outcomes[i] = std::move(outcome);
          return Pass::kCommitted;
        }
        group.savepoints = true;
        books_.repeated();
        return Pass::kAgain;
      }
    }
    if (tx.has_savepoint()) link.defer("RELEASE body");
    group.outcomes[i] = std::move(outcome);
  }
  auto tag = link.control("COMMIT");
  if (!tag) {
    if (link.trouble() == Trouble::kPlain && !alone && !group.savepoints) {
      // Something that was posted: whose it was shows when each body answers for itself.
      if (auto undone = link.control("ROLLBACK"); !undone) return after_trouble(link, group, undone.error());
      group.savepoints = true;
      books_.repeated();
      return Pass::kAgain;
    }
    if (link.trouble() != Trouble::kLost) return after_trouble(link, group, std::move(tag).error());
    group.failure = std::move(tag).error().within("committing, it is unknown whether it happened");
    return Pass::kFailed;
  }
  if (*tag != "COMMIT") {
    group.failure = Error(ErrorCode::kInternal, "PostgreSQL answered COMMIT with " + *tag);
    return Pass::kFailed;
  }
  return Pass::kCommitted;
}

// ---- readers -------------------------------------------------------------------------------------------------------

void PostgresDatabase::read_loop() {
  std::unique_ptr<PostgresConnection> connection;
  std::vector<ReadJob> jobs;
  while (reads_.take(jobs, 1, [](const ReadJob&) { return true; })) {
    ReadJob& job = jobs.front();
    Result<void> outcome;
    for (unsigned losses = 0; losses <= kLossesMax; ++losses) {
      outcome = ensure(connection, options_.read_deadline);
      if (!outcome) break;
      Trouble trouble = Trouble::kNone;
      outcome = read_once(*connection, job, trouble);
      if (outcome || (trouble != Trouble::kLost && trouble != Trouble::kRepeat)) break;
      books_.repeated();
    }
    books_.read(outcome.has_value());
    complete(job.done, std::move(outcome));
    jobs.clear();
  }
}

Result<void> PostgresDatabase::read_once(PostgresConnection& connection, ReadJob& job,
                                         PostgresConnection::Trouble& trouble) {
  const auto allowed = job.options.deadline.value_or(options_.read_deadline);
  connection.set_patience(allowed + kSilenceMax);
  connection.begin("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY");
  if (allowed != options_.read_deadline) {
    connection.defer(fmt::format("SET LOCAL statement_timeout = {}", std::max<std::int64_t>(allowed.count(), 1)));
  }
  PostgresTransaction snapshot(connection, false, clock_, clock_.monotonic() + allowed);
  Result<void> outcome = run_body(job.body, snapshot);
  if (snapshot.failed()) outcome = std::unexpected(*snapshot.failed());
  trouble = snapshot.trouble();
  if (trouble == Trouble::kLost) return outcome;
  auto ended = connection.control(outcome ? "COMMIT" : "ROLLBACK");
  if (outcome && !ended) {
    trouble = connection.trouble();
    return std::unexpected(ended.error());
  }
  return outcome;
}

}  // namespace fettle::db
