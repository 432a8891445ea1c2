#include "telemetry/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>

#include "http/client.h"
#include "telemetry/native.h"
#include "telemetry/schema.h"

namespace fettle::telemetry {
namespace {

constexpr std::string_view kErrorPrefix = "store error ";
constexpr std::string_view kCodeHeader = "X-ClickHouse-Exception-Code";
constexpr std::size_t kMessageMax = 600;

// The rows of one INSERT are gathered into one block, and so into one part per partition: they become visible together
// and the token stands for all of them. More rows than any INSERT has; its bytes, which would also end a block, do not
// count.
constexpr std::string_view kGatherRows = "1000000000";
constexpr std::string_view kGatherBytes = "0";
constexpr std::string_view kReadBlockRows = "1048449";

int number_in(std::string_view text) {
  int number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

// "Code: 241. DB::Exception: …"
int code_in(std::string_view message) {
  const std::size_t at = message.find("Code: ");
  return at == std::string_view::npos ? 0 : number_in(message.substr(at + 6));
}

Error to_error(const http::Response& response, ErrorCode (*classify)(int, std::string_view) = to_error_code) {
  int code = number_in(response.headers.get(kCodeHeader));
  if (code == 0) code = code_in(response.body);
  std::string_view text(response.body);
  text = text.substr(0, std::min(text.find('\n'), kMessageMax));
  if (code == 0) {
    // Something between us and the store answered, or the store is shutting down.
    const ErrorCode what = response.status == 413   ? ErrorCode::kTooLarge
                           : response.status == 401 ? ErrorCode::kUnauthenticated
                           : response.status == 403 ? ErrorCode::kPermissionDenied
                           : response.status == 429 ? ErrorCode::kResourceExhausted
                                                    : ErrorCode::kUnavailable;
    return Error(what, fmt::format("the store answered HTTP {}: {}", response.status, text));
  }
  return Error(classify(code, text), fmt::format("{}{}: {}", kErrorPrefix, code, text));
}

std::string unescape_tsv(std::string_view field) {
  std::string out;
  out.reserve(field.size());
  for (std::size_t i = 0; i < field.size(); ++i) {
    if (field[i] != '\\' || i + 1 == field.size()) {
      out.push_back(field[i]);
      continue;
    }
    switch (const char next = field[++i]) {
      case 'n': out.push_back('\n'); break;
      case 't': out.push_back('\t'); break;
      case 'r': out.push_back('\r'); break;
      case '0': out.push_back('\0'); break;
      case 'b': out.push_back('\b'); break;
      case 'f': out.push_back('\f'); break;
      case 'N': out.append("\\N"); break;
      default: out.push_back(next); break;
    }
  }
  return out;
}

TextRows parse_tsv(std::string_view body) {
  TextRows rows;
  while (!body.empty()) {
    const std::size_t end = body.find('\n');
    std::string_view line = body.substr(0, end);
    body.remove_prefix(end == std::string_view::npos ? body.size() : end + 1);
    std::vector<std::string>& row = rows.emplace_back();
    for (;;) {
      const std::size_t tab = line.find('\t');
      row.push_back(unescape_tsv(line.substr(0, tab)));
      if (tab == std::string_view::npos) break;
      line.remove_prefix(tab + 1);
    }
  }
  return rows;
}

// A parameter's value travels in the escaped form of TSV.
std::string escape_parameter(std::string_view value) {
  std::string out;
  for (const char c : value) {
    switch (c) {
      case '\\': out.append("\\\\"); break;
      case '\t': out.append("\\t"); break;
      case '\n': out.append("\\n"); break;
      case '\r': out.append("\\r"); break;
      case '\0': out.append("\\0"); break;
      default: out.push_back(c); break;
    }
  }
  return out;
}

struct Url {
  std::string base;
  std::string user;
  std::string password;
  std::string database = "fettle";
};

Result<Url> parse_url(std::string_view text) {
  Url url;
  if (text.starts_with("unix:")) {
    url.base = text;
    return url;
  }
  const std::size_t scheme_end = text.find("://");
  const std::string_view scheme = text.substr(0, scheme_end);
  if (scheme_end == std::string_view::npos || (scheme != "http" && scheme != "https")) {
    return fail(ErrorCode::kInvalidArgument, "the store's URL is neither http://, https:// nor unix:");
  }
  std::string_view rest = text.substr(scheme_end + 3);
  std::string_view authority = rest.substr(0, rest.find_first_of("/?"));
  rest.remove_prefix(authority.size());
  if (const std::size_t at = authority.rfind('@'); at != std::string_view::npos) {
    const std::string_view credentials = authority.substr(0, at);
    authority.remove_prefix(at + 1);
    const std::size_t colon = credentials.find(':');
    auto user = http::percent_decode(credentials.substr(0, colon));
    auto password =
        http::percent_decode(colon == std::string_view::npos ? std::string_view{} : credentials.substr(colon + 1));
    if (!user || !password) return fail(ErrorCode::kInvalidArgument, "the credentials in the store's URL are broken");
    url.user = std::move(*user);
    url.password = std::move(*password);
  }
  if (authority.empty()) return fail(ErrorCode::kInvalidArgument, "the store's URL names no host");
  if (const std::size_t query_at = rest.find('?'); query_at != std::string_view::npos) {
    auto query = http::Query::parse(rest.substr(query_at + 1));
    if (!query) return std::unexpected(std::move(query).error().within("the store's URL"));
    if (const std::string* database = query->find("database")) url.database = *database;
    rest = rest.substr(0, query_at);
  }
  if (!rest.empty() && rest != "/") return fail(ErrorCode::kInvalidArgument, "the store's URL has a path");
  const bool is_name = !url.database.empty() && url.database.size() <= 64 &&
                       std::all_of(url.database.begin(), url.database.end(), [](char c) {
                         return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
                       });
  if (!is_name) return fail(ErrorCode::kInvalidArgument, "the database in the store's URL is not a plain name");
  url.base = fmt::format("{}://{}", scheme, authority);
  return url;
}

}  // namespace

int engine_code_of(const Error& error) {
  const std::string_view message = error.message();
  const std::size_t at = message.find(kErrorPrefix);
  return at == std::string_view::npos ? 0 : number_in(message.substr(at + kErrorPrefix.size()));
}

ErrorCode to_error_code(int engine_code, std::string_view message) {
  switch (engine_code) {
    case 159:  // TIMEOUT_EXCEEDED
    case 160:  // TOO_SLOW
    case 209:  // SOCKET_TIMEOUT
      return ErrorCode::kDeadlineExceeded;
    case 158:  // TOO_MANY_ROWS
    case 202:  // TOO_MANY_SIMULTANEOUS_QUERIES
    case 241:  // MEMORY_LIMIT_EXCEEDED
    case 243:  // NOT_ENOUGH_SPACE
    case 307:  // TOO_MANY_BYTES
    case 396:  // TOO_MANY_ROWS_OR_BYTES
      return ErrorCode::kResourceExhausted;
    case 252:  // TOO_MANY_PARTS: merges lag behind, or one block spans too many days
      return message.contains("single INSERT block") ? ErrorCode::kInvalidArgument : ErrorCode::kResourceExhausted;
    case 394:  // QUERY_WAS_CANCELLED
      return ErrorCode::kCancelled;
    case 60:  // UNKNOWN_TABLE
    case 81:  // UNKNOWN_DATABASE
      return ErrorCode::kNotFound;
    case 192:  // UNKNOWN_USER
    case 193:  // WRONG_PASSWORD
    case 194:  // REQUIRED_PASSWORD
    case 516:  // AUTHENTICATION_FAILED
      return ErrorCode::kUnauthenticated;
    case 164:  // READONLY
    case 497:  // ACCESS_DENIED
      return ErrorCode::kPermissionDenied;
    case 40:   // CHECKSUM_DOESNT_MATCH
    case 246:  // CORRUPTED_DATA
      return ErrorCode::kDataLoss;
    case 2:  // UNSUPPORTED_PARAMETER and what else a statement or a block can be at fault for
    case 6:
    case 8:
    case 10:
    case 16:
    case 20:
    case 26:
    case 27:
    case 32:
    case 33:
    case 35:
    case 36:
    case 38:
    case 41:
    case 42:
    case 43:
    case 44:
    case 46:
    case 47:
    case 48:
    case 50:
    case 53:
    case 62:
    case 63:
    case 69:
    case 70:
    case 72:
    case 73:
    case 80:
    case 115:
    case 117:
    case 128:
    case 130:
    case 131:
    case 179:
    case 184:
    case 190:
    case 207:
    case 215:
    case 321:
    case 349:
    case 386:
    case 395:
    case 407:
    case 446:
    case 456:
    case 457:
    case 517:
    case 691: return ErrorCode::kInvalidArgument;
    case 49:  // LOGICAL_ERROR
      return ErrorCode::kInternal;
    default: return ErrorCode::kUnavailable;  // files, network, keeper, shutting down: it may work next time
  }
}

ErrorCode to_insert_error_code(int engine_code, std::string_view message) {
  const ErrorCode code = to_error_code(engine_code, message);
  if (code != ErrorCode::kInvalidArgument) return code;
  switch (engine_code) {
    case 6:    // CANNOT_PARSE_TEXT
    case 27:   // CANNOT_PARSE_INPUT_ASSERTION_FAILED
    case 32:   // ATTEMPT_TO_READ_AFTER_EOF
    case 33:   // CANNOT_READ_ALL_DATA
    case 38:   // CANNOT_PARSE_DATE
    case 41:   // CANNOT_PARSE_DATETIME
    case 53:   // TYPE_MISMATCH
    case 69:   // ARGUMENT_OUT_OF_BOUND
    case 70:   // CANNOT_CONVERT_TYPE
    case 117:  // INCORRECT_DATA
    case 131:  // TOO_LARGE_STRING_SIZE
    case 252:  // TOO_MANY_PARTS: one block spans too many days
    case 321:  // VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE
    case 349:  // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
    case 407:  // DECIMAL_OVERFLOW
    case 691:  // UNKNOWN_ELEMENT_OF_ENUM
      return ErrorCode::kInvalidArgument;
    default: return ErrorCode::kInternal;  // a setting, a column, a function that this store does not have
  }
}

struct Client::Impl {
  Impl(Url its_url, http::ClientOptions client_options)
      : url(std::move(its_url)), http(url.base, std::move(client_options)) {}

  Url url;
  http::Client http;

  std::string target(const StatementOptions& options, std::optional<std::string_view> sql_in_url) const {
    std::string out = "/?database=" + http::percent_encode(url.database);
    const auto add = [&](std::string_view name, std::string_view value) {
      out.append("&").append(http::percent_encode(name)).append("=").append(http::percent_encode(value));
    };
    add("log_comment", options.workspace);
    const auto seconds = std::max<std::int64_t>((options.time_max.count() + 999) / 1000, 1);
    add("max_execution_time", std::to_string(seconds));
    if (!options.query_id.empty()) add("query_id", options.query_id);
    for (const auto& [name, value] : options.settings) add(name, value);
    for (const auto& [name, value] : options.parameters) add("param_" + name, escape_parameter(value));
    if (sql_in_url) add("query", *sql_in_url);
    return out;
  }

  http::ClientRequest request(const StatementOptions& options) const {
    http::ClientRequest request;
    request.method = "POST";
    // The store stops the statement first, so that its own message arrives.
    request.time_max = options.time_max + std::chrono::seconds(2);
    request.response_bytes_max = options.response_bytes_max;
    request.stop = options.stop;
    request.headers.add("Content-Type", "application/octet-stream");
    if (!url.user.empty()) {
      request.headers.add("X-ClickHouse-User", url.user);
      request.headers.add("X-ClickHouse-Key", url.password);
    }
    return request;
  }

  Result<http::Response> send(std::string_view sql, const StatementOptions& options) {
    http::ClientRequest to_send = request(options);
    to_send.target = target(options, std::nullopt);
    to_send.body = {sql};
    auto response = http.send(to_send);
    if (!response) return std::unexpected(std::move(response).error().within("asking the store"));
    if (response->status != 200) return std::unexpected(to_error(*response));
    return response;
  }
};

Client::Client(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Client::~Client() = default;

Result<std::unique_ptr<Client>> Client::connect(std::string_view url, std::string_view ca_file) {
  auto parsed = parse_url(url);
  if (!parsed) return std::unexpected(std::move(parsed).error());
  http::ClientOptions options;
  options.ca_file = ca_file;
  return std::unique_ptr<Client>(new Client(std::make_unique<Impl>(std::move(*parsed), std::move(options))));
}

const std::string& Client::database() const { return impl_->url.database; }

Result<void> Client::execute(std::string_view sql, const StatementOptions& options) {
  auto response = impl_->send(sql, options);
  if (!response) return std::unexpected(std::move(response).error());
  return {};
}

Result<TextRows> Client::query(std::string_view sql, const StatementOptions& options) {
  StatementOptions with_format = options;
  with_format.settings.emplace_back("default_format", "TabSeparated");
  // Small results are held back until they are whole, so that a failure half-way is a status and not a torn body.
  with_format.settings.emplace_back("wait_end_of_query", "1");
  auto response = impl_->send(sql, with_format);
  if (!response) return std::unexpected(std::move(response).error());
  return parse_tsv(response->body);
}

Result<void> Client::stream(std::string_view sql, const StatementOptions& options,
                            const std::function<bool(std::string_view)>& sink) {
  http::ClientRequest to_send = impl_->request(options);
  to_send.target = impl_->target(options, std::nullopt) + "&fettle_stream=1";
  to_send.body = {sql};
  auto response = impl_->http.stream(to_send, sink);
  if (!response) return std::unexpected(std::move(response).error().within("reading from the store"));
  if (response->status != 200) return std::unexpected(to_error(*response));
  return {};
}

Result<void> Client::insert(Table table, std::span<const std::string_view> pieces, std::string_view token,
                            const StatementOptions& options) {
  StatementOptions with_token = options;
  const auto set = [&](std::string_view name, std::string_view value) {
    with_token.settings.emplace_back(name, value);
  };
  set("insert_deduplication_token", token);
  set("async_insert", "0");
  set("max_insert_block_size", kReadBlockRows);
  set("min_insert_block_size_rows", kGatherRows);
  set("min_insert_block_size_bytes", kGatherBytes);
  set("input_format_parallel_parsing", "0");
  // A block from before the type of `attrs` changed is converted by way of text; this keeps it from being refused.
  set("type_json_skip_duplicated_paths", "1");
  set("json_type_escape_dots_in_keys", "1");
  // Rows of these tables were folded before they came: merging them again on insert costs a third and finds nothing.
  if (!telemetry::has_ingest_id(table)) set("optimize_on_insert", "0");
  http::ClientRequest to_send = impl_->request(with_token);
  const std::string sql = fmt::format("INSERT INTO {}.{} FORMAT Native", database(), table_name(table));
  to_send.target = impl_->target(with_token, sql);
  to_send.body.assign(pieces.begin(), pieces.end());
  auto response = impl_->http.send(to_send);
  if (!response) {
    return std::unexpected(std::move(response).error().within(fmt::format("inserting into {}", table_name(table))));
  }
  if (response->status != 200) {
    return std::unexpected(
        to_error(*response, to_insert_error_code).within(fmt::format("inserting into {}", table_name(table))));
  }
  return {};
}

Result<bool> Client::has_ingest_id(Table table, std::int32_t day, std::uint64_t ingest_id,
                                   const StatementOptions& options) {
  if (!telemetry::has_ingest_id(table)) return false;
  StatementOptions bound = options;
  bound.parameters.emplace_back("day", std::to_string(std::max(day, 0)));
  bound.parameters.emplace_back("id", std::to_string(ingest_id));
  auto rows = query(fmt::format("SELECT 1 FROM {}.{} WHERE ingest_id = {{id:UInt64}} AND toDate(ts) = "
                                "toDate({{day:UInt16}}) LIMIT 1",
                                database(), table_name(table)),
                    bound);
  if (!rows) return std::unexpected(std::move(rows).error());
  return !rows->empty();
}

}  // namespace fettle::telemetry
