// Random lives of a server over one spool and one store: requests, repeated ones too, faults of the store, kills, torn
// tails, power cuts and orderly ends. Whatever happens, every acknowledged row is in the store once and the books
// close.
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <fstream>
#include <set>

#include "core/log.h"
#include "ingest/spool_for_test.h"
#include "ingest/store_for_test.h"
#include "ingest/writer.h"

namespace fettle::ingest {
namespace {

using Fault = FakeStore::Fault;
using State = ReplayGuard::State;

struct Step {
  enum class Kind { kSend, kRepeat, kStoreFault, kKill, kTornKill, kPowerCut, kCleanEnd };
  Kind kind;
  std::uint32_t number;  // how many, which one: each kind reads it in its own way
};

void showValue(const Step& step, std::ostream& out) { out << static_cast<int>(step.kind) << '/' << step.number; }

class World {
 public:
  // Rows that the store refuses are left out where power is cut: a cut in the middle of splitting may double rows.
  explicit World(bool has_bad_rows) : has_bad_rows_(has_bad_rows) {
    store_.refuse("bad");
    begin();
  }

  void act(const Step& step) {
    switch (step.kind) {
      case Step::Kind::kSend: return send(step.number % 4);
      case Step::Kind::kRepeat: return repeat(step.number);
      case Step::Kind::kStoreFault:
        return store_.then(
            std::vector<Fault>(step.number % 3 + 1, step.number % 2 == 0 ? Fault::kFail : Fault::kApplyThenFail));
      case Step::Kind::kKill: break;
      case Step::Kind::kTornKill:
        kill();
        tear_tail(step.number);
        break;
      case Step::Kind::kPowerCut:
        if (has_bad_rows_) break;
        kill();
        store_.forget_tokens();
        ++boots_;
        break;
      case Step::Kind::kCleanEnd:
        writer_->stop(clock_.monotonic() + std::chrono::microseconds(step.number % 500));
        break;
    }
    kill();
    begin();
  }

  void check() {
    writer_->stop(clock_.monotonic() + std::chrono::seconds(60));
    std::multiset<std::string> stored;
    for (std::string& text : store_.texts()) stored.insert(std::move(text));
    RC_ASSERT(stored == good_rows_);
    RC_ASSERT(life_->spool->status().segments == 0u);
    if (received_ == 0) return;
    const BalanceRow books = life_->books();
    RC_ASSERT(books.balanced());
    RC_ASSERT(books.pending == 0u);
    RC_ASSERT(books.received == received_);
    RC_ASSERT(books.duplicate == duplicate_);
    RC_ASSERT(books.stored == good_rows_.size());
    RC_ASSERT(books.rejected_total() == rejected_ + bad_);
  }

 private:
  void begin() {
    life_ = std::make_unique<Life>(folder_.path(), clock_, "boot-" + std::to_string(boots_));
    life_->options.linger = life_->options.seal_interval = std::chrono::nanoseconds(0);
    life_->options.segment_rows_max = 5;
    life_->open();
    Writer::Options options;
    options.pause_min = options.pause_max = std::chrono::microseconds(200);
    writer_ = std::make_unique<Writer>(options, *life_->spool, store_, life_->disk, clock_, life_->registry);
  }
  void kill() {
    writer_.reset();
    life_.reset();
  }

  void send(std::uint32_t rows) {
    const std::uint64_t request = ++requests_;
    RC_ASSERT(life_->guard.begin(hash_of(request), nullptr).state == State::kNew);
    std::vector<std::string> texts;
    for (std::uint32_t row = 0; row < rows; ++row) {
      const bool is_bad = has_bad_rows_ && (request + row) % 3 == 0;
      texts.push_back(std::to_string(request) + "." + std::to_string(row) + (is_bad ? " bad" : ""));
      if (is_bad)
        ++bad_;
      else
        good_rows_.insert(texts.back());
    }
    SpoolRecord record = spans_record(text_column(texts), rows);
    record.blocks[0].columns = 1;
    if (rows == 0) record.blocks.clear();
    ++record.counts[0].received;
    record.counts[0].rejected["too_old"] = 1;
    record.requests.push_back({hash_of(request), {rows + 1, 1}});
    received_ += rows + 1;
    ++rejected_;
    RC_ASSERT(life_->append(std::move(record)).has_value());
    life_->guard.finish(hash_of(request), RequestAnswer{rows + 1, 1});
  }

  void repeat(std::uint32_t which) {
    if (requests_ == 0) return;
    const auto seen = life_->guard.begin(hash_of(which % requests_ + 1), nullptr);
    RC_ASSERT(seen.state == State::kDone);
    SpoolRecord record;
    record.counts = spans_record("", 0).counts;
    record.counts[0].received = record.counts[0].duplicate = seen.answer.records;
    received_ += seen.answer.records;
    duplicate_ += seen.answer.records;
    RC_ASSERT(life_->append(std::move(record)).has_value());
  }

  // What a kill in the middle of a write leaves.
  void tear_tail(std::uint32_t number) {
    std::filesystem::path newest;
    for (const auto& entry : std::filesystem::directory_iterator(folder_.path())) {
      if (entry.path().extension() == ".segment") newest = std::max(newest, entry.path());
    }
    if (newest.empty()) return;
    // A trimmed file and one with reserved space differ: the garbage goes where the records end.
    std::ofstream(newest, std::ios::binary | std::ios::app) << std::string(number % 100, 'g');
  }

  const bool has_bad_rows_;
  TempFolder folder_;
  SystemClock clock_;
  FakeStore store_;
  int boots_ = 0;
  std::uint64_t requests_ = 0;
  std::multiset<std::string> good_rows_;
  std::uint64_t received_ = 0;
  std::uint64_t duplicate_ = 0;
  std::uint64_t rejected_ = 0;
  std::uint64_t bad_ = 0;
  std::unique_ptr<Life> life_;
  std::unique_ptr<Writer> writer_;
};

rc::Gen<Step> any_step() {
  using Kind = Step::Kind;
  return rc::gen::construct<Step>(rc::gen::weightedElement<Kind>({{10, Kind::kSend},
                                                                  {3, Kind::kRepeat},
                                                                  {3, Kind::kStoreFault},
                                                                  {2, Kind::kKill},
                                                                  {1, Kind::kTornKill},
                                                                  {1, Kind::kPowerCut},
                                                                  {1, Kind::kCleanEnd}}),
                                  rc::gen::inRange<std::uint32_t>(0, 1'000));
}

TEST(SpoolModel, WhateverHappensEveryAcknowledgedRowIsStoredOnceAndTheBooksClose) {
  log::set_level(log::Level::kError);
  EXPECT_TRUE(rc::check([] {
    World world(*rc::gen::arbitrary<bool>());
    const auto steps = *rc::gen::resize(40, rc::gen::container<std::vector<Step>>(any_step()));
    for (const Step& step : steps) world.act(step);
    world.check();
  }));
  log::set_level(log::Level::kInfo);
}

}  // namespace
}  // namespace fettle::ingest
