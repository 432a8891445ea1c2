#include "db/testing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>

namespace fettle::db {
namespace {

constexpr const char* kServerPrograms = "/usr/lib/postgresql/15/bin";

[[noreturn]] void end_program(const std::string& why) {
  fmt::print(stderr, "{}\n", why);
  std::fflush(stderr);
  std::_Exit(1);
}

// PostgreSQL refuses to run as root: its user in the package, else nobody.
const passwd* unprivileged_user() {
  if (geteuid() != 0) return nullptr;
  for (const char* name : {"postgres", "nobody"}) {
    if (const passwd* user = getpwnam(name)) return user;
  }
  end_program("neither the user postgres nor nobody exists");
}

// Starts a program as that user; it dies with us.
pid_t spawn(const std::vector<std::string>& words, const std::filesystem::path& log) {
  const passwd* user = unprivileged_user();
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const int log_fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const uid_t uid = user != nullptr ? user->pw_uid : 0;
  const gid_t gid = user != nullptr ? user->pw_gid : 0;
  const pid_t child = fork();
  if (child != 0) {
    ::close(log_fd);
    return child;
  }
  setpgid(0, 0);
  dup2(log_fd, 1);
  dup2(log_fd, 2);
  if (uid != 0 && (setgroups(0, nullptr) != 0 || setgid(gid) != 0 || setuid(uid) != 0)) _exit(126);
  prctl(PR_SET_PDEATHSIG, SIGQUIT);
  execv(arguments[0], arguments.data());
  _exit(127);
}

std::string tail_of(const std::filesystem::path& log) {
  std::string text(4'000, '\0');
  FILE* file = std::fopen(log.c_str(), "r");
  if (file == nullptr) return {};
  std::fseek(file, 0, SEEK_END);
  const long size = std::ftell(file);
  std::fseek(file, std::max(0L, size - 4'000), SEEK_SET);
  text.resize(std::fread(text.data(), 1, text.size(), file));
  std::fclose(file);
  return text;
}

void run(const std::vector<std::string>& words, const std::filesystem::path& log) {
  int status = 0;
  const pid_t child = spawn(words, log);
  if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
    end_program(fmt::format("{} failed ({}); PostgreSQL's tests need the package postgresql-15\n{}", words[0], status,
                            tail_of(log)));
  }
}

}  // namespace

ScratchFolder::ScratchFolder() {
  std::string name = (std::filesystem::temp_directory_path() / "fettle-db-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) end_program("cannot make a scratch folder: " + name);
  path_ = name;
}

ScratchFolder::~ScratchFolder() {
  std::error_code error;
  std::filesystem::remove_all(path_, error);
}

TestPostgres& TestPostgres::instance() {
  static TestPostgres server;
  return server;
}

TestPostgres::TestPostgres() {
  const auto& folder = folder_.path();
  if (const passwd* user = unprivileged_user()) {
    if (chown(folder.c_str(), user->pw_uid, user->pw_gid) != 0) end_program("cannot hand over the scratch folder");
  }
  // Initialising is not what is tested, so it may be quick; the server itself syncs.
  run({fmt::format("{}/initdb", kServerPrograms), "-D", folder / "data", "-U", "fettle", "-A", "trust", "-E", "UTF8",
       "--locale=C", "--no-sync", "--no-instructions", "--wal-segsize=4"},
      folder / "initdb.log");
  start();
}

TestPostgres::~TestPostgres() { stop(); }

void TestPostgres::start() {
  const auto& folder = folder_.path();
  process_ = spawn({fmt::format("{}/postgres", kServerPrograms), "-D", folder / "data", "-c", "listen_addresses=", "-c",
                    "unix_socket_directories=" + folder.string(), "-c", "shared_buffers=32MB", "-c", "fsync=on", "-c",
                    "max_connections=60", "-c", "autovacuum=off", "-c", "min_wal_size=8MB"},
                   folder / "server.log");
  const std::string url = fmt::format("postgresql:///postgres?host={}&user=fettle", folder.string());
  while (PQping(url.c_str()) != PQPING_OK) {
    int status = 0;
    if (waitpid(process_, &status, WNOHANG) == process_) {
      end_program("PostgreSQL did not start\n" + tail_of(folder / "server.log"));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

void TestPostgres::stop() {
  if (process_ < 0) return;
  kill(process_, SIGQUIT);
  waitpid(process_, nullptr, 0);
  process_ = -1;
}

void TestPostgres::crash_and_restart() {
  stop();
  start();
}

Secret TestPostgres::fresh_schema() {
  const std::string base = fmt::format("postgresql:///postgres?host={}&user=fettle", folder_.path().string());
  const std::string schema = fmt::format("s{}", ++schemas_);
  PGconn* connection = PQconnectdb(base.c_str());
  PGresult* made = PQexec(connection, fmt::format("CREATE SCHEMA {}", schema).c_str());
  if (PQresultStatus(made) != PGRES_COMMAND_OK)
    end_program(std::string("CREATE SCHEMA: ") + PQerrorMessage(connection));
  PQclear(made);
  PQfinish(connection);
  return Secret(fmt::format("{}&options=-csearch_path%3D{}", base, schema));
}

TestStore::TestStore(Dialect dialect)
    : dialect_(dialect),
      url_(dialect == Dialect::kSqlite ? Secret("sqlite:" + file().string())
                                       : TestPostgres::instance().fresh_schema()) {}

Result<std::unique_ptr<Database>> TestStore::try_open(const Options& options) {
  return db::open(url_, options, *clock, registry);
}

std::unique_ptr<Database> TestStore::open(const Options& options) {
  auto opened = try_open(options);
  if (!opened) end_program(opened.error().message());
  return std::move(*opened);
}

std::string store_name(const ::testing::TestParamInfo<Dialect>& info) {
  return info.param == Dialect::kSqlite ? "Sqlite" : "Postgres";
}

}  // namespace fettle::db
