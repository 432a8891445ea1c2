#include "server/data_dir.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <optional>

namespace fettle::server {
namespace {

class DataDirTest : public testing::Test {
 protected:
  DataDirTest() {
    std::string name = testing::TempDir() + "fettle-data-XXXXXX";
    folder_ = std::filesystem::path(::mkdtemp(name.data())) / "deep" / "data";
  }
  ~DataDirTest() override { std::filesystem::remove_all(folder_.parent_path().parent_path()); }
  std::filesystem::path folder_;
};

TEST_F(DataDirTest, IsMadeForTheOwnerAlone) {
  const auto folder = DataDir::open(folder_);
  ASSERT_TRUE(folder) << folder.error().message();
  struct stat info{};
  ASSERT_EQ(::stat(folder_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
}

TEST_F(DataDirTest, AFolderOpenToOthersIsClosed) {
  std::filesystem::create_directories(folder_);
  ::chmod(folder_.c_str(), 0755);
  ASSERT_TRUE(DataDir::open(folder_));
  struct stat info{};
  ASSERT_EQ(::stat(folder_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700U);
}

TEST_F(DataDirTest, ASecondServerIsRefusedUntilTheFirstHasEnded) {
  std::optional<Result<DataDir>> first = DataDir::open(folder_);
  ASSERT_TRUE(*first);
  const auto second = DataDir::open(folder_);
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code(), ErrorCode::kConflict);
  EXPECT_NE(second.error().message().find(std::to_string(::getpid())), std::string::npos);
  first.reset();
  EXPECT_TRUE(DataDir::open(folder_));
}

TEST_F(DataDirTest, PortsAreWrittenWholeAndRemoved) {
  const auto folder = DataDir::open(folder_);
  ASSERT_TRUE(folder);
  ASSERT_TRUE(folder->write_ports({.http = 7070, .otlp_http = 4318, .otlp_grpc = 4317}));
  std::ifstream in(folder_ / "ports.json");
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  EXPECT_EQ(text, "{\"http\":7070,\"otlp_http\":4318,\"otlp_grpc\":4317}\n");
  EXPECT_FALSE(std::filesystem::exists(folder_ / "ports.json.tmp"));
  folder->remove_ports();
  EXPECT_FALSE(std::filesystem::exists(folder_ / "ports.json"));
}

TEST(PortOf, IsBehindTheLastColon) {
  EXPECT_EQ(port_of("127.0.0.1:7070"), 7070);
  EXPECT_EQ(port_of("[::1]:4318"), 4318);
  EXPECT_EQ(port_of("unix:/run/x"), 0);
}

}  // namespace
}  // namespace fettle::server
