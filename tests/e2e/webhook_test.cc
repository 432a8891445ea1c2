// Webhooks through the real program: a receiver that looks at each signature, and a server that is killed while it is
// being answered.
#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <signal.h>

#include <atomic>
#include <boost/json.hpp>
#include <filesystem>
#include <mutex>
#include <set>

#include "core/metrics.h"
#include "e2e/server_process.h"
#include "http/server.h"

namespace fettle::e2e {
namespace {

namespace json = boost::json;

class WebhooksTest : public testing::Test {
 protected:
  struct Got {
    std::string id, timestamp, signature, body;
  };

  void SetUp() override {
    const auto address = receiver_.listen(
        "127.0.0.1:0", [](http::Request&) { return http::GateDecision{}; },
        [this](http::Request request, http::Responder responder) {
          {
            const std::lock_guard lock(mutex_);
            got_.push_back({.id = std::string(request.headers.get("webhook-id")),
                            .timestamp = std::string(request.headers.get("webhook-timestamp")),
                            .signature = std::string(request.headers.get("webhook-signature")),
                            .body = request.body});
          }
          // The answer is never read: its asker dies first.
          if (const pid_t victim = victim_.exchange(0); victim != 0) ::kill(victim, SIGKILL);
          std::move(responder).respond(http::Response::make(status_, "text/plain", ""));
        });
    ASSERT_TRUE(address) << address.error().message();
    url_ = "http://" + *address + "/hook";
    receiver_.start();
    start();
  }
  void TearDown() override {
    server_.reset();
    receiver_.stop(std::chrono::milliseconds(0));
  }

  void start(std::string config = "outbound: {allow: [127.0.0.1]}\n") {
    server_.reset();
    std::filesystem::remove(scratch_.path() / "data" / "ports.json");  // of one that was killed
    server_ =
        ServerProcess::start({.config = std::move(config), .data = scratch_.path() / "data", .until_ready = false});
    ASSERT_NE(server_, nullptr);
  }
  json::value post(const std::string& target, const std::string& body, int status) {
    const auto answer = server_->post(target, "application/json", body);
    EXPECT_EQ(answer.status, status) << answer.body;
    return json::parse(answer.body);
  }
  void enqueue(int count) {
    for (int i = 0; i < count; ++i) post("/api/v1/runs", R"({"workflow":"publish","client_id":"acme"})", 201);
  }
  std::vector<Got> got() {
    const std::lock_guard lock(mutex_);
    return got_;
  }
  std::set<std::string> ids() {
    std::set<std::string> ids;
    const auto all = got();
    for (const Got& one : all) ids.insert(one.id);
    return ids;
  }
  static bool is_signed(const Got& one, const std::string& secret) {
    const std::string encoded = secret.substr(6);
    unsigned char key[64] = {};
    EVP_DecodeBlock(key, reinterpret_cast<const unsigned char*>(encoded.data()), static_cast<int>(encoded.size()));
    const std::string text = one.id + "." + one.timestamp + "." + one.body;
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    HMAC(EVP_sha256(), key, 32, reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest, &size);
    std::string out(64, '\0');
    out.resize(static_cast<std::size_t>(
        EVP_EncodeBlock(reinterpret_cast<unsigned char*>(out.data()), digest, static_cast<int>(size))));
    return one.signature == "v1," + out;
  }

  ScratchFolder scratch_;
  metrics::Registry metrics_;
  std::mutex mutex_;
  std::vector<Got> got_;
  std::atomic<pid_t> victim_ = 0;
  std::atomic<int> status_ = 200;
  http::Server receiver_{{}, metrics_};
  std::string url_;
  std::unique_ptr<ServerProcess> server_;
};

TEST_F(WebhooksTest, EachEventArrivesSignedAndAServerThatIsKilledSendsItAgainUnderTheSameId) {
  const auto made = post("/api/v1/webhooks", R"({"url":")" + url_ + R"(","event_types":["run.*"]})", 201);
  const std::string secret(made.at("secret").as_string());
  enqueue(1);
  ASSERT_TRUE(eventually([&] { return got().size() == 1; }));
  EXPECT_TRUE(is_signed(got()[0], secret)) << got()[0].signature;
  EXPECT_EQ(json::parse(got()[0].body).at("data").at("identifiers").at("client_id").as_string(), "acme");
  const std::string deliveries = "/api/v1/webhooks/" + std::string(made.at("id").as_string()) + "/deliveries";
  ASSERT_TRUE(eventually([&] { return server_->get(deliveries + "?state=delivered").body.contains(got()[0].id); }));

  victim_ = server_->pid();
  enqueue(1);
  ASSERT_TRUE(eventually([&] { return got().size() == 2; }));
  const std::string interrupted = got()[1].id;
  start();
  ASSERT_TRUE(eventually([&] { return got().size() >= 3; }, std::chrono::seconds(30)));
  EXPECT_EQ(got()[2].id, interrupted);
  EXPECT_EQ(got()[2].body, got()[1].body);
  EXPECT_TRUE(is_signed(got()[2], secret)) << "the secret survives a start";
  ASSERT_TRUE(eventually([&] { return server_->get(deliveries + "?state=delivered").body.contains(interrupted); }));
  enqueue(3);
  ASSERT_TRUE(eventually([&] { return ids().size() == 5; }));
  EXPECT_EQ(got().size(), 6U) << "the rest came once";
  const std::string metrics = server_->get("/metrics").body;
  EXPECT_TRUE(metrics.contains("fettle_webhook_deliveries_total{outcome=\"delivered\"}")) << metrics;
  EXPECT_FALSE(server_->log().contains(secret)) << "no secret in the log";
}

TEST_F(WebhooksTest, ANetworkThatTheServersFileDoesNotNameIsOutOfReach) {
  start("outbound: {allow: []}\n");
  const auto refused = server_->post("/api/v1/webhooks", "application/json", R"({"url":")" + url_ + R"("})");
  EXPECT_EQ(refused.status, 400) << refused.body;
  EXPECT_TRUE(refused.body.contains("outbound.allow")) << refused.body;
  // Nor by a name that leads there.
  const std::string port = url_.substr(url_.rfind(':'));
  const auto made = post("/api/v1/webhooks", R"({"url":"http://localhost)" + port + "\"}", 201);
  const std::string hook = "/api/v1/webhooks/" + std::string(made.at("id").as_string());
  post(hook + "/test", "{}", 202);
  ASSERT_TRUE(eventually([&] {
    const auto list = json::parse(server_->get(hook + "/deliveries").body).at("items").as_array();
    return list.size() == 1 && list[0].at("state").as_string() == "dead" &&
           std::string_view(list[0].at("error").as_string()).contains("loopback");
  }));
  EXPECT_TRUE(got().empty());
}

}  // namespace
}  // namespace fettle::e2e
