#include "telemetry/detached_parts.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <ostream>

#include "engine/testing.h"

namespace fettle::telemetry {

void PrintTo(const DetachedParts& parts, std::ostream* out) { *out << parts.table << ' ' << parts.count; }

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(DetachedParts, AreThoseThatTheStorePutAsideByItself) {
  engine::TestEngine engine({"first", "second", "third"});
  auto client = *Client::connect(engine.base_url());
  for (const char* table : {"first", "second", "third"}) {
    for (const char* sql : {"CREATE TABLE {} (workspace String, n UInt8) ENGINE = MergeTree ORDER BY n",
                            "INSERT INTO {} VALUES ('w', 1)"}) {
      ASSERT_TRUE(client->execute(fmt::format(fmt::runtime(sql), table)));
    }
  }
  EXPECT_THAT(*detached_parts(*client), IsEmpty());

  // What somebody detached on purpose is no alarm.
  ASSERT_TRUE(client->execute("ALTER TABLE first DETACH PART 'all_1_1_0'"));
  EXPECT_THAT(*detached_parts(*client), IsEmpty());

  const auto tables = engine.data_dir() / "engine/data/data/fettle";
  for (const char* name : {"first/detached/broken-on-start_all_7_7_0", "second/detached/broken_all_2_2_0",
                           "second/detached/covered-by-broken_all_3_3_0", "third/detached/attaching_all_4_4_0"}) {
    ASSERT_TRUE(std::filesystem::create_directories(tables / name)) << name;
  }
  const auto found = detached_parts(*client);
  ASSERT_TRUE(found) << found.error().message();
  EXPECT_THAT(*found,
              ElementsAre(DetachedParts{.table = "first", .count = 1}, DetachedParts{.table = "second", .count = 2}));
  EXPECT_EQ(total(*found), 3U);
  EXPECT_EQ(to_text(*found), "first 1, second 2");
}

}  // namespace
}  // namespace fettle::telemetry
