// The audit trail: search, one record with its proof, checkpoints, consistency, and the whole of it as a bundle.
//
// What tells of the log as a whole (checkpoints, consistency, inclusion, bundles) counts the records of every client at
// any time, so a caller who may see only some of them is refused, and gets records without their proof. A record's own
// position is theirs: it is part of what is hashed, and tells how many records of whomever came before that one.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <optional>

#include "api/filters.h"
#include "api/json_object.h"
#include "api/times.h"
#include "api/work.h"
#include "db/database.h"
#include "ledger/audit_log.h"
#include "ledger/bundle.h"
#include "ledger/checkpoint_store.h"
#include "ledger/entry.h"
#include "ledger/proofs.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::uint32_t kCheckpointsMax = 1'000;
constexpr std::uint64_t kSizeMax = std::numeric_limits<std::int64_t>::max();
constexpr std::size_t kPositionDigitsMax = 18;

// What records carry as identifiers beside the fields of their own.
constexpr std::string_view kIndexed[] = {
    "action",   "actor_id",  "target_id",      "client_id",   "audit_id",          "request_id",
    "trace_id", "span_id",   "correlation_id", "run_id",      "step_id",           "job_id",
    "agent_id", "ticket_id", "tool_name",      "reported_by", "policy_snapshot_id"};
constexpr std::string_view kScanned[] = {"actor_type", "role", "target_type", "platform",
                                         "surface",    "lane", "result",      "reason"};

void append_audit(ObjectText& one, const ledger::FoundAudit& audit) {
  one.number("position", audit.position).time("at", audit.at).json("entry", audit.entry);
  one.text("hash", ledger::to_hex(audit.hash));
  one.json("details", audit.details.empty() ? std::string_view("null") : audit.details);
}

std::string& append_path(std::string& out, const std::vector<ledger::Digest>& path) {
  append_array(out, path, [](std::string& text, const ledger::Digest& digest) {
    text += fmt::format("\"{}\"", ledger::to_hex(digest));
  });
  return out;
}

// Whether all of `text` is a count of records; 0 when it is not.
std::uint64_t position_in(std::string_view text) {
  std::uint64_t position = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), position);
  const bool is_number = error == std::errc() && end == text.data() + text.size();
  return is_number && text.size() <= kPositionDigitsMax ? position : 0;
}

// A count of records as a parameter.
Result<std::uint64_t> size_parameter(const http::Query& query, std::string_view name, std::uint64_t otherwise) {
  const std::string* text = query.find(name);
  if (text == nullptr) return otherwise;
  if (const std::uint64_t size = position_in(*text); size != 0) return size;
  return fail(ErrorCode::kInvalidArgument, fmt::format("parameter '{}' must be a whole number above 0", name));
}

// True, and answered, for a caller who may not know how many records there are of others.
bool is_refused_whole(Exchange& exchange) {
  if (exchange.scope().clients.empty()) return false;
  exchange.problem(Error(ErrorCode::kPermissionDenied, "this tells of all clients: it needs a caller who may see all"));
  return true;
}

// The position of a record by the name that its sender gave it.
Result<std::uint64_t> position_of(runs::View& view, const std::string& audit_id) {
  auto page = ledger::find_audits(
      view.reader(), view.scope(),
      {.match = {{"audit_id", audit_id}}, .where = {}, .from = {}, .to = {}, .cursor = {}, .rows_max = 1});
  if (!page) return std::unexpected(std::move(page).error());
  return page->audits.empty() ? 0 : page->audits.front().position;
}

// By its position, or else by the name that its sender gave it: no sender can name a record so that it hides another's.
Result<std::optional<ledger::FoundAudit>> find(runs::View& view, const std::string& named, bool with_details) {
  if (const std::uint64_t position = position_in(named); position != 0) {
    auto found = ledger::find_audit(view.reader(), view.scope(), position, with_details);
    if (!found || *found) return found;
  }
  auto position = position_of(view, named);
  if (!position) return std::unexpected(std::move(position).error());
  return ledger::find_audit(view.reader(), view.scope(), *position, with_details);
}

Result<std::string> show_audit(runs::View& view, const std::string& named, bool with_details) {
  auto found = find(view, named, with_details);
  if (!found) return std::unexpected(std::move(found).error());
  const std::optional<ledger::FoundAudit>& audit = *found;
  if (!audit) return fail(ErrorCode::kNotFound, fmt::format("there is no audit record '{}'", named));
  Result<ledger::InclusionProof> proof = fail(ErrorCode::kNotFound, "");
  if (view.scope().clients.empty()) proof = ledger::prove_inclusion(view.reader(), view.scope(), audit->position);
  if (!proof && proof.error().code() != ErrorCode::kNotFound) return std::unexpected(std::move(proof).error());
  std::string out;
  ObjectText object(out);
  append_audit(object, *audit);
  std::string& text = object.key("proof");
  if (proof) {
    ObjectText proven(text);
    proven.text("leaf_hash", ledger::to_hex(ledger::leaf_hash(proof->entry)));
    proven.number("leaf_index", audit->position - 1);
    append_path(proven.key("path"), proof->path);
    proven.json("checkpoint", ledger::to_json(proof->checkpoint)).end();
  } else {
    text += "null";
  }
  object.end();
  return out;
}

void get_audit(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const std::string named = exchange.parameter("audit_id");
  const bool with_details = reveals_payloads(exchange);
  look(work, std::move(exchange),
       [named, with_details](runs::View& view) { return show_audit(view, named, with_details); });
}

void list_checkpoints(Work& work, Exchange exchange) {
  if (is_refused_whole(exchange)) return;
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kPageParameters); !known) return exchange.problem(known.error());
  auto limit = number_parameter(query, "limit", 1, kCheckpointsMax, 100);
  if (!limit) return exchange.problem(limit.error());
  auto below = size_parameter(query, "cursor", kSizeMax);
  if (!below) return exchange.problem(below.error());
  look(work, std::move(exchange), [limit = *limit, below = *below](runs::View& view) -> Result<std::string> {
    auto found = ledger::list_checkpoints(view.reader(), view.workspace(), below - 1, static_cast<std::int32_t>(limit));
    if (!found) return std::unexpected(std::move(found).error());
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), *found,
                 [](std::string& text, const ledger::Checkpoint& one) { text += ledger::to_json(one); });
    const bool is_full = found->size() == limit;
    object.text_or_null("next_cursor", is_full ? std::to_string(found->back().size) : std::string()).end();
    return out;
  });
}

void get_consistency(Work& work, Exchange exchange) {
  if (is_refused_whole(exchange)) return;
  static constexpr std::string_view kOwn[] = {"from", "to"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  if (query.find("from") == nullptr) {
    return exchange.problem(
        Error(ErrorCode::kInvalidArgument, "parameter 'from' is needed: how many records there were"));
  }
  auto from = size_parameter(query, "from", 0);
  if (!from) return exchange.problem(from.error());
  auto to = size_parameter(query, "to", 0);
  if (!to) return exchange.problem(to.error());
  look(work, std::move(exchange), [from = *from, to = *to](runs::View& view) -> Result<std::string> {
    auto newest = ledger::newest_checkpoint(view.reader(), view.workspace(), to == 0 ? kSizeMax : to);
    if (!newest) return std::unexpected(std::move(newest).error());
    if (!*newest || (to != 0 && (*newest)->size != to)) {
      return fail(ErrorCode::kNotFound, "there is no checkpoint at this many records");
    }
    auto path = ledger::prove_consistency(view.reader(), view.workspace(), from, (*newest)->size);
    if (!path) return std::unexpected(std::move(path).error());
    std::string out;
    ObjectText object(out);
    object.number("from", from).number("to", (*newest)->size);
    append_path(object.key("path"), *path);
    object.json("checkpoint", ledger::to_json(**newest)).end();
    return out;
  });
}

// ---- the whole log

http::Response bundle_head(const WorkspaceId& workspace, const ledger::BundleExport& bundle) {
  http::Response head;
  head.headers.set("Content-Type", "application/x-ndjson");
  head.headers.set("Content-Disposition", fmt::format("attachment; filename=\"audit-{}-{}-{}.jsonl\"", workspace.value,
                                                      bundle.from(), bundle.to()));
  return head;
}

// On a thread that may wait. Each piece is a transaction of its own, so that a slow reader holds up no store.
void send_bundle(Work& work, Exchange& held, const ledger::ExportOptions& options, const std::stop_token& stop) {
  db::Database& store = *work.rooms.ledger;
  std::string piece;
  auto begun = store.read_and_wait([&, now = work.clock.now()](db::Reader& reader) {
    piece.clear();
    return ledger::BundleExport::begin(reader, held.scope(), options, now, piece);
  });
  if (!begun) return held.problem(begun.error());
  auto stream = held.stream(bundle_head(held.scope().workspace, *begun));
  stream->stop_waiting_on(stop);
  for (bool more = true; more;) {
    // A repeated body begins again where the piece before ended.
    const std::string before = std::move(piece);
    struct Step {
      ledger::BundleExport bundle;
      std::string text;
      bool more = false;
    };
    auto next = store.read_and_wait([&](db::Reader& reader) -> Result<Step> {
      Step step{.bundle = *begun, .text = before};
      auto added = step.bundle.next(reader, step.text);
      if (!added) return std::unexpected(std::move(added).error());
      step.more = *added;
      return step;
    });
    // Half a bundle must not look whole.
    if (!next || stop.stop_requested()) return stream->abort();
    begun = std::move(next->bundle);
    more = next->more;
    piece.clear();
    if (!stream->write(next->text)) return;
  }
  stream->finish();
}

void export_audits(Work& work, ReadPool& exports, Exchange exchange) {
  if (is_refused_whole(exchange) || !is_open(work, exchange)) return;
  static constexpr std::string_view kOwn[] = {"from", "to", "details"};
  const http::Query& query = exchange.request().query;
  if (auto known = only_parameters(query, kOwn); !known) return exchange.problem(known.error());
  auto from = size_parameter(query, "from", 1);
  if (!from) return exchange.problem(from.error());
  auto to = size_parameter(query, "to", 0);
  if (!to) return exchange.problem(to.error());
  const std::string details(query.get("details"));
  if (!details.empty() && details != "true" && details != "false") {
    return exchange.problem(Error(ErrorCode::kInvalidArgument, "parameter 'details' must be true or false"));
  }
  if (details == "true" && !reveals_payloads(exchange)) {
    return exchange.problem(Error(ErrorCode::kPermissionDenied, "details are for those who may see payloads"));
  }
  const ledger::ExportOptions options{
      .from = *from, .to = *to, .with_details = details != "false" && reveals_payloads(exchange)};
  exports.run(std::move(exchange), [&work, options](Exchange& held, const std::stop_token& stop) {
    send_bundle(work, held, options, stop);
  });
}

}  // namespace

namespace {

// A record under the names that agents write it with.
void append_as_log(ObjectText& one, const ledger::FoundAudit& audit) {
  const auto read = ledger::read_entry(audit.entry);
  if (!read) return;
  const ledger::AuditRecord& record = read->record;
  one.text_or_null("audit_id", record.audit_id).text("action_type", record.action);
  one.text("result", to_string(record.result)).time("created_at", record.at);
  for (const auto& [name, value] : {std::pair{"actor_type", &record.actor_type},
                                    {"actor_id", &record.actor_id},
                                    {"role", &record.role},
                                    {"client_id", &record.client_id},
                                    {"platform", &record.platform},
                                    {"surface", &record.surface},
                                    {"lane", &record.lane},
                                    {"payload_hash", &record.payload_hash},
                                    {"policy_snapshot_id", &record.policy_snapshot_id},
                                    {"request_id", &record.request_id},
                                    {"correlation_id", &record.correlation_id},
                                    {"trace_id", &record.trace_id},
                                    {"span_id", &record.span_id}}) {
    one.text_or_null(name, *value);
  }
  for (const std::string_view name :
       {"job_id", "ticket_id", "agent_id", "tool_name", "run_id", "step_id", "reported_by"}) {
    const auto found = std::ranges::find(record.identifiers, name, &ledger::Identifier::name);
    one.text_or_null(name, found == record.identifiers.end() ? std::string_view() : std::string_view(found->value));
  }
  append_array(one.key("proof"), record.proof,
               [](std::string& text, const std::string& reference) { append_json_string(text, reference); });
}

}  // namespace

void list_audits(Work& work, Exchange exchange, AuditForm form) {
  const http::Query& query = exchange.request().query;
  auto limit = number_parameter(query, "limit", 1, kPageRowsMax, 100);
  if (!limit) return exchange.problem(limit.error());
  ledger::AuditQuery asked;
  asked.rows_max = static_cast<std::int32_t>(*limit);
  asked.with_details = reveals_payloads(exchange);
  asked.cursor = query.get("cursor");
  for (const auto& [name, value] : query) {
    if (name == "limit" || name == "cursor" || name == "workspace") continue;
    if (form == AuditForm::kLog && name == "action_type") {
      asked.match.push_back({"action", value});
      continue;
    }
    if (name == "from" || name == "to") {
      auto time = parse_time(value, work.clock.now());
      if (!time) return exchange.problem(time.error());
      (name == "from" ? asked.from : asked.to) = *time;
    } else if (std::ranges::find(kIndexed, name) != std::end(kIndexed)) {
      asked.match.push_back({name, value});
    } else if (std::ranges::find(kScanned, name) != std::end(kScanned)) {
      asked.where.push_back({name, value});
    } else {
      return exchange.problem(Error(ErrorCode::kInvalidArgument, fmt::format("unknown parameter '{}'", name)));
    }
  }
  look(work, std::move(exchange), [asked, form](runs::View& view) -> Result<std::string> {
    auto page = ledger::find_audits(view.reader(), view.scope(), asked);
    if (!page) return std::unexpected(std::move(page).error());
    std::string out;
    ObjectText object(out);
    append_array(object.key("items"), page->audits, [form](std::string& text, const ledger::FoundAudit& audit) {
      ObjectText one(text);
      append_audit(one, audit);
      if (form == AuditForm::kLog) append_as_log(one, audit);
      one.end();
    });
    object.text_or_null("next_cursor", page->next).end();
    return out;
  });
}

void add_audit_routes(Router& router, Work& work, ReadPool& exports) {
  add_get(router, "/api/v1/audit", Action::kSee,
          [&work](Exchange exchange) { list_audits(work, std::move(exchange), AuditForm::kEntry); });
  add_get(router, "/api/v1/audit/checkpoints", Action::kSee,
          [&work](Exchange exchange) { list_checkpoints(work, std::move(exchange)); });
  add_get(router, "/api/v1/audit/consistency", Action::kSee,
          [&work](Exchange exchange) { get_consistency(work, std::move(exchange)); });
  add_get(router, "/api/v1/audit/export", Action::kSee,
          [&work, &exports](Exchange exchange) { export_audits(work, exports, std::move(exchange)); });
  // Behind those that stand where its parameter does.
  add_get(router, "/api/v1/audit/{audit_id}", Action::kSee,
          [&work](Exchange exchange) { get_audit(work, std::move(exchange)); });
}

}  // namespace fettle::api
