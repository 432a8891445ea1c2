#include "engine/host/service.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <functional>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "core/log.h"
#include "engine/host/formats.h"
#include "engine/host/gzip.h"
#include "engine/host/http_error.h"
#include "engine/host/statement.h"

namespace fettle::engine_host {
namespace {

using std::chrono::nanoseconds;

// A result up to this size is answered whole, with its length and the counts of the whole statement in its head.
constexpr std::size_t kStreamAfterBytes = 1024 * 1024;
constexpr std::uint64_t kUnknownBodyBytes = 64 * 1024 * 1024;  // what a body without Content-Length is taken for
constexpr std::size_t kLoggedSqlBytesMax = 400;
// The engine ends a statement at max_execution_time by itself where it looks at the clock; the host kills it later.
constexpr std::chrono::seconds kKillAfter{2};
constexpr int kHealthWaitingMax = 8;
constexpr int kNamedQueryBytesMax = 128;
constexpr std::uint64_t kSessionSeconds = 60;  // as ClickHouse has it
constexpr std::uint64_t kSessionSecondsMax = 3'600;
constexpr std::size_t kGzipFromBytes = 1'024;

// Parameters of ClickHouse's HTTP interface that are not settings.
constexpr auto kNotSettings = std::to_array<std::string_view>({"query",
                                                               "query_id",
                                                               "database",
                                                               "default_format",
                                                               "session_id",
                                                               "session_timeout",
                                                               "session_check",
                                                               "user",
                                                               "password",
                                                               "quota_key",
                                                               "role",
                                                               "stacktrace",
                                                               "buffer_size",
                                                               "wait_end_of_query",
                                                               "compress",
                                                               "decompress",
                                                               "client_protocol_version",
                                                               "close_session",
                                                               "fettle_stream",
                                                               "readonly"});

// What a reader over TCP may set: how results look, and limits.
constexpr auto kReaderPrefixes = std::to_array<std::string_view>({"output_format_",
                                                                  "date_time_output_format",
                                                                  "date_time_input_format",
                                                                  "session_timezone",
                                                                  "format_csv_",
                                                                  "join_use_nulls",
                                                                  "extremes",
                                                                  "max_block_size",
                                                                  "max_result_rows",
                                                                  "max_result_bytes",
                                                                  "result_overflow_mode",
                                                                  "max_rows_to_read",
                                                                  "max_bytes_to_read",
                                                                  "read_overflow_mode",
                                                                  "max_execution_time",
                                                                  "max_threads",
                                                                  "limit",
                                                                  "offset",
                                                                  "send_progress_in_http_headers",
                                                                  "http_headers_progress_interval_ms",
                                                                  "cancel_http_readonly_queries_on_client_close",
                                                                  "enable_http_compression",
                                                                  "http_write_exception_in_output_format"});

// Functions, by name or by how it begins, that show a reader what the row filter does not cover, reach outside of the
// engine, or hold a thread without working. The ones on JSON and LowCardinality columns tell of the column as it is
// stored, with the keys of every workspace, and not of its rows.
constexpr auto kReaderFunctionsRefused = std::to_array<std::string_view>({"aiclassify",
                                                                          "aiextract",
                                                                          "aigenerate",
                                                                          "aitranslate",
                                                                          "arrowstream",
                                                                          "azureblobstorage*",
                                                                          "catboost*",
                                                                          "cluster*",
                                                                          "cosn",
                                                                          "deltalake*",
                                                                          "dictget*",
                                                                          "dictionary",
                                                                          "distinctdynamictypes*",
                                                                          "distinctjsonpaths*",
                                                                          "dumpcolumnstructure",
                                                                          "executable*",
                                                                          "file",
                                                                          "filecluster",
                                                                          "filesystem*",
                                                                          "flamegraph*",

                                                                          "fuzzquery",
                                                                          "gcs",
                                                                          "getmacro",
                                                                          "getmergetreesetting",
                                                                          "getserversetting",
                                                                          "hdfs*",
                                                                          "hudi*",
                                                                          "iceberg*",
                                                                          "input",
                                                                          "jdbc",
                                                                          "logtrace",
                                                                          "loop",
                                                                          "lowcardinalityindices",
                                                                          "lowcardinalitykeys",
                                                                          "merge",
                                                                          "mergetree*",
                                                                          "mongodb",
                                                                          "mysql",
                                                                          "odbc",
                                                                          "oss",
                                                                          "paimon*",
                                                                          "postgresql",
                                                                          "prometheusquery*",
                                                                          "python",
                                                                          "redis",
                                                                          "remote",
                                                                          "remotesecure",
                                                                          "s3",
                                                                          "s3cluster",
                                                                          "showcertificate",
                                                                          "sleep",
                                                                          "sleepeachrow",
                                                                          "sqlite",
                                                                          "timeseriesdata",
                                                                          "timeseriesmetrics",
                                                                          "timeseriesselector",
                                                                          "timeseriestags",
                                                                          "url",
                                                                          "urlcluster",
                                                                          "viewexplain",
                                                                          "ytsaurus"});

// What of `system` a caller over TCP may name: what client programs ask for, and what tells nothing of the host. Most
// of the first is empty for him by the row filter; others are not even asked, because some act when they are read
// (`models` starts a program).
constexpr auto kTcpSystemTables = std::to_array<std::string_view>(
    {"collations", "columns", "data_type_families", "databases", "formats", "functions", "keywords", "numbers", "one",
     "numbers_mt", "parts", "table_functions", "tables", "time_zones", "zeros", "zeros_mt"});

bool is_one_of(std::string_view name, auto& list) { return std::find(list.begin(), list.end(), name) != list.end(); }

bool is_refused_function(std::string_view name) {
  return std::any_of(kReaderFunctionsRefused.begin(), kReaderFunctionsRefused.end(), [&](std::string_view refused) {
    return refused.ends_with('*') ? name.starts_with(refused.substr(0, refused.size() - 1)) : name == refused;
  });
}

std::optional<std::uint64_t> to_number(std::string_view text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::string summary(const Counts& counts, std::uint64_t result_bytes, nanoseconds took) {
  return fmt::format(
      R"({{"read_rows":"{}","read_bytes":"{}","written_rows":"{}","written_bytes":"{}","total_rows_to_read":"0",)"
      R"("result_rows":"0","result_bytes":"{}","elapsed_ns":"{}"}})",
      counts.rows_read, counts.bytes_read, counts.rows_written, counts.bytes_written, result_bytes, took.count());
}

void add(Counts& sum, const Counts& more) {
  sum.rows_read += more.rows_read;
  sum.bytes_read += more.bytes_read;
  sum.rows_written += more.rows_written;
  sum.bytes_written += more.bytes_written;
}

// Bytes as a file that the engine can open by name.
std::optional<http::BodyFile> memory_file(std::string_view bytes) {
  http::BodyFile file(memfd_create("insert", MFD_CLOEXEC));
  if (!file.is_open()) return std::nullopt;
  std::string_view rest = bytes;
  while (!rest.empty()) {
    const ssize_t written = write(file.fd(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return std::nullopt;
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  file.set_bytes(bytes.size());
  return file;
}

std::optional<std::string> read_file(const http::BodyFile& file, std::size_t bytes_max) {
  if (file.bytes() > bytes_max) return std::nullopt;
  std::string out(file.bytes(), '\0');
  std::size_t at = 0;
  while (at < out.size()) {
    const ssize_t got = pread(file.fd(), out.data() + at, out.size() - at, static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return std::nullopt;
    at += static_cast<std::size_t>(got);
  }
  return out;
}

std::string_view kind_name(StatementKind kind) {
  switch (kind) {
    case StatementKind::kSelect: return "select";
    case StatementKind::kRead: return "read";
    case StatementKind::kInsertData: return "insert";
    case StatementKind::kInsertSelect: return "insert_select";
    case StatementKind::kSession: return "session";
    case StatementKind::kOther: return "other";
  }
  return "other";
}

bool is_read(StatementKind kind) { return kind == StatementKind::kSelect || kind == StatementKind::kRead; }

std::string compression_of(std::string_view content_encoding) {
  for (const std::string_view known : {"gzip", "zstd", "deflate", "br", "xz", "lz4"}) {
    if (content_encoding == known) return std::string(known);
  }
  return {};
}

}  // namespace

struct Service::Job {
  Caller caller;
  Statement statement;
  SessionSpec session;
  std::vector<std::pair<std::string, std::string>> params;
  std::string query_id;
  std::string default_format;
  std::string compression;   // of the insert's body
  std::string token;         // of the insert
  std::string session_name;  // of the caller's choice
  std::chrono::seconds session_kept_for{};
  bool may_stream = true;
  bool wants_gzip = false;
  http::BodyFile data;  // rows of an insert
  nanoseconds time_max{};
};

// What became of a statement, and the way to its client.
struct Service::Answer {
  http::Responder responder;
  std::shared_ptr<Watched> watched;
  http::Response head;
  std::unique_ptr<http::ResponseStream> stream;  // once streaming has begun
  Counts counts;
  std::uint64_t result_bytes = 0;
  nanoseconds began{};
  int error_code = 0;
  std::optional<Gzip> gzip;

  void begin_gzip() {
    gzip.emplace();
    head.headers.set("Content-Encoding", "gzip");
  }
  // To the stream; false once the reader is gone.
  bool write(std::string_view bytes) {
    if (!gzip) return bytes.empty() || stream->write(bytes);
    const std::string packed = gzip->add(bytes);
    return packed.empty() || stream->write(packed);
  }
  // The whole result is in: sends what is left of it.
  void complete(bool wants_gzip) {
    if (stream) {
      if (gzip && !stream->write(gzip->finish())) return;
      return stream->finish();
    }
    if (wants_gzip && head.body.size() >= kGzipFromBytes) {
      begin_gzip();
      std::string packed = gzip->add(head.body);
      packed += gzip->finish();
      head.body = std::move(packed);
    }
    std::move(responder).respond(std::move(head));
  }
};

Service::Service(Engine& engine, ServiceOptions options, Tokens* tokens, Clock& clock, metrics::Registry& metrics)
    : options_(options),
      tokens_(tokens),
      clock_(clock),
      metrics_(metrics),
      pool_(engine, clock, options.sessions_idle_max),
      watch_(engine, clock, metrics),
      reads_("read", options.read_threads, options.reads_waiting_max, metrics),
      tcp_reads_("tcp_read", std::max(1, options.read_threads / 2), options.reads_waiting_max / 2, metrics),
      inserts_("insert", options.insert_threads, options.inserts_waiting_max, metrics),
      others_("other", options.other_threads, options.others_waiting_max, metrics),
      health_("health", 1, kHealthWaitingMax, metrics) {}

Service::~Service() { stop(); }

void Service::stop() {
  watch_.kill_all();
  for (Lane* lane : {&reads_, &tcp_reads_, &inserts_, &others_, &health_}) lane->stop();
  watch_.stop();
  pool_.close_idle();
}

http::Gate Service::gate(Listener listener) {
  return [this, listener](http::Request& request) {
    http::GateDecision decision;
    const auto refuse = [&](const Failure& failure) {
      decision.refuse = std::make_unique<http::Response>(error_response(failure, request.query.get("query_id")));
    };
    if (listener == Listener::kTcp && request.path != "/ping") {
      const auto caller = tokens_ == nullptr ? std::nullopt : tokens_->find(token_of(request));
      if (!caller) {
        refuse(host_failure(kAuthenticationFailed, "AUTHENTICATION_FAILED", "a valid token is required"));
        return decision;
      }
    }
    // With the SQL in the URL the body is data, which the engine reads from a file.
    const bool is_data = !request.query.get("query").empty();
    decision.body_to = is_data ? http::GateDecision::BodyTo::kMemoryFile : http::GateDecision::BodyTo::kMemory;
    decision.body_bytes_max = is_data ? options_.insert_bytes_max : options_.query_bytes_max;

    std::uint64_t announced = 0;
    if (request.headers.has("Content-Length")) {
      announced = to_number(request.headers.get("Content-Length")).value_or(kUnknownBodyBytes);
    } else if (request.headers.has("Transfer-Encoding")) {
      announced = std::min<std::uint64_t>(kUnknownBodyBytes, decision.body_bytes_max);
      decision.body_bytes_max = announced;
    }
    if (announced == 0) return decision;
    if (bodies_bytes_.fetch_add(announced) + announced > options_.bodies_bytes_max) {
      bodies_bytes_ -= announced;
      refuse(host_failure(kTooManySimultaneousQueries, "TOO_MANY_SIMULTANEOUS_QUERIES",
                          "too many bytes are on their way in"));
      return decision;
    }
    decision.on_end = [this, announced] { bodies_bytes_ -= announced; };
    return decision;
  };
}

http::Handler Service::handler(Listener listener) {
  return [this, listener](http::Request request, http::Responder responder) {
    handle(listener, std::move(request), std::move(responder));
  };
}

void Service::handle(Listener listener, http::Request request, http::Responder responder) {
  const auto ok = [&] { std::move(responder).respond(http::Response::make(200, "text/html; charset=UTF-8", "Ok.\n")); };
  const bool is_get = request.method == "GET" || request.method == "HEAD";
  if (request.path == "/ping") return ok();
  if (listener == Listener::kUnix && is_get && request.path == "/metrics") {
    std::move(responder).respond(
        http::Response::make(200, "text/plain; version=0.0.4; charset=utf-8", metrics_.prometheus_text()));
    return;
  }
  if (listener == Listener::kUnix && is_get && request.path == "/health") return answer_health(std::move(responder));
  if (request.path != "/") {
    std::move(responder).respond(http::Response::make(404, "text/plain; charset=UTF-8", "There is nothing here.\n"));
    return;
  }
  if (is_get && request.query.get("query").empty()) return ok();
  if (!is_get && request.method != "POST" && request.method != "PUT") {
    std::move(responder).respond(http::Response::make(405, "text/plain; charset=UTF-8", "Use GET or POST.\n"));
    return;
  }

  Caller caller{.workspace = {}, .is_trusted = true};
  if (listener == Listener::kTcp) {
    auto found = tokens_->find(token_of(request));
    if (!found) {
      const Failure failure = host_failure(kAuthenticationFailed, "AUTHENTICATION_FAILED", "a valid token is required");
      std::move(responder).respond(error_response(failure, {}));
      return;
    }
    caller = std::move(*found);
  }
  auto job = prepare(caller, request);
  if (!job) {
    const Error& error = job.error();
    const bool is_denied = error.code() == ErrorCode::kPermissionDenied;
    const Failure failure = error.code() == ErrorCode::kTooLarge
                                ? host_failure(kQueryIsTooLarge, "QUERY_IS_TOO_LARGE", error.message())
                            : is_denied ? host_failure(kReadonly, "READONLY", error.message())
                                        : host_failure(kSyntaxError, "SYNTAX_ERROR", error.message());
    std::move(responder).respond(error_response(failure, request.query.get("query_id")));
    return;
  }
  submit(std::move(*job), std::move(responder));
}

Result<std::unique_ptr<Service::Job>> Service::prepare(const Caller& caller, http::Request& request) {
  auto job = std::make_unique<Job>();
  job->caller = caller;
  if (request.query.get("compress") == "1" || request.query.get("decompress") == "1") {
    return fail(ErrorCode::kInvalidArgument, "ClickHouse's own block compression is not spoken here; use gzip");
  }

  std::string sql(request.query.get("query"));
  const bool is_query_in_url = !sql.empty();
  if (!is_query_in_url) {
    sql = std::move(request.body);
    const std::string compression = compression_of(request.headers.get("Content-Encoding"));
    if (compression == "gzip") {
      auto plain = gunzip(sql, options_.query_bytes_max);
      if (!plain) return std::unexpected(std::move(plain).error());
      sql = std::move(*plain);
    } else if (!compression.empty()) {
      return fail(ErrorCode::kInvalidArgument, "a query in the body can be compressed with gzip only");
    }
  }
  auto statement = parse_statement(sql);
  if (!statement) return std::unexpected(std::move(statement).error());
  if (is_query_in_url && statement->kind != StatementKind::kInsertData && request.body_file.bytes() != 0) {
    // ClickHouse takes a body after a query in the URL for the rest of the query.
    auto rest = read_file(request.body_file, options_.query_bytes_max);
    if (!rest) return fail(ErrorCode::kTooLarge, "the query is too large");
    sql += '\n';
    sql += *rest;
    statement = parse_statement(sql);
    if (!statement) return std::unexpected(std::move(statement).error());
  }
  job->statement = std::move(*statement);

  if (job->statement.kind == StatementKind::kInsertData) {
    const bool has_body = request.body_file.bytes() != 0;
    if (has_body && job->statement.inline_data.find_first_not_of(" \t\r\n;") != std::string::npos) {
      return fail(ErrorCode::kInvalidArgument, "rows come either in the query or in the body, not in both");
    }
    if (has_body) {
      job->data = std::move(request.body_file);
      job->compression = compression_of(request.headers.get("Content-Encoding"));
    } else {
      auto file = memory_file(job->statement.inline_data);
      if (!file) return fail(ErrorCode::kTooLarge, "the rows do not fit into memory");
      job->data = std::move(*file);
    }
    job->statement.inline_data = {};
  }

  const bool is_get = request.method == "GET" || request.method == "HEAD";
  if (is_get && !is_read(job->statement.kind)) {
    return fail(ErrorCode::kPermissionDenied, "a GET request may only read: use POST");
  }

  job->query_id = request.query.get("query_id");
  if (job->query_id.empty()) job->query_id = fmt::format("{:x}-{}", getpid(), next_query_++);
  if (job->query_id.size() > kNamedQueryBytesMax) job->query_id.resize(kNamedQueryBytesMax);
  job->session.database = request.query.get("database");
  if (job->session.database.empty()) job->session.database = request.headers.get("X-ClickHouse-Database");
  job->default_format = request.headers.get("X-ClickHouse-Format");
  if (job->default_format.empty()) job->default_format = request.query.get("default_format");
  if (job->default_format.empty()) job->default_format = "TabSeparated";
  if (const std::string_view name = request.query.get("session_id"); !name.empty() && caller.is_trusted) {
    job->session_name = name.substr(0, kNamedQueryBytesMax);
    job->session_kept_for = std::chrono::seconds(std::clamp<std::uint64_t>(
        to_number(request.query.get("session_timeout")).value_or(kSessionSeconds), 1, kSessionSecondsMax));
  }
  job->wants_gzip = request.query.get("enable_http_compression") == "1" &&
                    request.headers.get("Accept-Encoding").find("gzip") != std::string_view::npos;
  job->may_stream = request.query.get("fettle_stream") != "0";
  const std::string_view readonly = request.query.get("readonly");
  job->session.is_read_only = !caller.is_trusted || (!readonly.empty() && readonly != "0");

  for (const auto& [name, value] : request.query) {
    constexpr std::string_view kParam = "param_";
    if (name.starts_with(kParam)) {
      job->params.emplace_back(name.substr(kParam.size()), value);
    } else if (!is_one_of(name, kNotSettings)) {
      job->session.settings[name] = value;
    }
  }
  auto& settings = job->session.settings;
  // The row filter goes by this setting.
  if (!caller.is_trusted) settings["log_comment"] = caller.workspace;
  if (job->session.is_read_only) {
    if (auto restricted = restrict_statement(*job); !restricted) return std::unexpected(std::move(restricted).error());
  }
  if (!caller.is_trusted) {
    if (auto restricted = restrict_settings(*job); !restricted) return std::unexpected(std::move(restricted).error());
  }

  if (job->statement.kind == StatementKind::kInsertData) {
    // The token is made part of the statement, so that the session serves the next insert too. Without one the engine
    // drops a block that equals an earlier one; but two equal batches are two batches.
    const auto token = settings.extract("insert_deduplication_token");
    job->token = token && !token.mapped().empty() ? token.mapped() : fmt::format("{}-{}", job->query_id, clock_.now());
  }
  if (is_read(job->statement.kind)) {
    settings.try_emplace("max_execution_time", std::to_string(options_.read_time_max.count()));
  }
  std::uint64_t seconds = 0;
  if (const auto given = settings.find("max_execution_time"); given != settings.end()) {
    seconds = to_number(given->second.substr(0, given->second.find('.'))).value_or(0);
  } else if (job->statement.kind == StatementKind::kInsertData) {
    seconds = static_cast<std::uint64_t>(options_.insert_time_max.count());
  }
  constexpr std::uint64_t kDay = 86'400;
  if (seconds != 0) job->time_max = std::chrono::seconds(std::min(seconds, kDay)) + kKillAfter;
  return job;
}

Result<void> Service::restrict_statement(const Job& job) const {
  const auto deny = [](std::string what) { return fail(ErrorCode::kPermissionDenied, std::move(what)); };
  if (!is_read(job.statement.kind)) {
    return deny("a read-only caller may only SELECT, WITH, SHOW, DESCRIBE, EXISTS and EXPLAIN");
  }
  // With readonly = 1 the engine checks the settings of the outermost query alone.
  if (mentions(job.statement.text, "settings")) return deny("a read-only caller may not use a SETTINGS clause");
  for (const std::string& name : function_names(job.statement.text)) {
    if (is_refused_function(name)) {
      return deny(fmt::format("a read-only caller may not use the function {}", name));
    }
  }
  if (job.caller.is_trusted) return {};
  // EXPLAIN tells how many rows of others it would pass over, and stands in subqueries too.
  if (mentions(job.statement.text, "explain")) return deny("EXPLAIN is not for callers over TCP");
  if (mentions(job.statement.text, "identifier")) return deny("a parameter cannot be a name over TCP");
  if (job.session.database == "system") return deny("the database system cannot be made the own one over TCP");
  for (const std::string& table : names_in(job.statement.text, "system")) {
    if (!is_one_of(table, kTcpSystemTables)) return deny(fmt::format("system.{} is not for callers over TCP", table));
  }
  return {};
}

Result<void> Service::restrict_settings(Job& job) const {
  const auto deny = [](std::string what) { return fail(ErrorCode::kPermissionDenied, std::move(what)); };
  auto& settings = job.session.settings;
  for (const auto& [name, value] : settings) {
    const std::string& setting = name;
    const bool is_known = name == "log_comment" ||
                          std::any_of(kReaderPrefixes.begin(), kReaderPrefixes.end(), [&](std::string_view allowed) {
                            return allowed.ends_with('_') ? setting.starts_with(allowed) : setting == allowed;
                          });
    if (!is_known) return deny(fmt::format("this token may not change the setting {}", name));
  }
  const auto bound = [&](const std::string& name, std::uint64_t most) {
    const auto given = settings.find(name);
    const auto value = given == settings.end() ? std::nullopt : to_number(given->second);
    settings[name] = std::to_string(value && *value != 0 ? std::min(*value, most) : most);
  };
  // As it is stored the column would bring along the keys of every workspace.
  settings["output_format_native_write_json_as_string"] = "1";
  bound("max_execution_time", static_cast<std::uint64_t>(options_.tcp_read_time_max.count()));
  bound("max_memory_usage", options_.tcp_memory_max);
  bound("max_threads", 1);
  return {};
}

Lane& Service::lane_of(const Job& job) {
  if (!job.caller.is_trusted) return tcp_reads_;
  if (is_read(job.statement.kind)) return reads_;
  return job.statement.kind == StatementKind::kInsertData ? inserts_ : others_;
}

void Service::submit(std::unique_ptr<Job> job, http::Responder responder) {
  Lane& lane = lane_of(*job);
  const std::string query_id = job->query_id;
  // Shared with the lane, so that a refused job's responder is still at hand.
  auto way_back = std::make_shared<http::Responder>(std::move(responder));
  Lane::Job work = [this, job = std::move(job), way_back]() mutable { execute(*job, std::move(*way_back)); };
  if (!lane.submit(work)) {
    const Failure busy =
        host_failure(kTooManySimultaneousQueries, "TOO_MANY_SIMULTANEOUS_QUERIES", "too many statements are waiting");
    std::move(*way_back).respond(error_response(busy, query_id));
  }
}

void Service::execute(Job& job, http::Responder responder) {
  Answer answer{.responder = std::move(responder)};
  answer.began = clock_.monotonic();
  answer.watched = watch_.begin(job.query_id, job.time_max);
  const std::unique_ptr<Watched, std::function<void(Watched*)>> unwatch(
      answer.watched.get(), [this, watched = answer.watched](Watched*) { watch_.end(watched); });
  answer.responder.on_close([this, watched = answer.watched] { watch_.kill(watched, KillReason::kClientLeft); });

  const std::string& format = job.statement.format.empty() ? job.default_format : job.statement.format;
  answer.head = http::Response::make(200, content_type(format), {});
  answer.head.headers.set("X-ClickHouse-Query-Id", job.query_id);
  answer.head.headers.set("X-ClickHouse-Format", format);
  answer.head.headers.set("X-ClickHouse-Timezone", "UTC");
  answer.head.headers.set("X-ClickHouse-Server-Display-Name", "fettle-engine");

  const bool is_streamed =
      job.statement.kind == StatementKind::kSelect && job.may_stream && joining(format) != Joining::kNone;
  if (is_read(job.statement.kind) && !is_streamed) {
    job.session.settings.try_emplace("max_result_bytes", std::to_string(options_.whole_result_bytes_max));
    job.session.settings.try_emplace("result_overflow_mode", "throw");
  }

  Outcome<void> done;
  auto lease = job.session_name.empty() ? pool_.take(job.session)
                                        : pool_.take_named(job.session_name, job.session, job.session_kept_for);
  if (!lease) {
    done = std::unexpected(std::move(lease).error());
  } else {
    done = is_streamed ? run_stream(job, *lease, answer) : run_whole(job, *lease, answer);
    // Never keep a session that failed, was told to stop, or that the statement has changed.
    const bool is_changed = job.statement.kind == StatementKind::kSession && job.session_name.empty();
    if (done && answer.watched->killed() == KillReason::kNone && !is_changed) lease->give_back();
  }

  if (done) {
    // Last, so that the caller's next statement finds its session free.
    answer.complete(job.wants_gzip);
  } else {
    Failure& failure = done.error();
    if (answer.watched->killed() == KillReason::kTimeUp && failure.code == kQueryWasCancelled) {
      failure = host_failure(kTimeoutExceeded, "TIMEOUT_EXCEEDED", "the statement ran longer than it may");
    }
    answer.error_code = failure.code == 0 ? -1 : failure.code;
    if (answer.stream) {
      // Part of the result is on its way with status 200: only a cut connection tells that it is not whole.
      answer.stream->abort();
    } else {
      std::move(answer.responder).respond(error_response(failure, job.query_id));
    }
  }
  account(job, answer, clock_.monotonic() - answer.began);
}

Outcome<void> Service::run_whole(Job& job, SessionPool::Lease& lease, Answer& answer) {
  std::string sql = answer.watched->tag();
  if (job.statement.kind == StatementKind::kInsertData) {
    sql += insert_from_file(job.statement, fmt::format("/proc/self/fd/{}", job.data.fd()), job.compression, job.token,
                            job.default_format);
  } else {
    sql += job.statement.text;
  }
  if (answer.watched->killed() != KillReason::kNone) {
    return std::unexpected(
        host_failure(kQueryWasCancelled, "QUERY_WAS_CANCELLED", "the statement was cancelled before it began"));
  }
  auto result = lease->run({.sql = sql, .format = job.default_format, .params = job.params});
  if (!result) return std::unexpected(std::move(result).error());
  answer.counts = result->counts;
  answer.result_bytes = result->bytes.size();
  answer.head.body = result->bytes;
  answer.head.headers.set("X-ClickHouse-Summary",
                          summary(answer.counts, answer.result_bytes, clock_.monotonic() - answer.began));
  return {};
}

Outcome<void> Service::run_stream(Job& job, SessionPool::Lease& lease, Answer& answer) {
  const std::string sql = answer.watched->tag() + job.statement.text;
  const std::string& format = job.statement.format.empty() ? job.default_format : job.statement.format;
  const bool has_header = joining(format) == Joining::kOneHeader;
  const auto cancelled = [] {
    return std::unexpected(host_failure(kQueryWasCancelled, "QUERY_WAS_CANCELLED", "the statement was cancelled"));
  };
  if (answer.watched->killed() != KillReason::kNone) return cancelled();
  if (auto opened = lease->open_stream({.sql = sql, .format = job.default_format, .params = job.params}); !opened) {
    return opened;
  }
  const auto summarise = [&] {
    answer.head.headers.set("X-ClickHouse-Summary",
                            summary(answer.counts, answer.result_bytes, clock_.monotonic() - answer.began));
  };
  std::string buffered;
  bool is_first = true;
  while (true) {
    auto piece = lease->next();
    if (!piece) return std::unexpected(std::move(piece).error());
    if (answer.watched->killed() != KillReason::kNone) return cancelled();
    if (piece->bytes.empty()) break;
    add(answer.counts, piece->counts);
    std::string_view bytes = piece->bytes;
    if (has_header && !is_first) bytes.remove_prefix(header_bytes(format, bytes));
    is_first = false;
    answer.result_bytes += bytes.size();
    if (!answer.stream && buffered.size() + bytes.size() <= kStreamAfterBytes) {
      buffered += bytes;
      continue;
    }
    if (!answer.stream) {
      summarise();
      if (job.wants_gzip) answer.begin_gzip();
      answer.stream = std::move(answer.responder).stream(std::move(answer.head));
      answer.stream->on_close([this, watched = answer.watched] { watch_.kill(watched, KillReason::kClientLeft); });
      if (!answer.write(buffered)) return cancelled();
      buffered = {};
    }
    if (!answer.write(bytes)) return cancelled();
  }
  if (!answer.stream) {
    summarise();
    answer.head.body = std::move(buffered);
  }
  return {};
}

void Service::answer_health(http::Responder responder) {
  auto way_back = std::make_shared<http::Responder>(std::move(responder));
  const auto say = [way_back](int status, std::string_view text) {
    std::move(*way_back).respond(http::Response::make(status, "text/plain; charset=UTF-8", fmt::format("{}\n", text)));
  };
  Lane::Job work = [this, say] {
    if (const int stuck = watch_.stuck(); stuck > 0) {
      return say(503, fmt::format("{} statements do not end although they were killed", stuck));
    }
    auto lease = pool_.take({});
    if (!lease) return say(503, lease.error().message);
    auto one = (*lease)->run({.sql = "SELECT 1", .format = "TabSeparated", .params = {}});
    if (!one) return say(503, one.error().message);
    if (one->bytes != "1\n") return say(503, "SELECT 1 answers something else");
    lease->give_back();
    say(200, "Ok.");
  };
  if (!health_.submit(work)) say(503, "health questions go unanswered");
}

void Service::account(const Job& job, const Answer& answer, nanoseconds took) {
  const std::string kind(kind_name(job.statement.kind));
  const double seconds = std::chrono::duration<double>(took).count();
  metrics_
      .counter("fettle_engine_statements_total", "Statements by kind and outcome.",
               {{"kind", kind}, {"outcome", answer.error_code == 0 ? "ok" : "error"}})
      .add();
  metrics_
      .histogram("fettle_engine_statement_seconds", "Time of a statement in the engine.",
                 {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30}, {{"kind", kind}})
      .observe(seconds);
  if (answer.counts.rows_written != 0) {
    metrics_.counter("fettle_engine_rows_written_total", "Rows inserted.")
        .add(static_cast<double>(answer.counts.rows_written));
  }
  if (took < options_.slow_after) return;
  metrics_
      .counter("fettle_engine_slow_statements_total", "Statements slower than the slow-query limit.", {{"kind", kind}})
      .add();
  log::warning("slow_statement", {{"query_id", job.query_id},
                                  {"kind", kind},
                                  {"took_ms", std::chrono::duration_cast<std::chrono::milliseconds>(took).count()},
                                  {"rows_read", answer.counts.rows_read},
                                  {"bytes_read", answer.counts.bytes_read},
                                  {"rows_written", answer.counts.rows_written},
                                  {"result_bytes", answer.result_bytes},
                                  {"error_code", answer.error_code},
                                  {"statement", without_literals(job.statement.text, kLoggedSqlBytesMax)}});
}

}  // namespace fettle::engine_host
