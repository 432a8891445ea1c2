// What the routes of the work half share: runs, workers, switches, side effects, approvals, records, audits.
//
//   change(work, std::move(exchange), [request = std::move(request)](runs::Unit& unit) -> Result<Answer> {
//     auto done = runs::retry_run(unit, …);
//     if (!done) return std::unexpected(done.error());
//     return Answer{.body = …};
//   });
//   look(work, std::move(exchange), [=](runs::View& view) -> Result<std::string> { … });
//
// No thread waits: bodies run on the store's threads, write the answer's text there, and are handed over once the
// transaction is durable. A body may run twice: it changes nothing but its transaction.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "access/rights.h"
#include "api/exchange.h"
#include "api/keyed.h"
#include "api/polls.h"
#include "api/read_pool.h"
#include "api/router.h"
#include "api/work_rooms.h"
#include "core/clock.h"
#include "ledger/idempotency.h"
#include "redact/redactor.h"
#include "runs/runs.h"

namespace fettle::api {

constexpr std::size_t kBatchItemsMax = 1'000;
constexpr std::size_t kBatchBytesMax = 8ULL * 1024 * 1024;
constexpr std::size_t kOneBytesMax = 1024ULL * 1024;

// Outlives the routes.
struct Work {
  const WorkRooms rooms;
  Clock& clock;
  metrics::Registry& metrics;
  const redact::Redactor& redactor;
  ledger::IdempotencyCounters replays{metrics};
  Polls polls{};
};

// Whether an Idempotency-Key is obeyed. Not where the call is fenced and its answer is large or short-lived.
enum class Keyed : std::uint8_t { kYes, kNo };

// A transaction that answers; with an Idempotency-Key the effect happens once (keyed.h).
void change(Work& work, Exchange exchange, std::move_only_function<Result<Answer>(runs::Unit&)> body,
            Keyed keyed = Keyed::kYes);
// A snapshot that answers 200.
void look(Work& work, Exchange exchange, std::move_only_function<Result<std::string>(runs::View&)> body);
// False, and answered, when there is no ledger.
bool is_open(const Work& work, Exchange& exchange);

// Who asks, for audits.
runs::Actor actor_of(const Exchange& exchange);

// Whether the caller may see payloads and results, which redaction does not touch.
bool reveals_payloads(const Exchange& exchange);

// {"ok":false,"error":{"type","title","status","detail","code"}}: one item of a batch that was refused.
void append_refusal(std::string& out, const Error& error);

// Whether the caller may do it to `count` things of one client, or of the whole workspace when `client` is empty.
Result<void> check_reach(const access::Grant& caller, access::Action action, std::string_view client,
                         std::size_t count = 1);

// Adds a route whose body is JSON, or one without a body.
void add_post(Router& router, std::string_view path, access::Action right, std::size_t body_bytes_max,
              std::function<void(Exchange)> handle);
void add_put(Router& router, std::string_view path, access::Action right, std::size_t body_bytes_max,
             std::function<void(Exchange)> handle);
void add_get(Router& router, std::string_view path, access::Action right, std::function<void(Exchange)> handle);
void add_delete(Router& router, std::string_view path, access::Action right, std::function<void(Exchange)> handle);

// Each file's routes.
void add_run_routes(Router& router, Work& work);         // runs.cc: enqueue
void add_run_view_routes(Router& router, Work& work);    // run_views.cc: what became of runs
void add_run_action_routes(Router& router, Work& work);  // run_actions.cc: retry, discard, cancel, …
void add_lease_routes(Router& router, Work& work);       // leases.cc
void add_report_routes(Router& router, Work& work);      // reports.cc
void add_worker_routes(Router& router, Work& work);
void add_observed_routes(Router& router, Work& work);  // observed_runs.cc: start, steps, end
void add_record_routes(Router& router, Work& work);    // records.cc: agent_runs and its kin, audits
void add_switch_routes(Router& router, Work& work);    // switches.cc: switches, may-I
void add_side_effect_routes(Router& router, Work& work);
void add_policy_routes(Router& router, Work& work);
void add_schedule_routes(Router& router, Work& work);
void add_retry_policy_routes(Router& router, Work& work);
void add_limit_routes(Router& router, Work& work);                     // limits.cc: fairness
void add_action_class_routes(Router& router, Work& work);              // action_classes.cc: how may-I is answered
void add_personal_data_routes(Router& router, Work& work);             // personal_data.cc: erasing a client's
void add_approval_routes(Router& router, Work& work);                  // approvals.cc: approvals, escalations
void add_bulk_routes(Router& router, Work& work);                      // bulk_jobs.cc: many runs by filter
void add_audit_routes(Router& router, Work& work, ReadPool& exports);  // audit.cc: the audit trail and its proofs
void add_attachment_routes(Router& router, Work& work);                // attachments.cc: proof as bytes
void add_webhook_routes(Router& router, Work& work);  // webhooks.cc: subscriptions and their deliveries

// audit.cc; also under the records' name for it, with the members by which agents know them beside the entry.
enum class AuditForm : std::uint8_t { kEntry, kLog };
void list_audits(Work& work, Exchange exchange, AuditForm form);

}  // namespace fettle::api
