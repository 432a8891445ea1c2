#include "server/store.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "core/json.h"
#include "http/message.h"
#include "server/secret_file.h"
#include "telemetry/migrations.h"

namespace fettle::server {
namespace {

constexpr std::chrono::milliseconds kProbeTimeMax{5'000};

std::uint32_t days_of(std::chrono::seconds kept) {
  return static_cast<std::uint32_t>(std::chrono::ceil<std::chrono::days>(kept).count());
}

// The user's own ClickHouse as an address with its credentials in it.
Result<std::string> external_url(const Config::Telemetry& telemetry) {
  const bool is_named = telemetry.user != Config::Telemetry().user || !telemetry.password_file.empty();
  if (telemetry.url.starts_with("unix:")) {
    if (!is_named) return telemetry.url;
    return fail(ErrorCode::kInvalidArgument, "telemetry.user: a store behind a Unix socket takes no user or password");
  }
  std::string url = telemetry.url;
  const std::size_t authority = url.find("://") + 3;
  if (url.find('@', authority) < url.find_first_of("/?", authority)) {
    if (is_named) {
      return fail(ErrorCode::kInvalidArgument,
                  "telemetry.url: holds credentials, and telemetry.user or telemetry.password_file others: use one");
    }
  } else {
    std::string credentials = http::percent_encode(telemetry.user);
    if (!telemetry.password_file.empty()) {
      auto password = read_secret_file(telemetry.password_file);
      if (!password) return std::unexpected(std::move(password).error().within("telemetry.password_file"));
      credentials += ':' + http::percent_encode(password->reveal());
    }
    url.insert(authority, credentials + '@');
  }
  if (url.find('/', authority) == std::string::npos) url += '/';
  url += "?database=" + http::percent_encode(telemetry.database);
  return url;
}

// The address without what may be secret in it.
std::string without_credentials(std::string_view url) {
  const std::size_t scheme = url.find("://");
  const std::size_t at = url.rfind('@');
  if (scheme == std::string_view::npos || at == std::string_view::npos || at < scheme) return std::string(url);
  return fmt::format("{}{}", url.substr(0, scheme + 3), url.substr(at + 1));
}

// Who may use the engine's own port, as the engine reads it.
Result<void> write_engine_tokens(const std::filesystem::path& file, const std::vector<access::TokenEntry>& tokens) {
  std::string text = "[";
  for (const access::TokenEntry& token : tokens) {
    access::Grant grant;
    for (const access::TokenScope scope : token.scopes) grant.scopes |= access::bit(scope);
    // The engine knows workspaces and no clients: whoever may see only some of them stays outside.
    if (!grant.may(access::TokenScope::kRead) || !token.clients.empty()) continue;
    if (text.size() > 1) text += ',';
    text += R"({"sha256":")";
    append_hex(text, {reinterpret_cast<const char*>(token.sha256.data()), token.sha256.size()});
    text += R"(","workspace":)";
    append_json_string(text, token.workspace.value);
    text += '}';
  }
  text += "]\n";
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool is_written = fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const std::string why = std::strerror(errno);
  if (fd >= 0) ::close(fd);
  if (!is_written) return fail(ErrorCode::kUnavailable, fmt::format("cannot write '{}': {}", file.string(), why));
  return {};
}

telemetry::StatementOptions options_until(const std::stop_token& stop) {
  telemetry::StatementOptions options;
  options.stop = stop;
  return options;
}

// Asks nobody; fails for an address that can never work.
Result<std::unique_ptr<telemetry::Client>> client_of(const Config::Telemetry& telemetry) {
  auto url = external_url(telemetry);
  if (!url) return std::unexpected(std::move(url).error());
  auto client = telemetry::Client::connect(*url);
  if (!client) {
    return std::unexpected(
        std::move(client).error().within(fmt::format("telemetry.url {}", without_credentials(telemetry.url))));
  }
  return client;
}

// Does it answer, and does it let its user name workspaces? The error says what to look at.
Result<void> probe_external(telemetry::Client& client, const Config::Telemetry& telemetry,
                            const std::stop_token& stop) {
  const std::string context = fmt::format("telemetry.url {}", without_credentials(telemetry.url));
  // Row filters go by this setting: a user whose own value wins would show every workspace the same rows.
  telemetry::StatementOptions options = options_until(stop);
  options.time_max = kProbeTimeMax;
  auto answer = client.query("SELECT getSetting('log_comment')", options);
  if (answer) {
    if (*answer == telemetry::TextRows{{std::string(telemetry::kEveryWorkspace)}}) return {};
    if (answer->size() == 1 && answer->front().size() == 1 && is_workspace_name(answer->front().front())) {
      return fail(ErrorCode::kPermissionDenied,
                  fmt::format("{}: the user '{}' is bound to '{}' there and must be allowed to set log_comment, which "
                              "names the workspace of a statement",
                              context, telemetry.user, answer->front().front()));
    }
    return fail(ErrorCode::kUnsupported,
                fmt::format("{}: it answers, but not as ClickHouse's HTTP interface does: is it that port (8123 by "
                            "default)?",
                            context));
  }
  const Error& error = answer.error();
  switch (telemetry::engine_code_of(error)) {
    case 192:  // UNKNOWN_USER
    case 193:  // WRONG_PASSWORD
    case 194:  // REQUIRED_PASSWORD
    case 516:  // AUTHENTICATION_FAILED
      return fail(ErrorCode::kUnauthenticated,
                  fmt::format("{}: the user '{}' or the password is refused: see telemetry.user and "
                              "telemetry.password_file ({})",
                              context, telemetry.user, error.message()));
    case 164:  // READONLY
    case 452:  // SETTING_CONSTRAINT_VIOLATION
      return fail(ErrorCode::kPermissionDenied,
                  fmt::format("{}: the user '{}' must be allowed to write and to set log_comment, which names the "
                              "workspace of a statement ({})",
                              context, telemetry.user, error.message()));
    case 0:
      if (error.message().find("answered HTTP") != std::string::npos) {
        return fail(ErrorCode::kUnavailable,
                    fmt::format("{}: this is not ClickHouse's HTTP interface (port 8123 by default): {}", context,
                                error.message()));
      }
      break;
    default: break;
  }
  return std::unexpected(error.within(context));
}

// The retention job drops days and tells the books; the tables' own TTL is the net beneath it and comes later. Spans
// and logs older than the hot window are taken too, and stay hot until the job has weighed them.
telemetry::RetentionDays ttl_days(telemetry::RetentionDays days) {
  days.spans_hot = std::max(days.spans_hot, days.spans_kept) + 2;
  days.logs_hot = std::max(days.logs_hot, days.logs_kept) + 2;
  for (std::uint32_t* table : {&days.spans_kept, &days.logs_kept, &days.metrics}) *table += 1;
  return days;
}

}  // namespace

telemetry::RetentionDays retention_days(const Config& config) {
  telemetry::RetentionDays days;
  days.spans_hot = days.logs_hot = days_of(config.retention.hot);
  days.spans_kept = days_of(config.retention.spans);
  days.logs_kept = days_of(config.retention.logs);
  days.metrics = days_of(config.retention.metrics);
  days.llm_calls = days_of(config.retention.llm_calls);
  return days;
}

Result<std::unique_ptr<telemetry::Client>> connect_external(const Config::Telemetry& telemetry) {
  auto client = client_of(telemetry);
  if (!client) return client;
  if (auto answered = probe_external(**client, telemetry, {}); !answered) {
    return std::unexpected(std::move(answered).error());
  }
  return client;
}

Store::Store(const Config& config, const telemetry::IdentifierCatalogue& catalogue)
    : schema_(catalogue,
              {.database = config.telemetry.url.empty() ? "fettle" : config.telemetry.database, .cluster = ""}) {}

Result<void> Store::make_engine(const Config& config, const std::filesystem::path& data_dir,
                                metrics::Registry& metrics) {
  engine::SupervisorOptions options;
  options.data_dir = data_dir;
  options.program = config.engine.binary;
  options.memory_bytes = config.engine.memory_bytes;
  if (!config.engine.tcp.empty()) {
    const std::filesystem::path tokens = data_dir / "engine-tokens.json";
    if (auto written = write_engine_tokens(tokens, config.tokens); !written) return written;
    options.tcp = config.engine.tcp;
    options.tcp_tokens = tokens.string();
  }
  engine_ = std::make_unique<engine::Supervisor>(std::move(options), metrics);
  return engine_->check();
}

Result<std::unique_ptr<Store>> Store::make(const Config& config, const std::filesystem::path& data_dir,
                                           const telemetry::IdentifierCatalogue& catalogue, Clock& clock,
                                           metrics::Registry& metrics) {
  std::unique_ptr<Store> store(new Store(config, catalogue));
  store->ttl_days_ = ttl_days(retention_days(config));
  store->telemetry_ = config.telemetry;
  if (config.telemetry.url.empty()) {
    if (auto made = store->make_engine(config, data_dir, metrics); !made) {
      return std::unexpected(std::move(made).error().within("starting the engine"));
    }
  }
  auto client = config.telemetry.url.empty() ? telemetry::Client::connect(store->engine_->base_url())
                                             : client_of(config.telemetry);
  if (!client) return std::unexpected(std::move(client).error());
  store->client_ = std::move(*client);
  store->opening_ = std::make_unique<Opening>(
      [opened = store.get()](const std::stop_token& stop) { return opened->open(stop); }, clock);
  return store;
}

Result<void> Store::open(const std::stop_token& stop) {
  if (engine_ != nullptr && engine_->status().state == engine::State::kDown) {
    if (auto started = engine_->start(schema_.table_names(), stop); !started) return started;
  }
  if (engine_ == nullptr) {
    if (auto answered = probe_external(*client_, telemetry_, stop); !answered) return answered;
  }
  telemetry::Migrator migrator(*client_, schema_, stop);
  if (auto done = migrator.run(); !done) {
    return std::unexpected(std::move(done).error().within("bringing the schema up to date"));
  }
  if (auto done = migrator.apply_retention(ttl_days_); !done) {
    return std::unexpected(std::move(done).error().within("setting retention"));
  }
  if (auto done = migrator.check_filters(); !done) {
    return std::unexpected(std::move(done).error().within("checking that workspaces are kept apart"));
  }
  return {};
}

void Store::stop(std::chrono::milliseconds deadline) {
  opening_->stop();
  if (engine_ != nullptr) engine_->stop(deadline);
}

std::pair<std::string, std::uint64_t> Store::engine_state() const {
  if (engine_ == nullptr) return {"external", 0};
  const engine::Status status = engine_->status();
  return {std::string(engine::to_string(status.state)), static_cast<std::uint64_t>(status.restarts)};
}

Result<void> Store::insert(telemetry::Table table, std::span<const std::string_view> pieces, std::string_view token,
                           const std::stop_token& stop) {
  if (!opening_->wait(stop)) return fail(ErrorCode::kCancelled, "stopped before the store was open");
  return client_->insert(table, pieces, token, options_until(stop));
}

Result<bool> Store::has_ingest_id(telemetry::Table table, std::int32_t day, std::uint64_t ingest_id,
                                  const std::stop_token& stop) {
  if (!opening_->wait(stop)) return fail(ErrorCode::kCancelled, "stopped before the store was open");
  return client_->has_ingest_id(table, day, ingest_id, options_until(stop));
}

}  // namespace fettle::server
