#include <gtest/gtest.h>

#include <atomic>
#include <future>
#include <latch>

#include "access/password_hasher.h"
#include "access/password_rules.h"

namespace fettle::access {
namespace {

// Little work for each hash: these tests are about the rules around it.
constexpr PasswordHasher::Options kCheap{.threads = 2, .queue_max = 64, .memory_bytes = 1 << 20, .passes = 1};

std::string hash_with(PasswordHasher& hasher, std::string password) {
  std::promise<Result<std::string>> promise;
  hasher.hash(Secret(std::move(password)), [&](Result<std::string> made) { promise.set_value(std::move(made)); });
  return promise.get_future().get().value();
}

PasswordHasher::Verdict verify_with(PasswordHasher& hasher, std::string password, std::string stored) {
  std::promise<Result<PasswordHasher::Verdict>> promise;
  hasher.verify(Secret(std::move(password)), std::move(stored), [&](auto verdict) { promise.set_value(verdict); });
  return promise.get_future().get().value();
}

TEST(PasswordHasher, MatchesThePasswordAndNoOther) {
  metrics::Registry registry;
  PasswordHasher hasher(kCheap, registry);
  const std::string stored = hash_with(hasher, "correct horse battery");
  EXPECT_TRUE(stored.starts_with("$argon2id$v=19$m=1024,t=1,p=1$")) << stored;
  EXPECT_TRUE(verify_with(hasher, "correct horse battery", stored).matches);
  EXPECT_FALSE(verify_with(hasher, "correct horse batterx", stored).matches);
  EXPECT_NE(hash_with(hasher, "correct horse battery"), stored) << "salted";
}

TEST(PasswordHasher, NoAccountNeverMatches) {
  metrics::Registry registry;
  PasswordHasher hasher(kCheap, registry);
  for (const char* stored : {"", "x", "$argon2id$", "$2b$12$abcdefghijklmnopqrstuu"}) {
    EXPECT_FALSE(verify_with(hasher, "", stored).matches) << stored;
    EXPECT_FALSE(verify_with(hasher, "anything", stored).matches) << stored;
  }
}

TEST(PasswordHasher, OtherParametersThanTodaysAskForANewHash) {
  metrics::Registry registry;
  PasswordHasher before(kCheap, registry);
  PasswordHasher after({.threads = 1, .queue_max = 4, .memory_bytes = 2 << 20, .passes = 2}, registry);
  const std::string stored = hash_with(before, "correct horse battery");
  EXPECT_FALSE(verify_with(before, "correct horse battery", stored).is_outdated);
  const auto verdict = verify_with(after, "correct horse battery", stored);
  EXPECT_TRUE(verdict.matches);
  EXPECT_TRUE(verdict.is_outdated);
  EXPECT_FALSE(verify_with(after, "wrong", stored).is_outdated);
}

TEST(PasswordHasher, NoMoreRunOrWaitThanAllowed) {
  metrics::Registry registry;
  PasswordHasher hasher({.threads = 1, .queue_max = 2, .memory_bytes = 1 << 20, .passes = 1}, registry);
  std::promise<void> first_runs;
  std::promise<void> go_on;
  auto gate = go_on.get_future().share();
  hasher.hash(Secret("first"), [&](Result<std::string>) {
    first_runs.set_value();
    gate.wait();
  });
  first_runs.get_future().wait();
  std::latch done(2);
  std::atomic<int> refused = 0;
  for (int i = 0; i < 5; ++i) {
    hasher.hash(Secret("more"), [&](Result<std::string> made) {
      if (made) {
        done.count_down();
      } else {
        EXPECT_EQ(made.error().code(), ErrorCode::kResourceExhausted);
        EXPECT_TRUE(made.error().retry_after());
        ++refused;
      }
    });
  }
  EXPECT_EQ(refused, 3);
  go_on.set_value();
  done.wait();
}

TEST(PasswordHasher, StoppingAnswersThoseThatWait) {
  metrics::Registry registry;
  std::atomic<int> answered = 0;
  PasswordHasher hasher(kCheap, registry);
  for (int i = 0; i < 40; ++i) hasher.hash(Secret("x"), [&](const Result<std::string>&) { ++answered; });
  hasher.stop();
  EXPECT_EQ(answered, 40);
  hasher.hash(Secret("x"), [&](const Result<std::string>& made) {
    EXPECT_FALSE(made);
    ++answered;
  });
  EXPECT_EQ(answered, 41);
}

TEST(PasswordRules, LengthCountsAndNothingAboutKindsOfCharacters) {
  EXPECT_TRUE(check_new_password("correct horse battery", "mara@acme.example", "Mara"));
  EXPECT_TRUE(check_new_password("äöüßéèêøåæœñ", "", ""));
  EXPECT_TRUE(check_new_password("tepid-gravel-onion", "", ""));
  for (const char* bad : {
           "",
           "short",
           "elevenchars",  // too short
           "aaaaaaaaaaaaaaaa",
           "abababababababab",  // few characters
           "password1234",
           "Password123!",
           "qwertyuiop123",
           "1234567890123",
           "Welcome12345",
           "abcdefghijklmnop",
           "fettlefettle1",
           "letmein123456",
           "mara@acme.example1",
           "MaraLindqvist1",
       }) {
    const auto checked = check_new_password(bad, "mara@acme.example", "Mara Lindqvist");
    ASSERT_FALSE(checked) << bad;
    EXPECT_EQ(checked.error().code(), ErrorCode::kInvalidArgument);
    EXPECT_FALSE(*bad != '\0' && checked.error().message().contains(bad)) << "says the password";
  }
  EXPECT_FALSE(check_new_password(std::string(1025, 'x'), "", ""));
  EXPECT_FALSE(check_new_password(std::string("with a zero\0byte in it", 22), "", ""));
  EXPECT_FALSE(check_new_password("not utf-8 \xff\xfe here", "", ""));
}

}  // namespace
}  // namespace fettle::access
