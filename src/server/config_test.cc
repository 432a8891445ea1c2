#include "server/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <map>

#include "server/config_values.h"
#include "server/secret_file.h"

namespace fettle::server {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class ConfigTest : public testing::Test {
 protected:
  ConfigTest() {
    std::string name = testing::TempDir() + "fettle-config-XXXXXX";
    folder_ = ::mkdtemp(name.data());
  }
  ~ConfigTest() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path write(const std::string& name, const std::string& text) {
    std::ofstream(folder_ / name) << text;
    return folder_ / name;
  }
  // A file that can serve, with more lines behind it.
  Result<Config> load(const std::string& text, std::map<std::string, std::string> environment = {},
                      std::vector<std::pair<std::string, std::string>> flags = {}) {
    ConfigSources sources;
    sources.file = write("fettle.yaml", text);
    sources.environment = [&](const std::string& name) {
      const auto found = environment.find(name);
      return found == environment.end() ? nullptr : found->second.c_str();
    };
    sources.flags = std::move(flags);
    return load_config(sources);
  }
  std::filesystem::path folder_;
};

TEST_F(ConfigTest, AFlagBeatsTheEnvironmentBeatsTheFileBeatsTheDefault) {
  const std::string file = "dev: true\nhttp: 127.0.0.1:1\n";
  EXPECT_EQ(load("dev: true\n")->http, "127.0.0.1:7070");
  EXPECT_EQ(load(file)->http, "127.0.0.1:1");
  EXPECT_EQ(load(file, {{"FETTLE_HTTP", "127.0.0.1:2"}})->http, "127.0.0.1:2");
  EXPECT_EQ(load(file, {{"FETTLE_HTTP", "127.0.0.1:2"}}, {{"http", "127.0.0.1:3"}})->http, "127.0.0.1:3");
}

TEST_F(ConfigTest, EverySettingHasThreeNames) {
  EXPECT_EQ(flag_of("limits.body_bytes"), "--limits-body-bytes");
  EXPECT_EQ(environment_of("limits.body_bytes"), "FETTLE_LIMITS_BODY_BYTES");
  EXPECT_EQ(load("dev: true\nlimits:\n  body_bytes: 1MiB\n")->limits.body_bytes, 1U << 20);
  EXPECT_EQ(load("dev: true\n", {{"FETTLE_LIMITS_BODY_BYTES", "2MiB"}})->limits.body_bytes, 2U << 20);
  EXPECT_EQ(load("dev: true\n", {}, {{"limits.body_bytes", "3MiB"}})->limits.body_bytes, 3U << 20);
}

TEST_F(ConfigTest, EverythingCanBeSet) {
  write("token", "secret-of-the-file\n");
  const auto config = load(R"(
data: /var/lib/fettle
http: 0.0.0.0:80
otlp_http: "[::1]:4318"
telemetry: {url: "http://clickhouse:8123", user: u, database: d}
engine: {memory: 2GiB, tcp: "127.0.0.1:8123"}
limits: {spool_bytes: 1GB, query_time: 5s}
retention: {hot: 24h, spans: 7d, logs: 8d, metrics: 9d, llm_calls: 10d}
sampling: {keep_percent: 12.5}
content: {default: hash, workspaces: {acme: keep}}
production_environments: [live]
outbound: {allow: [10.20.0.0/16, "::1"], ca_file: /etc/fettle/ca.pem}
redaction:
  rules:
    - {name: order, pattern: 'order \d+', replacement: 'order #'}
tokens:
  - {token: one, workspace: acme, scopes: [ingest, read], name: web}
  - {token_file: ")" + (folder_ / "token").string() +
                           R"(", workspace: acme, scopes: [admin], payloads: false}
  - {token_sha256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae", workspace: globex, scopes: [read], clients: [c1]}
)");
  ASSERT_TRUE(config) << config.error().message();
  EXPECT_EQ(config->data, "/var/lib/fettle");
  EXPECT_EQ(config->engine.memory_bytes, 2ULL << 30);
  EXPECT_EQ(config->limits.spool_bytes, 1'000'000'000U);
  EXPECT_EQ(config->limits.query_time, std::chrono::seconds(5));
  EXPECT_EQ(config->retention.hot, std::chrono::hours(24));
  EXPECT_EQ(config->sampling_keep_percent, 12.5);
  EXPECT_EQ(config->content_default, ingest::ContentMode::kHash);
  EXPECT_EQ(config->content_by_workspace.at("acme"), ingest::ContentMode::kKeep);
  EXPECT_THAT(config->production_environments, ElementsAre("live"));
  ASSERT_EQ(config->outbound_allow.size(), 2U);
  EXPECT_EQ(config->outbound_allow[0].text(), "10.20.0.0/16");
  EXPECT_EQ(config->redaction_rules.at(0).replacement, "order #");
  EXPECT_EQ(config->outbound_ca_file, "/etc/fettle/ca.pem");
  const auto tokens = access::ConfiguredTokens::make(config->tokens);
  ASSERT_TRUE(tokens);
  EXPECT_EQ(tokens->find("one")->sender, "web");
  EXPECT_TRUE(tokens->find("secret-of-the-file")->may(access::TokenScope::kAdmin));
  EXPECT_EQ(tokens->find("one")->payloads, std::nullopt) << "as its scopes' role";
  EXPECT_EQ(tokens->find("secret-of-the-file")->payloads, false);
  EXPECT_EQ(tokens->find("foo")->scope.clients.at(0).value, "c1");
}

TEST_F(ConfigTest, AnErrorNamesFileLineAndKey) {
  const struct {
    const char* text;
    const char* line;
    const char* key;
  } cases[] = {
      {"dev: true\nhtp: 127.0.0.1:1\n", ":2: ", "htp"},
      {"dev: true\noutbound:\n  allow: [10.0.0.1/8]\n", ":3: ", "outbound.allow[0]"},
      {"dev: true\nlimits:\n  body_bytes: many\n", ":3: ", "limits.body_bytes"},
      {"dev: true\nbody_bytes: 1MiB\n", ":2: ", "limits.body_bytes"},
      {"dev: true\nlimits:\n  body_byte: 1MiB\n", ":3: ", "limits.body_byte"},
      {"dev: true\nhttp: [a]\n", ":2: ", "http"},
      {"dev: true\ndev: false\n", ":2: ", "dev"},
      {"dev: perhaps\n", ":1: ", "dev"},
      {"dev: true\nretention: 5\n", ":2: ", "retention"},
      {"dev: true\nhttp: 0.0.0.0:1\n", ":2: ", "http"},
      {"dev: true\nengine:\n  tcp: 0.0.0.0:1\n", ":3: ", "engine.tcp"},
      {"dev: true\nretention:\n  spans: 1h\n", ":3: ", "retention.spans"},
      {"dev: true\ncontent:\n  default: redact\n", ":3: ", "content.default"},
      {"dev: true\ncontent:\n  workspaces:\n    acme: maybe\n", ":4: ", "content.workspaces.acme"},
      {"dev: true\nredaction:\n  rules:\n    - name: x\n", ":4: ", "redaction.rules[0].pattern"},
      {"dev: true\nredaction:\n  rules:\n    - {name: x, pattern: '('}\n", ":4: ", "redaction.rules[0]"},
      {"tokens:\n  - workspace: acme\n", ":2: ", "tokens[0]"},
      {"tokens:\n  - {token: a, workspace: Acme, scopes: [read]}\n", ":2: ", "tokens[0].workspace"},
      {"tokens:\n  - {token: a, workspace: acme, scopes: [read], payloads: maybe}\n", ":2: ", "tokens[0].payloads"},
      {"tokens:\n  - {token: a, workspace: acme, scopes: [write]}\n", ":2: ", "tokens[0].scopes"},
      {"tokens:\n  - {token: a, workspace: acme}\n", ":2: ", "tokens[0].scopes"},
      {"tokens:\n  - {token: a, token_file: b, workspace: acme, scopes: [read]}\n", ":2: ", "tokens[0]"},
      {"tokens:\n  - {token_sha256: abc, workspace: acme, scopes: [read]}\n", ":2: ", "tokens[0].token_sha256"},
      {"tokens:\n  - {token_file: /nowhere, workspace: acme, scopes: [read]}\n", ":2: ", "tokens[0].token_file"},
      {"tokens:\n  - {token: a, workspace: acme, scopes: [read], colour: red}\n", ":2: ", "tokens[0].colour"},
      {"dev: true\n  bad indent: [\n", ":", "fettle.yaml"},
      {"- a list\n", ":1: ", "fettle.yaml"},
  };
  for (const auto& c : cases) {
    const auto config = load(c.text);
    ASSERT_FALSE(config) << c.text;
    EXPECT_EQ(config.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(config.error().message(), HasSubstr(std::string("fettle.yaml") + c.line)) << c.text;
    EXPECT_THAT(config.error().message(), HasSubstr(c.key)) << c.text;
    EXPECT_EQ(config.error().message().find('\n'), std::string::npos);
  }
}

TEST_F(ConfigTest, AnErrorElsewhereNamesTheVariableOrFlag) {
  EXPECT_THAT(load("dev: true\n", {{"FETTLE_HTTP", "nowhere"}}).error().message(), HasSubstr("FETTLE_HTTP"));
  EXPECT_THAT(load("dev: true\n", {}, {{"otlp_grpc", "1"}}).error().message(), HasSubstr("--otlp-grpc"));
  EXPECT_THAT(load("dev: true\n", {}, {{"otlp_grpc", "0.0.0.0:4317"}}).error().message(), HasSubstr("--otlp-grpc"));
}

TEST_F(ConfigTest, AMissingFileIsAnError) {
  EXPECT_THAT(load_config({.file = folder_ / "none.yaml"}).error().message(), HasSubstr("none.yaml"));
}

TEST(ConfigDocumentation, ListsEveryKey) {
  std::ifstream in(FETTLE_DOCS_DIR "/operating.md");
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  for (const Setting& setting : settings()) {
    // "| `engine.memory` | `1GiB` | memory that the engine may use |"
    const std::size_t at = text.find("\n| `" + std::string(setting.key) + "` | ");
    ASSERT_NE(at, std::string::npos) << setting.key;
    std::string row = text.substr(at + 1, text.find('\n', at + 1) - at - 1);
    std::erase(row, '`');
    row.erase(0, row.find(" | ") + 3);
    const std::string value = row.starts_with("| ") ? "" : row.substr(0, row.find(" | "));
    row.erase(0, row.find("| ") + 2);
    EXPECT_EQ(row, std::string(setting.help) + " |") << setting.key;
    Config config;
    const auto set = setting.set(config, value);
    EXPECT_TRUE(set) << setting.key << " is not " << value;
    EXPECT_EQ(config, Config()) << setting.key << " is not " << value << " by default";
  }
}

TEST_F(ConfigTest, TokensAreNotNeededButADevelopmentServerStaysOnThisMachine) {
  const auto file = folder_ / "fettle.yaml";
  std::ofstream(file) << "http: 0.0.0.0:7070\n";
  const auto loaded = load_config({.file = file});
  ASSERT_TRUE(loaded) << loaded.error().message();
  EXPECT_FALSE(loaded->dev);
  std::ofstream(file) << "http: 0.0.0.0:7070\ndev: true\n";
  EXPECT_FALSE(load_config({.file = file}));
}

TEST_F(ConfigTest, ASecretIsTheTextOfItsFile) {
  const auto file = folder_ / "secret";
  const auto holding = [&](const std::string& text) {
    std::ofstream(file, std::ios::binary) << text;
    return read_secret_file(file);
  };
  EXPECT_EQ(holding("hush\r\n")->reveal(), "hush");
  EXPECT_EQ(holding("two words\n")->reveal(), "two words");
  EXPECT_EQ(holding(std::string(4'096, 'x'))->reveal().size(), 4'096U);
  EXPECT_THAT(holding(std::string(4'097, 'x')).error().message(), HasSubstr("4096"));
  EXPECT_THAT(holding(" \n").error().message(), HasSubstr("is empty"));
  EXPECT_THAT(read_secret_file(folder_ / "none").error().message(), HasSubstr("cannot read"));
  EXPECT_THAT(read_secret_file(folder_).error().message(), HasSubstr("cannot read"));
}

TEST(ConfigValues, SizesAndDurations) {
  EXPECT_EQ(*parse_bytes("64MiB"), 64U << 20);
  EXPECT_EQ(*parse_bytes("2 GB"), 2'000'000'000U);
  EXPECT_EQ(*parse_bytes("0"), 0U);
  for (const char* bad : {"", "MiB", "-1", "1.5GB", "1mb", "99999999999999999999", "9999999TiB"})
    EXPECT_FALSE(parse_bytes(bad)) << bad;
  EXPECT_EQ(*parse_duration("48h"), std::chrono::hours(48));
  EXPECT_EQ(*parse_duration("500ms"), std::chrono::milliseconds(500));
  for (const char* bad : {"", "5", "h", "-1h", "1y", "999999d"}) EXPECT_FALSE(parse_duration(bad)) << bad;
  EXPECT_EQ(*parse_percent("15%"), 15);
  for (const char* bad : {"", "101", "-1", "nan", "x"}) EXPECT_FALSE(parse_percent(bad)) << bad;
}

TEST(ConfigValues, Addresses) {
  for (const char* fine : {"127.0.0.1:0", "[::1]:4318", "localhost:65535", "unix:/run/f.sock"})
    EXPECT_TRUE(check_address(fine)) << fine;
  for (const char* bad : {"", "127.0.0.1", ":80", "127.0.0.1:65536", "::1:80", "a:b"})
    EXPECT_FALSE(check_address(bad)) << bad;
}

}  // namespace
}  // namespace fettle::server
