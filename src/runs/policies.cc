#include "runs/policies.h"

#include <fmt/format.h>
#include <openssl/evp.h>

#include <array>

#include "runs/json.h"
#include "runs/listing.h"
#include "runs/run.h"

namespace fettle::runs {
namespace {

constexpr std::string_view kPrefix = "block_";
constexpr std::size_t kContentBytesMax = 256 * 1024;

std::string sha256_id(std::string_view content) {
  std::array<unsigned char, 32> digest{};
  unsigned size = 0;
  EVP_Digest(content.data(), content.size(), digest.data(), &size, EVP_sha256(), nullptr);
  return "sha256:" + to_hex(std::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

}  // namespace

Result<std::string> store_policy_snapshot(Unit& unit, std::string_view content) {
  if (content.empty()) return fail(ErrorCode::kInvalidArgument, "the policy is empty");
  // Once there is one, every side effect of the workspace has to name one.
  if (!unit.scope().clients.empty()) {
    return fail(ErrorCode::kPermissionDenied,
                "a policy holds for the whole workspace, and you may act for some clients");
  }
  if (auto good = check_size("policy", content, kContentBytesMax); !good) return std::unexpected(good.error());
  std::string id = sha256_id(content);
  const std::int64_t stored = unit.execute(
      "INSERT INTO policy_snapshots (workspace, id, content, created_at) VALUES ($1, $2, $3, $4)"
      " ON CONFLICT DO NOTHING",
      {unit.workspace(), id, content, unit.now()});
  if (stored > 0) {
    Audit audit;
    audit.action = "policy.snapshot";
    audit.target_type = "policy_snapshot";
    audit.target_id = id;
    audit.policy_snapshot_id = id;
    unit.audit(std::move(audit));
  }
  return id;
}

std::optional<std::string> get_policy_snapshot(View& view, std::string_view id) {
  std::string content;
  if (!view.first("SELECT content FROM policy_snapshots WHERE workspace = $1 AND id = $2", {view.workspace(), id},
                  content)) {
    return std::nullopt;
  }
  return content;
}

Result<void> check_policy_snapshot(Unit& unit, std::string_view id) {
  std::int64_t there = 0;
  if (id.empty()) {
    if (!unit.first("SELECT 1 FROM policy_snapshots WHERE workspace = $1 LIMIT 1", {unit.workspace()}, there))
      return {};
    return fail(ErrorCode::kInvalidArgument, "policy_snapshot_id is missing: this workspace has policies");
  }
  if (unit.first("SELECT 1 FROM policy_snapshots WHERE workspace = $1 AND id = $2", {unit.workspace(), id}, there)) {
    return {};
  }
  return fail(ErrorCode::kInvalidArgument, fmt::format("there is no policy snapshot {}", id));
}

Result<std::string> record_policy_block(Unit& unit, const PolicyBlockRequest& request) {
  if (auto good = check_name("policy", request.policy, unit.limits()); !good) return std::unexpected(good.error());
  if (request.reason.empty()) return fail(ErrorCode::kInvalidArgument, "reason is missing");
  for (const auto& [field, value] : {std::pair{"reason", &request.reason}, {"content_ref", &request.content_ref}}) {
    if (auto good = check_size(field, *value, unit.limits().message_bytes_max); !good) {
      return std::unexpected(good.error());
    }
  }
  for (const std::string* part : {&request.client, &request.platform, &request.lane, &request.agent}) {
    if (part->empty()) continue;
    if (auto good = check_name("identifier", *part, unit.limits()); !good) return std::unexpected(good.error());
  }
  if (!request.policy_snapshot_id.empty()) {
    if (auto good = check_policy_snapshot(unit, request.policy_snapshot_id); !good)
      return std::unexpected(good.error());
  }
  if (!unit.scope().clients.empty() && !unit.allows(request.client)) {
    return fail(ErrorCode::kPermissionDenied, "this client is outside of what you may see");
  }
  std::optional<std::int64_t> run;
  if (!request.run.value.empty()) {
    run = find_run_number(unit, request.run);
    if (!run) return no_such_run(request.run);
  }
  const std::int64_t number = unit.next_number();
  unit.execute(
      "INSERT INTO policy_blocks (workspace, id, policy, reason, content_ref, policy_snapshot_id, client, platform, "
      "lane,"
      " agent, run, blocked_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
      {unit.workspace(), number, request.policy, request.reason, request.content_ref, request.policy_snapshot_id,
       request.client, request.platform, request.lane, request.agent, run, unit.now()});
  std::string id = format_number(kPrefix, number);
  Identifiers identifiers = {{"client_id", request.client},
                             {"platform", request.platform},
                             {"lane", request.lane},
                             {"agent", request.agent},
                             {"run_id", request.run.value}};
  JsonObject body;
  body.add("block_id", id).add("policy", request.policy).add("reason", request.reason);
  unit.event("policy.blocked", identifiers, std::move(body).text());
  Audit audit;
  audit.action = "policy.block";
  audit.target_type = "policy_block";
  audit.target_id = id;
  audit.result = "blocked";
  audit.reason = request.policy;
  audit.identifiers = std::move(identifiers);
  audit.summary = request.reason;
  audit.policy_snapshot_id = request.policy_snapshot_id;
  unit.audit(std::move(audit));
  return id;
}

Result<void> decide_policy_block(Unit& unit, std::string_view id, Verdict verdict, std::string_view note) {
  if (auto good = check_size("note", note, unit.limits().message_bytes_max); !good) return good;
  const auto number = parse_number(kPrefix, id);
  std::string client;
  std::optional<std::string> before;
  if (!number ||
      !unit.first("SELECT client, verdict FROM policy_blocks WHERE workspace = $1 AND id = $2",
                  {unit.workspace(), *number}, client, before) ||
      !unit.allows(client)) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no policy block {}", id));
  }
  const std::string_view word = verdict == Verdict::kKept ? "kept" : "false_positive";
  unit.execute(
      "UPDATE policy_blocks SET verdict = $3, decided_by = $4, decided_at = $5, note = $6"
      " WHERE workspace = $1 AND id = $2",
      {unit.workspace(), *number, word, unit.actor().id, unit.now(), note});
  JsonObject was, is;
  was.add_text("verdict", before.value_or(""));
  is.add("verdict", word);
  Audit audit;
  audit.action = "policy.decide";
  audit.target_type = "policy_block";
  audit.target_id = id;
  audit.identifiers = {{"client_id", client}};
  audit.summary = note;
  audit.before = std::move(was).text();
  audit.after = std::move(is).text();
  unit.audit(std::move(audit));
  return {};
}

#define FETTLE_BLOCK_COLUMNS                                                                              \
  "id, policy, reason, content_ref, policy_snapshot_id, client, platform, lane, agent, run, blocked_at, " \
  "verdict, decided_by, decided_at, note"

namespace {

PolicyBlock block_from(View& view, const db::Row& row) {
  PolicyBlock one;
  std::int64_t number = 0;
  std::optional<std::string> by, note;
  view.read(row, number, one.policy, one.reason, one.content_ref, one.policy_snapshot_id, one.client, one.platform,
            one.lane, one.agent, one.run_number, one.blocked_at, one.verdict, by, one.decided_at, note);
  one.id = format_number(kPrefix, number);
  one.decided_by = by.value_or("");
  one.note = note.value_or("");
  return one;
}

}  // namespace

Result<PageOf<PolicyBlock>> list_policy_blocks(View& view, bool only_open, const PageRequest& page) {
  Where where(view);
  where.add_scope(view);
  if (only_open) where.add_literal("verdict IS NULL");
  return page_of<PolicyBlock>(view, FETTLE_BLOCK_COLUMNS, "policy_blocks", where, {.unique = "id"}, page, block_from);
}

}  // namespace fettle::runs
