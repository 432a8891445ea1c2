#include "notify/secret_box.h"

#include <gtest/gtest.h>

namespace fettle::notify {
namespace {

const Secret kServer(std::string(32, 's'));

TEST(SecretBoxTest, WhatWasSealedOpensInItsPlaceAlone) {
  SeededRng rng(1);
  const SecretBox box = SecretBox::derive(kServer).value();
  const std::string sealed = box.seal(Secret("the secret"), "acme/whk_1", rng);
  EXPECT_FALSE(sealed.contains("secret"));
  EXPECT_EQ(SecretBox::derive(kServer)->open(sealed, "acme/whk_1")->reveal(), "the secret");
  EXPECT_EQ(box.open(sealed, "acme/whk_2").error().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(box.open(sealed, "globex/whk_1").error().code(), ErrorCode::kDataLoss);
  EXPECT_NE(sealed, box.seal(Secret("the secret"), "acme/whk_1", rng)) << "each has a nonce of its own";
}

TEST(SecretBoxTest, AnotherServersSecretOpensNothing) {
  SeededRng rng(1);
  const std::string sealed = SecretBox::derive(kServer)->seal(Secret("x"), "p", rng);
  EXPECT_EQ(SecretBox::derive(Secret(std::string(32, 't')))->open(sealed, "p").error().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(SecretBox::derive(Secret("short")).error().code(), ErrorCode::kInvalidArgument);
}

TEST(SecretBoxTest, AChangedOrCutBoxDoesNotOpen) {
  SeededRng rng(1);
  const SecretBox box = SecretBox::derive(kServer).value();
  const std::string sealed = box.seal(Secret("x"), "p", rng);
  for (std::size_t i = 0; i < sealed.size(); ++i) {
    std::string wrong = sealed;
    wrong[i] ^= 1;
    EXPECT_FALSE(box.open(wrong, "p")) << i;
    EXPECT_FALSE(box.open(sealed.substr(0, i), "p")) << i;
  }
}

}  // namespace
}  // namespace fettle::notify
