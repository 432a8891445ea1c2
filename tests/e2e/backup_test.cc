// A backup under load, and what it is worth.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "e2e/server_process.h"

namespace fettle::e2e {
namespace {

using testing::HasSubstr;

namespace fs = std::filesystem;

// Writes runs and log lines until it is told to stop.
class Load {
 public:
  explicit Load(ServerProcess& server) : thread_([this, &server] { work(server); }) {}
  ~Load() { stop(); }
  void stop() {
    is_stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }
  int rounds() const { return rounds_; }

 private:
  void work(ServerProcess& server) {
    while (!is_stopping_) {
      const int round = ++rounds_;
      server.post("/api/v1/runs", "application/json",
                  R"({"workflow":"load","payload":{"round":)" + std::to_string(round) + "}}");
      server.post("/api/v1/ingest/logs", "application/x-ndjson",
                  "{\"msg\":\"load " + std::to_string(round) + "\",\"service\":\"load\"}\n");
    }
  }
  std::atomic<bool> is_stopping_ = false;
  std::atomic<int> rounds_ = 0;
  std::thread thread_;
};

void write_known(ServerProcess& server) {
  const auto run = server.post("/api/v1/runs", "application/json",
                               R"({"workflow":"known","client_id":"acme","payload":{"answer":42}})");
  ASSERT_EQ(run.status, 201) << run.body;
  ASSERT_EQ(server
                .post("/api/v1/audit_logs", "application/json",
                      R"({"id":"known-audit","action":"publish","client_id":"acme"})")
                .status,
            201);
  ASSERT_EQ(
      server.post("/api/v1/ingest/logs", "application/x-ndjson", "{\"msg\":\"known line\",\"service\":\"s\"}\n").status,
      200);
  ASSERT_TRUE(eventually([&] { return server.get("/api/v1/audit/known-audit").status == 200; }));
}

bool has_line(ServerProcess& server, const std::string& service, std::string_view text) {
  return eventually([&] { return server.get("/api/v1/logs?service=" + service).body.contains(text); });
}

TEST(Backup, OfAServerUnderLoadItHoldsWhatWasAcknowledgedBefore) {
  const ScratchFolder scratch;
  const fs::path backup = scratch.path() / "backup";
  const fs::path restored = scratch.path() / "restored";
  std::string key;
  {
    // As "--data ./data" is: the engine may write below the folder whatever way it was named.
    const auto server = ServerProcess::start({.data = scratch.path() / "." / "data"});
    ASSERT_NE(server, nullptr);
    write_known(*server);
    Load load(*server);
    ASSERT_TRUE(eventually([&] { return load.rounds() > 20; }));
    // Acknowledged, and in the spool alone.
    ASSERT_EQ(
        server->post("/api/v1/ingest/logs", "application/x-ndjson", "{\"msg\":\"last\",\"service\":\"last\"}\n").status,
        200);
    const Ended taken = run_fettle({"backup", "--data", server->data().string(), "--output", backup.string()});
    ASSERT_EQ(taken.exit_code, 0) << taken.err;
    EXPECT_THAT(taken.out, HasSubstr("every one verified"));
    EXPECT_THAT(taken.out, HasSubstr("secret.key"));
    EXPECT_GT(load.rounds(), 20);
    load.stop();
    const Ended again = run_fettle({"backup", "--data", server->data().string(), "--output", backup.string()});
    EXPECT_EQ(again.exit_code, 1) << "nothing is overwritten";
    EXPECT_FALSE(fs::exists(server->data() / "engine/backups"));
    const Ended over = run_fettle({"restore", "--input", backup.string(), "--data", server->data().string()});
    EXPECT_EQ(over.exit_code, 1);
    EXPECT_THAT(over.err, HasSubstr("not empty"));
    server->terminate();
  }
  struct stat info{};
  ASSERT_EQ(::stat(backup.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U) << "everybody's data is in it";
  EXPECT_FALSE(fs::exists(backup / "secret.key"));
  EXPECT_EQ(run_fettle({"backup", "--verify", backup.string()}).exit_code, 0);

  const Ended done = run_fettle({"restore", "--input", backup.string(), "--data", restored.string(), "--secret-key",
                                 (scratch.path() / "data/secret.key").string()});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  EXPECT_THAT(done.out, HasSubstr("fettle serve --data"));
  const auto server = ServerProcess::start({.data = restored});
  ASSERT_NE(server, nullptr);
  EXPECT_THAT(server->get("/api/v1/runs?workflow=known").body, HasSubstr(R"("workflow":"known")"));
  const std::string run(
      boost::json::parse(server->get("/api/v1/runs?workflow=known").body).at("items").at(0).at("run_id").as_string());
  EXPECT_THAT(server->get("/api/v1/runs/" + run).body, HasSubstr(R"("answer":42)"));
  EXPECT_EQ(server->get("/api/v1/audit/known-audit").status, 200);
  EXPECT_TRUE(has_line(*server, "s", "known line"));
  EXPECT_TRUE(has_line(*server, "load&q=%22load%2010%22", "\"load 10\"")) << "long before the backup";
  EXPECT_TRUE(has_line(*server, "last", "\"last\"")) << "acknowledged before the backup began";
  // It goes on: new work, new telemetry, and one chain of audits.
  ASSERT_EQ(server->post("/api/v1/audit_logs", "application/json", R"({"id":"later","action":"publish"})").status, 201);
  ASSERT_TRUE(eventually([&] { return server->get("/api/v1/audit/later").status == 200; }));
  ASSERT_EQ(
      server->post("/api/v1/ingest/logs", "application/x-ndjson", "{\"msg\":\"later\",\"service\":\"l\"}\n").status,
      200);
  EXPECT_TRUE(has_line(*server, "l", "later"));
  const Ended verified = run_fettle({"audit", "verify", "--data-dir", restored.string()});
  EXPECT_EQ(verified.exit_code, 0) << verified.out << verified.err;
  EXPECT_EQ(server->terminate(), 0);
}

TEST(Backup, WithoutAServerThereIsNone) {
  const ScratchFolder scratch;
  const fs::path data = scratch.path() / "data";
  {
    const auto server = ServerProcess::start({.data = data});
    ASSERT_NE(server, nullptr);
    server->terminate();
  }
  const Ended ended = run_fettle({"backup", "--data", data.string(), "--output", (scratch.path() / "b").string()});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.err, HasSubstr("start it, or, while it is stopped, copy the folder"));
  EXPECT_FALSE(fs::exists(scratch.path() / "b"));
  EXPECT_FALSE(fs::exists(scratch.path() / "b.partial"));
}

// Killed anywhere, a backup leaves nothing that restore would take for one, and the next one goes well.
TEST(Backup, AKilledOneIsNoBackup) {
  const ScratchFolder scratch;
  const auto server = ServerProcess::start({.data = scratch.path() / "data"});
  ASSERT_NE(server, nullptr);
  write_known(*server);
  const fs::path backup = scratch.path() / "backup";
  for (const int after_ms : {2, 8, 20, 40, 70, 110, 160, 230}) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      ::execl(FETTLE_PROGRAM, FETTLE_PROGRAM, "backup", "--data", server->data().c_str(), "--output", backup.c_str(),
              "--json", nullptr);
      ::_exit(127);
    }
    ::usleep(static_cast<useconds_t>(after_ms) * 1000);
    ::kill(pid, SIGKILL);
    int status = 0;
    ::waitpid(pid, &status, 0);
    const bool has_ended_well = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    EXPECT_EQ(run_fettle({"backup", "--verify", backup.string()}).exit_code, fs::exists(backup) ? 0 : 1) << after_ms;
    EXPECT_TRUE(fs::exists(backup) || !has_ended_well);
    if (const fs::path half = backup.string() + ".partial"; fs::exists(half) && !fs::exists(half / "manifest.json")) {
      const fs::path to = scratch.path() / "to";
      EXPECT_EQ(run_fettle({"restore", "--input", half.string(), "--data", to.string()}).exit_code, 1) << after_ms;
      EXPECT_FALSE(fs::exists(to)) << "and leaves nothing behind";
    }
    fs::remove_all(backup);
  }
  const Ended taken = run_fettle({"backup", "--data", server->data().string(), "--output", backup.string()});
  EXPECT_EQ(taken.exit_code, 0) << taken.err;
}

TEST(Backup, AStoppedOneTidiesUp) {
  const ScratchFolder scratch;
  const auto server = ServerProcess::start({.data = scratch.path() / "data"});
  ASSERT_NE(server, nullptr);
  write_known(*server);
  const fs::path backup = scratch.path() / "backup";
  for (const int after_ms : {40, 120, 250}) {
    const pid_t pid = ::fork();
    ASSERT_GE(pid, 0);
    if (pid == 0) {
      ::execl(FETTLE_PROGRAM, FETTLE_PROGRAM, "backup", "--data", server->data().c_str(), "--output", backup.c_str(),
              nullptr);
      ::_exit(127);
    }
    ::usleep(static_cast<useconds_t>(after_ms) * 1000);
    ::kill(pid, SIGTERM);
    int status = 0;
    ::waitpid(pid, &status, 0);
    EXPECT_FALSE(fs::exists(backup.string() + ".partial")) << after_ms;
    EXPECT_FALSE(fs::exists(server->data() / "engine/backups")) << after_ms;
    fs::remove_all(backup);
  }
}

TEST(Backup, WhatWasBentIsFoundAndNotRestored) {
  const ScratchFolder scratch;
  const fs::path backup = scratch.path() / "backup";
  {
    const auto server = ServerProcess::start({.data = scratch.path() / "data"});
    ASSERT_NE(server, nullptr);
    write_known(*server);
    const Ended taken = run_fettle({"backup", "--data", server->data().string(), "--output", backup.string()});
    ASSERT_EQ(taken.exit_code, 0) << taken.err;
  }
  const fs::path to = scratch.path() / "to";
  const auto refuses = [&](std::string_view why) {
    const Ended ended = run_fettle({"restore", "--input", backup.string(), "--data", to.string()});
    EXPECT_EQ(ended.exit_code, 1) << why;
    EXPECT_THAT(ended.err, HasSubstr(std::string(why)));
    EXPECT_FALSE(fs::exists(to));
  };
  const fs::path list = backup / "telemetry/.backup";
  std::string text;
  {
    std::ifstream in(list, std::ios::binary);
    text.assign(std::istreambuf_iterator<char>(in), {});
  }
  std::ofstream(list, std::ios::binary) << text << ' ';
  refuses("telemetry/.backup");
  std::ofstream(list, std::ios::binary) << text;
  fs::rename(backup / "ledger/ledger.db", scratch.path() / "aside");
  refuses("ledger/ledger.db is missing");
  fs::rename(scratch.path() / "aside", backup / "ledger/ledger.db");
  // Of a version that knows more than this one.
  std::ifstream in(backup / "manifest.json");
  std::string manifest(std::istreambuf_iterator<char>(in), {});
  const std::string good = manifest;
  manifest.replace(manifest.find("\"format\":1"), 10, "\"format\":9");
  std::ofstream(backup / "manifest.json") << manifest;
  refuses("newer Fettle");
  manifest = good;
  const std::size_t schema = manifest.find("\"telemetry_schema\":") + 19;
  manifest.insert(schema, "9");
  std::ofstream(backup / "manifest.json") << manifest;
  refuses("newer Fettle");
  std::ofstream(backup / "manifest.json") << good;
  EXPECT_EQ(run_fettle({"restore", "--input", backup.string(), "--data", to.string()}).exit_code, 0);
}

}  // namespace
}  // namespace fettle::e2e
