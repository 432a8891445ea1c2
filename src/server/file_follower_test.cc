#include "server/file_follower.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace fettle::server {
namespace {

class FileFollowerTest : public testing::Test {
 protected:
  FileFollowerTest() {
    std::string name = testing::TempDir() + "fettle-follow-XXXXXX";
    folder_ = ::mkdtemp(name.data());
    file_ = folder_ / "app.log";
  }
  ~FileFollowerTest() override { std::filesystem::remove_all(folder_); }

  void append(const std::string& text) { std::ofstream(file_, std::ios::app) << text; }
  void rotate(const std::string& to) { std::filesystem::rename(file_, folder_ / to); }
  // All that can be had now.
  static std::string drain(FileFollower& follower, bool is_final = false, std::size_t bytes_max = 1024) {
    std::string all;
    while (true) {
      auto batch = follower.next({.batch_bytes_max = bytes_max}, is_final);
      EXPECT_TRUE(batch) << batch.error().message();
      if (!batch || !*batch) return all;
      all += (*batch)->bytes;
      follower.advance(**batch);
    }
  }
  std::filesystem::path folder_;
  std::filesystem::path file_;
};

TEST_F(FileFollowerTest, HandsOutWholeLinesOnce) {
  FileFollower follower(file_, {});
  EXPECT_EQ(drain(follower), "");
  append("one\ntwo\nthr");
  EXPECT_EQ(drain(follower), "one\ntwo\n");
  append("ee\n");
  EXPECT_EQ(drain(follower), "three\n");
  EXPECT_EQ(drain(follower), "");
}

TEST_F(FileFollowerTest, AtTheEndALineNeedsNoEnd) {
  FileFollower follower(file_, {});
  append("one\ntwo");
  EXPECT_EQ(drain(follower, true), "one\ntwo");
}

TEST_F(FileFollowerTest, ABatchEndsAtALineAndALongerLineIsCut) {
  append("12345678\nabcdefgh\n" + std::string(40, 'x') + "\nend\n");
  FileFollower follower(file_, {});
  EXPECT_EQ((*follower.next({.batch_bytes_max = 12}, false))->bytes, "12345678\n");
  EXPECT_EQ(drain(follower, false, 12), "12345678\nabcdefgh\n" + std::string(40, 'x') + "\nend\n");
}

TEST_F(FileFollowerTest, ARotatedFileIsReadToItsEndFirst) {
  FileFollower follower(file_, {});
  append("one\n");
  EXPECT_EQ(drain(follower), "one\n");
  append("two\nno end");
  rotate("app.log.1");
  append("three\n");
  EXPECT_EQ(drain(follower), "two\nno endthree\n");
  EXPECT_EQ(drain(follower), "");
}

TEST_F(FileFollowerTest, SeveralRotationsInBetweenLoseNothing) {
  FileFollower follower(file_, {});
  append("one\n");
  EXPECT_EQ(drain(follower), "one\n");
  append("two\n");
  rotate("app.log.1");
  append("three\n");
  std::filesystem::rename(folder_ / "app.log.1", folder_ / "app.log.2");
  rotate("app.log.1");
  std::filesystem::last_write_time(folder_ / "app.log.2",
                                   std::filesystem::file_time_type::clock::now() - std::chrono::seconds(10));
  append("four\n");
  EXPECT_EQ(drain(follower), "two\nthree\nfour\n");
}

TEST_F(FileFollowerTest, ARestartGoesOnInTheFileThatWasRotatedMeanwhile) {
  FilePosition position;
  {
    FileFollower follower(file_, {});
    append("one\ntwo\n");
    auto batch = follower.next({.batch_bytes_max = 4}, false);
    follower.advance(**batch);
    position = follower.position();
  }
  append("three\n");
  rotate("app.log.1");
  append("four\n");
  FileFollower again(file_, position);
  EXPECT_EQ(drain(again), "two\nthree\nfour\n");
}

TEST_F(FileFollowerTest, AnotherFileInTheSamePlaceIsReadFromItsBeginning) {
  append("one\ntwo\n");
  FileFollower follower(file_, {});
  EXPECT_EQ(drain(follower), "one\ntwo\n");
  FilePosition position = follower.position();
  // As if the inode had been given to a new file: same numbers, other bytes.
  std::ofstream(file_) << "ONE\nTWO\nTHREE\n";
  FileFollower again(file_, position);
  EXPECT_EQ(drain(again), "ONE\nTWO\nTHREE\n");
}

TEST_F(FileFollowerTest, AFileCutDownInPlaceIsReadAgainFromItsBeginning) {
  append("a long line\n");
  FileFollower follower(file_, {});
  EXPECT_EQ(drain(follower), "a long line\n");
  std::ofstream(file_, std::ios::trunc) << "new\n";
  EXPECT_EQ(drain(follower), "new\n");
}

TEST_F(FileFollowerTest, ABatchCanBeMadeAgainByteForByte) {
  append("one\ntwo\n");
  FileFollower follower(file_, {});
  const auto batch = follower.next({.batch_bytes_max = 1024}, false);
  append("three\n");
  FileFollower again(file_, (*batch)->from);
  const auto same = again.again((*batch)->end);
  ASSERT_TRUE(same && *same);
  EXPECT_EQ((*same)->bytes, "one\ntwo\n");
}

TEST(WholeLines, KeepTheLastUnfinishedOne) {
  EXPECT_EQ(whole_lines("one\ntwo\nthr"), 8U);
  EXPECT_EQ(whole_lines("one"), 0U);
  EXPECT_EQ(whole_lines(""), 0U);
}

TEST(WholeLines, DoNotCutWhatDockerHasSplit) {
  const std::string part = R"({"log":"first half ","stream":"stdout","time":"t"})"
                           "\n";
  const std::string other = R"({"log":"whole\n","stream":"stderr","time":"t"})"
                            "\n";
  const std::string rest = R"({"log":"second half\n","stream":"stdout","time":"t"})"
                           "\n";
  const std::string backslash = R"({"log":"not the end\\n","stream":"stdout","time":"t"})"
                                "\n";
  EXPECT_EQ(whole_lines(part), 0U);
  EXPECT_EQ(whole_lines(part + other), 0U);
  EXPECT_EQ(whole_lines(other + part), other.size());
  EXPECT_EQ(whole_lines(part + other + rest), (part + other + rest).size());
  EXPECT_EQ(whole_lines(backslash), 0U);
}

}  // namespace
}  // namespace fettle::server
