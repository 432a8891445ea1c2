// A lead arrives by mail and goes through four steps: parseEmail, enrichCompany, scoreLead, createCRMRecord. The CRM
// does not answer for the first CRM_FAILURES calls, so the last step fails with API_TIMEOUT; what was done before it is
// not done again.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <thread>

#include "fettle/sdk.h"

namespace {

using namespace fettle::sdk;
using namespace std::chrono_literals;

std::atomic<int> crm_calls = 0;

// One more than the retries of a run: it ends as a dead letter.
int crm_failures() {
  const char* wanted = std::getenv("CRM_FAILURES");
  return wanted != nullptr ? std::atoi(wanted) : 4;
}

// Stand-ins for a language model, a company register and the CRM, each with the time and the tokens that it costs.

Result<Json> parse_email(std::string_view email, StepScope& step) {
  std::this_thread::sleep_for(23ms);
  step.use({.tokens = 156, .cost_usd = 0.0004});
  // From: NAME <USER@DOMAIN>
  const std::size_t open = email.find(" <"), at = email.find('@'), close = email.find('>');
  if (!email.starts_with("From: ") || close == std::string_view::npos)
    return fail(fatal_error("no sender", "BAD_MAIL"));
  return Json::object({{"name", email.substr(6, open - 6)}, {"domain", email.substr(at + 1, close - at - 1)}});
}

Result<Json> enrich_company(const Json& person, StepScope& step) {
  std::this_thread::sleep_for(41ms);
  step.use({.tokens = 312, .cost_usd = 0.0009});
  const std::string_view domain = person["domain"].as_string();
  return Json::object({{"company", domain.substr(0, domain.find('.'))}, {"employees", 120}});
}

Result<Json> score_lead(const Json& company, StepScope& step) {
  std::this_thread::sleep_for(12ms);
  step.use({.tokens = 88, .cost_usd = 0.0002});
  return company["employees"].as_int() > 100 ? 82 : 40;
}

Result<Json> create_crm_record(Json record) {
  std::this_thread::sleep_for(5ms);
  const int call = ++crm_calls;
  if (call <= crm_failures()) return fail(retryable_error("API_TIMEOUT: Connection timeout after 5s", "API_TIMEOUT"));
  return record.set("id", "crm_" + std::to_string(call));
}

Result<Json> lead(Run& run) {
  const auto person =
      run.step("parseEmail", [&](StepScope& step) { return parse_email(run.payload()["email"].as_string(), step); });
  if (!person) return person;
  const auto company = run.step("enrichCompany", [&](StepScope& step) { return enrich_company(*person, step); });
  if (!company) return company;
  const auto score = run.step("scoreLead", [&](StepScope& step) { return score_lead(*company, step); });
  if (!score) return score;
  return run.step("createCRMRecord", [&](StepScope&) {
    return create_crm_record(Json::object({{"person", *person}, {"company", *company}, {"score", *score}}));
  });
}

int failed(const Error& error) {
  std::fprintf(stderr, "%s\n", error.sentence().c_str());
  return 1;
}

}  // namespace

int main() {
  Client client;  // FETTLE_URL, FETTLE_TOKEN
  Worker worker = client.worker({.workflows = {{"lead", lead}},
                                 .pool = "leads-cpp",
                                 .concurrency = 4,
                                 .step_log = write_step_line,
                                 .on_error = [](const Error& error) { failed(error); }});
  if (const auto started = worker.start(); !started) return failed(started.error());

  const auto now_ms = std::chrono::system_clock::now().time_since_epoch() / 1ms;
  const auto made = client.enqueue({
      .workflow = "lead",
      .payload = Json::object({{"email", "From: Ada Lovelace <ada@analytical.example>\n\nWe would like a quote."}}),
      .client_id = "acme",
      .pool = "leads-cpp",
      .max_retries = 3,
      .retry = {.base = 200ms, .cap = 1'000ms},
      .request_id = "req_" + std::to_string(now_ms),
      .trigger = {.source = "mail", .event_key = "inbox"},
  });
  if (!made) return failed(made.error());
  std::fprintf(stderr, "run %s\n", made->run_id.c_str());

  while (true) {
    const auto run = client.get("/api/v1/runs/" + made->run_id);
    if (!run) return failed(run.error());
    const std::string_view state = (*run)["state"].as_string();
    if (state == "succeeded" || state == "dead" || state == "cancelled" || state == "discarded") {
      const Json ended = Json::object(
          {{"state", state}, {"retry_count", (*run)["retry_count"]}, {"failure_reason", (*run)["failure_reason"]}});
      std::fprintf(stderr, "%s\n", ended.text().c_str());
      return 0;
    }
    std::this_thread::sleep_for(200ms);
  }
}
