#include "batcher.h"

#include <gtest/gtest.h>

#include "fake_server.h"
#include "problem.h"

namespace fettle::sdk {
namespace {

// Answers each item with itself; holds the first request back until the gate opens.
class BatcherTest : public testing::Test {
 protected:
  Batcher& make(Batcher::Limits limits = {}) {
    batcher_ = std::make_unique<Batcher>("test", limits, [this](const std::string& items) { return send(items); });
    return *batcher_;
  }

  // Puts an item under way, so that those to come gather.
  void occupy() {
    first_ = batcher_->add("0");
    ASSERT_TRUE(under_way_.wait());
  }

  Result<Json> send(const std::string& items) {
    const Json batch = *Json::parse("[" + items + "]");
    {
      const std::lock_guard lock(mutex_);
      sent_.push_back(batch.items().size());
    }
    if (batch.items().front() == Json(0)) {
      under_way_.open();
      gate_.wait();
    }
    Json::Array results;
    for (const Json& item : batch.items()) {
      if (item.as_string() == "poison") return fail(problem_error(422, Json()));
      results.push_back(Json::object({{"ok", item.as_string() != "bad"}, {"item", item}}));
    }
    return Json::object({{"results", results}});
  }

  std::mutex mutex_;
  std::vector<std::size_t> sent_;
  Gate under_way_, gate_;
  std::future<Result<Json>> first_;
  std::unique_ptr<Batcher> batcher_;
};

TEST_F(BatcherTest, WhatComesWhileARequestIsUnderWayLeavesWithTheNextInOrder) {
  Batcher& batcher = make();
  occupy();
  std::vector<std::future<Result<Json>>> futures;
  for (int i = 1; i < 50; ++i) futures.push_back(batcher.add(std::to_string(i)));
  gate_.open();
  for (int i = 1; i < 50; ++i) EXPECT_EQ((*futures[static_cast<std::size_t>(i - 1)].get())["item"], Json(i));
  EXPECT_EQ(sent_, (std::vector<std::size_t>{1, 49}));
}

TEST_F(BatcherTest, ARequestIsBoundedByItemsAndByBytes) {
  Batcher& batcher = make({.items_max = 3, .bytes_max = 10});
  occupy();
  for (const char* item : {"1", "2", "3", "4", "5555555555", "6"}) (void)batcher.add(item);
  gate_.open();
  batcher.drain();
  EXPECT_EQ(sent_, (std::vector<std::size_t>{1, 3, 1, 1, 1}));
  EXPECT_EQ(batcher.add("12345678901").get().error().kind, ErrorKind::kInvalidValue);
}

TEST_F(BatcherTest, AFullQueueRefusesAndTakesAgainOnceThereIsRoom) {
  Batcher& batcher = make({.queue_items_max = 2, .queue_bytes_max = 6});
  occupy();
  (void)batcher.add("1111");
  EXPECT_EQ(batcher.add("333").get().error().kind, ErrorKind::kQueueFull);
  (void)batcher.add("22");
  EXPECT_EQ(batcher.add("3").get().error().kind, ErrorKind::kQueueFull);
  gate_.open();
  batcher.drain();
  EXPECT_TRUE(batcher.add("666666").get());
}

TEST_F(BatcherTest, EverybodyGetsTheAnswerOfTheirOwnItem) {
  Batcher& batcher = make();
  auto good = batcher.add("\"good\""), bad = batcher.add("\"bad\"");
  EXPECT_TRUE(good.get());
  EXPECT_EQ(bad.get().error().kind, ErrorKind::kProblem);
}

TEST_F(BatcherTest, OneItemThatSpoilsItsRequestDoesNotTakeItsNeighboursAlong) {
  Batcher& batcher = make();
  occupy();
  std::vector<std::future<Result<Json>>> futures;
  for (const char* item : {"1", "2", "\"poison\"", "4", "5"}) futures.push_back(batcher.add(item));
  gate_.open();
  std::vector<bool> good;
  for (auto& future : futures) good.push_back(future.get().has_value());
  EXPECT_EQ(good, (std::vector<bool>{true, true, false, true, true}));
}

TEST_F(BatcherTest, ClosingSendsWhatWaitsAndThenRefuses) {
  Batcher& batcher = make();
  auto sent = batcher.add("1");
  batcher.close();
  EXPECT_TRUE(sent.get());
  EXPECT_FALSE(batcher.add("2").get());
}

}  // namespace
}  // namespace fettle::sdk
