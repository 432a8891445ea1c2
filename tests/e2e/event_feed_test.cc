// Domain events on their way from the ledger's outbox to the real engine.
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <string>

#include "core/clock.h"
#include "core/metrics.h"
#include "db/database.h"
#include "db/migration.h"
#include "db/testing.h"
#include "engine/testing.h"
#include "ledger/events.h"
#include "ledger/outbox.h"
#include "ledger/schema.h"
#include "server/config.h"
#include "server/event_feed.h"
#include "server/packs.h"
#include "telemetry/client.h"
#include "telemetry/migrations.h"
#include "telemetry/schema.h"

namespace fettle::server {
namespace {

using namespace std::chrono_literals;

class EventFeedTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(telemetry::Migrator(*client_, schema_).run());
    open_ledger();
    ASSERT_TRUE(db::migrate(*ledger_, {&ledger::migrations()}));
    ASSERT_TRUE(outbox_->add_consumer("telemetry"));
  }

  void open_ledger() {
    outbox_.reset();
    ledger_.reset();
    auto opened = db::open(Secret("sqlite:" + file().string()), {}, clock_, metrics_);
    ASSERT_TRUE(opened) << opened.error().message();
    ledger_ = std::move(*opened);
    outbox_ = std::make_unique<ledger::Outbox>(*ledger_, clock_, metrics_);
  }
  std::filesystem::path file() const { return folder_.path() / "ledger.db"; }

  void publish(const std::string& type, int count) {
    std::vector<ledger::Event> events;
    for (int i = 0; i < count; ++i) {
      events.push_back({.type = type,
                        .at = clock_.now(),
                        .identifiers = {{"client_id", "acme"}, {"run_id", "run_" + std::to_string(i)}},
                        .body = R"({"i":1})"});
    }
    auto done = ledger_->write_and_wait(
        [&](db::Transaction& tx) { return ledger::publish(tx, Scope{WorkspaceId{"w"}, {}}, events); });
    ASSERT_TRUE(done) << done.error().message();
  }

  // Runs a feed until it has brought everything.
  void feed() {
    EventFeed feed(*outbox_, *client_, catalogue_, [] { return true; }, clock_, metrics_, {.every = 10ms});
    const auto deadline = clock_.monotonic() + 30s;
    while (clock_.wait_for(20ms, {}) && clock_.monotonic() < deadline) {
      auto status = outbox_->status();
      ASSERT_TRUE(status) << status.error().message();
      if (status->size() == 1 && status->front().rows_behind == 0) return;
    }
    FAIL() << "the feed did not bring everything";
  }

  std::string ask(const std::string& sql) {
    auto rows = client_->query(sql);
    return rows && rows->size() == 1 ? rows->front().front() : "no single answer";
  }

  SystemClock clock_;
  metrics::Registry metrics_;
  db::ScratchFolder folder_;
  const telemetry::IdentifierCatalogue catalogue_ = *load_identifiers(Config());
  const telemetry::Schema schema_{catalogue_, {}};
  engine::TestEngine engine_{schema_.table_names()};
  std::unique_ptr<telemetry::Client> client_ = *telemetry::Client::connect(engine_.base_url());
  std::unique_ptr<db::Database> ledger_;
  std::unique_ptr<ledger::Outbox> outbox_;
};

TEST_F(EventFeedTest, EventsBecomeReadableUnderTheirIdentifiers) {
  publish("run.enqueued", 3);
  publish("run.succeeded", 2);
  feed();
  EXPECT_EQ(ask("SELECT count() FROM fettle.events WHERE workspace = 'w' AND client_id = 'acme'"), "5");
  EXPECT_EQ(ask("SELECT count() FROM fettle.events WHERE run_id = 'run_1' AND data != ''"), "2");
  EXPECT_EQ(ask("SELECT groupBitOr(signals) FROM fettle.identifiers WHERE value_hash = sipHash64('run_1')"), "4")
      << "what a journey finds them by";
}

TEST_F(EventFeedTest, WhatWasDeliveredBeforeAKillIsNotThereTwice) {
  publish("run.enqueued", 3);
  // As after a kill between the insert and the note that it was done: the ledger still says that nothing was delivered.
  outbox_.reset();
  ledger_.reset();
  const auto before = folder_.path() / "before.db";
  std::filesystem::copy_file(file(), before);
  open_ledger();
  feed();
  outbox_.reset();
  ledger_.reset();
  std::filesystem::remove(folder_.path() / "ledger.db-wal");
  std::filesystem::remove(folder_.path() / "ledger.db-shm");
  std::filesystem::copy_file(before, file(), std::filesystem::copy_options::overwrite_existing);
  open_ledger();
  publish("run.succeeded", 2);
  feed();
  EXPECT_EQ(ask("SELECT count() FROM fettle.events"), "5");
  EXPECT_EQ(ask("SELECT uniqExact(event_id) FROM fettle.events"), "5");
}

}  // namespace
}  // namespace fettle::server
