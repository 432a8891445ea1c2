#include "db/sqlite_connection.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sqlite3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "db/check_value.h"

namespace fettle::db {
namespace {

// In the file's header, so that somebody else's database is not taken for a ledger: "FETL".
constexpr int kApplicationId = 0x4645544C;
constexpr int kStepsBetweenDeadlineChecks = 4'000;
constexpr std::size_t kTextInErrorMax = 120;
constexpr int kOpenAttemptsMax = 50;
constexpr int kOpenPauseMs = 20;

// Once in the process and before the first connection. Without memory statistics SQLite needs no global lock to
// allocate; savepoint journals stay in memory (a page of 4 KiB each, bounded by what one body changes).
void configure_library() {
  static std::once_flag once;
  std::call_once(once, [] {
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
    sqlite3_config(SQLITE_CONFIG_STMTJRNL_SPILL, -1);
    sqlite3_initialize();
  });
}

ErrorCode code_of(int extended) {
  switch (extended) {
    case SQLITE_CONSTRAINT_UNIQUE:
    case SQLITE_CONSTRAINT_PRIMARYKEY: return ErrorCode::kConflict;
  }
  switch (extended & 0xff) {
    case SQLITE_CONSTRAINT: return ErrorCode::kInvalidArgument;
    case SQLITE_FULL:
    case SQLITE_NOMEM: return ErrorCode::kResourceExhausted;
    case SQLITE_TOOBIG: return ErrorCode::kTooLarge;
    case SQLITE_INTERRUPT: return ErrorCode::kDeadlineExceeded;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB: return ErrorCode::kDataLoss;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN:
    case SQLITE_PERM:
    case SQLITE_PROTOCOL:
    case SQLITE_READONLY: return ErrorCode::kUnavailable;
    default: return ErrorCode::kInternal;
  }
}

Value column_value(sqlite3_stmt* statement, int column) {
  const auto size = [&] { return static_cast<std::size_t>(sqlite3_column_bytes(statement, column)); };
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_INTEGER: return static_cast<std::int64_t>(sqlite3_column_int64(statement, column));
    case SQLITE_FLOAT: return sqlite3_column_double(statement, column);
    case SQLITE_TEXT: {
      const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement, column));
      return std::string_view(text, size());
    }
    case SQLITE_BLOB: {
      const auto* bytes = static_cast<const char*>(sqlite3_column_blob(statement, column));
      return BlobView{std::string_view(bytes == nullptr ? "" : bytes, size())};
    }
    default: return {};
  }
}

// The same value with its bytes in `rows`.
Value owned_by(Rows& rows, Value value) {
  const auto keep = [&](std::string_view bytes) {
    if (bytes.empty()) return std::string_view("");
    char* place = rows.allocate(bytes.size());
    std::memcpy(place, bytes.data(), bytes.size());
    return std::string_view(place, bytes.size());
  };
  if (const auto* text = std::get_if<std::string_view>(&value.get())) return keep(*text);
  if (const auto* blob = std::get_if<BlobView>(&value.get())) return BlobView{keep(blob->bytes)};
  return value;
}

// Rows that one statement inserts, the most first.
constexpr std::array<std::size_t, 3> kRowsTogether = {16, 4, 1};

struct ResetAtEnd {
  sqlite3_stmt* statement;
  ~ResetAtEnd() { sqlite3_reset(statement); }
};

// SQLite would create the file with the process's umask. The file itself is never opened here: closing a descriptor of
// it would drop the locks that other connections of this process hold. So it is made under another name and linked.
Result<void> create_private(const std::filesystem::path& file) {
  const auto refuse = [&] {
    return fail(ErrorCode::kUnavailable, fmt::format("creating {}: {}", file.string(), std::strerror(errno)));
  };
  if (::access(file.c_str(), F_OK) == 0) {
    if (::chmod(file.c_str(), 0600) != 0) return refuse();
    return {};
  }
  std::string empty = file.string() + ".XXXXXX";
  const int fd = ::mkstemp(empty.data());  // 0600
  if (fd < 0) return refuse();
  ::close(fd);
  const bool linked = ::link(empty.c_str(), file.c_str()) == 0 || errno == EEXIST;
  const int error = errno;
  ::unlink(empty.c_str());
  errno = error;
  if (!linked) return refuse();
  return {};
}

}  // namespace

Result<std::unique_ptr<SqliteConnection>> SqliteConnection::open(const std::filesystem::path& file, Mode mode,
                                                                 const Options& options, Clock& clock) {
  configure_library();
  std::unique_ptr<SqliteConnection> connection(new SqliteConnection(options, clock));
  if (mode == Mode::kWriter) {
    if (auto created = create_private(file); !created) return std::unexpected(created.error());
  }
  for (int attempt = 1;; ++attempt) {
    auto ready = connection->configure(file, mode);
    if (ready) return connection;
    // Of connections that put a new file into WAL mode at once, SQLite sends all but one away without waiting.
    const bool busy = (sqlite3_errcode(connection->handle_) & 0xff) == SQLITE_BUSY;
    if (!busy || attempt == kOpenAttemptsMax) {
      return std::unexpected(std::move(ready).error().within("opening " + file.string()));
    }
    connection.reset(new SqliteConnection(options, clock));
    sqlite3_sleep(kOpenPauseMs);
  }
}

SqliteConnection::~SqliteConnection() {
  for (Statement& statement : statements_) sqlite3_finalize(statement.handle);
  sqlite3_close_v2(handle_);
}

Result<void> SqliteConnection::configure(const std::filesystem::path& file, Mode mode) {
  const int flags = (mode == Mode::kWriter ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READONLY) | SQLITE_OPEN_NOMUTEX |
                    SQLITE_OPEN_EXRESCODE;
  if (const int code = sqlite3_open_v2(file.c_str(), &handle_, flags, nullptr); code != SQLITE_OK) {
    return std::unexpected(error(code, "open"));
  }
  sqlite3_busy_timeout(handle_, static_cast<int>(options_.lock_wait_max.count()));
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_DEFENSIVE, 1, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, nullptr);
  sqlite3_db_config(handle_, SQLITE_DBCONFIG_ENABLE_FKEY, 1, nullptr);
  sqlite3_progress_handler(
      handle_, kStepsBetweenDeadlineChecks,
      [](void* self) {
        auto* connection = static_cast<SqliteConnection*>(self);
        return connection->deadline_ && connection->clock_.monotonic() > *connection->deadline_ ? 1 : 0;
      },
      this);
  const std::uint64_t cache = mode == Mode::kWriter ? options_.writer_cache_bytes : options_.reader_cache_bytes;
  std::vector<std::string> pragmas = {
      fmt::format("PRAGMA cache_size = -{}", std::max<std::uint64_t>(cache / 1024, 64)),
      "PRAGMA temp_store = MEMORY",
      // The checkpointer does it beside the writer (sqlite_database.cc).
      "PRAGMA wal_autocheckpoint = 0",
  };
  if (mode == Mode::kWriter) {
    std::int64_t application_id = 0;
    std::int64_t tables = 0;
    auto rows =
        query("SELECT (SELECT application_id FROM pragma_application_id), (SELECT COUNT(*) FROM sqlite_schema)", {});
    if (!rows) return std::unexpected(rows.error());
    if (auto read = (*rows)[0].into(application_id, tables); !read) return read;
    if (application_id != kApplicationId && (application_id != 0 || tables != 0)) {
      return fail(ErrorCode::kDataLoss, "this is a database of another program");
    }
    if (application_id == 0) pragmas.push_back(fmt::format("PRAGMA application_id = {}", kApplicationId));
    pragmas.insert(pragmas.begin(), "PRAGMA journal_mode = WAL");
    pragmas.push_back("PRAGMA synchronous = FULL");
    pragmas.push_back(fmt::format("PRAGMA journal_size_limit = {}", options_.wal_bytes_max));
  }
  for (const std::string& pragma : pragmas) {
    if (const int code = sqlite3_exec(handle_, pragma.c_str(), nullptr, nullptr, nullptr); code != SQLITE_OK) {
      return std::unexpected(error(code, pragma));
    }
  }
  if (mode == Mode::kCopy) return {};
  auto mode_rows = query("PRAGMA journal_mode", {});
  if (!mode_rows) return std::unexpected(mode_rows.error());
  if (auto journal = (*mode_rows)[0].get<std::string>(0); !journal || *journal != "wal") {
    return fail(ErrorCode::kUnavailable, "the file system does not let SQLite use a write-ahead log");
  }
  return {};
}

Error SqliteConnection::error(int code, std::string_view text) {
  const int extended = handle_ != nullptr ? sqlite3_extended_errcode(handle_) : code;
  const ErrorCode mapped = code_of(code == SQLITE_OK ? extended : code);
  if ((code & 0xff) == SQLITE_IOERR || mapped == ErrorCode::kDataLoss) broken_ = true;
  std::string message = fmt::format("SQLite: {}", handle_ != nullptr ? sqlite3_errmsg(handle_) : sqlite3_errstr(code));
  if ((code & 0xff) == SQLITE_IOERR && handle_ != nullptr) {
    message += fmt::format(" ({}, {})", code, std::strerror(sqlite3_system_errno(handle_)));
  }
  if (mapped == ErrorCode::kDeadlineExceeded) message = "the statement took longer than its deadline";
  if (mapped == ErrorCode::kInternal) message += fmt::format(" in: {}", text.substr(0, kTextInErrorMax));
  Error result(mapped, std::move(message));
  if (mapped == ErrorCode::kUnavailable || mapped == ErrorCode::kResourceExhausted) {
    return std::move(result).with_retry_after(options_.retry_after);
  }
  return result;
}

Result<SqliteConnection::Statement*> SqliteConnection::prepare(std::string_view text) {
  if (const auto found = by_text_.find(text); found != by_text_.end()) {
    statements_.splice(statements_.begin(), statements_, found->second);
    if (sqlite3_stmt_busy(found->second->handle) != 0) {
      return fail(ErrorCode::kInternal,
                  fmt::format("used inside its own callback: {}", text.substr(0, kTextInErrorMax)));
    }
    return &*found->second;
  }
  sqlite3_stmt* handle = nullptr;
  const char* rest = nullptr;
  const int code = sqlite3_prepare_v3(handle_, text.data(), static_cast<int>(text.size()), SQLITE_PREPARE_PERSISTENT,
                                      &handle, &rest);
  if (code != SQLITE_OK) return std::unexpected(error(code, text));
  const std::string_view left(rest, static_cast<std::size_t>(text.data() + text.size() - rest));
  if (handle == nullptr || left.find_first_not_of(" \t\r\n;") != std::string_view::npos) {
    sqlite3_finalize(handle);
    return fail(ErrorCode::kInternal, fmt::format("not one statement: {}", text.substr(0, kTextInErrorMax)));
  }
  Statement made{std::string(text), handle, {}, 0, {}};
  for (int i = 1; i <= sqlite3_bind_parameter_count(handle); ++i) {
    const char* name = sqlite3_bind_parameter_name(handle, i);
    const std::uint32_t number =
        name != nullptr && name[0] == '$' ? static_cast<std::uint32_t>(std::atoi(name + 1)) : 0;
    if (number == 0) {
      sqlite3_finalize(handle);
      return fail(ErrorCode::kInternal,
                  fmt::format("parameters are $1, $2, … in: {}", text.substr(0, kTextInErrorMax)));
    }
    made.numbers.push_back(number);
    made.number_max = std::max(made.number_max, number);
  }
  for (int i = 0; i < sqlite3_column_count(handle); ++i) made.columns.emplace_back(sqlite3_column_name(handle, i));
  while (statements_.size() >= std::max<std::size_t>(options_.statements_max, 1)) {
    if (sqlite3_stmt_busy(statements_.back().handle) != 0) break;
    by_text_.erase(statements_.back().text);
    sqlite3_finalize(statements_.back().handle);
    statements_.pop_back();
  }
  statements_.push_front(std::move(made));
  by_text_.emplace(statements_.front().text, statements_.begin());
  return &statements_.front();
}

Result<void> SqliteConnection::bind(Statement& statement, std::span<const Value> values) {
  if (values.size() != statement.number_max) {
    return fail(ErrorCode::kInternal, fmt::format("{} parameters given, {} wanted by: {}", values.size(),
                                                  statement.number_max, statement.text.substr(0, kTextInErrorMax)));
  }
  for (std::size_t i = 0; i < statement.numbers.size(); ++i) {
    const Value& value = values[statement.numbers[i] - 1];
    if (auto good = check_value(value, statement.numbers[i]); !good) return good;
    sqlite3_stmt* handle = statement.handle;
    const int index = static_cast<int>(i) + 1;
    const int code = std::visit(
        [&](const auto& held) {
          using T = std::decay_t<decltype(held)>;
          if constexpr (std::is_same_v<T, std::monostate>) {
            return sqlite3_bind_null(handle, index);
          } else if constexpr (std::is_same_v<T, std::int64_t>) {
            return sqlite3_bind_int64(handle, index, held);
          } else if constexpr (std::is_same_v<T, double>) {
            return sqlite3_bind_double(handle, index, held);
          } else if constexpr (std::is_same_v<T, std::string_view>) {
            // A null pointer would be NULL, not the empty text. Static: the caller's bytes outlive the step.
            return sqlite3_bind_text64(handle, index, held.data() == nullptr ? "" : held.data(), held.size(),
                                       SQLITE_STATIC, SQLITE_UTF8);
          } else {
            return sqlite3_bind_blob64(handle, index, held.bytes.data() == nullptr ? "" : held.bytes.data(),
                                       held.bytes.size(), SQLITE_STATIC);
          }
        },
        value.get());
    if (code != SQLITE_OK) return std::unexpected(error(code, statement.text));
  }
  return {};
}

Result<Rows> SqliteConnection::query(std::string_view text, Params params) {
  auto prepared = prepare(text);
  if (!prepared) return std::unexpected(prepared.error());
  Statement& statement = **prepared;
  if (auto bound = bind(statement, params.values()); !bound) return std::unexpected(bound.error());
  const ResetAtEnd reset{statement.handle};
  Rows rows;
  rows.set_columns(statement.columns);
  const int columns = static_cast<int>(statement.columns.size());
  for (;;) {
    const int code = sqlite3_step(statement.handle);
    if (code == SQLITE_DONE) return rows;
    if (code != SQLITE_ROW) return std::unexpected(error(code, text));
    for (int i = 0; i < columns; ++i) rows.add_value(owned_by(rows, column_value(statement.handle, i)));
    rows.add_row();
    if (rows.size() > options_.result_rows_max || rows.bytes() > options_.result_bytes_max) {
      return fail(ErrorCode::kTooLarge, fmt::format("the answer is over {} rows or {} bytes", options_.result_rows_max,
                                                    options_.result_bytes_max));
    }
  }
}

Result<void> SqliteConnection::each(std::string_view text, Params params,
                                    const std::function<Result<void>(const Row&)>& row) {
  auto prepared = prepare(text);
  if (!prepared) return std::unexpected(prepared.error());
  Statement& statement = **prepared;
  if (auto bound = bind(statement, params.values()); !bound) return bound;
  const ResetAtEnd reset{statement.handle};
  std::vector<Value> values(statement.columns.size());
  for (;;) {
    const int code = sqlite3_step(statement.handle);
    if (code == SQLITE_DONE) return {};
    if (code != SQLITE_ROW) return std::unexpected(error(code, text));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = column_value(statement.handle, static_cast<int>(i));
    if (auto taken = row(Row(statement.columns, values)); !taken) return taken;
  }
}

Result<std::int64_t> SqliteConnection::execute(std::string_view text, Params params) {
  return execute_many(text, params.size(), params.values());
}

Result<std::int64_t> SqliteConnection::execute_many(std::string_view text, std::size_t width,
                                                    std::span<const Value> rows) {
  if (width != 0 && rows.size() % width != 0) {
    return fail(ErrorCode::kInternal, fmt::format("{} values are not whole rows of {}", rows.size(), width));
  }
  const std::size_t count = width == 0 ? 1 : rows.size() / width;
  std::int64_t affected = 0;
  std::size_t at = 0;
  for (const std::size_t together : kRowsTogether) {
    if (count - at < together) continue;
    const std::string_view statement = together == 1 ? text : for_rows(text, width, together);
    if (together != 1 && statement.empty()) continue;
    auto prepared = prepare(statement);
    if (!prepared) return std::unexpected(prepared.error());
    for (; count - at >= together; at += together) {
      auto done = run(**prepared, rows.subspan(at * width, together * width));
      if (!done) return done;
      affected += *done;
    }
  }
  return affected;
}

Result<std::int64_t> SqliteConnection::run(Statement& statement, std::span<const Value> values) {
  if (auto bound = bind(statement, values); !bound) return std::unexpected(bound.error());
  const ResetAtEnd reset{statement.handle};
  // sqlite3_changes keeps the count of an earlier statement when this one changed nothing.
  const std::int64_t before = sqlite3_total_changes64(handle_);
  int code = SQLITE_ROW;
  while (code == SQLITE_ROW) code = sqlite3_step(statement.handle);
  if (code != SQLITE_DONE) return std::unexpected(error(code, statement.text));
  return sqlite3_total_changes64(handle_) == before ? 0 : sqlite3_changes64(handle_);
}

// The same INSERT for so many rows, which opens the table and its indexes once for them all: that is half of what a row
// costs. Empty for a statement of another form. OR FAIL: it spares the copy of each page that would let the statement
// alone be undone; whoever called undoes all of it.
std::string_view SqliteConnection::for_rows(std::string_view text, std::size_t width, std::size_t count) {
  constexpr std::string_view kInsert = "INSERT INTO ", kValues = " VALUES (";
  const std::pair<std::size_t, std::string> key(count, text);
  if (const auto known = for_rows_.find(key); known != for_rows_.end()) return known->second;
  if (for_rows_.size() >= options_.statements_max) for_rows_.clear();
  std::string& out = for_rows_[key];
  const std::size_t values = text.find(kValues);
  if (width == 0 || !text.starts_with(kInsert) || values == std::string_view::npos) return out;
  const std::string_view row = text.substr(values + kValues.size() - 1);
  // Nothing behind the row, no function and no literal in it: numbers, NULL and parameters.
  if (row.find_first_of("()'\"", 1) != row.size() - 1 || row.back() != ')') return out;
  out =
      fmt::format("INSERT OR FAIL INTO {}", text.substr(kInsert.size(), values + kValues.size() - 1 - kInsert.size()));
  for (std::size_t i = 0; i < count; ++i) {
    if (i != 0) out += ',';
    for (std::size_t at = 0; at < row.size();) {
      out += row[at++];
      if (out.back() != '$') continue;
      std::size_t number = 0;
      for (; at < row.size() && row[at] >= '0' && row[at] <= '9'; ++at) {
        number = number * 10 + static_cast<std::size_t>(row[at] - '0');
      }
      fmt::format_to(std::back_inserter(out), "{}", number + i * width);
    }
  }
  return out;
}

Result<void> SqliteConnection::control(std::string_view text) {
  auto prepared = prepare(text);
  if (!prepared) return std::unexpected(prepared.error());
  const ResetAtEnd reset{(*prepared)->handle};
  const int code = sqlite3_step((*prepared)->handle);
  if (code != SQLITE_DONE) return std::unexpected(error(code, text));
  return {};
}

Result<bool> SqliteConnection::is_readonly(std::string_view text) {
  auto prepared = prepare(text);
  if (!prepared) return std::unexpected(prepared.error());
  return sqlite3_stmt_readonly((*prepared)->handle) != 0;
}

bool SqliteConnection::in_transaction() const { return sqlite3_get_autocommit(handle_) == 0; }

}  // namespace fettle::db
