#include "fake_server.h"

namespace fettle::sdk {

namespace {

constexpr std::chrono::seconds kWait{10};

std::unexpected<Error> unreachable() {
  return std::unexpected(Error{.kind = ErrorKind::kUnreachable, .code = "unreachable", .message = "on demand"});
}

Json problem(int status, const std::string& code) {
  return Json::object({{"status", status}, {"code", code}, {"title", code}});
}

Json refused(int status, const std::string& code) {
  return Json::object({{"ok", false}, {"error", problem(status, code)}});
}

void merge(Json& into, const Json& from) {
  for (const Json::Member& member : from.members()) into.set(member.name, member.value);
}

}  // namespace

Clock::Monotonic ManualClock::now() {
  const std::lock_guard lock(mutex_);
  return Monotonic() + passed_;
}
Clock::Wall ManualClock::wall() {
  const std::lock_guard lock(mutex_);
  return Wall(std::chrono::milliseconds(1'700'000'000'123)) + passed_;
}
bool ManualClock::sleep(const std::stop_token& stop, Milliseconds duration) {
  const std::lock_guard lock(mutex_);
  waits_.push_back(duration);
  passed_ += duration;
  return !stop.stop_requested();
}
void ManualClock::advance(Milliseconds duration) {
  const std::lock_guard lock(mutex_);
  passed_ += duration;
}
std::vector<Milliseconds> ManualClock::waits() {
  const std::lock_guard lock(mutex_);
  return waits_;
}

void Gate::open() {
  const std::lock_guard lock(mutex_);
  open_ = true;
  opened_.notify_all();
}
bool Gate::wait() {
  std::unique_lock lock(mutex_);
  return opened_.wait_for(lock, kWait, [this] { return open_; });
}

void FakeServer::fail(const std::string& path, std::vector<Fault> faults) {
  const std::lock_guard lock(mutex_);
  for (Fault& fault : faults) faults_[path].push_back(std::move(fault));
}

std::vector<SeenRequest> FakeServer::of(std::string_view path) {
  const std::lock_guard lock(mutex_);
  std::vector<SeenRequest> found;
  for (const SeenRequest& one : seen_) {
    if (one.path == path) found.push_back(one);
  }
  return found;
}

std::vector<Json> FakeServer::reports(std::string_view op) {
  std::vector<Json> found;
  for (const SeenRequest& one : of("/work/report")) {
    for (const Json& report : one.body["reports"].items()) {
      if (report["op"].as_string() == op) found.push_back(report);
    }
  }
  return found;
}

bool FakeServer::until(const std::function<bool()>& reached) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, kWait, reached);
}

std::shared_ptr<FakeRun> FakeServer::add(const std::string& workflow, Json run, Json::Array steps) {
  const std::lock_guard lock(mutex_);
  auto made = std::make_shared<FakeRun>();
  made->run_id = "run_" + std::to_string(runs.size() + 1);
  made->run = std::move(run.set("workflow", workflow));
  made->steps = std::move(steps);
  runs[made->run_id] = made;
  changed_.notify_all();
  return made;
}

void FakeServer::revoke(FakeRun& run, Json why) {
  const std::lock_guard lock(mutex_);
  run.why = std::move(why);
  ++run.fence;
  run.state = "elsewhere";
}

void FakeServer::ready(FakeRun& run) {
  const std::lock_guard lock(mutex_);
  run.state = "queued";
  changed_.notify_all();
}

std::string FakeServer::state_of(const FakeRun& run) {
  const std::lock_guard lock(mutex_);
  return run.state;
}

Result<HttpAnswer> FakeServer::send(const HttpRequest& request) {
  const std::string path = std::string(request.path).substr(std::string_view("/api/v1").size());
  const std::string plain = path.substr(0, path.find('?'));
  const Json body = request.body.empty() ? Json() : Json::parse(request.body).value();
  Fault fault;
  {
    const std::lock_guard lock(mutex_);
    seen_.push_back({path, std::string(request.idempotency_key), body});
    auto& faults = faults_[plain];
    if (!faults.empty()) {
      fault = faults.front();
      faults.pop_front();
    }
    changed_.notify_all();
  }
  if (fault.cut_before) return unreachable();
  if (fault.status != 0) {
    return HttpAnswer{.status = fault.status,
                      .body = problem(fault.status, "code_" + std::to_string(fault.status)).text(),
                      .request_id = "req_7",
                      .retry_after = fault.retry_after};
  }
  HttpAnswer answer;
  {
    std::unique_lock lock(mutex_);
    const std::string memory = plain + " " + std::string(request.idempotency_key);
    const auto known = stored_.find(memory);
    if (request.post && known != stored_.end()) {
      answer = known->second;
    } else {
      const auto [status, value] = handle(plain, body, request.stop);
      answer = {.status = status, .body = value.text(), .request_id = {}, .retry_after = {}};
      stored_[memory] = answer;
    }
    changed_.notify_all();
  }
  if (fault.hold) fault.hold->wait();
  if (fault.cut_after) return unreachable();
  return answer;
}

FakeServer::Handled FakeServer::handle(const std::string& path, const Json& body, const std::stop_token& stop) {
  const auto results = [](std::size_t count) {
    return Json::object({{"results", Json(Json::Array(count, Json::object({{"ok", true}})))}});
  };
  if (path.starts_with("/runs/")) return {200, results(body["steps"].items().size())};
  if (path == "/side-effects/reserve") return reserve(body);
  if (path.starts_with("/side-effects/")) {
    const std::size_t slash = path.rfind('/');
    return effect(path.substr(14, slash - 14), path.substr(slash + 1), body);
  }
  if (path.starts_with("/workers/") && path.find('/', 9) == std::string::npos) return {200, Json::object()};
  if (path.ends_with("/drain")) {
    draining_.insert(path.substr(9, path.size() - 9 - 6));
    return {200, Json::object()};
  }
  if (path == "/runs" && !body["runs"].items().empty()) {
    Json::Array made;
    for (const Json& run : body["runs"].items()) made.push_back(create(run));
    return {200, Json::object({{"results", made}})};
  }
  if (path == "/runs") return {201, create(body)};
  if (path == "/workers") return {200, Json::object({{"lease_ms", lease_ms}, {"heartbeat_ms", heartbeat_ms}})};
  if (path == "/work/lease") return {200, lease(body, stop)};
  if (path == "/work/report") {
    Json::Array made;
    for (const Json& one : body["reports"].items()) made.push_back(report(one));
    return {200, Json::object({{"results", made}})};
  }
  if (path == "/events") return {200, Json::object()};
  if (path == "/approvals") return question(body);
  if (path == "/may-i") return {200, verdict};
  if (path == "/agent_logs" || path == "/workflow_failures" || path == "/audit_logs") {
    Json::Array made;
    auto& kept = records[path.substr(1)];
    for (const Json& record : body["records"].items()) {
      kept.push_back(record);
      made.push_back(Json::object({{"ok", true}, {"id", "rec_" + std::to_string(kept.size())}}));
    }
    return {200, Json::object({{"results", made}})};
  }
  return {404, problem(404, "not_found")};
}

Json FakeServer::create(const Json& run) {
  const std::string workflow(run["workflow"].as_string());
  if (workflow == "forbidden") return refused(403, "forbidden");
  const auto made = add(workflow, run);
  return Json::object({{"ok", true}, {"run_id", made->run_id}, {"state", "queued"}, {"created", true}});
}

// With the lock held once.
Json FakeServer::lease(const Json& body, const std::stop_token& stop) {
  const auto ended = [&] { return draining_.contains(std::string(body["runner_id"].as_string())); };
  const auto queued = [&] {
    std::vector<std::shared_ptr<FakeRun>> found;
    for (const auto& [id, run] : runs) {
      if (run->state == "queued" && static_cast<std::int64_t>(found.size()) < body["max"].as_int())
        found.push_back(run);
    }
    return found;
  };
  changed_.wait_for(mutex_, stop, kWait, [&] { return ended() || !queued().empty(); });
  Json::Array leases;
  if (!ended()) {
    for (const auto& run : queued()) {
      run->state = "leased";
      Json made = Json::object({{"run_id", run->run_id},
                                {"attempt", ++run->attempt},
                                {"fence", ++run->fence},
                                {"retry_count", run->retry_count},
                                {"steps", run->steps}});
      merge(made, run->run);
      leases.push_back(std::move(made));
    }
  }
  return Json::object({{"leases", leases}, {"kill", Json::Array()}});
}

Json FakeServer::report(const Json& report) {
  FakeRun& run = *runs.at(std::string(report["run_id"].as_string()));
  if (report["fence"].as_int() != run.fence || run.state != "leased") {
    run.late.push_back(report);
    Json late = problem(409, "late");
    merge(late, run.why);
    return Json::object({{"ok", false}, {"error", late}});
  }
  run.reports.push_back(report);
  const std::string op(report["op"].as_string());
  if (op == "step_complete") {
    run.steps.push_back(
        Json::object({{"name", report["name"]}, {"status", "completed"}, {"result", report["result"]}}));
  }
  if (op == "complete") {
    run.state = "succeeded";
    run.result = report["result"];
  }
  if (op == "fail") {
    run.state = "failed";
    run.error = report["error"];
  }
  if (op == "sleep") run.state = "sleeping";
  if (op == "wait") run.state = "waiting";
  if (op == "release") run.state = "released";
  Json answer = Json::object({{"ok", true}, {"state", run.state}, {"cancel", run.cancel}, {"stop", run.stop}});
  if (op == "step_fail" && run.step_retries > 0) {
    --run.step_retries;
    answer.set("will_retry", true).set("retry_after_ms", 1);
  }
  return answer;
}

FakeServer::Handled FakeServer::question(const Json& body) {
  FakeRun& run = *runs.at(std::string(body["run_id"].as_string()));
  if (body["fence"].as_int() != run.fence || run.state != "leased") return {409, problem(409, "conflict")};
  run.state = "waiting";
  return {200, Json::object({{"state", "parked"}, {"result", nullptr}})};
}

FakeServer::Handled FakeServer::reserve(const Json& body) {
  if (decisions.empty()) {
    for (const auto& [id, effect] : effects) {
      const Json& before = effect["reserve"];
      const bool same = before["action"] == body["action"] && before["target"] == body["target"] &&
                        before["payload_hash"] == body["payload_hash"];
      if (same && effect["state"].as_string() == "committed") {
        return {200, Json::object({{"side_effect_id", id},
                                   {"decision", "committed"},
                                   {"earlier", Json::object({{"result", effect["result"]}})}})};
      }
    }
  }
  const std::string id = "fx_" + std::to_string(effects.size() + 1);
  effects[id] = Json::object({{"state", "reserved"}, {"reserve", body}});
  Json answer = Json::object({{"side_effect_id", id}, {"decision", "go_on"}, {"earlier", nullptr}});
  if (!decisions.empty()) {
    merge(answer, decisions.front());
    decisions.pop_front();
  }
  return {static_cast<int>(answer["status"].as_int(200)), answer};
}

FakeServer::Handled FakeServer::effect(const std::string& id, const std::string& verb, const Json& body) {
  Json& effect = effects.at(id);
  if (verb == "commit") {
    effect.set("state", body["proof"]["url"].is_string() ? "committed" : "unverified");
    effect.set("result", body["result"]);
  }
  if (verb == "verify") effect.set("state", body["visible"].as_bool() ? "committed" : "absent");
  if (verb == "release") effect.set("state", "released");
  effect.set(verb, body);
  return {200, Json::object({{"state", effect["state"]}})};
}

}  // namespace fettle::sdk
