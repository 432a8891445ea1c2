// Webhooks over the API: made, changed, delivered to a receiver on a socket, looked at, sent again.
#include <mutex>

#include "api/work_for_test.h"
#include "http/test_support.h"
#include "ledger/events.h"

namespace fettle::api {
namespace {

class WebhookApiTest : public WorkTest {
 protected:
  void SetUp() override {
    WorkTest::SetUp();
    receiver_.handler = [this](http::Request request, http::Responder responder) {
      int status = 0;
      {
        const std::lock_guard lock(mutex_);
        ids_.emplace_back(request.headers.get("webhook-id"));
        status = status_;
      }
      std::move(responder).respond(http::Response::make(status, "text/plain", "thanks"));
    };
    receiver_.start();
    webhooks_->start_senders();
    ASSERT_TRUE(webhooks_->round());
  }
  void TearDown() override {
    WorkTest::TearDown();
    receiver_.server.stop(std::chrono::milliseconds(0));
  }
  void answer_with(int status) {
    const std::lock_guard lock(mutex_);
    status_ = status;
  }
  std::vector<std::string> ids() {
    const std::lock_guard lock(mutex_);
    return ids_;
  }
  boost::json::value make(std::string more = "") {
    return post("/api/v1/webhooks", R"({"url":")" + receiver_.url() + R"(/hook")" + more + "}", 201);
  }
  static std::string path_of(const boost::json::value& hook) {
    return "/api/v1/webhooks/" + std::string(hook.at("id").as_string());
  }
  boost::json::value patch(const std::string& path, std::string body, int status = 200) {
    return json_of(send("PATCH", path, std::move(body)), status);
  }
  void run() {
    ASSERT_TRUE(webhooks_->round());
    webhooks_->drain();
  }
  void publish() {
    ASSERT_TRUE(database_->write_and_wait([&](db::Transaction& tx) {
      return ledger::publish(tx, Scope{.workspace = {"acme"}, .clients = {}},
                             {.type = "run.failed",
                              .at = clock_.now(),
                              .identifiers = {{"client_id", "c1"}, {"run_id", "run_1"}},
                              .body = {}});
    }));
  }

  std::mutex mutex_;
  std::vector<std::string> ids_;
  int status_ = 200;
  http::TestServer receiver_;
};

TEST_F(WebhookApiTest, ASecretIsShownOnceAndNeitherListNorReplayHasIt) {
  const Headers key = {{"Idempotency-Key", "k1"}};
  const std::string body = R"({"url":"https://hook.example/x","event_types":["run.*"],"clients":["c1"]})";
  const auto made = post("/api/v1/webhooks", body, 201, key);
  const std::string secret(made.at("secret").as_string());
  EXPECT_TRUE(secret.starts_with("whsec_"));
  EXPECT_EQ(made.at("event_types"), boost::json::parse(R"(["run.*"])"));
  const auto again = send("POST", "/api/v1/webhooks", body, key);
  EXPECT_EQ(again.headers.get("Idempotent-Replayed"), "true");
  EXPECT_EQ(json_of(again, 201).at("id"), made.at("id"));
  EXPECT_FALSE(again.body.contains("whsec_"));
  EXPECT_FALSE(send("GET", "/api/v1/webhooks").body.contains("whsec_"));
  EXPECT_EQ(get("/api/v1/webhooks").at("items").as_array().size(), 1U);
  const auto rotated = post(path_of(made) + "/rotate-secret", "{}");
  EXPECT_NE(rotated.at("secret"), made.at("secret"));
  EXPECT_TRUE(rotated.at("prior_secret_until").is_string());
  EXPECT_TRUE(post(path_of(made) + "/rotate-secret", R"({"overlap_hours":0})").at("prior_secret_until").is_null());
}

TEST_F(WebhookApiTest, AUrlThatThisServerWouldNotCallIsRefusedAtOnce) {
  for (const char* url : {"", "ftp://hook.example/", "http://169.254.169.254/latest", "http://[::1]/",
                          "https://user:pw@hook.example/", "http://10.0.0.1/"}) {
    post("/api/v1/webhooks", std::string(R"({"url":")") + url + "\"}", 400);
  }
  post("/api/v1/webhooks", "{}", 400);
  post("/api/v1/webhooks", R"({"url":"https://hook.example/","secret":"mine"})", 400);
  post("/api/v1/webhooks", R"({"url":"https://hook.example/","clients":[]})", 400);
  post("/api/v1/webhooks", R"({"url":"https://hook.example/","event_types":["Run"]})", 400);
  const auto made = make();
  patch(path_of(made), R"({"url":"http://127.0.0.1.nip.invalid:x/"})", 400);
  EXPECT_EQ(get(path_of(made)).at("url"), made.at("url"));
}

TEST_F(WebhookApiTest, ADeliveryShowsWhatBecameOfItAndIsSentAgainOnRequest) {
  const auto hook = make();
  answer_with(404);
  publish();
  run();
  const auto dead = get(path_of(hook) + "/deliveries?state=dead").at("items").at(0);
  EXPECT_EQ(dead.at("status").as_int64(), 404);
  EXPECT_EQ(dead.at("reason").as_string(), "refused");
  EXPECT_EQ(dead.at("excerpt").as_string(), "thanks");
  const std::string path = path_of(hook) + "/deliveries/" + std::string(dead.at("id").as_string());
  EXPECT_EQ(get(path).at("history").as_array().size(), 1U);
  answer_with(200);
  EXPECT_EQ(post(path + "/redeliver", "{}", 202).at("state").as_string(), "pending");
  post(path + "/redeliver", "{}", 409);
  run();
  const auto done = get(path);
  EXPECT_EQ(done.at("state").as_string(), "delivered");
  EXPECT_EQ(done.at("history").as_array().size(), 2U);
  ASSERT_EQ(ids().size(), 2U);
  EXPECT_EQ(ids()[0], ids()[1]);
  EXPECT_EQ(get(path_of(hook) + "/deliveries?state=dead").at("items").as_array().size(), 0U);
  get(path_of(hook) + "/deliveries?state=odd", 400);
  get(path_of(hook) + "/deliveries?cursor=odd", 400);
  get(path_of(hook) + "/deliveries/none", 404);
}

TEST_F(WebhookApiTest, ADisabledWebhookGetsNothingUntilItIsEnabled) {
  const auto hook = make();
  EXPECT_EQ(patch(path_of(hook), R"({"enabled":false})").at("disabled_reason").as_string(), "manual");
  post(path_of(hook) + "/test", "{}", 409);
  publish();
  run();
  EXPECT_TRUE(ids().empty());
  EXPECT_TRUE(patch(path_of(hook), R"({"enabled":true,"description":"ours"})").at("disabled_reason").is_null());
  const auto test = post(path_of(hook) + "/test", "{}", 202);
  run();
  EXPECT_EQ(ids(), (std::vector<std::string>{std::string(test.at("event_id").as_string())}));
  EXPECT_EQ(json_of(send("DELETE", path_of(hook)), 200), boost::json::parse("{}"));
  get(path_of(hook), 404);
}

TEST_F(WebhookApiTest, WhoeverIsLimitedToSomeClientsMakesWebhooksForThoseAlone) {
  const auto all = make();
  const std::string url = R"({"url":"https://hook.example/")";
  EXPECT_EQ(send("POST", "/api/v1/webhooks", url + "}", {}, "limited").status, 403);
  EXPECT_EQ(send("POST", "/api/v1/webhooks", url + R"(,"clients":["c2"]})", {}, "limited").status, 403);
  const auto own = json_of(send("POST", "/api/v1/webhooks", url + R"(,"clients":["c1"]})", {}, "limited"), 201);
  EXPECT_EQ(send("PATCH", path_of(own), R"({"clients":null})", {}, "limited").status, 403);
  EXPECT_EQ(send("GET", path_of(all), "", {}, "limited").status, 404);
  const auto seen = json_of(send("GET", "/api/v1/webhooks", "", {}, "limited"), 200);
  ASSERT_EQ(seen.at("items").as_array().size(), 1U);
  EXPECT_EQ(seen.at("items").at(0).at("id"), own.at("id"));
  EXPECT_EQ(send("GET", "/api/v1/webhooks", "", {}, "reader").status, 403);
  EXPECT_EQ(send("GET", path_of(all), "", {}, "other").status, 404);
}

}  // namespace
}  // namespace fettle::api
