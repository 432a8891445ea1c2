#include "server/config.h"

#include <fmt/format.h>
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <cctype>
#include <fstream>
#include <iterator>
#include <set>
#include <type_traits>

#include "access/authenticator.h"
#include "api/trusted_proxies.h"
#include "core/ids.h"
#include "server/config_values.h"
#include "server/secret_file.h"

namespace fettle::server {
namespace {

constexpr std::uint64_t kFileBytesMax = 1024 * 1024;

template <class T, class U>
Result<void> assign(T& target, Result<U> value) {
  if (!value) return std::unexpected(std::move(value).error());
  if constexpr (std::is_arithmetic_v<T>) {
    target = static_cast<T>(*value);
  } else {
    target = std::chrono::duration_cast<T>(*value);
  }
  return {};
}

Result<void> assign_address(std::string& target, std::string_view text) {
  if (auto good = check_address(text); !good) return good;
  target = text;
  return {};
}

Result<ingest::ContentMode> content_mode(std::string_view text) {
  if (text == "drop") return ingest::ContentMode::kDrop;
  if (text == "hash") return ingest::ContentMode::kHash;
  if (text == "keep") return ingest::ContentMode::kKeep;
  return fail(ErrorCode::kInvalidArgument, fmt::format("expected drop, hash or keep, not '{}'", text));
}

Result<void> assign_level(log::Level& target, std::string_view text) {
  if (text == "debug")
    target = log::Level::kDebug;
  else if (text == "info")
    target = log::Level::kInfo;
  else if (text == "warning")
    target = log::Level::kWarning;
  else if (text == "error")
    target = log::Level::kError;
  else
    return fail(ErrorCode::kInvalidArgument, fmt::format("expected debug, info, warning or error, not '{}'", text));
  return {};
}

Result<void> assign_url(std::string& target, std::string_view text) {
  if (!text.empty() && !text.starts_with("http://") && !text.starts_with("https://") && !text.starts_with("unix:/")) {
    return fail(ErrorCode::kInvalidArgument, "expected http://host:port, https://host:port or unix:/path");
  }
  target = text;
  return {};
}

Result<void> assign_ledger_url(std::string& target, std::string_view text) {
  if (!text.empty() && !text.starts_with("postgres://") && !text.starts_with("postgresql://")) {
    return fail(ErrorCode::kInvalidArgument, "expected postgresql://user@host:port/database");
  }
  target = text;
  return {};
}

Result<void> assign_path(std::filesystem::path& target, std::string_view text) {
  target = std::string(text);
  return {};
}

constexpr std::uint64_t kMany = 1'000'000;

// In the order in which help and documentation show them.
constexpr Setting kSettings[] = {
    {"data", "folder that holds everything the server keeps", false,
     [](Config& c, std::string_view v) -> Result<void> {
       if (v.empty()) return fail(ErrorCode::kInvalidArgument, "expected a folder");
       return assign_path(c.data, v);
     }},
    {"http", "address of the web UI and the API", false,
     [](Config& c, std::string_view v) { return assign_address(c.http, v); }},
    {"otlp_http", "address for OTLP over HTTP", false,
     [](Config& c, std::string_view v) { return assign_address(c.otlp_http, v); }},
    {"otlp_grpc", "address for OTLP over gRPC", false,
     [](Config& c, std::string_view v) { return assign_address(c.otlp_grpc, v); }},
    {"trusted_proxies", "addresses, networks or 'unix', with commas in between, whose X-Forwarded-For and -Proto count",
     false,
     [](Config& c, std::string_view v) -> Result<void> {
       if (auto good = api::TrustedProxies::parse(v); !good) return std::unexpected(std::move(good).error());
       c.trusted_proxies = v;
       return {};
     }},
    {"dev", "no tokens: everything goes to workspace default; loopback addresses only", true,
     [](Config& c, std::string_view v) { return assign(c.dev, parse_bool(v)); }},
    {"log_level", "least severe lines of the server's own log: debug, info, warning, error", false,
     [](Config& c, std::string_view v) { return assign_level(c.log_level, v); }},
    {"telemetry.url", "a ClickHouse server to use instead of the embedded engine", false,
     [](Config& c, std::string_view v) { return assign_url(c.telemetry.url, v); }},
    {"telemetry.user", "user at that server", false,
     [](Config& c, std::string_view v) -> Result<void> { return c.telemetry.user = v, Result<void>{}; }},
    {"telemetry.password_file", "file that holds that user's password", false,
     [](Config& c, std::string_view v) { return assign_path(c.telemetry.password_file, v); }},
    {"telemetry.database", "database to keep the tables in", false,
     [](Config& c, std::string_view v) -> Result<void> { return c.telemetry.database = v, Result<void>{}; }},
    {"ledger.url", "a PostgreSQL database for the ledger, instead of a file in the data folder", false,
     [](Config& c, std::string_view v) { return assign_ledger_url(c.ledger.url, v); }},
    {"ledger.password_file", "file that holds the password of that URL's user", false,
     [](Config& c, std::string_view v) { return assign_path(c.ledger.password_file, v); }},
    {"ledger.witness_file", "file that gets the audit's signed checkpoints as well, best on another machine's disk",
     false, [](Config& c, std::string_view v) { return assign_path(c.ledger.witness_file, v); }},
    {"engine.binary", "the engine's program, if it is not beside fettle", false,
     [](Config& c, std::string_view v) { return assign_path(c.engine.binary, v); }},
    {"engine.tcp", "loopback address at which your own ClickHouse tools read", false,
     [](Config& c, std::string_view v) -> Result<void> {
       if (v.empty()) return c.engine.tcp.clear(), Result<void>{};  // none
       return assign_address(c.engine.tcp, v);
     }},
    {"engine.memory", "memory that the engine may use", false,
     [](Config& c, std::string_view v) { return assign(c.engine.memory_bytes, parse_bytes(v)); }},
    {"limits.body_bytes", "largest request, as sent and decompressed", false,
     [](Config& c, std::string_view v) { return assign(c.limits.body_bytes, parse_bytes(v)); }},
    {"limits.in_flight_bytes",
     "requests between arrival and answer, together; a compressed one counts with its plain bytes as well", false,
     [](Config& c, std::string_view v) { return assign(c.limits.in_flight_bytes, parse_bytes(v)); }},
    {"limits.spool_bytes", "what may wait on disk for the store", false,
     [](Config& c, std::string_view v) { return assign(c.limits.spool_bytes, parse_bytes(v)); }},
    {"limits.connections", "open connections of each listener", false,
     [](Config& c, std::string_view v) { return assign(c.limits.connections, parse_whole(v, 1, kMany)); }},
    {"limits.query_threads", "reads that run at a time", false,
     [](Config& c, std::string_view v) { return assign(c.limits.query_threads, parse_whole(v, 1, 256)); }},
    {"limits.query_queue", "reads that wait for their turn; more are refused", false,
     [](Config& c, std::string_view v) { return assign(c.limits.query_queue, parse_whole(v, 1, kMany)); }},
    {"limits.query_time", "longest time of one read", false,
     [](Config& c, std::string_view v) { return assign(c.limits.query_time, parse_duration(v)); }},
    {"limits.query_rows", "most rows of one SQL answer", false,
     [](Config& c, std::string_view v) { return assign(c.limits.query_rows, parse_whole(v, 1, 100 * kMany)); }},
    {"limits.query_bytes", "largest SQL answer", false,
     [](Config& c, std::string_view v) { return assign(c.limits.query_bytes, parse_bytes(v)); }},
    {"limits.query_memory", "memory of one SQL query; 0: 43 % of the engine's", false,
     [](Config& c, std::string_view v) { return assign(c.limits.query_memory_bytes, parse_bytes(v)); }},
    {"limits.trace_spans", "most spans of a trace that are shown", false,
     [](Config& c, std::string_view v) { return assign(c.limits.trace_spans, parse_whole(v, 1, 100 * kMany)); }},
    {"limits.tails", "live log tails open at a time", false,
     [](Config& c, std::string_view v) { return assign(c.limits.tails, parse_whole(v, 1, 1'000)); }},
    {"outbound.ca_file",
     "PEM file of the authorities whose receivers of webhooks are believed, instead of the system's", false,
     [](Config& c, std::string_view v) { return assign_path(c.outbound_ca_file, v); }},
    {"retention.hot", "how long everything is kept before sampling", false,
     [](Config& c, std::string_view v) { return assign(c.retention.hot, parse_duration(v)); }},
    {"retention.spans", "how long kept spans are kept", false,
     [](Config& c, std::string_view v) { return assign(c.retention.spans, parse_duration(v)); }},
    {"retention.logs", "how long kept logs are kept", false,
     [](Config& c, std::string_view v) { return assign(c.retention.logs, parse_duration(v)); }},
    {"retention.metrics", "how long metric points are kept", false,
     [](Config& c, std::string_view v) { return assign(c.retention.metrics, parse_duration(v)); }},
    {"retention.llm_calls", "how long LLM calls and their costs are kept", false,
     [](Config& c, std::string_view v) { return assign(c.retention.llm_calls, parse_duration(v)); }},
    {"retention.runs", "how long finished runs, and records that agents wrote, are kept", false,
     [](Config& c, std::string_view v) { return assign(c.retention.runs, parse_duration(v)); }},
    {"sampling.keep_percent", "share of routine traces, and of log lines without a trace, kept after the hot window",
     false, [](Config& c, std::string_view v) { return assign(c.sampling_keep_percent, parse_percent(v)); }},
    {"content.default", "prompt and completion text: drop, hash, keep", false,
     [](Config& c, std::string_view v) -> Result<void> {
       auto mode = content_mode(v);
       if (!mode) return std::unexpected(std::move(mode).error());
       c.content_default = *mode;
       return {};
     }},
    {"identifiers_file", "identifiers and their aliases, instead of the built-in ones", false,
     [](Config& c, std::string_view v) { return assign_path(c.identifiers_file, v); }},
    {"prices_file", "prices of LLM calls, instead of the built-in ones", false,
     [](Config& c, std::string_view v) { return assign_path(c.prices_file, v); }},
};

const Setting* find_setting(std::string_view key) {
  const auto found = std::ranges::find(kSettings, key, &Setting::key);
  return found == std::end(kSettings) ? nullptr : found;
}

// Reads one file; where an error has happened it names file, line and key.
class FileReader {
 public:
  FileReader(Config& config, std::string name) : config_(config), name_(std::move(name)) {}

  Result<void> read(const YAML::Node& root) {
    if (root.IsNull()) return {};
    return read_map(root, "");
  }
  // Where each key stood: "fettle.yaml:12".
  const std::map<std::string, std::string>& places() const { return places_; }

 private:
  std::unexpected<Error> at(const YAML::Mark& mark, std::string_view key, std::string_view what) const {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}:{}: {}: {}", name_, mark.line + 1, key, what));
  }

  Result<void> read_map(const YAML::Node& node, const std::string& prefix) {
    if (!node.IsMap()) return at(node.Mark(), prefix.empty() ? "the file" : prefix, "expected 'key: value' lines");
    std::set<std::string> seen;
    for (const auto& entry : node) {
      if (!entry.first.IsScalar())
        return at(entry.first.Mark(), prefix.empty() ? "the file" : prefix, "a key must be text");
      const std::string key = prefix.empty() ? entry.first.Scalar() : prefix + '.' + entry.first.Scalar();
      if (!seen.insert(key).second) return at(entry.first.Mark(), key, "is set twice");
      places_[key] = fmt::format("{}:{}", name_, entry.first.Mark().line + 1);
      if (auto done = read_key(key, entry.first, entry.second); !done) return done;
    }
    return {};
  }

  Result<void> read_key(const std::string& key, const YAML::Node& name, const YAML::Node& value) {
    if (const Setting* setting = find_setting(key)) {
      if (!value.IsScalar()) return at(name.Mark(), key, "expected one value");
      auto done = setting->set(config_, value.Scalar());
      if (!done) return at(value.Mark(), key, done.error().message());
      return {};
    }
    if (key == "tokens")
      return read_list(key, value, [this](const auto& k, const auto& v) { return read_token(k, v); });
    if (key == "redaction.rules") {
      return read_list(key, value, [this](const auto& k, const auto& v) { return read_rule(k, v); });
    }
    if (key == "outbound.allow") {
      return read_list(key, value, [this](const auto& k, const auto& v) -> Result<void> {
        if (!v.IsScalar()) return at(v.Mark(), k, "expected a range of addresses such as 10.0.0.0/8");
        auto range = http::Cidr::parse(v.Scalar());
        if (!range) return at(v.Mark(), k, range.error().message());
        config_.outbound_allow.push_back(*range);
        return {};
      });
    }
    if (key == "production_environments") {
      config_.production_environments.clear();
      return read_list(key, value, [this](const auto& k, const auto& v) -> Result<void> {
        if (!v.IsScalar()) return at(v.Mark(), k, "expected the name of an environment");
        config_.production_environments.push_back(v.Scalar());
        return {};
      });
    }
    if (key == "content.workspaces") return read_content(key, value);
    const bool is_section =
        std::ranges::any_of(kSettings, [&](const Setting& setting) { return setting.key.starts_with(key + '.'); }) ||
        key == "redaction";
    if (is_section) return read_map(value, key);
    return at(name.Mark(), key, unknown(key));
  }

  static std::string unknown(std::string_view key) {
    // The last part of a key is what people misplace most often: "body_bytes" for "limits.body_bytes".
    for (const Setting& setting : kSettings) {
      if (setting.key.ends_with('.' + std::string(key)))
        return fmt::format("is not known; did you mean '{}'?", setting.key);
    }
    return "is not known; docs/operating.md lists every key";
  }

  template <class Read>
  Result<void> read_list(const std::string& key, const YAML::Node& value, Read&& read_item) {
    if (value.IsNull()) return {};
    if (!value.IsSequence()) return at(value.Mark(), key, "expected a list");
    std::size_t index = 0;
    for (const YAML::Node& item : value) {
      if (auto done = read_item(fmt::format("{}[{}]", key, index++), item); !done) return done;
    }
    return {};
  }

  // The scalar members of a map, each of them known; `list` names the ones that hold lists of text.
  struct Members {
    std::map<std::string, std::string> texts;
    std::map<std::string, std::vector<std::string>> lists;
  };
  Result<Members> members(const std::string& key, const YAML::Node& node, std::span<const std::string_view> texts,
                          std::span<const std::string_view> lists) {
    if (!node.IsMap()) return at(node.Mark(), key, "expected 'key: value' lines");
    Members found;
    for (const auto& entry : node) {
      const std::string name = entry.first.IsScalar() ? entry.first.Scalar() : "";
      const std::string full = key + '.' + name;
      if (found.texts.contains(name) || found.lists.contains(name)) return at(entry.first.Mark(), full, "is set twice");
      if (std::ranges::find(texts, name) != texts.end()) {
        if (!entry.second.IsScalar()) return at(entry.second.Mark(), full, "expected one value");
        found.texts[name] = entry.second.Scalar();
      } else if (std::ranges::find(lists, name) != lists.end()) {
        if (!entry.second.IsSequence()) return at(entry.second.Mark(), full, "expected a list");
        auto& list = found.lists[name];
        for (const YAML::Node& item : entry.second) {
          if (!item.IsScalar()) return at(item.Mark(), full, "expected a list of texts");
          list.push_back(item.Scalar());
        }
      } else {
        return at(entry.first.Mark(), full, "is not known here");
      }
    }
    return found;
  }

  Result<void> read_token(const std::string& key, const YAML::Node& node) {
    static constexpr std::string_view kTexts[] = {"token", "token_file", "token_sha256",
                                                  "name",  "workspace",  "payloads"};
    static constexpr std::string_view kLists[] = {"scopes", "clients"};
    auto found = members(key, node, kTexts, kLists);
    if (!found) return std::unexpected(std::move(found).error());
    access::TokenEntry entry;
    const auto& texts = found->texts;
    if (texts.contains("token") + texts.contains("token_file") + texts.contains("token_sha256") != 1) {
      return at(node.Mark(), key, "expected exactly one of token, token_file and token_sha256");
    }
    if (const auto hash = texts.find("token_sha256"); hash != texts.end()) {
      const auto bytes = from_hex(hash->second);
      if (!bytes || bytes->size() != entry.sha256.size()) {
        return at(node.Mark(), key + ".token_sha256", "expected 64 hexadecimal digits (printf %s TOKEN | sha256sum)");
      }
      std::ranges::copy(*bytes, entry.sha256.begin());
    } else if (const auto plain = texts.find("token"); plain != texts.end()) {
      if (plain->second.empty()) return at(node.Mark(), key + ".token", "is empty");
      entry.sha256 = access::sha256_of(plain->second);
    } else {
      auto secret = read_secret_file(texts.at("token_file"));
      if (!secret) return at(node.Mark(), key + ".token_file", secret.error().message());
      entry.sha256 = access::sha256_of(secret->reveal());
    }
    const auto workspace = texts.find("workspace");
    if (workspace == texts.end() || !is_workspace_name(workspace->second)) {
      return at(node.Mark(), key + ".workspace",
                "expected a name: 1 to 64 of a-z, 0-9, '-' and '_', beginning with a letter or digit");
    }
    entry.workspace = {workspace->second};
    if (const auto name = texts.find("name"); name != texts.end()) entry.name = name->second;
    if (const auto payloads = texts.find("payloads"); payloads != texts.end()) {
      if (payloads->second != "true" && payloads->second != "false") {
        return at(node.Mark(), key + ".payloads", "expected true or false");
      }
      entry.payloads = payloads->second == "true";
    }
    for (const std::string& client : found->lists["clients"]) entry.clients.push_back({client});
    if (found->lists["scopes"].empty())
      return at(node.Mark(), key + ".scopes", "expected some of ingest, read, work, operate, admin");
    for (const std::string& scope : found->lists["scopes"]) {
      const auto known = access::token_scope_named(scope);
      if (!known)
        return at(node.Mark(), key + ".scopes",
                  fmt::format("expected ingest, read, work, operate or admin, not '{}'", scope));
      entry.scopes.push_back(*known);
    }
    config_.tokens.push_back(std::move(entry));
    return {};
  }

  Result<void> read_rule(const std::string& key, const YAML::Node& node) {
    static constexpr std::string_view kTexts[] = {"name", "pattern", "replacement"};
    auto found = members(key, node, kTexts, {});
    if (!found) return std::unexpected(std::move(found).error());
    for (const char* needed : {"name", "pattern"}) {
      if (found->texts[needed].empty()) return at(node.Mark(), fmt::format("{}.{}", key, needed), "is missing");
    }
    const redact::Rule rule{
        .name = found->texts["name"], .pattern = found->texts["pattern"], .replacement = found->texts["replacement"]};
    // Compiled alone, so that the error can name the line; the server compiles all of them together.
    if (auto compiled = redact::Redactor::compile({&rule, 1}); !compiled) {
      return at(node.Mark(), key, compiled.error().message());
    }
    config_.redaction_rules.push_back(rule);
    return {};
  }

  Result<void> read_content(const std::string& key, const YAML::Node& value) {
    if (!value.IsMap()) return at(value.Mark(), key, "expected 'workspace: mode' lines");
    for (const auto& entry : value) {
      const std::string workspace = entry.first.IsScalar() ? entry.first.Scalar() : "";
      if (!is_workspace_name(workspace))
        return at(entry.first.Mark(), key, fmt::format("'{}' is not a workspace's name", workspace));
      auto mode = content_mode(entry.second.IsScalar() ? entry.second.Scalar() : "");
      if (!mode) return at(entry.second.Mark(), key + '.' + workspace, mode.error().message());
      config_.content_by_workspace[workspace] = *mode;
    }
    return {};
  }

  Config& config_;
  const std::string name_;
  std::map<std::string, std::string> places_;
};

Result<std::string> read_text(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", path.string(), error.message()));
  if (size > kFileBytesMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}: is larger than {} bytes", path.string(), kFileBytesMax));
  }
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  if (in.bad()) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: cannot be read", path.string()));
  return text;
}

Result<void> read_file(const std::filesystem::path& path, Config& config, std::map<std::string, std::string>& places) {
  auto text = read_text(path);
  if (!text) return std::unexpected(std::move(text).error());
  try {
    FileReader reader(config, path.string());
    auto done = reader.read(YAML::Load(*text));
    places = reader.places();
    return done;
  } catch (const YAML::Exception& error) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("{}:{}: {}", path.string(), error.mark.line + 1, error.msg));
  }
}

// What no single setting can tell. `places` says where a key got its value.
Result<void> check_whole(const Config& config, const std::map<std::string, std::string>& places) {
  const auto at = [&](std::string_view key, std::string what) {
    const auto place = places.find(std::string(key));
    return fail(ErrorCode::kInvalidArgument, place == places.end()
                                                 ? fmt::format("{}: {}", key, what)
                                                 : fmt::format("{}: {}: {}", place->second, key, what));
  };
  if (config.dev) {
    const std::pair<std::string_view, const std::string*> listeners[] = {
        {"http", &config.http}, {"otlp_http", &config.otlp_http}, {"otlp_grpc", &config.otlp_grpc}};
    for (const auto& [key, address] : listeners) {
      if (!access::is_loopback_address(*address)) {
        return at(key, fmt::format("a development server (dev) needs no token, so it may listen on this machine's own "
                                   "addresses alone, such as 127.0.0.1:7070, not on '{}'",
                                   *address));
      }
    }
  }
  if (!config.engine.tcp.empty() && !access::is_loopback_address(config.engine.tcp)) {
    return at("engine.tcp", "the engine's own port may be on a loopback address alone");
  }
  if (auto tokens = access::ConfiguredTokens::make(config.tokens); !tokens)
    return at("tokens", tokens.error().message());
  if (config.engine.memory_bytes < (256ULL << 20)) return at("engine.memory", "the engine needs at least 256MiB");
  if (config.limits.spool_bytes < (64ULL << 20)) return at("limits.spool_bytes", "the spool needs at least 64MiB");
  if (config.limits.body_bytes < 1'024 || config.limits.body_bytes > (1ULL << 30)) {
    return at("limits.body_bytes", "expected 1KiB to 1GiB");
  }
  if (config.limits.in_flight_bytes < config.limits.body_bytes) {
    return at("limits.in_flight_bytes", "must be at least limits.body_bytes");
  }
  for (const auto& [key, kept] :
       {std::pair<std::string_view, std::chrono::seconds>{"retention.spans", config.retention.spans},
        {"retention.logs", config.retention.logs}}) {
    if (kept < config.retention.hot) return at(key, "must be at least retention.hot");
  }
  if (config.retention.hot < std::chrono::hours(1)) return at("retention.hot", "must be at least 1h");
  return {};
}

}  // namespace

std::span<const Setting> settings() { return kSettings; }

std::string flag_of(std::string_view key) {
  std::string flag = "--" + std::string(key);
  std::ranges::replace_if(flag, [](char c) { return c == '.' || c == '_'; }, '-');
  return flag;
}

std::string environment_of(std::string_view key) {
  std::string name = "FETTLE_" + std::string(key);
  for (char& c : name) c = c == '.' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  return name;
}

Result<Config> load_config(const ConfigSources& sources) {
  Config config;
  std::map<std::string, std::string> places;
  if (sources.file) {
    if (auto done = read_file(*sources.file, config, places); !done) return std::unexpected(std::move(done).error());
  }
  for (const Setting& setting : kSettings) {
    const std::string name = environment_of(setting.key);
    const char* value = sources.environment(name);
    if (value == nullptr) continue;
    auto done = setting.set(config, value);
    if (!done) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", name, done.error().message()));
    places[std::string(setting.key)] = name;
  }
  for (const auto& [key, value] : sources.flags) {
    const Setting* setting = find_setting(key);
    if (setting == nullptr) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: is not known", flag_of(key)));
    auto done = setting->set(config, value);
    if (!done) return fail(ErrorCode::kInvalidArgument, fmt::format("{}: {}", flag_of(key), done.error().message()));
    places[key] = flag_of(key);
  }
  if (auto whole = check_whole(config, places); !whole) return std::unexpected(std::move(whole).error());
  return config;
}

}  // namespace fettle::server
