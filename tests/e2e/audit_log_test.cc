// The audit log from outside: exported, and in the live file, whole and tampered with.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "core/clock.h"
#include "core/metrics.h"
#include "db/database.h"
#include "e2e/server_process.h"

namespace fettle::e2e {
namespace {

using testing::HasSubstr;

namespace fs = std::filesystem;

// A checkpoint is made every 1,024 records, so that nobody has to wait a minute for one.
constexpr int kRecords = 1'100;
constexpr int kCovered = 1'024;

std::string read_all(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// Where the text of record n stands in the file of a store or a bundle.
std::string mark_of(int record) { return "target-" + std::to_string(100'000 + record); }

class AuditLogTest : public testing::Test {
 protected:
  // A stopped server's folder with a log of kRecords, and its export.
  static void SetUpTestSuite() {
    scratch_ = std::make_unique<ScratchFolder>();
    const auto server = ServerProcess::start({.data = data()});
    ASSERT_NE(server, nullptr);
    for (int first = 1; first <= kRecords; first += 550) {
      std::string records;
      for (int i = first; i < first + 550; ++i) {
        records += (i == first ? "" : ",") + std::string(R"({"action":"publish","client_id":"acme","target_id":")") +
                   mark_of(i) + R"(","payload_summary":"said hello"})";
      }
      const auto answer = server->post("/api/v1/audit_logs", "application/json", "{\"records\":[" + records + "]}");
      ASSERT_EQ(answer.status, 200) << answer.body;
    }
    ASSERT_TRUE(eventually([&] {
      const auto list = boost::json::parse(server->get("/api/v1/audit/checkpoints").body);
      const auto& items = list.at("items").as_array();
      return !items.empty() && items[0].at("size").as_int64() >= kCovered;
    })) << "no checkpoint";
    const Ended exported = run_fettle({"audit", "export", "--output", bundle().string(), "--url", server->url()});
    ASSERT_EQ(exported.exit_code, 0) << exported.err;
    EXPECT_THAT(exported.out, HasSubstr("verified"));
    const Ended found = run_fettle({"audit", "search", "--target", mark_of(7), "--url", server->url()});
    EXPECT_THAT(found.out, HasSubstr(mark_of(7)));
    const auto one = server->get("/api/v1/audit?target_id=" + mark_of(7)).body;
    const auto position = boost::json::parse(one).at("items").at(0).at("position").as_int64();
    const Ended shown = run_fettle({"audit", "show", std::to_string(position), "--url", server->url()});
    EXPECT_THAT(shown.out, HasSubstr("in the checkpoint of"));
    const Ended again = run_fettle({"audit", "export", "--output", bundle().string(), "--url", server->url()});
    EXPECT_EQ(again.exit_code, 1) << "nothing is overwritten";
    // Beside a server that works.
    EXPECT_EQ(run_fettle({"audit", "verify", "--data-dir", data().string()}).exit_code, 0);
    EXPECT_EQ(server->terminate(), 0);
  }
  static void TearDownTestSuite() { scratch_.reset(); }

  static fs::path data() { return scratch_->path() / "data"; }
  static fs::path bundle() { return scratch_->path() / "bundle.jsonl"; }

  // A copy of the ledger in a folder of its own.
  fs::path copy_of_data() {
    const fs::path folder = own_.path() / "data";
    fs::remove_all(folder);
    fs::create_directory(folder);
    fs::copy_file(data() / "ledger.db", folder / "ledger.db");
    EXPECT_FALSE(fs::exists(data() / "ledger.db-wal") && fs::file_size(data() / "ledger.db-wal") > 0);
    return folder;
  }
  static boost::json::value verdict(const std::vector<std::string>& where, int exit_code) {
    std::vector<std::string> arguments = {"audit", "verify", "--json"};
    arguments.insert(arguments.end(), where.begin(), where.end());
    const Ended ended = run_fettle(arguments);
    EXPECT_EQ(ended.exit_code, exit_code) << ended.out << ended.err;
    boost::json::error_code error;
    auto value = boost::json::parse(ended.out, error);
    EXPECT_FALSE(error) << ended.out << ended.err;
    return error ? boost::json::value(boost::json::object{{"good", false}}) : value;
  }
  static std::int64_t first_bad(const boost::json::value& verdict) {
    const auto* bad = verdict.as_object().if_contains("first_bad");
    return bad == nullptr ? -1 : bad->at("position").as_int64();
  }
  // The position of the record that has this mark.
  static std::int64_t position_of(int record) {
    std::ifstream in(bundle());
    for (std::string line; std::getline(in, line);) {
      if (line.starts_with("{\"record\":") && line.contains(mark_of(record))) {
        return boost::json::parse(line).at("record").at("position").as_int64();
      }
    }
    return 0;
  }
  std::int64_t bad_in_bundle(const std::string& text) {
    const fs::path file = own_.write("bent.jsonl", text);
    return first_bad(verdict({file.string()}, 1));
  }
  static std::vector<std::string> lines() {
    std::vector<std::string> all;
    std::ifstream in(bundle());
    for (std::string line; std::getline(in, line);) all.push_back(line + '\n');
    return all;
  }
  static std::size_t line_of(const std::vector<std::string>& all, int record) {
    for (std::size_t i = 0; i < all.size(); ++i) {
      if (all[i].starts_with("{\"record\":") && all[i].contains(mark_of(record))) return i;
    }
    return 0;
  }
  static std::string joined(const std::vector<std::string>& all) {
    std::string text;
    for (const std::string& line : all) text += line;
    return text;
  }

  static inline std::unique_ptr<ScratchFolder> scratch_;
  const ScratchFolder own_;
};

TEST_F(AuditLogTest, AnUntouchedLogIsGoodInBothForms) {
  const auto file = verdict({bundle().string()}, 0);
  EXPECT_TRUE(file.at("good").as_bool());
  EXPECT_GE(file.at("vouched").as_int64(), kCovered);
  const auto store = verdict({"--data-dir", data().string()}, 0);
  EXPECT_TRUE(store.at("good").as_bool());
  EXPECT_GE(store.at("to").as_int64(), kRecords);
  const Ended text = run_fettle({"audit", "verify", "--data-dir", data().string()});
  EXPECT_THAT(text.err, HasSubstr("the key of this folder's server"));
  EXPECT_EQ(run_fettle({"audit", "verify"}).exit_code, 2);
  EXPECT_EQ(run_fettle({"audit", "verify", "--data-dir", own_.path().string()}).exit_code, 1);
}

TEST_F(AuditLogTest, WhatIsDoneToABundleIsFoundAtItsFirstRecord) {
  const std::vector<std::string> good = lines();
  const std::int64_t position = position_of(500);
  const std::size_t line = line_of(good, 500);
  std::vector<std::string> bent = good;
  bent[line].replace(bent[line].find(mark_of(500)), 6, "TARGET");
  EXPECT_EQ(bad_in_bundle(joined(bent)), position) << "flipped";
  bent = good;
  bent.erase(bent.begin() + static_cast<std::ptrdiff_t>(line));
  EXPECT_EQ(bad_in_bundle(joined(bent)), position) << "deleted";
  bent = good;
  std::swap(bent[line], bent[line_of(good, 600)]);
  EXPECT_EQ(bad_in_bundle(joined(bent)), position) << "reordered";
  bent.assign(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(line));
  EXPECT_EQ(bad_in_bundle(joined(bent)), position) << "truncated";
}

TEST_F(AuditLogTest, WhatIsDoneToTheLiveFileIsFoundAtItsFirstRecord) {
  const std::int64_t position = position_of(500);
  const auto bad = [&](const fs::path& folder) { return first_bad(verdict({"--data-dir", folder.string()}, 1)); };
  // As somebody with the file and SQLite would do it.
  const auto sql = [&](const std::vector<std::string>& changes) {
    const fs::path folder = copy_of_data();
    SystemClock clock;
    metrics::Registry metrics;
    auto store = db::open(Secret("sqlite:" + (folder / "ledger.db").string()), {}, clock, metrics);
    EXPECT_TRUE(store);
    const auto done = (*store)->write_and_wait([&](db::Transaction& tx) -> Result<void> {
      for (const char* trigger : {"audit_records_update", "audit_records_delete"}) {
        auto dropped = tx.execute(db::Sql::assembled(std::string("DROP TRIGGER ") + trigger));
        if (!dropped) return std::unexpected(dropped.error());
      }
      for (const std::string& change : changes) {
        auto changed = tx.execute(db::Sql::assembled(change));
        if (!changed) return std::unexpected(changed.error());
      }
      return {};
    });
    EXPECT_TRUE(done) << done.error().message();
    (*store)->close();
    return folder;
  };
  const std::string at = std::to_string(position);
  const std::string other = std::to_string(position + 100);
  // A byte of the file itself, past SQLite.
  const fs::path flipped = copy_of_data();
  std::string bytes = read_all(flipped / "ledger.db");
  // Wherever it stands: the outbox tells of the record as well.
  const std::string mark = mark_of(500);
  ASSERT_TRUE(bytes.contains(mark));
  for (std::size_t place = bytes.find(mark); place != std::string::npos; place = bytes.find(mark)) bytes[place] = 'T';
  std::ofstream(flipped / "ledger.db", std::ios::binary) << bytes;
  EXPECT_EQ(bad(flipped), position);
  EXPECT_EQ(bad(sql({"DELETE FROM audit_records WHERE position = " + at})), position) << "deleted";
  EXPECT_EQ(bad(sql({"UPDATE audit_records SET position = -1 WHERE position = " + at,
                     "UPDATE audit_records SET position = " + at + " WHERE position = " + other,
                     "UPDATE audit_records SET position = " + other + " WHERE position = -1"})),
            position)
      << "reordered";
  EXPECT_EQ(bad(sql({"DELETE FROM audit_records WHERE position >= " + at})), position) << "truncated";
}

TEST_F(AuditLogTest, AFileThatWasCutShortIsVerifiedAsFarAsItGoes) {
  const fs::path folder = copy_of_data();
  // Half of the records' pages are gone; which record comes first there is SQLite's affair.
  fs::resize_file(folder / "ledger.db", fs::file_size(folder / "ledger.db") / 4096 / 2 * 4096);
  const Ended ended = run_fettle({"audit", "verify", "--data-dir", folder.string(), "--workspace", "default"});
  EXPECT_EQ(ended.exit_code, 1);
  EXPECT_THAT(ended.err, HasSubstr("the store is damaged"));
  EXPECT_THAT(ended.out, HasSubstr("NOT GOOD of 'default', from record"));
}

}  // namespace
}  // namespace fettle::e2e
