#include "server/config_audit.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <boost/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "core/ids.h"
#include "core/log.h"
#include "ledger/retention.h"

namespace fettle::server {
namespace {

constexpr std::string_view kFact = "configuration";
constexpr std::size_t kDigestDigits = 8;

std::string seconds_of(std::chrono::seconds span) { return fmt::format("{} s", span.count()); }

std::string hex_of(std::span<const unsigned char> bytes) {
  return to_hex({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
}
// As much of a token's hash as tells it from others.
std::string digits_of(const access::Digest& sha256) { return hex_of(sha256).substr(0, kDigestDigits); }

std::string_view to_string(ingest::ContentMode mode) {
  switch (mode) {
    case ingest::ContentMode::kDrop: return "drop";
    case ingest::ContentMode::kHash: return "hash";
    case ingest::ContentMode::kKeep: break;
  }
  return "keep";
}

std::string described(const access::TokenEntry& token) {
  std::vector<std::string_view> scopes, clients;
  for (const access::TokenScope scope : token.scopes) scopes.push_back(access::to_string(scope));
  for (const ClientId& client : token.clients) clients.push_back(client.value);
  return fmt::format("workspace {}; scopes {}; clients {}; sha256 {}", token.workspace.value, fmt::join(scopes, ","),
                     clients.empty() ? "all" : fmt::format("{}", fmt::join(clients, ",")), digits_of(token.sha256));
}

std::string json_of(const std::map<std::string, std::string>& values) {
  boost::json::object out;
  for (const auto& [name, value] : values) out[name] = value;
  return boost::json::serialize(out);
}

// What was written by json_of(). Text of another version is no settings at all: everything then counts as new.
std::map<std::string, std::string> settings_of(std::string_view json) {
  std::map<std::string, std::string> out;
  boost::system::error_code error;
  const boost::json::value value = boost::json::parse(json, error);
  if (error || !value.is_object()) return out;
  for (const auto& [name, one] : value.get_object()) {
    if (one.is_string()) out.emplace(std::string(name), std::string(one.get_string()));
  }
  return out;
}

}  // namespace

const db::Migrations& config_migrations() {
  static const db::Migrations kMigrations = {{"server",
                                              1,
                                              "what a start leaves for the next",
                                              {"CREATE TABLE server_facts (name TEXT NOT NULL PRIMARY KEY, "
                                               "value TEXT NOT NULL)"}}};
  return kMigrations;
}

std::map<std::string, std::string> audited_settings(const Config& config, const ledger::PublicKey& key) {
  std::map<std::string, std::string> out;
  out["dev"] = config.dev ? "true" : "false";
  out["http"] = config.http;
  out["otlp_http"] = config.otlp_http;
  out["otlp_grpc"] = config.otlp_grpc;
  out["trusted_proxies"] = config.trusted_proxies;
  out["secret.key"] = hex_of(key);
  out["ledger.witness_file"] = config.ledger.witness_file.string();
  out["retention.hot"] = seconds_of(config.retention.hot);
  out["retention.spans"] = seconds_of(config.retention.spans);
  out["retention.logs"] = seconds_of(config.retention.logs);
  out["retention.metrics"] = seconds_of(config.retention.metrics);
  out["retention.llm_calls"] = seconds_of(config.retention.llm_calls);
  out["retention.runs"] = seconds_of(config.retention.runs);
  out["sampling.keep_percent"] = fmt::format("{}", config.sampling_keep_percent);
  out["content.default"] = to_string(config.content_default);
  for (const auto& [workspace, mode] : config.content_by_workspace) {
    out[fmt::format("content.{}", workspace)] = to_string(mode);
  }
  out["content.production_environments"] = fmt::format("{}", fmt::join(config.production_environments, ","));
  for (const access::TokenEntry& token : config.tokens) {
    const std::string name = token.name.empty() ? digits_of(token.sha256) : token.name;
    out[fmt::format("tokens.{}", name)] = described(token);
  }
  for (const redact::Rule& rule : config.redaction_rules) {
    out[fmt::format("redaction.rules.{}", rule.name)] = fmt::format("{} → {}", rule.pattern, rule.replacement);
  }
  std::vector<std::string> networks;
  for (const http::Cidr& network : config.outbound_allow) networks.push_back(network.text());
  out["outbound.allow"] = fmt::format("{}", fmt::join(networks, ","));
  return out;
}

Result<void> audit_configuration(const std::map<std::string, std::string>& settings, db::Database& database,
                                 ledger::Auditor& auditor, Clock& clock) {
  const UnixNanos now = clock.now();
  auto changed = database.write_and_wait([&](db::Transaction& tx) -> Result<std::map<std::string, std::string>> {
    std::map<std::string, std::string> before, after;
    auto found = tx.query("SELECT value FROM server_facts WHERE name = $1", {kFact});
    if (!found) return std::unexpected(std::move(found).error());
    std::string known;
    if (!found->empty()) {
      if (auto read = (*found)[0].into(known); !read) return std::unexpected(std::move(read).error());
    }
    const std::string now_known = json_of(settings);
    if (known == now_known) return after;
    auto kept = tx.execute(
        "INSERT INTO server_facts (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = "
        "excluded.value",
        {kFact, now_known});
    if (!kept) return std::unexpected(std::move(kept).error());
    if (known.empty()) return after;
    const std::map<std::string, std::string> earlier = settings_of(known);
    for (const auto& [name, value] : earlier) {
      const auto same = settings.find(name);
      if (same == settings.end() || same->second != value) before.emplace(name, value);
    }
    for (const auto& [name, value] : settings) {
      const auto same = earlier.find(name);
      if (same == earlier.end() || same->second != value) after.emplace(name, value);
    }
    auto workspaces = ledger::audited_workspaces(tx);
    if (!workspaces) return std::unexpected(std::move(workspaces).error());
    for (const WorkspaceId& workspace : *workspaces) {
      ledger::AuditRecord record;
      record.at = now;
      record.actor_type = "system";
      record.actor_id = "fettle";
      record.action = "config.change";
      record.target_type = "configuration";
      record.target_id = "server";
      record.before = json_of(before);
      record.after = json_of(after);
      if (auto recorded = auditor.record(tx, Scope{workspace, {}}, std::move(record)); !recorded) {
        return std::unexpected(std::move(recorded).error());
      }
    }
    before.merge(after);
    return before;
  });
  if (!changed) return std::unexpected(std::move(changed).error());
  for (const auto& [name, value] : *changed) log::info("configuration_changed", {{"setting", name}});
  return {};
}

}  // namespace fettle::server
