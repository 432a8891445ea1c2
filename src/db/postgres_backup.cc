#include <fmt/format.h>
#include <libpq-fe.h>
#include <sys/stat.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <memory>
#include <set>

#include "db/backup_parts.h"
#include "db/digest.h"
#include "db/postgres_connection.h"

namespace fettle::db {
namespace {

struct Table {
  std::string name;
  std::string quoted;
  std::string columns;  // quoted, in order, without generated ones
};

// A plain connection: COPY does not go through a pipeline.
class Session {
 public:
  static Result<Session> open(const Secret& url) {
    auto handle = connect_postgres(url, Options());
    if (!handle) return std::unexpected(handle.error());
    Session session;
    session.handle_.reset(*handle);
    return session;
  }
  PGconn* handle() { return handle_.get(); }

  Error error(std::string_view what) {
    const std::string_view message = PQerrorMessage(handle());
    return Error(ErrorCode::kUnavailable, fmt::format("{}: {}", what, message.substr(0, message.find('\n'))));
  }

  // The rows of an answer as text.
  Result<std::vector<std::vector<std::string>>> run(const std::string& sql) {
    const std::unique_ptr<PGresult, void (*)(PGresult*)> result(PQexec(handle(), sql.c_str()), PQclear);
    const ExecStatusType status = PQresultStatus(result.get());
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) return std::unexpected(error(sql.substr(0, 60)));
    std::vector<std::vector<std::string>> rows(static_cast<std::size_t>(PQntuples(result.get())));
    for (std::size_t row = 0; row < rows.size(); ++row) {
      for (int column = 0; column < PQnfields(result.get()); ++column) {
        rows[row].emplace_back(PQgetvalue(result.get(), static_cast<int>(row), column));
      }
    }
    return rows;
  }

  // COPY … TO STDOUT: each row with its line end.
  Result<void> copy_out(const Table& table, const std::function<Result<void>(std::string_view)>& row) {
    const std::string sql = fmt::format("COPY {} ({}) TO STDOUT", table.quoted, table.columns);
    const std::unique_ptr<PGresult, void (*)(PGresult*)> started(PQexec(handle(), sql.c_str()), PQclear);
    if (PQresultStatus(started.get()) != PGRES_COPY_OUT) return std::unexpected(error("copying " + table.name));
    Result<void> taken;
    for (;;) {
      char* bytes = nullptr;
      const int size = PQgetCopyData(handle(), &bytes, 0);
      if (size == -1) break;
      if (size < 0) return std::unexpected(error("copying " + table.name));
      // After a failure the rest is read past, so that the connection stays in step.
      if (taken) taken = row(std::string_view(bytes, static_cast<std::size_t>(size)));
      PQfreemem(bytes);
    }
    const std::unique_ptr<PGresult, void (*)(PGresult*)> ended(PQgetResult(handle()), PQclear);
    const bool good = PQresultStatus(ended.get()) == PGRES_COMMAND_OK;
    while (PGresult* more = PQgetResult(handle())) PQclear(more);
    if (!good) return std::unexpected(error("copying " + table.name));
    return taken;
  }

  Result<void> copy_in(const Table& table, std::istream& rows) {
    const std::string sql = fmt::format("COPY {} ({}) FROM STDIN", table.quoted, table.columns);
    const std::unique_ptr<PGresult, void (*)(PGresult*)> started(PQexec(handle(), sql.c_str()), PQclear);
    if (PQresultStatus(started.get()) != PGRES_COPY_IN) return std::unexpected(error("filling " + table.name));
    std::vector<char> buffer(256 * 1024);
    while (rows.read(buffer.data(), static_cast<std::streamsize>(buffer.size())) || rows.gcount() > 0) {
      if (PQputCopyData(handle(), buffer.data(), static_cast<int>(rows.gcount())) != 1) break;
    }
    if (PQputCopyEnd(handle(), nullptr) != 1) return std::unexpected(error("filling " + table.name));
    const std::unique_ptr<PGresult, void (*)(PGresult*)> ended(PQgetResult(handle()), PQclear);
    const bool good = PQresultStatus(ended.get()) == PGRES_COMMAND_OK;
    while (PGresult* more = PQgetResult(handle())) PQclear(more);
    if (!good) return std::unexpected(error("filling " + table.name));
    return {};
  }

 private:
  struct Finish {
    void operator()(PGconn* handle) const { PQfinish(handle); }
  };
  std::unique_ptr<PGconn, Finish> handle_;
};

// The schema's tables, each after those that it refers to.
Result<std::vector<Table>> list_tables(Session& session) {
  auto rows = session.run(
      "SELECT c.relname, quote_ident(c.relname), (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) "
      "FROM "
      "pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') FROM "
      "pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind = 'r' "
      "ORDER BY c.relname");
  if (!rows) return std::unexpected(rows.error());
  auto references = session.run(
      "SELECT a.relname, b.relname FROM pg_constraint k JOIN pg_class a ON a.oid = k.conrelid JOIN pg_class b ON b.oid "
      "= "
      "k.confrelid JOIN pg_namespace n ON n.oid = a.relnamespace WHERE k.contype = 'f' AND a.oid <> b.oid AND "
      "n.nspname = "
      "current_schema()");
  if (!references) return std::unexpected(references.error());
  std::map<std::string, std::set<std::string>> waits_for;
  for (const auto& reference : *references) waits_for[reference[0]].insert(reference[1]);
  std::vector<Table> ordered;
  std::set<std::string> placed;
  while (ordered.size() < rows->size()) {
    const std::size_t before = ordered.size();
    for (const auto& row : *rows) {
      if (placed.contains(row[0])) continue;
      const auto& needs = waits_for[row[0]];
      if (!std::ranges::all_of(needs, [&](const std::string& name) { return placed.contains(name); })) continue;
      placed.insert(row[0]);
      ordered.push_back({row[0], row[1], row[2]});
    }
    if (ordered.size() == before) return fail(ErrorCode::kUnsupported, "the tables refer to each other in a circle");
  }
  return ordered;
}

Result<void> compare(const TableCopy& was, const RowDigest& is) {
  if (is.rows() == was.rows && is.hex() == was.digest) return {};
  return fail(ErrorCode::kDataLoss, fmt::format("table {} has {} rows ({}), in the manifest {} ({})", was.name,
                                                is.rows(), is.hex(), was.rows, was.digest));
}

std::filesystem::path file_of(const std::filesystem::path& folder, const std::string& table) {
  return folder / (table + ".copy");
}

}  // namespace

Result<void> copy_postgres(const Secret& url, const std::filesystem::path& folder, Clock&, Manifest& manifest) {
  auto session = Session::open(url);
  if (!session) return std::unexpected(session.error());
  if (auto begun =
          session->run("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY; SET LOCAL statement_timeout = 0; SET "
                       "LOCAL idle_in_transaction_session_timeout = 0");
      !begun) {
    return std::unexpected(begun.error());
  }
  auto tables = list_tables(*session);
  if (!tables) return std::unexpected(tables.error());
  for (const Table& table : *tables) {
    const auto path = file_of(folder, table.name);
    std::ofstream file(path, std::ios::binary);
    ::chmod(path.c_str(), 0600);
    RowDigest digest;
    auto copied = session->copy_out(table, [&](std::string_view row) -> Result<void> {
      digest.add(row);
      if (!file.write(row.data(), static_cast<std::streamsize>(row.size()))) {
        return fail(ErrorCode::kResourceExhausted, fmt::format("{} could not be written", path.string()));
      }
      return {};
    });
    if (!copied) return copied;
    file.close();
    if (!file) return fail(ErrorCode::kResourceExhausted, fmt::format("{} could not be written", path.string()));
    if (auto synced = sync_path(path); !synced) return synced;
    manifest.tables.push_back({table.name, digest.rows(), digest.hex()});
  }
  if (std::ranges::any_of(*tables, [](const Table& table) { return table.name == "fettle_migrations"; })) {
    auto applied = session->run("SELECT room, version, name, checksum FROM fettle_migrations ORDER BY seq");
    if (!applied) return std::unexpected(applied.error());
    for (const auto& row : *applied) {
      std::int32_t version = 0;
      std::from_chars(row[1].data(), row[1].data() + row[1].size(), version);
      manifest.migrations.push_back({row[0], version, row[2], row[3]});
    }
  }
  return {};
}

Result<void> check_postgres(const std::filesystem::path& folder, const Manifest& manifest) {
  for (const TableCopy& table : manifest.tables) {
    std::ifstream file(file_of(folder, table.name), std::ios::binary);
    if (!file) return fail(ErrorCode::kDataLoss, fmt::format("the file of table {} is missing", table.name));
    RowDigest digest;
    for (std::string line; std::getline(file, line);) digest.add(line + "\n");
    if (auto same = compare(table, digest); !same) return same;
  }
  return {};
}

Result<void> require_empty_postgres(const Secret& url) {
  auto session = Session::open(url);
  if (!session) return std::unexpected(session.error());
  auto tables = list_tables(*session);
  if (!tables) return std::unexpected(tables.error());
  if (!tables->empty()) {
    return fail(ErrorCode::kConflict,
                fmt::format("the schema holds {} tables already, {} among them", tables->size(), tables->front().name));
  }
  return {};
}

Result<void> fill_postgres(const std::filesystem::path& folder, const Secret& url, const Manifest& manifest) {
  auto session = Session::open(url);
  if (!session) return std::unexpected(session.error());
  if (auto begun = session->run("BEGIN; SET LOCAL statement_timeout = 0"); !begun)
    return std::unexpected(begun.error());
  auto tables = list_tables(*session);
  if (!tables) return std::unexpected(tables.error());
  if (tables->size() != manifest.tables.size()) {
    return fail(ErrorCode::kDataLoss, fmt::format("the migrations make {} tables, the backup has {}", tables->size(),
                                                  manifest.tables.size()));
  }
  for (const Table& table : *tables) {
    const auto was = std::ranges::find(manifest.tables, table.name, &TableCopy::name);
    if (was == manifest.tables.end()) return fail(ErrorCode::kDataLoss, "the backup lacks table " + table.name);
    // Rows that the migrations themselves put there come back from the backup; triggers had their say when the rows
    // were first written.
    for (const std::string& step : {fmt::format("ALTER TABLE {} DISABLE TRIGGER USER", table.quoted),
                                    fmt::format("DELETE FROM {}", table.quoted)}) {
      if (auto ran = session->run(step); !ran) return std::unexpected(ran.error());
    }
    std::ifstream file(file_of(folder, table.name), std::ios::binary);
    if (auto filled = session->copy_in(table, file); !filled) return filled;
    RowDigest digest;
    auto read = session->copy_out(table, [&](std::string_view row) -> Result<void> {
      digest.add(row);
      return {};
    });
    if (!read) return read;
    if (auto same = compare(*was, digest); !same) return same;
    if (auto ran = session->run(fmt::format("ALTER TABLE {} ENABLE TRIGGER USER", table.quoted)); !ran) {
      return std::unexpected(ran.error());
    }
  }
  // Numbers that the server gives out go on after the highest that is there.
  auto sequences = session->run(
      "SELECT format('SELECT setval(%L, COALESCE((SELECT MAX(%I) FROM %I), 0) + 1, false)', "
      "pg_get_serial_sequence(quote_ident(c.relname), a.attname), a.attname, c.relname) FROM pg_class c JOIN "
      "pg_attribute a "
      "ON a.attrelid = c.oid JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND "
      "c.relkind "
      "= 'r' AND a.attnum > 0 AND NOT a.attisdropped AND pg_get_serial_sequence(quote_ident(c.relname), a.attname) IS "
      "NOT "
      "NULL");
  if (!sequences) return std::unexpected(sequences.error());
  for (const auto& row : *sequences) {
    if (auto ran = session->run(row[0]); !ran) return std::unexpected(ran.error());
  }
  if (auto committed = session->run("COMMIT"); !committed) return std::unexpected(committed.error());
  return {};
}

}  // namespace fettle::db
