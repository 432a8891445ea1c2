// fettle: reads the command line and runs one subcommand.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <string>
#include <utility>
#include <vector>
#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include "access/links.h"
#include "core/log.h"
#include "server/commands.h"
#include "server/config.h"
#include "server/operator_flags.h"
#include "server/secret_file.h"
#include "server/server.h"
#include "server/signals.h"

namespace fettle::server {
namespace {

constexpr int kExitFailed = 1;
constexpr int kExitNotUnderstood = 2;

// The flags of a command that takes the server's configuration.
struct ConfigFlags {
  std::string file;
  std::map<std::string, std::string> values;  // by key; only those that were given
};

void add_config_flags(CLI::App& app, ConfigFlags& flags) {
  app.add_option("--config", flags.file, "configuration file (YAML); also FETTLE_CONFIG");
  for (const Setting& setting : settings()) {
    const std::string key(setting.key);
    const std::string help = fmt::format("{}; also {}", setting.help, environment_of(setting.key));
    const std::string group = key.find('.') == std::string::npos ? "OPTIONS" : key.substr(0, key.find('.'));
    if (setting.is_switch) {
      app.add_flag_callback(flag_of(key), [&flags, key] { flags.values[key] = "true"; }, help)->group(group);
    } else {
      app.add_option_function<std::string>(
             flag_of(key), [&flags, key](const std::string& v) { flags.values[key] = v; }, help)
          ->group(group);
    }
  }
}

Result<Config> configuration(const ConfigFlags& flags) {
  ConfigSources sources;
  sources.environment = [](const std::string& name) { return std::getenv(name.c_str()); };
  const char* file = std::getenv("FETTLE_CONFIG");
  if (!flags.file.empty()) {
    sources.file = flags.file;
  } else if (file != nullptr && *file != '\0') {
    sources.file = file;
  }
  sources.flags.assign(flags.values.begin(), flags.values.end());
  return load_config(sources);
}

int complain(const Error& error, int code) {
  fmt::print(stderr, "fettle: {}\n", error.message());
  return code;
}

int failed(const Error& error) {
  return complain(error, error.code() == ErrorCode::kInvalidArgument ? kExitNotUnderstood : kExitFailed);
}

// What a request or a commit needs is needed again by the next: given back to the system each time, as glibc does by
// itself, it cost the ledger's writer a tenth of its time in page faults. A few megabytes stay.
void keep_working_memory() {
#if defined(__GLIBC__)
  ::mallopt(M_TRIM_THRESHOLD, 2 << 20);
  ::mallopt(M_TOP_PAD, 256 << 10);
  ::mallopt(M_MMAP_THRESHOLD, 1 << 20);
#endif
}

int serve(const ConfigFlags& flags) {
  keep_working_memory();
  auto config = configuration(flags);
  if (!config) return complain(config.error(), kExitNotUnderstood);
  log::set_level(config->log_level);
  std::stop_source stopping;
  const Signals signals(stopping);
  SystemClock clock;
  const auto begun = clock.monotonic();
  const auto took_ms = [&] { return std::chrono::duration<double, std::milli>(clock.monotonic() - begun).count(); };
  auto server = Server::start(*config, clock, stopping.get_token());
  if (!server) return server.error().code() == ErrorCode::kCancelled ? 0 : failed(server.error());
  const Addresses& at = (*server)->addresses();
  log::info("listening",
            {{"http", at.http}, {"otlp_http", at.otlp_http}, {"otlp_grpc", at.otlp_grpc}, {"took_ms", took_ms()}});
  if ((*server)->wait_ready(stopping.get_token())) {
    fmt::print("Fettle {} is ready\n  web and API  http://{}\n  OTLP/HTTP    http://{}\n  OTLP/gRPC    {}\n", version(),
               at.http, at.otlp_http, at.otlp_grpc);
    if (const std::string link = (*server)->first_owner_link(); !link.empty()) {
      fmt::print(
          "Nobody owns this server yet. This page makes the first owner, once, within a day:\n"
          "  http://{}{}\n",
          at.http, access::link_path(link));
    }
    std::fflush(stdout);
    log::info("ready", {{"took_ms", took_ms()}});
  }
  log::info("stopping", {{"signal", signals.wait()}});
  (*server)->stop();
  log::info("stopped");
  return 0;
}

void add_remote_flags(CLI::App& app, RemoteOptions& remote, std::string& token_file) {
  app.add_option("--url", remote.url, "address of the server")->envname("FETTLE_URL")->capture_default_str();
  app.add_option("--token", remote.token, "token to read or send with (visible to others in the process list)")
      ->envname("FETTLE_TOKEN");
  app.add_option("--token-file", token_file, "file that holds the token")->envname("FETTLE_TOKEN_FILE");
}

Result<void> read_token(RemoteOptions& remote, const std::string& file) {
  if (file.empty()) return {};
  auto token = read_secret_file(file);
  if (!token) return std::unexpected(std::move(token).error().within("--token-file"));
  remote.token = token->reveal();
  return {};
}

// --rule NAME=PATTERN
Result<redact::Rule> rule_of(const std::string& text) {
  const std::size_t equals = text.find('=');
  if (equals == 0 || equals == std::string::npos || equals + 1 == text.size()) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("--rule: expected NAME=PATTERN, not '{}'", text));
  }
  return redact::Rule{.name = text.substr(0, equals), .pattern = text.substr(equals + 1), .replacement = {}};
}

int run(int argc, char** argv) {
  CLI::App app("Fettle: the operations plane for AI-agent and workflow automation.", "fettle");
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "help for every subcommand");
  app.set_version_flag("--version", fmt::format("fettle {}", version()), "print the version");

  ConfigFlags serve_flags, doctor_flags, redact_flags, backup_flags, restore_flags;
  auto* serve_app = app.add_subcommand("serve", "run the server");
  add_config_flags(*serve_app, serve_flags);
  auto* doctor_app = app.add_subcommand("doctor", "check whether this machine can run the server, and say what to do");
  add_config_flags(*doctor_app, doctor_flags);

  BackupCommand backup;
  auto* backup_app =
      app.add_subcommand("backup", "copy everything that a running server keeps into a folder, verified");
  backup_app->add_option("--output", backup.folder, "the folder; it must not exist");
  backup_app->add_option("--verify", backup.folder, "only verify this backup")->excludes("--output");
  backup_app->add_flag("--json", backup.json, "print the report as JSON");
  add_config_flags(*backup_app, backup_flags);
  RestoreCommand restore;
  auto* restore_app = app.add_subcommand("restore", "fill an empty data folder from a backup");
  restore_app->add_option("--input", restore.folder, "the backup")->required();
  restore_app->add_option("--secret-key", restore.secret_key, "the secret.key that was kept apart");
  restore_app->add_flag("--json", restore.json, "print the report as JSON");
  add_config_flags(*restore_app, restore_flags);

  std::string token_file;
  LogsCommand logs;
  auto* logs_app = app.add_subcommand("logs", "print log lines, or follow them with -f");
  add_remote_flags(*logs_app, logs.remote, token_file);
  logs_app->add_flag("-f,--follow", logs.follow, "print new lines as they come");
  logs_app->add_option("--service", logs.services, "only these services");
  logs_app->add_option("--level", logs.level, "this level and those above: trace, debug, info, warn, error, fatal");
  logs_app->add_option("--trace", logs.trace, "only lines of this trace");
  logs_app->add_option("-q,--query", logs.text, "words, \"phrases\" and *parts* that must occur");
  logs_app->add_option("--from", logs.from, "no earlier than this: -15m, 2026-11-21T09:00:00Z")->capture_default_str();
  logs_app->add_option("--to", logs.to, "earlier than this");
  logs_app->add_option("-n,--limit", logs.limit, "how many lines")->capture_default_str()->check(CLI::Range(1, 1000));
  logs_app->add_flag("--json", logs.json, "one JSON object a line");

  JourneyCommand journey;
  auto* journey_app = app.add_subcommand("journey", "everything about one identifier, in order of time");
  add_remote_flags(*journey_app, journey.remote, token_file);
  journey_app->add_option("id", journey.value, "value of any identifier")->required();
  journey_app->add_option("--kind", journey.kind, "only as this kind, such as run_id");
  journey_app->add_flag("--json", journey.json, "one JSON object a line");

  ShipCommand ship;
  auto* ship_app = app.add_subcommand("ship", "follow JSON log files through rotation and send them");
  add_remote_flags(*ship_app, ship.remote, token_file);
  ship_app->add_option("files", ship.files, "files to follow");
  ship_app->add_option("--docker", ship.docker, "Docker's folder of containers, as /var/lib/docker/containers");
  ship_app->add_option("--service", ship.service, "service of lines that name none (default: the file's name)");
  ship_app->add_option("--state", ship.state, "file that remembers how far each file was sent");
  ship_app->add_flag("--once", ship.once, "send what is there and end");

  RedactCommand redact;
  auto* redact_app = app.add_subcommand("redact", "try the redaction rules on a sample: a file or standard input");
  redact_app->add_option("--config", redact_flags.file, "configuration file (YAML) with rules; also FETTLE_CONFIG");
  std::vector<std::string> rules;
  redact_app->add_option("--rule", rules, "a rule more, as NAME=PATTERN; may be repeated")->allow_extra_args(false);
  redact_app->add_option("file", redact.file, "the sample");

  PromqlTestCommand promql_test;
  auto* promql_app = app.add_subcommand("promql", "what can be done with PromQL without a server");
  promql_app->require_subcommand(1);
  auto* promql_test_app = promql_app->add_subcommand("test", "run test scripts in the format of Prometheus' own");
  promql_test_app->add_option("files", promql_test.files, "the scripts")->required();

  Chosen chosen;
  add_operator_commands(
      app, chosen, [&](CLI::App& command, RemoteOptions& remote) { add_remote_flags(command, remote, token_file); },
      [&](RemoteOptions& remote) {
        auto read = read_token(remote, token_file);
        return read ? 0 : complain(read.error(), kExitNotUnderstood);
      });
  auto* version_app = app.add_subcommand("version", "print the version");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const int code = app.exit(error);
    return code == 0 ? 0 : kExitNotUnderstood;
  }
  if (chosen) return chosen();
  for (RemoteOptions* remote : {&logs.remote, &journey.remote, &ship.remote}) {
    if (auto read = read_token(*remote, token_file); !read) return complain(read.error(), kExitNotUnderstood);
  }
  if (version_app->parsed()) {
    fmt::print("fettle {}\n", version());
    return 0;
  }
  if (serve_app->parsed()) return serve(serve_flags);
  if (logs_app->parsed()) return run_logs(logs);
  if (journey_app->parsed()) return run_journey(journey);
  if (ship_app->parsed()) return run_ship(ship);
  if (promql_test_app->parsed()) return run_promql_test(promql_test);

  const ConfigFlags& flags = doctor_app->parsed()    ? doctor_flags
                             : backup_app->parsed()  ? backup_flags
                             : restore_app->parsed() ? restore_flags
                                                     : redact_flags;
  auto config = configuration(flags);
  if (!config) return complain(config.error(), kExitNotUnderstood);
  if (backup_app->parsed()) {
    backup.verify_only = backup_app->count("--verify") > 0;
    if (!backup.folder.empty()) return run_backup(*config, backup);
    return complain(Error(ErrorCode::kInvalidArgument, "say where with --output"), kExitNotUnderstood);
  }
  if (restore_app->parsed()) return run_restore(*config, restore);
  if (doctor_app->parsed()) return run_doctor(*config);
  redact.rules = config->redaction_rules;
  for (const std::string& text : rules) {
    auto rule = rule_of(text);
    if (!rule) return complain(rule.error(), kExitNotUnderstood);
    redact.rules.push_back(std::move(*rule));
  }
  return run_redact(redact);
}

}  // namespace
}  // namespace fettle::server

int main(int argc, char** argv) {
  try {
    return fettle::server::run(argc, argv);
  } catch (const std::exception& error) {
    fmt::print(stderr, "fettle: {}\n", error.what());
    return 1;
  }
}
