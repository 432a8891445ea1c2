// A server whose ledger is in PostgreSQL: backed up, restored into another schema, and its audit log verified there.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "db/testing.h"
#include "e2e/server_process.h"

namespace fettle::e2e {
namespace {

using testing::HasSubstr;

namespace fs = std::filesystem;

TEST(BackupOfPostgres, IsRestoredIntoAnEmptySchemaAndIntoNoOther) {
  const ScratchFolder scratch;
  const std::string here(db::TestPostgres::instance().fresh_schema().reveal());
  const std::string there(db::TestPostgres::instance().fresh_schema().reveal());
  const fs::path backup = scratch.path() / "backup";
  {
    const auto server = ServerProcess::start({.data = scratch.path() / "data", .arguments = {"--ledger-url", here}});
    ASSERT_NE(server, nullptr);
    ASSERT_EQ(server->post("/api/v1/runs", "application/json", R"({"workflow":"known"})").status, 201);
    ASSERT_EQ(
        server->post("/api/v1/audit_logs", "application/json", R"({"id":"known-audit","action":"publish"})").status,
        201);
    ASSERT_TRUE(eventually([&] { return server->get("/api/v1/audit/known-audit").status == 200; }));
    const Ended taken =
        run_fettle({"backup", "--data", server->data().string(), "--ledger-url", here, "--output", backup.string()});
    ASSERT_EQ(taken.exit_code, 0) << taken.err;
    EXPECT_THAT(taken.out, HasSubstr("postgres"));
    EXPECT_EQ(run_fettle({"audit", "verify", "--ledger-url", here}).exit_code, 0);
    server->terminate();
  }
  const fs::path restored = scratch.path() / "restored";
  const auto restore = [&](const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"restore", "--input", backup.string(), "--data", restored.string()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_fettle(arguments);
  };
  const Ended into_file = restore({});
  EXPECT_EQ(into_file.exit_code, 2);
  EXPECT_THAT(into_file.err, HasSubstr("PostgreSQL"));
  EXPECT_EQ(restore({"--ledger-url", here}).exit_code, 1) << "that schema is not empty";
  EXPECT_FALSE(fs::exists(restored));
  const Ended done = restore({"--ledger-url", there});
  ASSERT_EQ(done.exit_code, 0) << done.err;
  const auto server = ServerProcess::start({.data = restored, .arguments = {"--ledger-url", there}});
  ASSERT_NE(server, nullptr);
  EXPECT_THAT(server->get("/api/v1/runs").body, HasSubstr(R"("workflow":"known")"));
  EXPECT_EQ(server->get("/api/v1/audit/known-audit").status, 200);
  EXPECT_EQ(run_fettle({"audit", "verify", "--ledger-url", there}).exit_code, 0);
}

}  // namespace
}  // namespace fettle::e2e
