// One connection to the SQLite file: prepared statements, typed binding, deadlines, and SQLite's codes as Errors.
// Stays on one thread at a time.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "db/database.h"

struct sqlite3;
struct sqlite3_stmt;

namespace fettle::db {

class SqliteConnection {
 public:
  // A copy is a file that nobody writes: without a log.
  enum class Mode { kWriter, kReader, kCopy };

  // A writer creates the file (0600) when there is none and puts it into WAL mode. kDataLoss for a file that is damaged
  // or not a ledger.
  static Result<std::unique_ptr<SqliteConnection>> open(const std::filesystem::path& file, Mode mode,
                                                        const Options& options, Clock& clock);
  ~SqliteConnection();
  SqliteConnection(const SqliteConnection&) = delete;
  SqliteConnection& operator=(const SqliteConnection&) = delete;

  Result<Rows> query(std::string_view text, Params params);
  Result<void> each(std::string_view text, Params params, const std::function<Result<void>(const Row&)>& row);
  Result<std::int64_t> execute(std::string_view text, Params params);
  Result<std::int64_t> execute_many(std::string_view text, std::size_t width, std::span<const Value> rows);
  // BEGIN, COMMIT, SAVEPOINT and the like.
  Result<void> control(std::string_view text);
  // False for a statement that could change something; nothing when it cannot be prepared.
  Result<bool> is_readonly(std::string_view text);

  // Statements fail with kDeadlineExceeded once Clock::monotonic() is past it.
  void set_deadline(std::optional<std::chrono::nanoseconds> deadline) { deadline_ = deadline; }
  bool in_transaction() const;
  // The last failure was one after which nothing of this connection can be relied upon (an I/O error).
  bool broken() const { return broken_; }
  sqlite3* handle() { return handle_; }

 private:
  struct Statement {
    std::string text;
    sqlite3_stmt* handle = nullptr;
    std::vector<std::uint32_t> numbers;  // bind index - 1 → the N of $N
    std::uint32_t number_max = 0;
    std::vector<std::string> columns;
  };

  SqliteConnection(const Options& options, Clock& clock) : options_(options), clock_(clock) {}
  Result<void> configure(const std::filesystem::path& file, Mode mode);
  Result<Statement*> prepare(std::string_view text);
  Result<void> bind(Statement& statement, std::span<const Value> values);
  Result<std::int64_t> run(Statement& statement, std::span<const Value> values);
  std::string_view for_rows(std::string_view text, std::size_t width, std::size_t count);
  Error error(int code, std::string_view text);

  const Options& options_;
  Clock& clock_;
  sqlite3* handle_ = nullptr;
  std::optional<std::chrono::nanoseconds> deadline_;
  bool broken_ = false;
  // Most recently used first; the map's keys point into the list's texts.
  std::list<Statement> statements_;
  std::unordered_map<std::string_view, std::list<Statement>::iterator> by_text_;
  // What for_rows() has made, by count and text.
  std::map<std::pair<std::size_t, std::string>, std::string, std::less<>> for_rows_;
};

}  // namespace fettle::db
