#include "db/testing.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <grp.h>
#include <libpq-fe.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <vector>

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

// Runs a program as that user, to its end.
int run_as_user(const std::vector<std::string>& words, const std::filesystem::path& log) {
  const passwd* user = unprivileged_user();
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  const int log_fd = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  const uid_t uid = user != nullptr ? user->pw_uid : 0;
  const gid_t gid = user != nullptr ? user->pw_gid : 0;
  const pid_t child = fork();
  if (child == 0) {
    dup2(log_fd, 1);
    dup2(log_fd, 2);
    if (uid != 0 && (setgroups(0, nullptr) != 0 || setgid(gid) != 0 || setuid(uid) != 0)) _exit(126);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  ::close(log_fd);
  int status = -1;
  if (child > 0) waitpid(child, &status, 0);
  return status;
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
  if (const int status = run_as_user(words, log); status != 0) {
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
  if (take_shared()) return;
  folder_ = own_.emplace().path();
  if (const passwd* user = unprivileged_user()) {
    if (chown(folder_.c_str(), user->pw_uid, user->pw_gid) != 0) end_program("cannot hand over the scratch folder");
  }
  // Initialising is not what is tested, so it may be quick; the server itself syncs.
  run({fmt::format("{}/initdb", kServerPrograms), "-D", folder_ / "data", "-U", "fettle", "-A", "trust", "-E", "UTF8",
       "--locale=C", "--no-sync", "--no-instructions", "--wal-segsize=4"},
      folder_ / "control.log");
  control("start");
}

TestPostgres::~TestPostgres() {
  if (own_) {
    control("stop");
    return;
  }
  for (int i = 1; i <= schemas_; ++i) execute(fmt::format("DROP SCHEMA s{}_{} CASCADE", getpid(), i));
  ::close(lock_fd_);
}

bool TestPostgres::take_shared() {
  const char* folders = std::getenv("FETTLE_TEST_POSTGRES");
  std::string_view left = folders != nullptr ? folders : "";
  while (!left.empty()) {
    const std::size_t end = std::min(left.find(':'), left.size());
    const std::filesystem::path folder = left.substr(0, end);
    left.remove_prefix(std::min(end + 1, left.size()));
    const int lock = ::open((folder / "lock").c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (lock < 0) end_program("FETTLE_TEST_POSTGRES: cannot open the lock in " + folder.string());
    if (flock(lock, LOCK_EX | LOCK_NB) == 0) {
      folder_ = folder;
      lock_fd_ = lock;
      return true;
    }
    ::close(lock);
  }
  return false;
}

void TestPostgres::control(const char* command) {
  std::vector<std::string> words = {
      fmt::format("{}/pg_ctl", kServerPrograms), command, "-D", folder_ / "data", "-w", "-s"};
  if (command != std::string_view("start")) words.insert(words.end(), {"-m", "immediate"});
  if (command != std::string_view("stop")) {
    words.insert(words.end(), {"-l", folder_ / "server.log", "-o",
                               fmt::format("-c listen_addresses= -c unix_socket_directories={} -c shared_buffers=32MB "
                                           "-c fsync=on -c max_connections=60 -c autovacuum=off -c min_wal_size=8MB",
                                           folder_.string())});
  }
  run(words, folder_ / "control.log");
}

void TestPostgres::crash_and_restart() { control("restart"); }

std::string TestPostgres::base_url() const {
  return fmt::format("postgresql:///postgres?host={}&user=fettle", folder_.string());
}

void TestPostgres::execute(const std::string& statement) {
  PGconn* connection = PQconnectdb(base_url().c_str());
  PGresult* done = PQexec(connection, statement.c_str());
  if (PQresultStatus(done) != PGRES_COMMAND_OK) end_program(statement + ": " + PQerrorMessage(connection));
  PQclear(done);
  PQfinish(connection);
}

Secret TestPostgres::fresh_schema() {
  const std::string schema = fmt::format("s{}_{}", getpid(), ++schemas_);
  execute("CREATE SCHEMA " + schema);
  return Secret(fmt::format("{}&options=-csearch_path%3D{}", base_url(), schema));
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
