#include <algorithm>
#include <boost/json/serialize.hpp>

#include "api/work_for_test.h"
#include "ledger/bundle.h"
#include "ledger/proofs.h"
#include "ledger/sequencer.h"

namespace fettle::api {
namespace {

class AuditApiTest : public WorkTest {
 protected:
  void SetUp() override {
    WorkTest::SetUp();
    sequencer_ = std::make_unique<ledger::Sequencer>(
        *database_, clock_, rng_, key_, metrics_, [](db::Transaction&) { return Result<void>(); },
        std::vector<ledger::Witness*>{}, ledger::Sequencer::Options{});
  }

  // Six records of two clients; the last two fail.
  void write_some() {
    std::string records;
    for (int i = 1; i <= 6; ++i) {
      records += (i == 1 ? "" : ",") + std::string(R"({"id":"a-)") + std::to_string(i) + R"(","action":"publish",)" +
                 R"("client_id":")" + (i % 2 == 1 ? "c1" : "c2") + R"(","platform":")" +
                 (i <= 3 ? "tiktok" : "instagram") + R"(","lane":"browser","trace_id":"t1","result":")" +
                 (i > 4 ? "fail" : "success") + R"(","payload_summary":"said hello"})";
    }
    post("/api/v1/audit_logs", "{\"records\":[" + records + "]}");
    while (sequencer_->pass().value() > 0) {
    }
  }
  void checkpoint() { ASSERT_TRUE(sequencer_->checkpoint()); }
  static ledger::Digest digest(const boost::json::value& hex) {
    return ledger::digest_of_hex(std::string(hex.as_string())).value();
  }
  static std::vector<ledger::Digest> path_of(const boost::json::value& list) {
    std::vector<ledger::Digest> path;
    for (const auto& one : list.as_array()) path.push_back(digest(one));
    return path;
  }
  static ledger::Checkpoint checkpoint_of(const boost::json::value& object) {
    return ledger::parse_checkpoint(boost::json::serialize(object)).value();
  }
  static std::vector<std::int64_t> positions(const boost::json::value& page) {
    std::vector<std::int64_t> found;
    for (const auto& item : page.at("items").as_array()) found.push_back(item.at("position").as_int64());
    return found;
  }
  static ledger::VerifyReport verify(const std::string& bundle) {
    ledger::BundleVerifier verifier({});
    for (std::size_t at = 0; at < bundle.size();) {
      const std::size_t end = std::min(bundle.find('\n', at), bundle.size());
      if (!verifier.line(std::string_view(bundle).substr(at, end - at))) break;
      at = end + 1;
    }
    return verifier.finish();
  }

  const ledger::SigningKey key_ = ledger::SigningKey::derive(Secret(std::string(32, 'k'))).value();
  std::unique_ptr<ledger::Sequencer> sequencer_;
};

TEST_F(AuditApiTest, ARecordComesWithTheProofThatItIsInTheLog) {
  write_some();
  EXPECT_TRUE(get("/api/v1/audit/a-3").at("proof").is_null()) << "no checkpoint covers it yet";
  checkpoint();
  for (const char* named : {"a-3", "3"}) {
    const auto audit = get(std::string("/api/v1/audit/") + named);
    EXPECT_EQ(audit.at("position").as_int64(), 3);
    EXPECT_EQ(audit.at("details").at("summary").as_string(), "said hello");
    const auto& proof = audit.at("proof");
    const ledger::Checkpoint under = checkpoint_of(proof.at("checkpoint"));
    EXPECT_TRUE(ledger::is_signed(under));
    EXPECT_EQ(under.size, 6U);
    // The entry as it stands in the answer is what was hashed.
    const std::string entry = boost::json::serialize(audit.at("entry"));
    EXPECT_EQ(ledger::leaf_hash(entry), digest(proof.at("leaf_hash")));
    EXPECT_TRUE(
        ledger::verify_inclusion(digest(proof.at("leaf_hash")), 2, under.size, path_of(proof.at("path")), under.root));
  }
  get("/api/v1/audit/7", 404);
  get("/api/v1/audit/nobody", 404);
}

TEST_F(AuditApiTest, AProofTellsThatTheLogOnlyGrew) {
  write_some();
  checkpoint();
  tick(std::chrono::seconds(61));
  post("/api/v1/audit_logs", R"({"action":"publish"})", 201);
  while (sequencer_->pass().value() > 0) {
  }
  checkpoint();
  const auto list = get("/api/v1/audit/checkpoints").at("items").as_array();
  ASSERT_EQ(list.size(), 2U);
  const ledger::Checkpoint newer = checkpoint_of(list[0]);
  const ledger::Checkpoint older = checkpoint_of(list[1]);
  EXPECT_EQ(older.size, 6U);
  const auto proof = get("/api/v1/audit/consistency?from=6");
  EXPECT_EQ(checkpoint_of(proof.at("checkpoint")), newer);
  EXPECT_TRUE(ledger::verify_consistency(6, older.root, newer.size, newer.root, path_of(proof.at("path"))));
  get("/api/v1/audit/consistency?from=6&to=5", 404);
  get("/api/v1/audit/consistency", 400);
  EXPECT_EQ(get("/api/v1/audit/checkpoints?limit=1").at("next_cursor").as_string(), "7");
  EXPECT_EQ(get("/api/v1/audit/checkpoints?limit=1&cursor=7").at("items").at(0).at("size").as_int64(), 6);
}

TEST_F(AuditApiTest, TheExportIsABundleThatVerifies) {
  write_some();
  get("/api/v1/audit/export", 404);  // nothing is vouched for yet
  checkpoint();
  const auto whole = send("GET", "/api/v1/audit/export");
  ASSERT_EQ(whole.status, 200) << whole.body;
  EXPECT_EQ(whole.headers.get("Content-Disposition"), "attachment; filename=\"audit-acme-1-6.jsonl\"");
  const ledger::VerifyReport report = verify(whole.body);
  EXPECT_FALSE(report.bad) << report.bad->what;
  EXPECT_EQ(report.to, 6U);
  EXPECT_EQ(report.vouched, 6U);
  EXPECT_TRUE(whole.body.contains("said hello"));
  const auto bare = send("GET", "/api/v1/audit/export?details=false");
  EXPECT_FALSE(bare.body.contains("said hello"));
  EXPECT_FALSE(verify(bare.body).bad);
  get("/api/v1/audit/export?details=maybe", 400);
  get("/api/v1/audit/export?from=2", 400);
  get("/api/v1/audit/export?to=5", 404);
}

TEST_F(AuditApiTest, FieldsThatAreInNoIndexFilterToo) {
  write_some();
  EXPECT_EQ(positions(get("/api/v1/audit?result=fail")), (std::vector<std::int64_t>{6, 5}));
  EXPECT_EQ(positions(get("/api/v1/audit?trace_id=t1&platform=tiktok")), (std::vector<std::int64_t>{3, 2, 1}));
  EXPECT_EQ(positions(get("/api/v1/audit?platform=tiktok&client_id=c1&lane=browser")),
            (std::vector<std::int64_t>{3, 1}));
  const auto page = get("/api/v1/audit?platform=instagram&limit=2");
  EXPECT_EQ(positions(page), (std::vector<std::int64_t>{6, 5}));
  EXPECT_EQ(positions(get("/api/v1/audit?platform=instagram&limit=2&cursor=" +
                          std::string(page.at("next_cursor").as_string()))),
            (std::vector<std::int64_t>{4}));
  get("/api/v1/audit?colour=red", 400);
}

TEST_F(AuditApiTest, ARecordSaysWhoReportedItWhereThatIsNotWhoDidIt) {
  const char* form = R"({"records":[
      {"audit_id":"x1","action_type":"publish","actor_type":"operator","actor_id":"usr_mara","role":"owner"},
      {"audit_id":"x2","action_type":"publish"},
      {"audit_id":"x3","action_type":"publish","actor_type":"user","actor_id":"config:worker"}]})";
  post("/api/v1/audit_logs", form);
  while (sequencer_->pass().value() > 0) {
  }
  const auto entry = [&](const char* id) { return get(std::string("/api/v1/audit/") + id).at("entry"); };
  EXPECT_EQ(entry("x1").at("actor_id").as_string(), "usr_mara");
  EXPECT_TRUE(boost::json::serialize(entry("x1")).contains(R"("reported_by":"config:worker")")) << entry("x1");
  EXPECT_EQ(entry("x2").at("actor_id").as_string(), "config:worker");
  EXPECT_FALSE(boost::json::serialize(entry("x2")).contains("reported_by"));
  EXPECT_TRUE(boost::json::serialize(entry("x3")).contains("reported_by")) << "a token is no user";
  EXPECT_EQ(positions(get("/api/v1/audit?reported_by=config:worker")), (std::vector<std::int64_t>{3, 1}));
  EXPECT_EQ(send("POST", "/api/v1/audit_logs", R"({"action":"a","reported_by":"somebody"})").status, 400);
}

TEST_F(AuditApiTest, ANameIsGivenToOneRecordAlone) {
  const char* one = R"({"audit_id":"a-1","action_type":"publish","client_id":"c2"})";
  EXPECT_EQ(send("POST", "/api/v1/audit_logs", one).status, 201);
  const auto again = send("POST", "/api/v1/audit_logs", one);
  EXPECT_EQ(again.status, 409) << "not chained yet, and known all the same";
  EXPECT_TRUE(again.body.contains("a-1")) << again.body;
  while (sequencer_->pass().value() > 0) {
  }
  EXPECT_EQ(send("POST", "/api/v1/audit_logs", one).status, 409);
  const auto both = post("/api/v1/audit_logs", R"({"records":[{"id":"b","action":"x"},{"id":"b","action":"y"}]})");
  EXPECT_TRUE(both.at("results").at(0).at("ok").as_bool());
  EXPECT_EQ(both.at("results").at(1).at("error").at("status").as_int64(), 409);
  EXPECT_EQ(send("POST", "/api/v1/audit_logs", R"({"id":"a-1","action":"x","client_id":"c1"})", {}, "limited").status,
            409)
      << "the record of a client that this caller does not see";
  EXPECT_EQ(send("POST", "/api/v1/audit_logs", one, {}, "other").status, 201) << "another workspace's names";
}

TEST_F(AuditApiTest, RecordsComeBackUnderTheNamesThatAgentsWriteThemWith) {
  const char* form = R"({"audit_id":"aud-7","client_id":"c1","actor_type":"agent","actor_id":"writer-1",
      "action_type":"dm_send","platform":"tiktok","surface":"dm","lane":"browser","payload_hash":"h","result":"blocked",
      "payload_summary":"hello","policy_snapshot_id":"p1","proof":["https://x.example/1"],"job_id":"j1",
      "ticket_id":"T-9","agent_id":"writer-1","tool_name":"send_dm","created_at":"2027-01-15T08:00:00Z"})";
  post("/api/v1/audit_logs", form, 201);
  while (sequencer_->pass().value() > 0) {
  }
  const auto list = get("/api/v1/audit_logs?action_type=dm_send&ticket_id=T-9&tool_name=send_dm&job_id=j1");
  ASSERT_EQ(list.at("items").as_array().size(), 1U);
  const auto& item = list.at("items").at(0);
  const auto sent = boost::json::parse(form).as_object();
  for (const auto& [name, given] : sent) {
    if (name == "payload_summary") continue;
    const std::string shown = boost::json::serialize(item.at(name));
    EXPECT_EQ(name == "created_at" ? shown.substr(0, 20) : shown,
              name == "created_at" ? std::string("\"2027-01-15T08:00:00") : boost::json::serialize(given))
        << name;
  }
  EXPECT_EQ(item.at("details").at("summary").as_string(), "hello");
  EXPECT_EQ(item.at("reported_by").as_string(), "config:worker");
}

TEST_F(AuditApiTest, APositionIsReadBeforeANameThatLooksLikeOne) {
  post("/api/v1/audit_logs",
       R"({"records":[{"id":"first","action":"x"},{"id":"1","action":"y"},{"id":"77","action":"z"}]})");
  while (sequencer_->pass().value() > 0) {
  }
  EXPECT_EQ(get("/api/v1/audit/1").at("position").as_int64(), 1) << "no sender hides it behind a name";
  EXPECT_EQ(get("/api/v1/audit/77").at("position").as_int64(), 3) << "no position, so it is a name";
  EXPECT_EQ(send("GET", "/api/v1/audit/78").status, 404);
}

TEST_F(AuditApiTest, WhoSeesSomeClientsHasTheirRecordsAndNothingOfTheWhole) {
  write_some();
  checkpoint();
  const auto of = [&](std::string target) { return send("GET", std::move(target), "", {}, "limited"); };
  EXPECT_EQ(positions(json_of(of("/api/v1/audit?result=success"), 200)), (std::vector<std::int64_t>{3, 1}));
  const auto own = json_of(of("/api/v1/audit/a-3"), 200);
  EXPECT_TRUE(own.at("proof").is_null()) << "its checkpoint counts the records of every client";
  EXPECT_FALSE(get("/api/v1/audit/a-3").at("proof").is_null());
  EXPECT_EQ(of("/api/v1/audit/a-2").status, 404);
  EXPECT_EQ(of("/api/v1/audit/2").status, 404);
  for (const char* whole : {"checkpoints", "consistency?from=6", "export"}) {
    EXPECT_EQ(of(std::string("/api/v1/audit/") + whole).status, 403) << whole;
  }
  // Another workspace finds none of it.
  EXPECT_EQ(send("GET", "/api/v1/audit/a-3", "", {}, "other").status, 404);
  EXPECT_EQ(send("GET", "/api/v1/audit/export", "", {}, "other").status, 404);
}

TEST_F(AuditApiTest, AnAttachmentIsKeptByTheHashOfItsContent) {
  const std::string content("\x89PNG\r\n\x1a\n with \0 in it", 22);
  const auto store = [&](std::string_view type, const std::string& bearer, std::string query = "") {
    http::ClientRequest request{
        .method = "POST", .target = "/api/v1/attachments" + query, .headers = {}, .body = {content}};
    request.headers.add("Authorization", "Bearer " + bearer);
    request.headers.add("Content-Type", std::string(type));
    return client_->send(request).value();
  };
  const auto made = json_of(store("image/png", "worker", "?client_id=c2"), 201);
  EXPECT_EQ(made.at("reference").as_string(), "sha256:" + ledger::to_hex(ledger::sha256(content)));
  EXPECT_EQ(json_of(store("image/png", "worker", "?client_id=c2"), 201), made);
  const std::string target = "/api/v1/attachments/" + std::string(made.at("reference").as_string());
  const auto loaded = send("GET", target);
  EXPECT_EQ(loaded.status, 200);
  EXPECT_EQ(loaded.body, content);
  EXPECT_EQ(loaded.headers.get("Content-Type"), "image/png");
  EXPECT_EQ(loaded.headers.get("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(send("GET", target, "", {}, "limited").status, 404) << "of another client";
  EXPECT_EQ(send("GET", target, "", {}, "other").status, 404) << "of another workspace";
  EXPECT_EQ(store("text/html", "worker").status, 415) << "a browser would run it";
  EXPECT_EQ(store("image/png", "limited", "?client_id=c2").status, 403);
  EXPECT_EQ(send("GET", "/api/v1/attachments/sha256:1").status, 400);
}

}  // namespace
}  // namespace fettle::api
