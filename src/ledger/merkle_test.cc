#include "ledger/merkle.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "core/ids.h"

namespace fettle::ledger {
namespace {

// The entries and roots that implementations of RFC 6962 agree on.
const std::vector<std::string>& known_entries() {
  static const std::vector<std::string> entries = [] {
    std::vector<std::string> made;
    for (const char* hex :
         {"", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"}) {
      made.push_back(*hex == '\0' ? "" : *from_hex(hex));
    }
    return made;
  }();
  return entries;
}

std::vector<Digest> leaves_of(std::uint64_t count) {
  std::vector<Digest> leaves;
  for (std::uint64_t i = 0; i < count; ++i) leaves.push_back(leaf_hash(std::to_string(i)));
  return leaves;
}

SubtreeRoot over(const std::vector<Digest>& leaves) {
  return [&leaves](std::uint64_t begin, std::uint64_t end) -> Result<Digest> {
    return root_of(std::span(leaves).subspan(begin, end - begin));
  };
}

// The definition, word for word: what the incremental tree is compared with.
Digest root_by_definition(std::span<const Digest> leaves) {
  if (leaves.empty()) return empty_root();
  if (leaves.size() == 1) return leaves[0];
  const std::uint64_t k = split_of(leaves.size());
  return node_hash(root_by_definition(leaves.first(k)), root_by_definition(leaves.subspan(k)));
}

TEST(Merkle, RootsOfTheKnownEntriesAreTheKnownOnes) {
  const std::vector<std::pair<std::size_t, std::string>> known = {
      {0, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
      {1, "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"},
      {2, "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"},
      {3, "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77"},
      {5, "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4"},
      {7, "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"},
      {8, "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"}};
  for (const auto& [size, root] : known) {
    MerkleTree tree;
    for (std::size_t i = 0; i < size; ++i) tree.append(leaf_hash(known_entries()[i]));
    EXPECT_EQ(to_hex(tree.root()), root) << size;
  }
}

TEST(Merkle, TheIncrementalRootIsTheDefinedOneForEverySize) {
  const std::vector<Digest> leaves = leaves_of(130);
  MerkleTree tree;
  for (std::size_t size = 0; size <= leaves.size(); ++size) {
    EXPECT_EQ(tree.root(), root_by_definition(std::span(leaves).first(size))) << size;
    auto resumed = MerkleTree::resume(tree.size(), tree.peaks());
    ASSERT_TRUE(resumed);
    EXPECT_EQ(resumed->root(), tree.root());
    if (size < leaves.size()) tree.append(leaves[size]);
  }
}

TEST(Merkle, ACompletedSubtreeIsToldOnceItIsComplete) {
  const std::vector<Digest> leaves = leaves_of(64);
  MerkleTree tree;
  MerkleTree of_subtrees;
  for (std::size_t i = 0; i < leaves.size(); ++i) {
    const auto completed = tree.append(leaves[i], 3);
    ASSERT_EQ(completed.has_value(), (i + 1) % 8 == 0) << i;
    if (completed) {
      EXPECT_EQ(*completed, root_of(std::span(leaves).subspan(i - 7, 8)));
      of_subtrees.append_subtree(*completed, 3);
      EXPECT_EQ(of_subtrees.root(), tree.root());
    }
  }
}

TEST(Merkle, EveryInclusionProofHoldsAndNoOtherLeafPlaceOrPathDoes) {
  const std::vector<Digest> leaves = leaves_of(130);
  for (std::uint64_t size = 1; size <= leaves.size(); ++size) {
    const Digest root = root_of(std::span(leaves).first(size));
    for (std::uint64_t index = 0; index < size; ++index) {
      auto path = inclusion_path(index, size, over(leaves));
      ASSERT_TRUE(path);
      ASSERT_TRUE(verify_inclusion(leaves[index], index, size, *path, root)) << index << " of " << size;
      EXPECT_FALSE(verify_inclusion(leaf_hash("other"), index, size, *path, root));
      if (size > 1) {
        EXPECT_FALSE(verify_inclusion(leaves[index], (index + 1) % size, size, *path, root));
      }
      EXPECT_FALSE(verify_inclusion(leaves[index], index, size, *path, empty_root()));
      if (!path->empty()) {
        EXPECT_FALSE(verify_inclusion(leaves[index], index, size, std::span(*path).first(path->size() - 1), root));
        std::vector<Digest> bent = *path;
        bent[index % bent.size()][5] ^= 1;
        EXPECT_FALSE(verify_inclusion(leaves[index], index, size, bent, root));
      }
      path->push_back(root);
      EXPECT_FALSE(verify_inclusion(leaves[index], index, size, *path, root));
    }
  }
}

TEST(Merkle, EveryConsistencyProofHoldsAndNoBentOneDoes) {
  const std::vector<Digest> leaves = leaves_of(130);
  for (std::uint64_t size = 1; size <= leaves.size(); ++size) {
    const Digest root = root_of(std::span(leaves).first(size));
    for (std::uint64_t old_size = 1; old_size <= size; ++old_size) {
      const Digest old_root = root_of(std::span(leaves).first(old_size));
      auto path = consistency_path(old_size, size, over(leaves));
      ASSERT_TRUE(path);
      ASSERT_TRUE(verify_consistency(old_size, old_root, size, root, *path)) << old_size << " in " << size;
      EXPECT_FALSE(verify_consistency(old_size, empty_root(), size, root, *path));
      EXPECT_FALSE(verify_consistency(old_size, old_root, size, empty_root(), *path));
      if (!path->empty()) {
        std::vector<Digest> bent = *path;
        bent[old_size % bent.size()][9] ^= 1;
        EXPECT_FALSE(verify_consistency(old_size, old_root, size, root, bent));
        bent = *path;
        bent.pop_back();
        EXPECT_FALSE(verify_consistency(old_size, old_root, size, root, bent));
      }
      path->push_back(root);
      EXPECT_FALSE(verify_consistency(old_size, old_root, size, root, *path));
    }
  }
}

TEST(Merkle, PeaksThatDoNotFitTheSizeAreDataLoss) {
  EXPECT_EQ(MerkleTree::resume(3, std::string(32, 'x')).error().code(), ErrorCode::kDataLoss);
  EXPECT_EQ(MerkleTree::resume(0, std::string(32, 'x')).error().code(), ErrorCode::kDataLoss);
}

}  // namespace
}  // namespace fettle::ledger
