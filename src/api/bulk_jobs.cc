// POST /api/v1/runs/retry and /runs/discard: many runs by filter, as a durable job.
#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/pages.h"
#include "api/work.h"
#include "runs/bulk.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::size_t kReasonBytesMax = runs::SizeLimits{}.message_bytes_max;

Result<void> read_filter(simdjson::dom::element element, const JsonPlace& place, runs::BulkFilter& filter) {
  return read_members(element, place, [&](Member& member) {
    return member.text("client_id", filter.client) || member.text("platform", filter.platform) ||
           member.text("lane", filter.lane) || member.text("workflow", filter.workflow) ||
           member.text("agent", filter.agent) || member.text("failure_reason", filter.failure_reason) ||
           member.time("finished_from", filter.finished_from) || member.time("finished_until", filter.finished_until);
  });
}

void append_job(std::string& out, const runs::BulkJob& job) {
  ObjectText object(out);
  object.text("job_id", job.id).text("action", to_string(job.action)).text("state", to_string(job.state));
  object.number("total", job.total).number("done", job.done).number("skipped", job.skipped);
  object.text("reason", job.reason).text("actor", job.actor);
  object.time("created_at", job.created_at).time("finished_at", job.finished_at).end();
}

void begin(Work& work, Exchange exchange, runs::BulkAction action) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::BulkRequest request;
  request.action = action;
  std::string from = "failed_step";
  bool has_filter = false;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    if (member.name() == "filter") has_filter = true;
    return member.object("filter", [&](simdjson::dom::element value,
                                       const JsonPlace& place) { return read_filter(value, place, request.filter); }) ||
           member.text("reason", request.reason, kReasonBytesMax) ||
           (action == runs::BulkAction::kRetry && member.text("from", from, 32));
  });
  if (!read) return exchange.problem(read.error());
  // Everything is meant only by who says so: {} is a filter, its absence a slip.
  if (!has_filter) return exchange.problem(missing_member(top, "filter", "an object; {} means all").error());
  if (from != "failed_step" && from != "start") {
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "from: expected 'failed_step' or 'start'"));
  }
  request.from = from == "start" ? runs::RetryFrom::kScratch : runs::RetryFrom::kFailedStep;
  const access::Grant caller = exchange.caller().grant;
  change(work, std::move(exchange), [request, caller](runs::Unit& unit) -> Result<Answer> {
    auto job = runs::start_bulk(unit, request);
    if (!job) return std::unexpected(std::move(job).error());
    // How many they are is known only now; refused, the job is undone with the transaction.
    const Action right = request.action == runs::BulkAction::kRetry ? Action::kRetry : Action::kDiscard;
    const auto count = static_cast<std::size_t>(job->total);
    if (auto allowed = check_reach(caller, right, request.filter.client, count); !allowed) {
      return std::unexpected(std::move(allowed).error());
    }
    Answer answer{.status = 202, .body = {}};
    append_job(answer.body, *job);
    return answer;
  });
}

void abort(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  std::string reason;
  const JsonPlace top;
  auto read = read_members(document->root(), top,
                           [&](Member& member) { return member.text("reason", reason, kReasonBytesMax); });
  if (!read) return exchange.problem(read.error());
  const std::string id = exchange.parameter("job_id");
  change(work, std::move(exchange), [id, reason](runs::Unit& unit) -> Result<Answer> {
    auto job = runs::abort_bulk(unit, id, reason);
    if (!job) return std::unexpected(std::move(job).error());
    Answer answer;
    append_job(answer.body, *job);
    return answer;
  });
}

void show(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const std::string id = exchange.parameter("job_id");
  look(work, std::move(exchange), [id](runs::View& view) -> Result<std::string> {
    const auto job = runs::get_bulk(view, id);
    if (!job) return fail(ErrorCode::kNotFound, "there is no such job");
    std::string out;
    append_job(out, *job);
    out.pop_back();
    out += R"(,"runs":)";
    append_array(out, runs::list_bulk_runs(view, id), [](std::string& text, const runs::BulkRun& run) {
      ObjectText(text)
          .text("run_id", run.run.value)
          .text("state", to_string(run.state))
          .text_or_null("failure_reason", run.failure_reason)
          .end();
    });
    out += '}';
    return out;
  });
}

void list(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"limit", "cursor"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  auto page = page_of_list(query, 100);
  if (!page) return exchange.problem(page.error());
  look(work, std::move(exchange), [page = std::move(*page)](runs::View& view) -> Result<std::string> {
    auto found = runs::list_bulk(view, page);
    if (!found) return std::unexpected(std::move(found).error());
    return list_text(*found, append_job);
  });
}

}  // namespace

void add_bulk_routes(Router& router, Work& work) {
  add_post(router, "/api/v1/runs/retry", Action::kRetry, kOneBytesMax,
           [&work](Exchange exchange) { begin(work, std::move(exchange), runs::BulkAction::kRetry); });
  add_post(router, "/api/v1/runs/discard", Action::kDiscard, kOneBytesMax,
           [&work](Exchange exchange) { begin(work, std::move(exchange), runs::BulkAction::kDiscard); });
  add_get(router, "/api/v1/bulk-jobs", Action::kSee, [&work](Exchange exchange) { list(work, std::move(exchange)); });
  add_get(router, "/api/v1/bulk-jobs/{job_id}", Action::kSee,
          [&work](Exchange exchange) { show(work, std::move(exchange)); });
  add_post(router, "/api/v1/bulk-jobs/{job_id}/abort", Action::kRetry, kOneBytesMax,
           [&work](Exchange exchange) { abort(work, std::move(exchange)); });
}

}  // namespace fettle::api
