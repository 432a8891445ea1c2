#include "db/postgres_connection.h"

#include <fmt/format.h>
#include <libpq-fe.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>

#include "db/check_value.h"
#include "db/postgres_value.h"

namespace fettle::db {
namespace {

constexpr std::size_t kTextInErrorMax = 120;
// Bytes that are sent and not acknowledged for so long mean that the server's machine has gone.
constexpr std::chrono::seconds kSilenceMax{5};
// Statements in one sync of execute_many: answers of 30 bytes each stay below what the socket holds, and an error is
// not followed by thousands of statements in vain.
constexpr std::size_t kManyWindow = 256;
constexpr std::size_t kRowsOfInsert = 32;
// From here on COPY pays for the two round trips that it takes: a row costs the server a third of one of an INSERT.
constexpr std::size_t kCopyRowsMin = 128;
constexpr std::size_t kCopyBytes = 64 << 10;  // sent at a time
constexpr int kEachRows = 1'000;
constexpr std::size_t kPostedRowsMax = 16;
constexpr std::size_t kPostedBytesMax = 64 << 10;

struct Class {
  std::string_view prefix;
  ErrorCode code;
};
// By SQLSTATE; the first that matches.
constexpr Class kClasses[] = {
    {"08P01", ErrorCode::kInternal},          {"23505", ErrorCode::kConflict},
    {"23", ErrorCode::kInvalidArgument},      {"22", ErrorCode::kInvalidArgument},
    {"P0001", ErrorCode::kInvalidArgument},   {"40", ErrorCode::kUnavailable},
    {"57014", ErrorCode::kDeadlineExceeded},  {"55P03", ErrorCode::kUnavailable},
    {"53100", ErrorCode::kResourceExhausted}, {"53200", ErrorCode::kResourceExhausted},
    {"54000", ErrorCode::kTooLarge},          {"53", ErrorCode::kUnavailable},
    {"57", ErrorCode::kUnavailable},          {"58", ErrorCode::kUnavailable},
    {"08", ErrorCode::kUnavailable},          {"25006", ErrorCode::kUnavailable},
    {"28", ErrorCode::kUnavailable},          {"3D", ErrorCode::kUnavailable},
    {"XX001", ErrorCode::kDataLoss},          {"XX002", ErrorCode::kDataLoss},
};

char kind_of(const Value& value) { return "nirtb"[value.get().index()]; }

// The text of a plain INSERT for kRowsOfInsert rows in one statement, which takes a server a third of the time of as
// many statements. Empty for everything else: what follows VALUES may say how rows that meet are to be treated.
std::string rows_of_insert(std::string_view text, std::size_t width) {
  static constexpr std::string_view kValues = " VALUES (";
  const std::size_t values = text.find(kValues);
  if (!text.starts_with("INSERT INTO ") || values == text.npos || width == 0) return {};
  // The one list that may stand there: parameters and plain numbers.
  const std::string_view row = text.substr(values + kValues.size());
  if (row.find_first_not_of("$0123456789, ") != row.size() - 1 || row.back() != ')') return {};
  std::string many(text);
  for (std::size_t i = 1; i < kRowsOfInsert; ++i) {
    many += ", (";
    for (std::size_t at = 0; at < row.size(); ++at) {
      many += row[at];
      if (row[at] != '$') continue;
      std::size_t number = 0;
      const auto [end, error] = std::from_chars(row.data() + at + 1, row.data() + row.size(), number);
      if (error != std::errc() || number > width) return {};
      fmt::format_to(std::back_inserter(many), "{}", i * width + number);
      at = static_cast<std::size_t>(end - row.data()) - 1;
    }
  }
  return many;
}

// What takes the rows of "INSERT INTO table (columns) VALUES ($1, $2, …)" in one go. Empty for everything else.
std::string copy_of_insert(std::string_view text, std::size_t width) {
  static constexpr std::string_view kInsert = "INSERT INTO ";
  std::string values = " VALUES (";
  for (std::size_t i = 1; i <= width; ++i) values += fmt::format("{}${}", i == 1 ? "" : ", ", i);
  values += ')';
  if (!text.starts_with(kInsert) || !text.ends_with(values)) return {};
  text.remove_prefix(kInsert.size());
  text.remove_suffix(values.size());
  // A table and the names of its columns, and nothing else.
  if (!text.ends_with(')') || text.find(" (") == text.npos) return {};
  return fmt::format("COPY {} FROM STDIN", text);
}

// A value as COPY's text form has it, which every type of column reads.
void append_copied(std::string& out, const Value& value) {
  std::visit(
      [&](const auto& held) {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::monostate>) {
          out += "\\N";
        } else if constexpr (std::is_same_v<T, std::string_view>) {
          for (std::string_view left = held; !left.empty();) {
            const std::size_t plain = std::min(left.find_first_of("\\\n\r\t"), left.size());
            out += left.substr(0, plain);
            if (plain == left.size()) break;
            const char special = left[plain];
            out += '\\';
            out += special == '\n' ? 'n' : special == '\r' ? 'r' : special == '\t' ? 't' : '\\';
            left.remove_prefix(plain + 1);
          }
        } else if constexpr (std::is_same_v<T, BlobView>) {
          static constexpr char kDigits[] = "0123456789abcdef";
          out += "\\\\x";
          for (const char byte : held.bytes) {
            out += kDigits[static_cast<unsigned char>(byte) >> 4];
            out += kDigits[static_cast<unsigned char>(byte) & 15];
          }
        } else {
          fmt::format_to(std::back_inserter(out), "{}", held);
        }
      },
      value.get());
}

// Whether every column holds one kind of value, nulls aside.
bool alike(std::span<const Value> rows, std::size_t width) {
  for (std::size_t column = 0; column < width; ++column) {
    char kind = 'n';
    for (std::size_t at = column; at < rows.size(); at += width) {
      const char own = kind_of(rows[at]);
      if (own == 'n') continue;
      if (kind != 'n' && kind != own) return false;
      kind = own;
    }
  }
  return true;
}

// The URL's password could show where libpq takes a part of it for something else.
std::string without_password(const Secret& url, std::string message) {
  while (!message.empty() && (message.back() == '\n' || message.back() == ' ')) message.pop_back();
  const std::string& text = url.reveal();
  if (std::count(text.begin(), text.end(), '@') > 1) return "the server could not be reached";
  if (PQconninfoOption* parts = PQconninfoParse(text.c_str(), nullptr)) {
    for (const PQconninfoOption* part = parts; part->keyword != nullptr; ++part) {
      const bool secret = std::string_view(part->keyword).find("password") != std::string_view::npos;
      if (secret && part->val != nullptr && *part->val != '\0' && message.find(part->val) != std::string::npos) {
        message = "the server could not be reached";
      }
    }
    PQconninfoFree(parts);
  }
  return message;
}

}  // namespace

void PostgresConnection::ClearResult::operator()(pg_result* result) const { PQclear(result); }

Result<pg_conn*> connect_postgres(const Secret& url, const Options& options) {
  const auto connect_seconds = std::chrono::ceil<std::chrono::seconds>(options.connect_timeout).count();
  const std::string connect_timeout = std::to_string(connect_seconds);
  const std::string silence = std::to_string(std::chrono::milliseconds(kSilenceMax).count());
  // What the URL says wins, because it comes last.
  const char* const keywords[] = {"application_name",    "connect_timeout",  "tcp_user_timeout", "keepalives_idle",
                                  "keepalives_interval", "keepalives_count", "dbname",           nullptr};
  const char* const values[] = {"fettle", connect_timeout.c_str(), silence.c_str(), "5", "2",
                                "3",      url.reveal().c_str(),    nullptr};
  std::unique_ptr<PGconn, void (*)(PGconn*)> handle(PQconnectdbParams(keywords, values, 1), PQfinish);
  const auto refuse = [&](std::string message) {
    return std::unexpected(Error(ErrorCode::kUnavailable, "PostgreSQL: " + without_password(url, std::move(message)))
                               .with_retry_after(options.retry_after));
  };
  if (PQstatus(handle.get()) != CONNECTION_OK) return refuse(PQerrorMessage(handle.get()));
  PQsetNoticeProcessor(handle.get(), [](void*, const char*) {}, nullptr);
  PQsetClientEncoding(handle.get(), "UTF8");
  // A commit that is answered is durable, whatever the server's default is; stricter settings stay.
  static constexpr const char* kSettings =
      "SET bytea_output = 'hex'; SET extra_float_digits = 1; SET standard_conforming_strings = on; SET TimeZone = "
      "'UTC'; "
      "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'";
  PGresult* set = PQexec(handle.get(), kSettings);
  const bool good = PQresultStatus(set) == PGRES_TUPLES_OK;
  PQclear(set);
  if (!good) return refuse(PQerrorMessage(handle.get()));
  return handle.release();
}

Result<std::unique_ptr<PostgresConnection>> PostgresConnection::open(const Secret& url, const Options& options,
                                                                     std::chrono::milliseconds statement_timeout) {
  auto handle = connect_postgres(url, options);
  if (!handle) return std::unexpected(handle.error());
  std::unique_ptr<PostgresConnection> connection(new PostgresConnection(options));
  connection->handle_ = *handle;
  const std::string settings =
      fmt::format("SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = 60000",
                  statement_timeout.count(), options.lock_wait_max.count());
  const PgResult set(PQexec(*handle, settings.c_str()));
  if (PQresultStatus(set.get()) != PGRES_COMMAND_OK || PQsetnonblocking(*handle, 1) != 0 ||
      PQenterPipelineMode(*handle) != 1) {
    return std::unexpected(connection->lost("while it was greeted"));
  }
  return connection;
}

PostgresConnection::~PostgresConnection() { PQfinish(handle_); }

bool PostgresConnection::alive() {
  if (trouble_ == Trouble::kLost) return false;
  pollfd watched{PQsocket(handle_), POLLIN, 0};
  if (::poll(&watched, 1, 0) > 0 && PQconsumeInput(handle_) != 1) return false;
  return PQstatus(handle_) == CONNECTION_OK;
}

// ---- errors --------------------------------------------------------------------------------------------------------

Error PostgresConnection::lost(std::string_view what) {
  trouble_ = Trouble::kLost;
  std::string message = PQerrorMessage(handle_);
  while (!message.empty() && message.back() == '\n') message.pop_back();
  return Error(ErrorCode::kUnavailable, fmt::format("PostgreSQL went away {}: {}", what, message))
      .with_retry_after(options_.retry_after);
}

Error PostgresConnection::server_error(const pg_result* result, std::string_view text) {
  const char* state_text = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  if (state_text == nullptr) return lost("during a statement");
  const std::string_view state = state_text;
  ErrorCode code = ErrorCode::kInternal;
  for (const Class& one : kClasses) {
    if (state.starts_with(one.prefix)) {
      code = one.code;
      break;
    }
  }
  trouble_ = Trouble::kPlain;
  if (state == "40001" || state == "40P01") trouble_ = Trouble::kRepeat;
  // A plan made before a migration, or a pooler in between that lost the statement: forget them all.
  if (state == "26000" || (state == "0A000" && std::strstr(PQresultErrorMessage(result), "cached plan") != nullptr)) {
    trouble_ = Trouble::kRepeat;
    by_key_.clear();
    prepared_.clear();
    housekeeping_ = {"DEALLOCATE ALL"};
  }
  const char* severity = PQresultErrorField(result, PG_DIAG_SEVERITY_NONLOCALIZED);
  if (severity != nullptr && (std::strcmp(severity, "FATAL") == 0 || std::strcmp(severity, "PANIC") == 0)) {
    trouble_ = Trouble::kLost;
    code = ErrorCode::kUnavailable;
  }
  const char* constraint = PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME);
  const char* primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
  std::string message = fmt::format("PostgreSQL {}", state);
  // The server quotes the value itself in messages of class 22, and never elsewhere in the primary message.
  if (!state.starts_with("22") && primary != nullptr) message += fmt::format(": {}", primary);
  if (constraint != nullptr && message.find(constraint) == std::string::npos)
    message += fmt::format(" ({})", constraint);
  if (code == ErrorCode::kDeadlineExceeded) message = "the statement took longer than its deadline";
  if (code == ErrorCode::kInternal) message += fmt::format(" in: {}", text.substr(0, kTextInErrorMax));
  Error error(code, std::move(message));
  if (code == ErrorCode::kUnavailable || code == ErrorCode::kResourceExhausted) {
    return std::move(error).with_retry_after(options_.retry_after);
  }
  return error;
}

// ---- sending -------------------------------------------------------------------------------------------------------

void PostgresConnection::begin(std::string command) {
  deferred_.clear();
  // A name that the server does not know any more harms nobody.
  for (const std::string& one : std::exchange(housekeeping_, {})) (void)control(one);
  defer(std::move(command));
}

bool PostgresConnection::send_deferred() {
  for (const std::string& command : deferred_) {
    if (PQsendQueryParams(handle_, command.c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0) != 1) return false;
    expected_ += 'd';
  }
  deferred_.clear();
  return true;
}

const PostgresConnection::Prepared* PostgresConnection::find_prepared(std::string_view text, bool& is_new) {
  key_ += '|';
  key_ += text;
  if (const auto found = by_key_.find(key_); found != by_key_.end()) {
    prepared_.splice(prepared_.begin(), prepared_, found->second);
    is_new = false;
    return &prepared_.front();
  }
  while (prepared_.size() >= std::max<std::size_t>(options_.statements_max, 2)) {
    housekeeping_.push_back("DEALLOCATE " + prepared_.back().name);
    by_key_.erase(prepared_.back().key);
    prepared_.pop_back();
  }
  prepared_.push_front({key_, fmt::format("s{}", ++names_)});
  by_key_.emplace(prepared_.front().key, prepared_.begin());
  is_new = true;
  return &prepared_.front();
}

bool PostgresConnection::send_statement(std::string_view text, std::span<const Value> values, char what) {
  PostgresParams params;
  if (!params.set(values)) return false;  // checked by the caller
  key_.clear();
  for (const Value& value : values) key_ += kind_of(value);
  return send_prepared(text, params, what);
}

bool PostgresConnection::send_rows(const std::string& many, std::size_t width, std::span<const Value> rows) {
  PostgresParams params;
  if (!params.set(rows)) return false;
  // A null takes the kind of its column's other values, so that few shapes of rows have to be prepared.
  key_.clear();
  for (std::size_t column = 0; column < width; ++column) {
    std::size_t typed = column;
    while (typed < rows.size() && rows[typed].is_null()) typed += width;
    if (typed >= rows.size()) typed = column;
    key_ += kind_of(rows[typed]);
    for (std::size_t at = column; at < rows.size(); at += width) {
      if (rows[at].is_null()) params.set_type(at, params.types()[typed]);
    }
  }
  return send_prepared(many, params);
}

bool PostgresConnection::send_prepared(std::string_view text, const PostgresParams& params, char what) {
  bool is_new = false;
  const Prepared* prepared = find_prepared(text, is_new);
  const std::string name = prepared->name;
  if (is_new) {
    preparing_.push_back(prepared->key);
    if (PQsendPrepare(handle_, name.c_str(), std::string(text).c_str(), params.count(), params.types()) != 1)
      return false;
    expected_ += 'p';
  }
  if (PQsendQueryPrepared(handle_, name.c_str(), params.count(), params.values(), params.lengths(), params.formats(),
                          0) != 1) {
    return false;
  }
  expected_ += what;
  return true;
}

// ---- receiving -----------------------------------------------------------------------------------------------------

// Moves bytes both ways until everything is sent and, if wanted, an answer is there.
Result<void> PostgresConnection::pump(bool want_answer) {
  const int timeout_ms = patience_ ? static_cast<int>(patience_->count()) : -1;
  for (;;) {
    const int unsent = PQflush(handle_);
    if (unsent < 0) return std::unexpected(lost("while sending"));
    if (unsent == 0 && (!want_answer || PQisBusy(handle_) == 0)) return {};
    pollfd watched{PQsocket(handle_), static_cast<short>(POLLIN | (unsent > 0 ? POLLOUT : 0)), 0};
    const int ready = ::poll(&watched, 1, timeout_ms);
    if (ready < 0 && errno == EINTR) continue;
    if (ready == 0) {
      trouble_ = Trouble::kLost;
      return fail(ErrorCode::kUnavailable, "PostgreSQL does not answer");
    }
    if (PQconsumeInput(handle_) != 1) return std::unexpected(lost("during a statement"));
  }
}

Result<PostgresConnection::PgResult> PostgresConnection::next_result() {
  if (auto pumped = pump(true); !pumped) return std::unexpected(pumped.error());
  return PgResult(PQgetResult(handle_));
}

Result<void> PostgresConnection::finish(std::string_view text, const std::function<Result<void>(pg_result*)>& take) {
  const std::string expected = std::exchange(expected_, {});
  std::vector<std::string> preparing = std::exchange(preparing_, {});
  if (PQpipelineSync(handle_) != 1) return std::unexpected(lost("while sending"));
  std::optional<Error> failure;
  std::size_t prepares = 0;
  const auto forget = [&](const std::string& key) {
    if (const auto found = by_key_.find(key); found != by_key_.end()) {
      const auto place = found->second;
      by_key_.erase(found);
      prepared_.erase(place);
    }
  };
  for (const char what : expected) {
    auto result = next_result();
    if (!result) return std::unexpected(result.error());
    if (*result == nullptr) return std::unexpected(lost("during a statement"));
    const ExecStatusType status = PQresultStatus(result->get());
    const bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (!good && !failure && status != PGRES_PIPELINE_ABORTED) failure = server_error(result->get(), text);
    if (what == 'p') {
      if (!good) forget(preparing[prepares]);
      ++prepares;
    }
    if (good && what == 's' && !failure) {
      // A body's own limit: the transaction has failed, but the connection is in order.
      if (auto taken = take(result->get()); !taken) {
        failure = std::move(taken).error();
        trouble_ = Trouble::kPlain;
      }
    }
    auto end = next_result();
    if (!end) return std::unexpected(end.error());
  }
  auto sync = next_result();
  if (!sync) return std::unexpected(sync.error());
  if (*sync == nullptr || PQresultStatus(sync->get()) != PGRES_PIPELINE_SYNC) {
    return std::unexpected(lost("out of step"));
  }
  if (PQstatus(handle_) != CONNECTION_OK) trouble_ = Trouble::kLost;
  if (failure) return std::unexpected(std::move(*failure));
  return {};
}

// ---- statements ----------------------------------------------------------------------------------------------------

Result<std::string> PostgresConnection::control(std::string_view command) {
  trouble_ = Trouble::kNone;
  std::string tag;
  if (!send_deferred() ||
      PQsendQueryParams(handle_, std::string(command).c_str(), 0, nullptr, nullptr, nullptr, nullptr, 0) != 1) {
    return std::unexpected(lost("while sending"));
  }
  expected_ += 's';
  auto done = finish(command, [&](pg_result* result) -> Result<void> {
    tag = PQcmdStatus(result);
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return tag;
}

Result<Rows> PostgresConnection::query(std::string_view text, Params params) {
  return query_at_most(text, params, options_.result_rows_max);
}

Result<Rows> PostgresConnection::query_at_most(std::string_view text, Params params, std::uint64_t rows_max) {
  trouble_ = Trouble::kNone;
  for (std::size_t i = 0; i < params.size(); ++i) {
    if (auto good = check_value(params.values()[i], i + 1); !good) return std::unexpected(good.error());
  }
  if (!send_deferred() || !send_statement(text, params.values())) return std::unexpected(lost("while sending"));
  Rows rows;
  auto done = finish(text, [&](pg_result* result) -> Result<void> {
    rows.set_columns(column_names(result));
    if (auto appended = append_rows(result, rows); !appended) return appended;
    if (rows.size() > rows_max || rows.bytes() > options_.result_bytes_max) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("the answer is over {} rows or {} bytes", rows_max, options_.result_bytes_max));
    }
    return {};
  });
  if (!done) return std::unexpected(done.error());
  return rows;
}

Result<void> PostgresConnection::each(std::string_view text, Params params,
                                      const std::function<Result<void>(const Row&)>& row) {
  auto opened = execute(fmt::format("DECLARE each_row NO SCROLL CURSOR FOR {}", text), params);
  if (!opened) return std::unexpected(opened.error());
  const std::string fetch = fmt::format("FETCH {} FROM each_row", kEachRows);
  for (;;) {
    auto rows = query_at_most(fetch, {}, kEachRows);
    if (!rows) return std::unexpected(rows.error());
    for (const Row one : *rows) {
      if (auto taken = row(one); !taken) return taken;
    }
    if (rows->size() < static_cast<std::size_t>(kEachRows)) break;
  }
  defer("CLOSE each_row");
  return {};
}

Result<std::int64_t> PostgresConnection::execute(std::string_view text, Params params) {
  return execute_many(text, params.size(), params.values());
}

Result<void> PostgresConnection::post(std::string_view text, std::size_t width, std::span<const Value> rows) {
  std::size_t bytes = 0;
  for (const Value& value : rows) {
    if (const auto* held = std::get_if<std::string_view>(&value.get())) bytes += held->size();
    if (const auto* held = std::get_if<BlobView>(&value.get())) bytes += held->bytes.size();
  }
  // What waits to be sent is bounded, and many rows have quicker ways.
  if (width == 0 || rows.size() % width != 0 || rows.size() / width > kPostedRowsMax || bytes > kPostedBytesMax) {
    if (auto done = execute_many(text, width, rows); !done) return std::unexpected(done.error());
    return {};
  }
  trouble_ = Trouble::kNone;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (auto good = check_value(rows[i], i % width + 1); !good) return good;
  }
  if (!send_deferred()) return std::unexpected(lost("while sending"));
  for (std::size_t i = 0; i < rows.size(); i += width) {
    if (!send_statement(text, rows.subspan(i, width), 'w')) return std::unexpected(lost("while sending"));
  }
  return {};
}

Result<void> PostgresConnection::settle() {
  trouble_ = Trouble::kNone;
  return finish("what was posted", {});
}

Result<std::int64_t> PostgresConnection::copy_rows(std::string_view text, const std::string& copy, std::size_t width,
                                                   std::span<const Value> rows) {
  // COPY does not go through a pipeline, so what waits is sent and answered first.
  if (!deferred_.empty() || !expected_.empty()) {
    if (!send_deferred()) return std::unexpected(lost("while sending"));
    if (auto done = finish(text, {}); !done) return std::unexpected(done.error());
  }
  if (PQexitPipelineMode(handle_) != 1 || PQsendQuery(handle_, copy.c_str()) != 1) {
    return std::unexpected(lost("while sending"));
  }
  std::optional<Error> failure;
  std::int64_t affected = 0;
  for (;;) {
    auto result = next_result();
    if (!result) return std::unexpected(result.error());
    if (*result == nullptr) break;
    switch (PQresultStatus(result->get())) {
      case PGRES_COPY_IN:
        if (auto sent = send_copied(width, rows); !sent) return std::unexpected(sent.error());
        break;
      case PGRES_COMMAND_OK: {
        const std::string_view tuples = PQcmdTuples(result->get());
        std::from_chars(tuples.data(), tuples.data() + tuples.size(), affected);
        break;
      }
      default:
        if (!failure) failure = server_error(result->get(), text);
    }
    if (PQstatus(handle_) != CONNECTION_OK) break;
  }
  if (PQstatus(handle_) != CONNECTION_OK || PQenterPipelineMode(handle_) != 1) trouble_ = Trouble::kLost;
  if (failure) return std::unexpected(std::move(*failure));
  if (trouble_ == Trouble::kLost) return std::unexpected(lost("during a statement"));
  return affected;
}

Result<void> PostgresConnection::send_copied(std::size_t width, std::span<const Value> rows) {
  std::string chunk;
  const auto send = [&]() -> Result<void> {
    if (PQputCopyData(handle_, chunk.data(), static_cast<int>(chunk.size())) != 1) {
      return std::unexpected(lost("while sending"));
    }
    chunk.clear();
    return pump(false);
  };
  for (std::size_t i = 0; i < rows.size(); ++i) {
    append_copied(chunk, rows[i]);
    chunk += (i + 1) % width == 0 ? '\n' : '\t';
    if (chunk.size() < kCopyBytes) continue;
    if (auto sent = send(); !sent) return sent;
  }
  if (!chunk.empty()) {
    if (auto sent = send(); !sent) return sent;
  }
  if (PQputCopyEnd(handle_, nullptr) != 1) return std::unexpected(lost("while sending"));
  return {};
}

Result<std::int64_t> PostgresConnection::execute_many(std::string_view text, std::size_t width,
                                                      std::span<const Value> rows) {
  trouble_ = Trouble::kNone;
  if (width != 0 && rows.size() % width != 0) {
    return fail(ErrorCode::kInternal, fmt::format("{} values are not whole rows of {}", rows.size(), width));
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (auto good = check_value(rows[i], i % width + 1); !good) return std::unexpected(good.error());
  }
  const std::size_t count = width == 0 ? 1 : rows.size() / width;
  std::int64_t affected = 0;
  const auto take = [&](pg_result* result) -> Result<void> {
    const std::string_view text_count = PQcmdTuples(result);
    std::int64_t one = 0;
    std::from_chars(text_count.data(), text_count.data() + text_count.size(), one);
    affected += one;
    return {};
  };
  if (const std::string copy = count < kCopyRowsMin ? std::string() : copy_of_insert(text, width); !copy.empty()) {
    return copy_rows(text, copy, width, rows);
  }
  std::size_t i = 0;
  if (const std::string many = count < kRowsOfInsert ? std::string() : rows_of_insert(text, width); !many.empty()) {
    while (count - i >= kRowsOfInsert) {
      if (!send_deferred()) return std::unexpected(lost("while sending"));
      for (std::size_t sent = 0; sent < kManyWindow && count - i >= kRowsOfInsert; ++sent) {
        const auto some = rows.subspan(i * width, kRowsOfInsert * width);
        if (!alike(some, width)) break;
        if (!send_rows(many, width, some)) return std::unexpected(lost("while sending"));
        i += kRowsOfInsert;
      }
      if (expected_.empty()) break;  // nothing was sent: what is left goes row by row
      if (auto done = finish(text, take); !done) return std::unexpected(done.error());
    }
  }
  while (i < count) {
    if (!send_deferred()) return std::unexpected(lost("while sending"));
    for (const std::size_t end = std::min(count, i + kManyWindow); i < end; ++i) {
      if (!send_statement(text, rows.subspan(i * width, width))) return std::unexpected(lost("while sending"));
    }
    if (auto done = finish(text, take); !done) return std::unexpected(done.error());
  }
  return affected;
}

}  // namespace fettle::db
