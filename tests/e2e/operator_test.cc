// The operator's commands, through the real program against a real server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <boost/json.hpp>
#include <string>
#include <vector>

#include "e2e/server_process.h"

namespace fettle::e2e {
namespace {

using boost::json::parse;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

// One server for all tests of this file: each works on a client of its own.
class OperatorTest : public testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = ServerProcess::start({}); }
  static void TearDownTestSuite() { server_.reset(); }
  void SetUp() override { ASSERT_NE(server_, nullptr); }

  static Ended fettle(std::vector<std::string> arguments, std::string_view input = {}) {
    arguments.insert(arguments.end(), {"--url", server_->url()});
    return run_fettle(arguments, input);
  }
  // What a command that must do well printed.
  static std::string out_of(std::vector<std::string> arguments) {
    std::string line;
    for (const std::string& one : arguments) line += one + ' ';
    const Ended ended = fettle(std::move(arguments));
    EXPECT_EQ(ended.exit_code, 0) << line << ended.err;
    return ended.out;
  }
  static std::string first_word(const std::string& text) { return text.substr(0, text.find_first_of(" \n")); }
  static boost::json::value post(const std::string& target, const std::string& body) {
    const auto answer = server_->post(target, "application/json", body);
    EXPECT_LT(answer.status, 300) << target << answer.body;
    boost::json::error_code ignored;
    return parse(answer.body, ignored);
  }
  static std::string enqueue(const std::string& client) {
    return first_word(out_of({"runs", "enqueue", "publish", "--client", client, "--platform", "tiktok", "--payload",
                              R"({"post":7})", "--max-retries", "0"}));
  }
  // Leases what there is and fails it for good.
  static void fail_all(const std::string& runner) {
    post("/api/v1/workers", R"({"runner_id":")" + runner + R"(","workflows":["publish"]})");
    const auto leased = post("/api/v1/work/lease", R"({"runner_id":")" + runner + R"(","max":50})");
    std::string reports;
    for (const auto& lease : leased.at("leases").as_array()) {
      reports += (reports.empty() ? "" : ",") + std::string(R"({"op":"fail","run_id":")") +
                 std::string(lease.at("run_id").as_string()) + R"(","fence":)" +
                 boost::json::serialize(lease.at("fence")) +
                 R"(,"error":{"code":"API_TIMEOUT","message":"Connection timeout after 5s","retryable":false}})";
    }
    post("/api/v1/work/report", R"({"runner_id":")" + runner + R"(","reports":[)" + reports + "]}");
  }

  static std::unique_ptr<ServerProcess> server_;
};
std::unique_ptr<ServerProcess> OperatorTest::server_;

TEST_F(OperatorTest, ARunIsForcedAnEscalationSeenToAndAWorkerDrained) {
  const std::string run = enqueue("forced");
  EXPECT_EQ(fettle({"runs", "force", run, "--state", "running", "--reason", "x"}).exit_code, 2);
  EXPECT_EQ(fettle({"runs", "force", run, "--state", "failed"}).exit_code, 2) << "and why";
  EXPECT_THAT(out_of({"runs", "force", run, "--state", "failed", "--reason", "nothing ends it"}),
              AllOf(HasSubstr(run), HasSubstr("failed")));

  const std::string id(post("/api/v1/escalations", R"({"subject":"Angry client","severity":1,"client_id":"forced"})")
                           .at("id")
                           .as_string());
  EXPECT_THAT(out_of({"escalations"}), AllOf(HasSubstr(id), HasSubstr("Angry client")));
  EXPECT_THAT(out_of({"escalations", "assign", id, "mara"}), HasSubstr("mara"));
  EXPECT_THAT(out_of({"escalations", "list"}), HasSubstr("mara"));
  EXPECT_THAT(out_of({"escalations", "resolve", id, "--note", "called"}), HasSubstr("resolved"));
  EXPECT_THAT(out_of({"escalations"}), Not(HasSubstr(id)));
  EXPECT_THAT(out_of({"escalations", "--all"}), HasSubstr(id));

  post("/api/v1/workers", R"({"runner_id":"drained-1"})");
  EXPECT_THAT(out_of({"workers"}), HasSubstr("drained-1"));
  EXPECT_THAT(out_of({"workers", "drain", "drained-1", "--reason", "new version"}), HasSubstr("draining"));
  EXPECT_THAT(out_of({"workers", "list", "--json"}), HasSubstr(R"("state":"draining")"));
  EXPECT_EQ(fettle({"workers", "drain", "nobody"}).exit_code, 1);
}

TEST_F(OperatorTest, ARunIsStartedListedAndShown) {
  const std::string run = enqueue("lists");
  EXPECT_THAT(run, StartsWith("run_"));
  const std::string table = out_of({"runs", "--client", "lists"});
  EXPECT_THAT(table, AllOf(StartsWith("RUN "), HasSubstr(run), HasSubstr("publish"), HasSubstr("tiktok")));
  EXPECT_THAT(table, Not(HasSubstr("\x1b"))) << "no colours where nobody looks";
  const auto listed = parse(out_of({"runs", "list", "--client", "lists", "--json"}));
  EXPECT_EQ(listed.at("run_id").as_string(), run);
  EXPECT_THAT(out_of({"runs", "show", run}), AllOf(HasSubstr("state "), HasSubstr("ready"), HasSubstr("0 of 0")));
  EXPECT_EQ(parse(out_of({"runs", "show", run, "--json"})).at("payload").at("post").as_int64(), 7);
  EXPECT_EQ(out_of({"runs", "--client", "nobody"}), "no runs\n");
  EXPECT_THAT(out_of({"runs", "cancel", run, "--reason", "a test"}), HasSubstr("cancelled"));
  const Ended watched = fettle({"runs", "watch", run});
  EXPECT_EQ(watched.exit_code, 1) << "it did not succeed";
  EXPECT_THAT(watched.out, HasSubstr("cancelled"));
}

TEST_F(OperatorTest, ThePayloadComesFromAFileOrStandardInputToo) {
  const std::string big = R"({"number":12345678901234567890.123})";
  const Ended made = fettle({"runs", "enqueue", "publish", "--client", "stdin", "--payload", "-"}, big);
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const Ended wrong = fettle({"runs", "enqueue", "publish", "--payload", "{"});
  EXPECT_EQ(wrong.exit_code, 2);
  EXPECT_THAT(wrong.err, HasSubstr("not JSON"));
}

TEST_F(OperatorTest, DeadLettersAreListedAndRetriedOneByOneOrByFilter) {
  const std::string run = enqueue("dies");
  enqueue("dies");
  enqueue("dies");
  fail_all("w-dies");
  const std::string dead = out_of({"dead", "--client", "dies"});
  EXPECT_THAT(dead, AllOf(HasSubstr(run), HasSubstr("API_TIMEOUT: Connection timeout after 5s")));
  EXPECT_EQ(fettle({"retry", run}).exit_code, 2) << "a reason is asked for";
  EXPECT_EQ(fettle({"retry", "--reason", "x"}).exit_code, 2) << "and which";
  EXPECT_THAT(out_of({"retry", run, "--reason", "it is back"}), AllOf(HasSubstr(run), HasSubstr("ready")));
  const Ended again = fettle({"retry", run, "--reason", "twice"});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr(run));
  const std::string job = out_of({"retry", "--client", "dies", "--reason", "all of them"});
  EXPECT_THAT(job, HasSubstr("retry finished: 2 of 2 done"));
  EXPECT_THAT(out_of({"retry", "job", first_word(job)}), HasSubstr("finished"));
  EXPECT_EQ(out_of({"dead", "--client", "dies"}), "no dead letters\n");
  fail_all("w-dies");
  EXPECT_THAT(out_of({"dead", "discard", "--client", "dies", "--reason", "hopeless"}), HasSubstr("3 of 3 done"));
}

TEST_F(OperatorTest, ASwitchStopsAtOnceAndShowsWhatRuns) {
  const std::string run = enqueue("stops");
  post("/api/v1/workers", R"({"runner_id":"w-stops"})");
  EXPECT_EQ(fettle({"kill", "throw", "--reason", "x"}).exit_code, 2) << "what to stop is said";
  EXPECT_EQ(fettle({"kill", "throw", "--client", "stops"}).exit_code, 2) << "and why";
  const std::string thrown = out_of({"kill", "throw", "--client", "stops", "--reason", "wrong captions"});
  EXPECT_THAT(thrown, AllOf(HasSubstr("kill of client stops"), HasSubstr("nothing is in flight")));
  const std::string id = first_word(thrown);
  EXPECT_THAT(out_of({"kill"}), AllOf(HasSubstr(id), HasSubstr("client stops"), HasSubstr("wrong captions")));
  post("/api/v1/work/lease", R"({"runner_id":"w-stops","workflows":["publish"],"max":50})");
  EXPECT_THAT(out_of({"runs", "show", run}), Not(HasSubstr("running")));
  EXPECT_THAT(out_of({"kill", "resume", id, "--reason", "mended"}), HasSubstr("resumed: client stops"));
  EXPECT_THAT(out_of({"kill", "list"}), Not(HasSubstr(id)));
  EXPECT_THAT(out_of({"kill", "list", "--all"}), HasSubstr(id));
  // A flag in front of the subcommand would go unheard.
  const Ended misplaced = run_fettle({"kill", "--url", server_->url(), "throw", "--all", "--reason", "x"});
  EXPECT_EQ(misplaced.exit_code, 2);
  EXPECT_THAT(misplaced.err, HasSubstr("behind the subcommand"));
}

TEST_F(OperatorTest, AllThatIsInFlightIsListedHoweverMuchItIs) {
  constexpr int kRuns = 120;  // more than a page of the API
  for (int i = 0; i < kRuns; ++i) {
    post("/api/v1/runs", R"({"workflow":"elsewhere","client_id":"many","observed":true,"status":"running"})");
  }
  const std::string id = first_word(out_of({"kill", "throw", "--pause", "--client", "many", "--reason", "too many"}));
  const std::string lines = out_of({"kill", "in-flight", id, "--json"});
  EXPECT_EQ(std::ranges::count(lines, '\n'), kRuns);
  out_of({"kill", "resume", id, "--reason", "mended"});
}

TEST_F(OperatorTest, AnApprovalIsDecidedOnce) {
  const auto asked =
      post("/api/v1/approvals", R"({"title":"Publish 7 posts?","details":{"posts":7},"client_id":"asks"})");
  const std::string id(asked.at("id").as_string());
  EXPECT_THAT(out_of({"approve"}), AllOf(HasSubstr(id), HasSubstr("Publish 7 posts?")));
  EXPECT_THAT(out_of({"approve", "show", id}), HasSubstr(R"({"posts":7})"));
  EXPECT_THAT(out_of({"approve", "yes", id, "--note", "go"}), HasSubstr("approved"));
  EXPECT_EQ(fettle({"approve", "no", id}).exit_code, 1);
  EXPECT_THAT(out_of({"approve", "list"}), Not(HasSubstr(id)));
}

TEST_F(OperatorTest, PeopleAreInvitedChangedAndTakenOut) {
  const Ended invited = fettle({"user", "invite", "mara@example.com", "--role", "operator", "--client", "c1"});
  ASSERT_EQ(invited.exit_code, 0) << invited.err;
  EXPECT_THAT(invited.out, StartsWith(server_->url() + "/"));
  EXPECT_THAT(invited.err, HasSubstr("Shown once"));
  const std::string link = invited.out.substr(invited.out.find_last_of("/#=") + 1);
  post("/api/v1/links/redeem",
       R"({"link":")" + first_word(link) + R"(","name":"Mara","password":"correct horse battery"})");
  EXPECT_THAT(out_of({"user"}), AllOf(HasSubstr("mara@example.com"), HasSubstr("operator"), HasSubstr("c1")));
  EXPECT_THAT(out_of({"user", "change", "mara@example.com", "--role", "manager"}),
              AllOf(HasSubstr("manager"), HasSubstr("clients: c1")))
      << "what is not named stays";
  EXPECT_THAT(out_of({"user", "change", "mara@example.com", "--all-clients", "--payloads", "no"}),
              AllOf(HasSubstr("clients: all"), HasSubstr("payloads: no")));
  EXPECT_THAT(out_of({"user", "password-link", "mara@example.com"}), StartsWith(server_->url()));
  EXPECT_THAT(out_of({"user", "disable", "mara@example.com"}), HasSubstr("closed"));
  EXPECT_THAT(out_of({"user"}), HasSubstr("disabled"));
  out_of({"user", "remove", "mara@example.com"});
  EXPECT_THAT(out_of({"user"}), Not(HasSubstr("mara@example.com")));
  EXPECT_EQ(fettle({"user", "remove", "nobody@example.com"}).exit_code, 1);
}

TEST_F(OperatorTest, ATokenIsShownOnceAndWorksUntilItIsRevoked) {
  const std::string token = first_word(out_of({"token", "create", "nightly", "--scope", "read"}));
  EXPECT_THAT(token, StartsWith("fettle_t_"));
  const ScratchFolder scratch;
  const auto file = scratch.write("token", token + "\n");
  EXPECT_EQ(fettle({"runs", "--token-file", file.string()}).exit_code, 0);
  const Ended refused = fettle({"kill", "throw", "--all", "--reason", "x", "--token-file", file.string()});
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, HasSubstr("scope"));
  const auto listed = parse(out_of({"token", "--json"}));
  EXPECT_EQ(listed.at("name").as_string(), "nightly");
  EXPECT_THAT(out_of({"token", "list"}), Not(HasSubstr(token)));
  out_of({"token", "revoke", std::string(listed.at("id").as_string())});
  const Ended gone = fettle({"runs", "--token-file", file.string()});
  EXPECT_EQ(gone.exit_code, 1);
  EXPECT_THAT(gone.err, HasSubstr("--token-file"));
}

TEST_F(OperatorTest, WhatIsNotUnderstoodIsExit2AndNoServerIsExit1) {
  EXPECT_EQ(fettle({"runs", "--colour", "red"}).exit_code, 2);
  EXPECT_EQ(fettle({"token", "create", "x", "--scope", "everything"}).exit_code, 2);
  const Ended nobody = run_fettle({"runs", "--url", "http://127.0.0.1:1"});
  EXPECT_EQ(nobody.exit_code, 1);
  EXPECT_THAT(nobody.err, StartsWith("fettle: "));
}

}  // namespace
}  // namespace fettle::e2e
