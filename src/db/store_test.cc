#include <gtest/gtest.h>

#include "db/lease.h"
#include "db/migration.h"
#include "db/testing.h"

namespace fettle::db {
namespace {

class StoreBasics : public StoreTest {};
FETTLE_FOR_BOTH_STORES(StoreBasics);

TEST_P(StoreBasics, WhatIsCommittedIsRead) {
  auto database = open();
  ASSERT_TRUE(migrate(*database, {&lease_migrations()}));
  auto made = database->write_and_wait([](Transaction& tx) -> Result<std::int64_t> {
    return tx.execute("INSERT INTO fettle_leases (name, holder, epoch, expires_at) VALUES ($1, $2, $3, $3)",
                      {"a", "b", 7});
  });
  ASSERT_TRUE(made) << made.error().message();
  EXPECT_EQ(*made, 1);
  auto read = database->read_and_wait([](Reader& reader) -> Result<std::int64_t> {
    std::int64_t epoch = 0;
    auto found = reader.fetch("SELECT epoch FROM fettle_leases WHERE name = $1", {"a"}, epoch);
    if (!found) return std::unexpected(found.error());
    return epoch;
  });
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(*read, 7);
}

}  // namespace
}  // namespace fettle::db
