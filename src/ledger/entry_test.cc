#include "ledger/entry.h"

#include <gtest/gtest.h>

#include <boost/json.hpp>

#include "ledger/cleaning.h"
#include "ledger/pending.h"

namespace fettle::ledger {
namespace {

AuditRecord full_record() {
  AuditRecord record;
  record.at = 1'790'000'000'500'000'000;
  record.audit_id = "a-1";
  record.actor_type = "operator";
  record.actor_id = "u-1";
  record.role = "manager";
  record.action = "publish";
  record.target_type = "post";
  record.target_id = "p-9";
  record.result = AuditResult::kBlocked;
  record.reason = "policy";
  record.client_id = "acme";
  record.platform = "instagram";
  record.surface = "reels";
  record.lane = "publishing";
  record.request_id = "req-1";
  record.correlation_id = "cor-1";
  record.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
  record.span_id = "00f067aa0ba902b7";
  record.identifiers = {{"job_id", "j-1"}, {"run_id", "r-1"}};
  record.payload_hash = "abc";
  record.policy_snapshot_id = "pol-1";
  record.proof = {"https://example.com/p/9", "sha256:00"};
  record.evidence = {"ticket 7"};
  record.payload_summary = "a post";
  record.payload = R"({"text":"x"})";
  record.before = "1";
  record.after = "[2]";
  return record;
}

TEST(Entry, HasTheCanonicalBytesThatAreWrittenDown) {
  std::string entry;
  append_entry(entry, {"agency"}, 7, 1'790'000'001'000'000'000, full_record(), std::nullopt);
  EXPECT_EQ(entry, R"({"action":"publish","actor_id":"u-1","actor_type":"operator","at":"2026-09-21T14:13:20.5Z",)"
                   R"("audit_id":"a-1","client_id":"acme","correlation_id":"cor-1","evidence":["ticket 7"],)"
                   R"("identifiers":{"job_id":"j-1","run_id":"r-1"},"lane":"publishing","payload_hash":"abc",)"
                   R"("platform":"instagram","policy_snapshot_id":"pol-1","position":7,)"
                   R"("proof":["https://example.com/p/9","sha256:00"],"reason":"policy",)"
                   R"("recorded_at":"2026-09-21T14:13:21Z","request_id":"req-1","result":"blocked","role":"manager",)"
                   R"("span_id":"00f067aa0ba902b7","surface":"reels","target_id":"p-9","target_type":"post",)"
                   R"("trace_id":"4bf92f3577b34da6a3ce929d0e0e4736","workspace":"agency"})");
}

TEST(Entry, MembersStandInTheOrderThatRfc8785Asks) {
  std::string entry;
  append_entry(entry, {"agency"}, 7, 1, full_record(), Digest{});
  std::string before;
  EXPECT_TRUE(for_each_member(entry, [&](std::string_view name, std::string_view) {
    EXPECT_LT(before, name);
    before = name;
    return true;
  }));
}

TEST(Entry, IsReadBackAsItWas) {
  AuditRecord record = full_record();
  record.target_ids = {"a", "\"b\""};
  std::string entry;
  append_entry(entry, {"agency"}, 7, 5, record, details_hash("salt", details_of(record)));
  const auto read = read_entry(entry);
  ASSERT_TRUE(read) << read.error().message();
  EXPECT_EQ(read->workspace.value, "agency");
  EXPECT_EQ(read->position, 7U);
  EXPECT_EQ(read->recorded_at, 5);
  EXPECT_EQ(read->details_hash, details_hash("salt", details_of(record)));
  std::string again;
  append_entry(again, read->workspace, read->position, read->recorded_at, read->record, read->details_hash);
  EXPECT_EQ(again, entry);
  EXPECT_EQ(read->record.target_ids, record.target_ids);
  EXPECT_TRUE(read->record.payload.empty());
}

TEST(Entry, PersonalDataIsInNoEntry) {
  std::string entry;
  append_entry(entry, {"agency"}, 7, 5, full_record(), Digest{});
  EXPECT_FALSE(entry.contains("a post"));
  EXPECT_FALSE(entry.contains("\"text\""));
  EXPECT_EQ(details_of(full_record()), R"({"after":[2],"before":1,"payload":{"text":"x"},"summary":"a post"})");
  EXPECT_TRUE(details_of(AuditRecord()).empty());
}

TEST(Entry, StringsHaveTheShortestEscapes) {
  std::string out;
  append_canonical_string(out, std::string_view("\x00\x1f\b\f\n\r\t\"\\/\x7f é€😀", 21));
  EXPECT_EQ(out, "\"\\u0000\\u001f\\b\\f\\n\\r\\t\\\"\\\\/\x7f é€😀\"");
  EXPECT_EQ(unquote(out), std::string_view("\x00\x1f\b\f\n\r\t\"\\/\x7f é€😀", 21));
  out.clear();
  append_canonical_string(out, "eight plain bytes\xff and more");
  EXPECT_EQ(out, "\"eight plain bytes\xEF\xBF\xBD and more\"");
}

TEST(Entry, TimesComeBackToTheNanosecond) {
  for (const UnixNanos at : {UnixNanos{1}, UnixNanos{999'999'999}, UnixNanos{1'790'000'000'123'456'789},
                             UnixNanos{951'782'400'000'000'000}, UnixNanos{9'214'646'399'999'999'999}}) {
    EXPECT_EQ(parse_rfc3339(format_rfc3339(at)), at) << format_rfc3339(at);
  }
  for (const char* wrong : {"", "2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00",
                            "9999-01-01T00:00:00Z", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00.1234567890Z"}) {
    EXPECT_FALSE(parse_rfc3339(wrong)) << wrong;
  }
}

TEST(Entry, WhatIsNotCanonicalIsDataLoss) {
  for (const char* wrong :
       {"", "{", "[]", "{}", R"({"action":1.5,"position":1})", R"({"position":1,})", R"({ "position":1})",
        R"({"position":1,"unknown":"x"})", R"({"position":1,"result":"maybe"})", R"({"action":"\x","position":1})",
        R"({"at":"yesterday","position":1})", R"({"action":"x" "position":1})", R"({"proof":[1],"position":1})"}) {
    EXPECT_EQ(read_entry(wrong).error().code(), ErrorCode::kDataLoss) << wrong;
  }
}

TEST(Pending, RecordsAreUnpackedAsTheyWere) {
  std::vector<AuditRecord> records = {full_record(), AuditRecord()};
  records[1].target_ids = {"a", "b"};
  const std::string packed = pack_records(records);
  const auto back = unpack_records(packed);
  ASSERT_TRUE(back);
  ASSERT_EQ(back->size(), 2U);
  EXPECT_EQ(pack_records(*back), packed);
  EXPECT_EQ((*back)[0].identifiers, records[0].identifiers);
  EXPECT_EQ((*back)[0].after, "[2]");
  EXPECT_EQ((*back)[1].target_ids, records[1].target_ids);
  for (std::size_t size = 0; size < packed.size(); ++size) {
    EXPECT_FALSE(unpack_records(std::string_view(packed).substr(0, size))) << size;
  }
}

}  // namespace
}  // namespace fettle::ledger
