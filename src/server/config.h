// What the server is told: flags, environment, one YAML file, defaults, in this order of precedence.
//
//   auto config = load_config({.file = "fettle.yaml", .environment = environment_of_process(), .flags = flags});
//   if (!config) { print(config.error().message()); return 2; }     // "fettle.yaml:12: limits.body_bytes: …"
//
// Every simple setting has three names: `limits.body_bytes` in the file, FETTLE_LIMITS_BODY_BYTES in the environment
// and --limits-body-bytes as a flag. Lists (tokens, rules) live in the file alone. A key that is not known is an error.
// A Config is a plain value, checked as a whole.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "access/tokens.h"
#include "core/error.h"
#include "core/log.h"
#include "core/secret.h"
#include "http/ip_address.h"
#include "ingest/content_policy.h"
#include "redact/redactor.h"

namespace fettle::server {

struct Config {
  std::filesystem::path data = "fettle-data";
  std::string http = "127.0.0.1:7070";
  std::string otlp_http = "127.0.0.1:4318";
  std::string otlp_grpc = "127.0.0.1:4317";
  std::string trusted_proxies;  // as api::TrustedProxies reads it
  bool dev = false;
  log::Level log_level = log::Level::kInfo;

  struct Telemetry {
    std::string url;  // empty: the embedded engine
    std::string user = "default";
    std::filesystem::path password_file;
    std::string database = "fettle";

    bool operator==(const Telemetry&) const = default;
  } telemetry;

  struct Ledger {
    std::string url;                      // empty: an SQLite file in the data folder
    std::filesystem::path password_file;  // for the user of that URL
    std::filesystem::path witness_file;   // where the audit's checkpoints are written as well; empty: nowhere

    bool operator==(const Ledger&) const = default;
  } ledger;

  struct Engine {
    std::filesystem::path binary;  // empty: beside this program
    std::string tcp;               // empty: the engine is reached through its Unix socket alone
    std::uint64_t memory_bytes = 1ULL << 30;

    bool operator==(const Engine&) const = default;
  } engine;

  struct Limits {
    std::uint64_t body_bytes = 64ULL << 20;
    std::uint64_t in_flight_bytes = 256ULL << 20;
    std::uint64_t spool_bytes = 2ULL << 30;
    std::uint32_t connections = 10'000;
    std::uint32_t query_threads = 4;
    std::uint32_t query_queue = 64;
    std::chrono::milliseconds query_time{30'000};
    std::uint64_t query_rows = 10'000;
    std::uint64_t query_bytes = 16ULL << 20;
    std::uint64_t query_memory_bytes = 0;  // 0: 43 % of the engine's memory
    std::uint64_t trace_spans = 1'000'000;
    std::uint32_t tails = 32;

    bool operator==(const Limits&) const = default;
  } limits;

  struct Retention {
    std::chrono::seconds hot = std::chrono::hours(48);
    std::chrono::seconds spans = std::chrono::hours(24 * 30);
    std::chrono::seconds logs = std::chrono::hours(24 * 30);
    std::chrono::seconds metrics = std::chrono::hours(24 * 90);
    std::chrono::seconds llm_calls = std::chrono::hours(24 * 400);
    std::chrono::seconds runs = std::chrono::hours(24 * 90);

    bool operator==(const Retention&) const = default;
  } retention;

  double sampling_keep_percent = 15;

  // What becomes of prompt and completion text before it is stored.
  ingest::ContentMode content_default = ingest::ContentMode::kDrop;
  std::map<std::string, ingest::ContentMode> content_by_workspace;
  std::vector<std::string> production_environments = {"production", "prod", "live"};

  std::filesystem::path identifiers_file;  // empty: the built-in catalogue
  std::filesystem::path prices_file;       // empty: the built-in price table

  std::vector<access::TokenEntry> tokens;
  std::vector<redact::Rule> redaction_rules;
  // Networks behind this server that webhooks, and whatever else calls out, may reach.
  std::vector<http::Cidr> outbound_allow;

  std::filesystem::path outbound_ca_file;  // empty: the system's authorities
  bool operator==(const Config&) const = default;
};

struct ConfigSources {
  std::optional<std::filesystem::path> file;
  // The value of an environment variable, or null.
  std::function<const char*(const std::string& name)> environment = [](const std::string&) { return nullptr; };
  std::vector<std::pair<std::string, std::string>> flags;  // by key: {"limits.body_bytes", "1MiB"}
};

// kInvalidArgument; the message names the place ("fettle.yaml:12", "FETTLE_HTTP", "--http"), the key, what was
// expected.
Result<Config> load_config(const ConfigSources& sources);

// A simple setting, for the command line's help and the reference in the documentation.
struct Setting {
  std::string_view key;
  std::string_view help;
  bool is_switch = false;  // as a flag it needs no value
  Result<void> (*set)(Config& config, std::string_view text);
};
std::span<const Setting> settings();
std::string flag_of(std::string_view key);         // "limits.body_bytes" → "--limits-body-bytes"
std::string environment_of(std::string_view key);  // … → "FETTLE_LIMITS_BODY_BYTES"

}  // namespace fettle::server
