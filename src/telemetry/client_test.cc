#include "telemetry/client.h"

#include <gtest/gtest.h>

namespace fettle::telemetry {
namespace {

TEST(Client, RefusesAUrlItCannotUse) {
  for (const std::string_view url : {"ftp://host", "host:8123", "http://", "http://host/path",
                                     "http://host/?database=a;b", "http://host/?database="}) {
    const auto client = Client::connect(url);
    ASSERT_FALSE(client) << url;
    EXPECT_EQ(client.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(Client, TakesTheDatabaseFromTheUrl) {
  EXPECT_EQ((*Client::connect("unix:/tmp/engine.sock"))->database(), "fettle");
  EXPECT_EQ((*Client::connect("http://u:p%40ss@host:8123/?database=ops"))->database(), "ops");
}

TEST(Client, NobodyListeningIsUnavailable) {
  const auto client = Client::connect("unix:/nonexistent/engine.sock");
  const auto done = (*client)->execute("SELECT 1");
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code(), ErrorCode::kUnavailable);
  EXPECT_EQ(engine_code_of(done.error()), 0);
}

TEST(Client, TellsARefusedBlockFromAStoreInTrouble) {
  struct Case {
    int code;
    std::string_view message;
    ErrorCode expected;
  };
  for (const Case& c : {
           Case{252, "Too many partitions for single INSERT block (more than 100)", ErrorCode::kInvalidArgument},
           Case{252, "Too many parts (3000). Merges are processing slower", ErrorCode::kResourceExhausted},
           Case{691, "Unexpected value 99 in enum", ErrorCode::kInvalidArgument},
           Case{117, "Duplicate path", ErrorCode::kInvalidArgument},
           Case{33, "Cannot read all data", ErrorCode::kInvalidArgument},
           Case{241, "Memory limit", ErrorCode::kResourceExhausted},
           Case{243, "Not enough space", ErrorCode::kResourceExhausted},
           Case{159, "Timeout", ErrorCode::kDeadlineExceeded},
           Case{60, "Table does not exist", ErrorCode::kNotFound},
           Case{164, "readonly", ErrorCode::kPermissionDenied},
           Case{1001, "std::exception", ErrorCode::kUnavailable},
       }) {
    EXPECT_EQ(to_error_code(c.code, c.message), c.expected) << c.code;
  }
}

TEST(Client, AFaultOfTheStoresOwnSaysNothingAgainstTheRowsOfAnInsert) {
  for (const int code : {6, 27, 32, 33, 38, 41, 53, 69, 70, 117, 131, 321, 349, 407, 691})
    EXPECT_EQ(to_insert_error_code(code, ""), ErrorCode::kInvalidArgument) << code;
  EXPECT_EQ(to_insert_error_code(252, "Too many partitions for single INSERT block"), ErrorCode::kInvalidArgument);
  // Settings, columns, types and functions that the store lacks, metadata that changes under it.
  for (const int code : {115, 16, 10, 47, 36, 517, 42, 43, 8, 20, 44, 46, 48, 50, 62, 63, 73, 80, 179, 386, 446, 457})
    EXPECT_EQ(to_insert_error_code(code, ""), ErrorCode::kInternal) << code;
  EXPECT_EQ(to_insert_error_code(252, "Too many parts (3000)"), ErrorCode::kResourceExhausted);
  EXPECT_EQ(to_insert_error_code(60, ""), ErrorCode::kNotFound);
  EXPECT_EQ(to_insert_error_code(159, ""), ErrorCode::kDeadlineExceeded);
}

}  // namespace
}  // namespace fettle::telemetry
