#include "ledger/chain.h"

#include <gtest/gtest.h>

#include "ledger/checkpoint.h"

namespace fettle::ledger {
namespace {

// SHA-256 and nothing else, by hand: the chain's definition once more.
TEST(Chain, LinksAreThoseOfTheDefinition) {
  const WorkspaceId workspace{"agency"};
  Chain chain(workspace);
  EXPECT_EQ(chain.hash(), sha256("fettle-audit-v1agency"));
  Digest before = chain.hash();
  const std::string entries[] = {"one", "two", "three"};
  for (std::uint64_t n = 1; n <= 3; ++n) {
    std::string bytes("\x02", 1);
    bytes += bytes_of(before);
    bytes += std::string("\0\0\0\0\0\0\0", 7) + static_cast<char>(n);
    bytes += bytes_of(sha256(entries[n - 1]));
    chain.append(entries[n - 1]);
    EXPECT_EQ(chain.hash(), sha256(bytes)) << n;
    before = chain.hash();
  }
  EXPECT_EQ(chain.size(), 3U);
  EXPECT_EQ(chain.root(), node_hash(node_hash(leaf_hash("one"), leaf_hash("two")), leaf_hash("three")));
}

TEST(Chain, TheNumberIsBigEndian) {
  EXPECT_NE(next_link(Digest{}, 1, Digest{}), next_link(Digest{}, std::uint64_t{1} << 56, Digest{}));
  std::string bytes("\x02", 1);
  bytes += std::string(32, '\0') + std::string("\x01\x02\x03\x04\x05\x06\x07\x08", 8) + std::string(32, '\0');
  EXPECT_EQ(next_link(Digest{}, 0x0102030405060708, Digest{}), sha256(bytes));
}

TEST(Chain, WorkspacesBeginApart) { EXPECT_NE(Chain({"a"}).hash(), Chain({"b"}).hash()); }

TEST(Chain, SegmentsAreToldWhenTheyAreFull) {
  Chain chain({"a"});
  MerkleTree segment;
  for (std::uint64_t i = 1; i <= 2 * kSegmentRecords; ++i) {
    segment.append(leaf_hash(std::to_string(i)));
    const auto root = chain.append(std::to_string(i));
    ASSERT_EQ(root.has_value(), i % kSegmentRecords == 0) << i;
    if (root) {
      EXPECT_EQ(*root, segment.root());
      segment = MerkleTree();
    }
  }
}

TEST(Checkpoint, IsSignedByItsKeyAndByNoOther) {
  const SigningKey key = SigningKey::derive(Secret(std::string(32, 'a'))).value();
  const SigningKey other = SigningKey::derive(Secret(std::string(32, 'b'))).value();
  EXPECT_NE(key.public_key(), other.public_key());
  EXPECT_EQ(key.public_key(), SigningKey::derive(Secret(std::string(32, 'a'))).value().public_key());
  const Checkpoint made = key.sign(
      {.workspace = {"agency"}, .size = 5, .at = 1'790'000'000'000'000'000, .hash = sha256("h"), .root = sha256("r")});
  EXPECT_TRUE(is_signed(made));
  for (int field = 0; field < 6; ++field) {
    Checkpoint bent = made;
    switch (field) {
      case 0: bent.workspace.value = "agencz"; break;
      case 1: bent.size = 6; break;
      case 2: bent.at += 1; break;
      case 3: bent.hash[0] ^= 1; break;
      case 4: bent.root[0] ^= 1; break;
      default: bent.public_key = other.public_key(); break;
    }
    EXPECT_FALSE(is_signed(bent)) << field;
  }
}

TEST(Checkpoint, HasOneText) {
  const SigningKey key = SigningKey::derive(Secret(std::string(40, 'a'))).value();
  const Checkpoint made = key.sign({.workspace = {"agency"}, .size = 5, .at = 1'790'000'000'000'000'000});
  const std::string text = to_json(made);
  ASSERT_TRUE(parse_checkpoint(text));
  EXPECT_EQ(*parse_checkpoint(text), made);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string bent = text;
    bent[i] = static_cast<char>(bent[i] ^ 0x01);
    const auto parsed = parse_checkpoint(bent);
    EXPECT_FALSE(parsed && is_signed(*parsed)) << i;
  }
  EXPECT_FALSE(parse_checkpoint(text + " "));
  EXPECT_FALSE(parse_checkpoint("{}"));
  EXPECT_EQ(SigningKey::derive(Secret("short")).error().code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace fettle::ledger
