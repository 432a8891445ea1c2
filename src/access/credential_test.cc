#include "access/credential.h"

#include <gtest/gtest.h>

#include <set>

namespace fettle::access {
namespace {

TEST(Credentials, SayWhatTheyAre) {
  SeededRng rng(1);
  for (const auto kind : {CredentialKind::kToken, CredentialKind::kSession, CredentialKind::kLink}) {
    const std::string made = make_credential(kind, rng);
    EXPECT_EQ(made.size(), 58U);
    EXPECT_EQ(kind_of(made), kind);
  }
  EXPECT_TRUE(make_credential(CredentialKind::kToken, rng).starts_with("fettle_t_"));
}

TEST(Credentials, AnyChangedCutOrAddedCharacterIsNoticed) {
  SeededRng rng(2);
  const std::string good = make_credential(CredentialKind::kToken, rng);
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = bad[i] == 'a' ? 'b' : 'a';
    EXPECT_FALSE(kind_of(bad)) << i;
  }
  EXPECT_FALSE(kind_of(good.substr(0, good.size() - 1)));
  EXPECT_FALSE(kind_of(good + "a"));
  EXPECT_FALSE(kind_of(""));
  EXPECT_FALSE(kind_of("fettle_t_"));
}

TEST(Credentials, NeverRepeatAndUseTheWholeAlphabet) {
  SystemRng rng;
  std::set<std::string> seen;
  std::set<char> characters;
  for (int i = 0; i < 1000; ++i) {
    const std::string made = make_credential(CredentialKind::kSession, rng);
    EXPECT_TRUE(seen.insert(made).second);
    characters.insert(made.begin() + 9, made.end() - 6);
  }
  EXPECT_EQ(characters.size(), 62U);
}

}  // namespace
}  // namespace fettle::access
