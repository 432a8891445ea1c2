#include "ledger/audit.h"

#include <set>

#include "ledger/attachments.h"
#include "ledger/entry.h"
#include "ledger/ledger_for_test.h"
#include "ledger/outbox.h"

namespace fettle::ledger {
namespace {

class AuditTest : public LedgerTest {
 protected:
  ErrorCode code_of(const AuditRecord& made) { return code_of(made, scope); }
  ErrorCode code_of(const AuditRecord& made, const Scope& whose) {
    const auto done = write(whose, {made});
    EXPECT_FALSE(done);
    return done ? ErrorCode::kInternal : done.error().code();
  }
  static std::set<std::uint64_t> positions(const AuditPage& page) {
    std::set<std::uint64_t> all;
    for (const FoundAudit& audit : page.audits) all.insert(audit.position);
    return all;
  }
};
FETTLE_FOR_BOTH_STORES(AuditTest);

TEST_P(AuditTest, ARecordThatIsToldIsAnEventWithoutItsPersonalParts) {
  Outbox outbox(*database, clock, store.registry);
  const auto begin = outbox.end();
  ASSERT_TRUE(begin);
  AuditRecord told = record("role.change");
  told.correlation_id = "cor-1";
  told.target_id = "usr_1";
  told.identifiers = {{"ticket_id", "T-1"}};
  told.payload_summary = "Mara Jones";
  told.after = R"({"email":"mara@example.com"})";
  const auto done =
      database->write_and_wait([&](db::Transaction& tx) { return auditor->record(tx, scope, told, Tell::kYes); });
  ASSERT_TRUE(done) << done.error().message();
  ASSERT_TRUE(write({record("quiet")}));
  const auto batch = outbox.read_after(*begin);
  ASSERT_TRUE(batch) << batch.error().message();
  ASSERT_EQ(batch->rows.size(), 1U);
  const Event& event = batch->rows[0].events.at(0);
  EXPECT_EQ(event.type, "audit.recorded");
  EXPECT_EQ(event.identifiers, (Identifiers{{"client_id", "acme"}, {"correlation_id", "cor-1"}, {"ticket_id", "T-1"}}));
  EXPECT_EQ(event.body, R"({"action":"role.change","result":"success","actor_type":"agent","actor_id":"agent-7",)"
                        R"("target_id":"usr_1"})");
}

TEST_P(AuditTest, ASearchThatHasLookedAtEnoughEndsItsPageAndGoesOnFromThere) {
  std::vector<AuditRecord> records;
  for (int i = 1; i <= 30; ++i) {
    AuditRecord& made = records.emplace_back(record());
    made.client_id = i % 2 == 0 ? "acme" : "zenith";
    made.platform = i % 10 == 0 ? "tiktok" : "x";
  }
  ASSERT_TRUE(write(records));
  chain();
  const Scope both{.workspace = scope.workspace, .clients = {{"acme"}, {"zenith"}}};
  for (const Scope& whose : {scope, both}) {
    AuditQuery query;
    query.where = {{"platform", "tiktok"}, {"actor_type", "agent"}};
    query.scan_max = 4;
    query.rows_max = 2;
    std::vector<std::uint64_t> found;
    int pages = 0;
    do {
      const AuditPage page = find(whose, query);
      for (const FoundAudit& audit : page.audits) found.push_back(audit.position);
      query.cursor = page.next;
      ++pages;
    } while (!query.cursor.empty() && pages < 100);
    EXPECT_EQ(found, (std::vector<std::uint64_t>{30, 20, 10}));
    EXPECT_GT(pages, 3);
    EXPECT_LT(pages, 16);
  }
  AuditQuery query;
  query.where = {{"colour", "red"}};
  EXPECT_EQ(read([&](db::Reader& reader) { return find_audits(reader, scope, query); }).error().code(),
            ErrorCode::kInvalidArgument);
}

TEST_P(AuditTest, ARecordIsFoundByEveryIdentifierItCarries) {
  AuditRecord made = record("publish");
  made.audit_id = "a-1";
  made.request_id = "req-1";
  made.correlation_id = "cor-1";
  made.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736";
  made.span_id = "00f067aa0ba902b7";
  made.target_type = "post";
  made.target_id = "p-1";
  made.policy_snapshot_id = "pol-1";
  made.identifiers = {{"run_id", "r-1"}, {"job_id", "j-1"}, {"ticket_id", "t-1"}};
  AuditRecord other = record("other");
  other.client_id = "zenith";
  other.actor_id = "agent-8";
  ASSERT_TRUE(write({other, made, other}));
  chain();
  for (const Identifier& by : Identifiers{{"audit_id", "a-1"},
                                          {"request_id", "req-1"},
                                          {"correlation_id", "cor-1"},
                                          {"trace_id", made.trace_id},
                                          {"span_id", made.span_id},
                                          {"target_id", "p-1"},
                                          {"policy_snapshot_id", "pol-1"},
                                          {"run_id", "r-1"},
                                          {"job_id", "j-1"},
                                          {"ticket_id", "t-1"},
                                          {"action", "publish"},
                                          {"actor_id", "agent-7"},
                                          {"client_id", "acme"}}) {
    AuditQuery query;
    query.match = {by};
    EXPECT_EQ(positions(find(query)), (std::set<std::uint64_t>{2})) << by.name;
    query.match.push_back({"action", "other"});
    EXPECT_TRUE(find(query).audits.empty()) << by.name;
  }
  AuditQuery both;
  both.match = {{"run_id", "r-1"}, {"action", "publish"}, {"trace_id", made.trace_id}};
  EXPECT_EQ(positions(find(both)), (std::set<std::uint64_t>{2}));
}

TEST_P(AuditTest, TimeRangesAndPagesCoverEverythingOnce) {
  const UnixNanos begin = clock.now();
  for (int i = 0; i < 25; ++i) {
    ASSERT_TRUE(write({record(i % 2 == 0 ? "even" : "odd")}));
    if (i % 3 == 0) clock.advance(std::chrono::seconds(1));  // several share a time
  }
  chain();
  for (const bool by_action : {false, true}) {
    AuditQuery query;
    query.rows_max = 4;
    if (by_action) query.match = {{"action", "even"}};
    std::set<std::uint64_t> seen;
    UnixNanos last = clock.now() + 1;
    int pages = 0;
    do {
      const AuditPage page = find(query);
      ASSERT_LE(page.audits.size(), 4U);
      for (const FoundAudit& audit : page.audits) {
        EXPECT_TRUE(seen.insert(audit.position).second);
        EXPECT_LE(audit.at, last);
        last = audit.at;
      }
      query.cursor = page.next;
      ASSERT_LT(++pages, 20);
    } while (!query.cursor.empty());
    EXPECT_EQ(seen.size(), by_action ? 13U : 25U);
  }
  AuditQuery range;
  range.from = begin + kNanosPerSecond;
  range.to = begin + 3 * kNanosPerSecond;
  for (const FoundAudit& audit : find(range).audits) {
    EXPECT_GE(audit.at, *range.from);
    EXPECT_LT(audit.at, *range.to);
  }
  EXPECT_EQ(find(range).audits.size(), 6U);
}

TEST_P(AuditTest, APageEndsAtItsBytesButHoldsAtLeastOne) {
  ASSERT_TRUE(write({record(), record(), record()}));
  chain();
  AuditQuery query;
  query.bytes_max = 1;
  const AuditPage page = find(query);
  EXPECT_EQ(page.audits.size(), 1U);
  EXPECT_FALSE(page.next.empty());
  query.cursor = "nonsense";
  EXPECT_EQ(read([&](db::Reader& reader) { return find_audits(reader, scope, query); }).error().code(),
            ErrorCode::kInvalidArgument);
}

TEST_P(AuditTest, WhoIsLimitedToClientsSeesTheirRecordsAlone) {
  AuditRecord of_b = record();
  of_b.client_id = "b";
  AuditRecord of_c = record();
  of_c.client_id = "c";
  AuditRecord of_nobody = record();
  of_nobody.client_id.clear();
  ASSERT_TRUE(write({record(), of_b, of_c, of_nobody, of_b}));
  ASSERT_TRUE(write({.workspace = {"elsewhere"}, .clients = {}}, {of_b}));
  chain();
  const Scope limited{.workspace = scope.workspace, .clients = {{"b"}, {"c"}}};
  EXPECT_EQ(positions(find(limited, {})), (std::set<std::uint64_t>{2, 3, 5}));
  AuditQuery query;
  query.match = {{"client_id", "acme"}};
  EXPECT_TRUE(find(limited, query).audits.empty());
  query.match = {{"client_id", "b"}};
  query.rows_max = 1;
  AuditPage page = find(limited, query);
  EXPECT_EQ(positions(page), (std::set<std::uint64_t>{5}));
  query.cursor = page.next;
  EXPECT_EQ(positions(find(limited, query)), (std::set<std::uint64_t>{2}));
  EXPECT_EQ(code_of(record(), limited), ErrorCode::kPermissionDenied);
  AuditRecord smuggled = of_nobody;
  smuggled.identifiers = {{"client_id", "b"}};
  EXPECT_EQ(code_of(smuggled, limited), ErrorCode::kPermissionDenied);
}

TEST_P(AuditTest, DetailsAreGivenToThoseWhoAskWithTheRight) {
  AuditRecord made = record();
  made.payload_summary = "greeting";
  made.payload = "{\"text\":\n \"hello\"}";
  made.before = R"({"a":1})";
  made.after = R"({"a":2})";
  ASSERT_TRUE(write({made}));
  chain();
  EXPECT_TRUE(find({}).audits[0].details.empty());
  AuditQuery query;
  query.with_details = true;
  const std::string details = find(query).audits[0].details;
  EXPECT_TRUE(details.contains(R"("after":{"a":2},"before":{"a":1},"payload":{"text":)")) << details;
  EXPECT_TRUE(details.contains(R"("summary":"greeting")"));
  EXPECT_FALSE(details.contains('\n'));
}

TEST_P(AuditTest, SecretsAreMaskedInEveryStringAndCounted) {
  const std::string secret = "sk-ant-api03-" + std::string(80, 'A') + "aB3dE5gH7jK9mN1pQ3sT5vX7z-AA";
  AuditRecord made = record();
  for (std::string* text : {&made.reason, &made.target_id, &made.payload_summary, &made.payload_hash})
    *text = "x " + secret;
  made.identifiers = {{"run_id", secret}};
  made.proof = {"https://example.com/?q=" + secret};
  made.evidence = {secret};
  made.payload = "{\"deep\":[{\"x\":\"" + secret + "\"}],\"password\":\"hunter2hunter2\",\"card\":4111111111111111}";
  made.before = "\"" + secret + "\"";
  made.after = "{\"" + secret + "\":1}";
  ASSERT_TRUE(write({made}));
  const auto pending = read([](db::Reader& reader) { return reader.query("SELECT records FROM audit_pending"); });
  db::BlobView stored;
  ASSERT_TRUE((*pending)[0].into(stored));
  EXPECT_FALSE(stored.bytes.contains("AAAAAAAAAA"));
  EXPECT_FALSE(stored.bytes.contains("hunter2"));
  EXPECT_FALSE(stored.bytes.contains("4111111111111111"));
  EXPECT_GE(store.registry.counter("fettle_audit_redactions_total", "", {{"rule", "anthropic-key"}}).value(), 9);
  chain();
  EXPECT_EQ(find({}).audits.size(), 1U);
}

TEST_P(AuditTest, LimitsAndMalformedFieldsAreRefusedWithTheirSize) {
  AuditRecord wrong = record("");
  EXPECT_EQ(code_of(wrong), ErrorCode::kInvalidArgument);
  wrong = record();
  wrong.at = 0;
  EXPECT_EQ(code_of(wrong), ErrorCode::kInvalidArgument);
  wrong = record();
  wrong.payload = "{not json";
  EXPECT_EQ(code_of(wrong), ErrorCode::kInvalidArgument);
  wrong = record();
  wrong.identifiers = {{"Run Id", "x"}};
  EXPECT_EQ(code_of(wrong), ErrorCode::kInvalidArgument);
  wrong = record();
  wrong.trace_id.assign(257, 'x');
  EXPECT_EQ(code_of(wrong), ErrorCode::kTooLarge);
  wrong = record();
  wrong.payload_summary.assign(kAuditDetailsBytesMax + 1, 'x');
  EXPECT_EQ(code_of(wrong), ErrorCode::kTooLarge);
  wrong = record();
  wrong.proof.assign(kAuditReferencesMax + 1, "x");
  EXPECT_EQ(code_of(wrong), ErrorCode::kTooLarge);
  EXPECT_EQ(write(std::vector<AuditRecord>(kAuditRecordsMax + 1, record())).error().code(), ErrorCode::kTooLarge);
  chain();
  EXPECT_TRUE(find({}).audits.empty());
}

TEST_P(AuditTest, ARecordGoesWithItsChange) {
  const auto failed = database->write_and_wait([&](db::Transaction& tx) -> Result<void> {
    if (auto done = auditor->record(tx, scope, record()); !done) return done;
    return fail(ErrorCode::kInternal, "the change failed");
  });
  EXPECT_FALSE(failed);
  chain();
  EXPECT_TRUE(find({}).audits.empty());
}

TEST_P(AuditTest, IdentifiersThatHaveAFieldMoveThereAndDoublesGo) {
  AuditRecord made = record();
  made.identifiers = {{"trace_id", "t"}, {"run_id", "r-1"}, {"run_id", "r-2"}, {"empty", ""}};
  made.target_id = "not utf-8 \xff";
  ASSERT_TRUE(write({made}));
  chain();
  const auto entry = read_entry(find({}).audits.at(0).entry);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->record.trace_id, "t");
  EXPECT_EQ(entry->record.identifiers, (Identifiers{{"run_id", "r-1"}}));
  EXPECT_EQ(entry->record.target_id, "not utf-8 \xEF\xBF\xBD");
}

TEST_P(AuditTest, ARecordOfManyIsFoundByEachOfThem) {
  AuditRecord made = record("run.succeeded");
  made.target_type = "run";
  for (int i = 0; i < 40; ++i) made.target_ids.push_back("r-" + std::to_string(i));
  AuditRecord posts = record("post.hidden");
  posts.target_type = "post";
  posts.target_ids = {"r-7", "not utf-8 \xff"};
  ASSERT_TRUE(write({made, record("other"), posts}));
  chain();
  const auto by = [&](std::string name, std::string value) {
    AuditQuery query;
    query.match = {{std::move(name), std::move(value)}};
    return positions(find(query));
  };
  EXPECT_EQ(by("run_id", "r-0"), (std::set<std::uint64_t>{1}));
  EXPECT_EQ(by("run_id", "r-39"), (std::set<std::uint64_t>{1}));
  EXPECT_EQ(by("target_id", "r-7"), (std::set<std::uint64_t>{1, 3}));
  EXPECT_EQ(by("target_id", "not utf-8 \xEF\xBF\xBD"), (std::set<std::uint64_t>{3}));
  EXPECT_TRUE(by("run_id", "r-40").empty());
  const auto entry = read_entry(find({}).audits.back().entry);
  ASSERT_TRUE(entry);
  EXPECT_EQ(entry->record.target_ids, made.target_ids);
}

TEST_P(AuditTest, ARecordOfTooManyOrOfNamelessOnesIsRefused) {
  AuditRecord wrong = record();
  wrong.target_ids.assign(kAuditTargetsMax + 1, "x");
  EXPECT_EQ(write({wrong}).error().code(), ErrorCode::kTooLarge);
  wrong.target_ids = {std::string(257, 'x')};
  EXPECT_EQ(write({wrong}).error().code(), ErrorCode::kTooLarge);
  wrong.target_ids = {"x", ""};
  EXPECT_EQ(write({wrong}).error().code(), ErrorCode::kInvalidArgument);
}

TEST_P(AuditTest, WhoIsLimitedToClientsErasesTheirDetailsAlone) {
  AuditRecord mine = record();
  mine.payload = "1";
  AuditRecord theirs = mine;
  theirs.client_id = "zenith";
  ASSERT_TRUE(write({mine, theirs}));
  chain();
  const Scope of_acme{.workspace = scope.workspace, .clients = {{"acme"}}};
  const std::vector<std::uint64_t> both = {1, 2};
  const auto erased = database->write_and_wait([&](db::Transaction& tx) { return erase_details(tx, of_acme, both); });
  ASSERT_TRUE(erased) << erased.error().message();
  EXPECT_EQ(*erased, 1);
}

TEST_P(AuditTest, AnErasedAttachmentLeavesItsHash) {
  const Scope of_other{.workspace = scope.workspace, .clients = {{"other"}}};
  const auto put = [&](const std::string& client) {
    return *database->write_and_wait([&](db::Transaction& tx) {
      return store_attachment(tx, scope,
                              {.client_id = client, .media_type = "image/png", .content = "pixels", .created_at = 5});
    });
  };
  const auto get = [&](const Scope& whose, const std::string& name) {
    return *read([&](db::Reader& reader) { return load_attachment(reader, whose, name); });
  };
  const auto erase = [&](const Scope& whose) {
    return database->write_and_wait(
        [&](db::Transaction& tx) { return erase_client_attachments(tx, whose, "acme", 10); });
  };
  const std::string name = put("acme");
  EXPECT_EQ(erase(of_other).error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(*erase(scope), 1);
  EXPECT_EQ(*erase(scope), 0);
  ASSERT_TRUE(get(scope, name).has_value());
  EXPECT_EQ(get(scope, name)->content, "");
  EXPECT_TRUE(*read([&](db::Reader& reader) { return has_attachment(reader, scope, name); }));
  put("other");
  EXPECT_EQ(get(scope, name)->content, "pixels") << "the other client's is still there";
  put("acme");
  EXPECT_EQ(*erase(scope), 1) << "stored again, it is there again";
}

TEST_P(AuditTest, AttachmentsAreFoundByTheirContentWithinTheScope) {
  const Scope of_acme{.workspace = scope.workspace, .clients = {{"acme"}}};
  const Scope of_other{.workspace = scope.workspace, .clients = {{"other"}}};
  const Attachment image{
      .client_id = "acme", .media_type = "image/png", .content = std::string("\x89PNG\0\xff", 6), .created_at = 5};
  const auto put = [&](const Scope& whose, const Attachment& what) {
    return database->write_and_wait([&](db::Transaction& tx) { return store_attachment(tx, whose, what); });
  };
  const auto get = [&](const Scope& whose, const std::string& name) {
    return read([&](db::Reader& reader) { return load_attachment(reader, whose, name); });
  };
  const auto name = put(of_acme, image);
  ASSERT_TRUE(name) << name.error().message();
  EXPECT_EQ(*name, "sha256:" + to_hex(sha256(image.content)));
  EXPECT_EQ(*put(scope, image), *name);
  ASSERT_TRUE(get(of_acme, *name)->has_value());
  EXPECT_EQ((*get(of_acme, *name))->content, image.content);
  EXPECT_FALSE(get(of_other, *name)->has_value());
  EXPECT_FALSE(get({.workspace = {"elsewhere"}, .clients = {}}, *name)->has_value());
  EXPECT_EQ(put(of_other, image).error().code(), ErrorCode::kPermissionDenied);
  EXPECT_EQ(get(scope, "sha256:12").error().code(), ErrorCode::kInvalidArgument);
  Attachment large = image;
  large.content.assign(kAttachmentBytesMax + 1, 'x');
  EXPECT_EQ(put(scope, large).error().code(), ErrorCode::kTooLarge);
  const auto bent = database->write_and_wait([&](db::Transaction& tx) {
    return tx.execute("UPDATE audit_attachments SET content = $1", {db::BlobView{"other"}});
  });
  ASSERT_TRUE(bent);
  EXPECT_EQ(get(scope, *name).error().code(), ErrorCode::kDataLoss);
  const auto erased = [&](const Scope& whose) {
    return database->write_and_wait([&](db::Transaction& tx) { return erase_attachment(tx, whose, *name); });
  };
  EXPECT_FALSE(*erased(of_other));
  EXPECT_TRUE(*erased(scope));
  EXPECT_FALSE(get(scope, *name)->has_value());
}

}  // namespace
}  // namespace fettle::ledger
