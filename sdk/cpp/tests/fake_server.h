// The server's half of the wire contract in memory, in place of HTTP, with faults on demand: what the SDK is tested
// against where the real server cannot be made to fail on cue.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "fettle/sdk.h"

namespace fettle::sdk {

// Waits are over at once, and move it on.
class ManualClock final : public Clock {
 public:
  Monotonic now() override;
  Wall wall() override;
  double random() override { return 1; }
  bool sleep(const std::stop_token& stop, Milliseconds duration) override;

  void advance(Milliseconds duration);
  std::vector<Milliseconds> waits();

 private:
  std::mutex mutex_;
  Milliseconds passed_{0};
  std::vector<Milliseconds> waits_;
};

class Gate {
 public:
  void open();
  // Whether it opened before ten seconds were over.
  bool wait();

 private:
  std::mutex mutex_;
  std::condition_variable opened_;
  bool open_ = false;
};

// One request goes wrong: an answer of its own; no answer, before the request is handled or after it; or the answer
// held back until a gate opens.
struct Fault {
  int status = 0;
  bool cut_before = false;
  bool cut_after = false;
  std::optional<Milliseconds> retry_after;
  std::shared_ptr<Gate> hold;
};

struct SeenRequest {
  std::string path;  // without /api/v1
  std::string key;
  Json body;
};

struct FakeRun {
  std::string run_id;
  Json run;
  std::string state = "queued";
  int fence = 0;
  int attempt = 0;
  int retry_count = 0;
  Json::Array steps;
  bool cancel = false;
  Json stop;
  Json why = Json::object();
  int step_retries = 0;  // retries in place that the policy of a step grants
  Json error;
  Json result;
  std::vector<Json> late;
  std::vector<Json> reports;
};

class FakeServer final : public Transport {
 public:
  Result<HttpAnswer> send(const HttpRequest& request) override;

  // The next requests to a path go wrong so, one each.
  void fail(const std::string& path, std::vector<Fault> faults);
  std::vector<SeenRequest> of(std::string_view path);
  std::vector<Json> reports(std::string_view op);
  // Waits for what a request will have changed; whether it did within ten seconds.
  bool until(const std::function<bool()>& reached);
  std::shared_ptr<FakeRun> add(const std::string& workflow, Json run = Json::object(), Json::Array steps = {});
  // Another worker gets the run: the fence that is out is no longer good.
  void revoke(FakeRun& run, Json why = Json::object());
  void ready(FakeRun& run);
  std::string state_of(const FakeRun& run);

  // Set before it is used.
  Json verdict = Json::object(
      {{"allowed", true}, {"reason", nullptr}, {"switch", nullptr}, {"cache_ms", 1000}, {"on_unreachable", "refuse"}});
  int lease_ms = 10'000;
  int heartbeat_ms = 3'000;

  // Guarded by until()'s lock, or looked at when all is quiet.
  std::deque<Json> decisions;
  std::map<std::string, std::shared_ptr<FakeRun>> runs;
  std::map<std::string, Json> effects;
  std::map<std::string, std::vector<Json>> records;

 private:
  using Handled = std::pair<int, Json>;
  Handled handle(const std::string& path, const Json& body, const std::stop_token& stop);
  Json create(const Json& run);
  Json lease(const Json& body, const std::stop_token& stop);
  Json report(const Json& report);
  Handled question(const Json& body);
  Handled reserve(const Json& body);
  Handled effect(const std::string& id, const std::string& verb, const Json& body);

  std::recursive_mutex mutex_;  // predicates of until() may ask, too
  std::condition_variable_any changed_;
  std::vector<SeenRequest> seen_;
  std::map<std::string, std::deque<Fault>> faults_;
  std::map<std::string, HttpAnswer> stored_;
  std::set<std::string> draining_;
};

}  // namespace fettle::sdk
