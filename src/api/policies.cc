// Policy snapshots by content, and what policies blocked.
#include "runs/policies.h"
#include "api/filters.h"
#include "api/json_object.h"
#include "api/json_reader.h"
#include "api/pages.h"
#include "api/work.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::size_t kContentBytesMax = 256 * 1024;

void store(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  std::string content;
  const JsonPlace top;
  auto read = read_members(document->root(), top,
                           [&](Member& member) { return member.json("content", content, kContentBytesMax); });
  if (!read) return exchange.problem(read.error());
  if (content.empty()) return exchange.problem(missing_member(top, "content", "the policy as JSON").error());
  change(work, std::move(exchange), [content](runs::Unit& unit) -> Result<Answer> {
    auto id = runs::store_policy_snapshot(unit, content);
    if (!id) return std::unexpected(std::move(id).error());
    Answer answer{.status = 201, .body = {}};
    ObjectText(answer.body).text("policy_snapshot_id", *id).end();
    return answer;
  });
}

void show(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const std::string id = exchange.parameter("policy_snapshot_id");
  look(work, std::move(exchange), [id](runs::View& view) -> Result<std::string> {
    const auto content = runs::get_policy_snapshot(view, id);
    if (!content) return fail(ErrorCode::kNotFound, "there is no such policy snapshot");
    std::string out;
    ObjectText(out).text("policy_snapshot_id", id).json("content", *content).end();
    return out;
  });
}

void record_block(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  runs::PolicyBlockRequest request;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("policy", request.policy) || member.text("reason", request.reason) ||
           member.text("content_ref", request.content_ref) ||
           member.text("policy_snapshot_id", request.policy_snapshot_id) || member.text("client_id", request.client) ||
           member.text("platform", request.platform) || member.text("lane", request.lane) ||
           member.text("agent", request.agent) || member.text("run_id", request.run.value);
  });
  if (!read) return exchange.problem(read.error());
  change(work, std::move(exchange), [request](runs::Unit& unit) -> Result<Answer> {
    auto id = runs::record_policy_block(unit, request);
    if (!id) return std::unexpected(std::move(id).error());
    Answer answer{.status = 201, .body = {}};
    ObjectText(answer.body).text("id", *id).end();
    return answer;
  });
}

void judge(Work& work, Exchange exchange) {
  auto document = JsonDocument::parse(exchange.body());
  if (!document) return exchange.problem(document.error());
  std::string verdict, note;
  const JsonPlace top;
  auto read = read_members(document->root(), top, [&](Member& member) {
    return member.text("verdict", verdict, 32) || member.text("note", note);
  });
  if (!read) return exchange.problem(read.error());
  if (verdict != "kept" && verdict != "false_positive") {
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "verdict: expected 'kept' or 'false_positive'"));
  }
  const auto decided = verdict == "kept" ? runs::Verdict::kKept : runs::Verdict::kFalsePositive;
  const std::string id = exchange.parameter("block_id");
  change(work, std::move(exchange), [id, decided, note, verdict](runs::Unit& unit) -> Result<Answer> {
    if (auto done = runs::decide_policy_block(unit, id, decided, note); !done) {
      return std::unexpected(std::move(done).error());
    }
    Answer answer;
    ObjectText(answer.body).text("id", id).text("verdict", verdict).end();
    return answer;
  });
}

void append_block(std::string& out, const runs::PolicyBlock& block) {
  ObjectText object(out);
  object.text("id", block.id).text("policy", block.policy).text("reason", block.reason);
  object.text_or_null("content_ref", block.content_ref).text_or_null("policy_snapshot_id", block.policy_snapshot_id);
  object.text_or_null("client_id", block.client).text_or_null("platform", block.platform);
  object.text_or_null("lane", block.lane).text_or_null("agent", block.agent);
  object.text_or_null("run_id", block.run_number ? runs::format_run_number(*block.run_number) : std::string());
  object.time("blocked_at", block.blocked_at).text_or_null("verdict", block.verdict);
  object.text_or_null("decided_by", block.decided_by).time("decided_at", block.decided_at);
  object.text_or_null("note", block.note).end();
}

void list_blocks(Work& work, Exchange exchange) {
  static constexpr std::string_view kOwn[] = {"all", "limit", "cursor"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  auto page = page_of_list(query);
  if (!page) return exchange.problem(page.error());
  const bool open = query.get("all") != "true";
  look(work, std::move(exchange), [open, page = std::move(*page)](runs::View& view) -> Result<std::string> {
    auto found = runs::list_policy_blocks(view, open, page);
    if (!found) return std::unexpected(std::move(found).error());
    return list_text(*found, append_block);
  });
}

}  // namespace

void add_policy_routes(Router& router, Work& work) {
  const auto post = [&](std::string_view path, Action right, void (*handle)(Work&, Exchange)) {
    add_post(router, path, right, kOneBytesMax,
             [&work, handle](Exchange exchange) { handle(work, std::move(exchange)); });
  };
  post("/api/v1/policies", Action::kWork, store);
  post("/api/v1/policies/blocks", Action::kWork, record_block);
  add_get(router, "/api/v1/policies/blocks", Action::kSee,
          [&work](Exchange exchange) { list_blocks(work, std::move(exchange)); });
  post("/api/v1/policies/blocks/{block_id}/judge", Action::kApprove, judge);
  add_get(router, "/api/v1/policies/{policy_snapshot_id}", Action::kSee,
          [&work](Exchange exchange) { show(work, std::move(exchange)); });
}

}  // namespace fettle::api
