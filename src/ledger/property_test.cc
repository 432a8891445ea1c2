#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include "core/json.h"
#include "ledger/entry.h"
#include "ledger/merkle.h"
#include "ledger/pending.h"

namespace fettle::ledger {
namespace {

std::vector<Digest> leaves_of(std::uint64_t count) {
  std::vector<Digest> leaves;
  for (std::uint64_t i = 0; i < count; ++i) leaves.push_back(leaf_hash(std::to_string(i)));
  return leaves;
}

RC_GTEST_PROP(MerkleProperty, ProofsHoldInTreesOfAnySize, ()) {
  const auto size = *rc::gen::inRange<std::uint64_t>(1, 5'000);
  const auto index = *rc::gen::inRange<std::uint64_t>(0, size);
  const auto old_size = *rc::gen::inRange<std::uint64_t>(1, size + 1);
  const std::vector<Digest> leaves = leaves_of(size);
  const SubtreeRoot subtree = [&](std::uint64_t begin, std::uint64_t end) -> Result<Digest> {
    return root_of(std::span(leaves).subspan(begin, end - begin));
  };
  const Digest root = root_of(leaves);
  const auto path = inclusion_path(index, size, subtree);
  RC_ASSERT(verify_inclusion(leaves[index], index, size, *path, root));
  const auto other = *rc::gen::inRange<std::uint64_t>(0, size);
  if (other != index) RC_ASSERT(!verify_inclusion(leaves[index], other, size, *path, root));
  const Digest old_root = root_of(std::span(leaves).first(old_size));
  const auto growth = consistency_path(old_size, size, subtree);
  RC_ASSERT(verify_consistency(old_size, old_root, size, root, *growth));
  if (!growth->empty()) {
    std::vector<Digest> bent = *growth;
    bent[*rc::gen::inRange<std::size_t>(0, bent.size())][*rc::gen::inRange<std::size_t>(0, 32)] ^= 1;
    RC_ASSERT(!verify_consistency(old_size, old_root, size, root, bent));
  }
}

RC_GTEST_PROP(EntryProperty, AnyTextComesBackAsWellFormedText, (const std::string& text)) {
  std::string json;
  append_canonical_string(json, text);
  RC_ASSERT(unquote(json) == to_utf8(text));
}

RC_GTEST_PROP(EntryProperty, AnyRecordIsReadBack,
              (const std::string& action, const std::string& target, const std::vector<std::string>& proof,
               const std::string& identifier)) {
  AuditRecord record;
  record.at = *rc::gen::inRange<UnixNanos>(1, 9'214'646'400'000'000'000);
  record.action = to_utf8(action);
  record.target_id = to_utf8(target);
  for (const std::string& reference : proof) record.proof.push_back(to_utf8(reference));
  if (!identifier.empty()) record.identifiers = {{"run_id", to_utf8(identifier)}};
  std::string entry;
  append_entry(entry, {"w"}, 3, 7, record, std::nullopt);
  const auto read = read_entry(entry);
  RC_ASSERT(read.has_value());
  RC_ASSERT(read->record.at == record.at);
  RC_ASSERT(read->record.action == record.action);
  RC_ASSERT(read->record.target_id == record.target_id);
  RC_ASSERT(read->record.proof == record.proof);
  RC_ASSERT(read->record.identifiers == record.identifiers);
  const auto unpacked = unpack_records(pack_records(std::span(&record, 1)));
  RC_ASSERT(unpacked->at(0).action == record.action);
}

RC_GTEST_PROP(EntryProperty, AnyBytesAreReadWithoutHarm, (const std::string& bytes)) {
  (void)read_entry(bytes);
  (void)unpack_records(bytes);
  (void)position_of(bytes);
}

}  // namespace
}  // namespace fettle::ledger
