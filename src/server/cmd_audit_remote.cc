// fettle audit search, show, checkpoints and export, over the API.
#include <fmt/format.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>
#include <cstdio>
#include <string>

#include "ledger/bundle.h"
#include "ledger/bundle_file.h"
#include "server/operator_commands.h"
#include "server/print_answer.h"
#include "server/show.h"

namespace fettle::server {
namespace {

namespace json = boost::json;

// "post p-17"
std::string target_of(const json::object& entry) {
  const std::string type = text_of(entry, "target_type");
  const std::string id = text_of(entry, "target_id");
  return type.empty() || id.empty() ? type + id : type + ' ' + id;
}

std::string joined(const json::object& object, std::string_view name) {
  const auto* list = object.if_contains(json::string_view(name.data(), name.size()));
  if (list == nullptr || !list->is_array()) return "";
  std::string text;
  for (const json::value& one : list->get_array()) {
    text += (text.empty() ? "" : "  ") + (one.is_string() ? std::string(one.get_string()) : "");
  }
  return printable(text);
}

}  // namespace

int search_audits(const RemoteCommand& how, const AuditSearch& search) {
  std::string target = "/api/v1/audit";
  for (const auto& [name, value] : search.filters) add_parameter(target, name, value);
  add_parameter(target, "from", search.from);
  add_parameter(target, "to", search.to);
  return print_list(
      how, target, search.limit,
      Table({"NUMBER", "AT", "ACTION", "RESULT", "BY", "TARGET", "CLIENT", "PLATFORM", "REASON"}),
      [](const json::object& audit) -> std::vector<Cell> {
        const json::object& entry = object_in(audit, "entry");
        return {number(audit, "position"),   time_cell(audit, "at"),  cell(entry, "action"),
                state_cell(entry, "result"), cell(entry, "actor_id"), {.text = target_of(entry)},
                cell(entry, "client_id"),    cell(entry, "platform"), cell(entry, "reason")};
      },
      "no audit records");
}

int show_audit(const RemoteCommand& how, const std::string& id) {
  Remote remote(how.remote);
  auto answer = remote.get("/api/v1/audit/" + http::percent_encode(id));
  if (!answer) return complain(answer.error());
  if (how.json) {
    fmt::print("{}\n", json::serialize(*answer));
    return 0;
  }
  const json::object& audit = answer->as_object();
  const json::object& entry = object_in(audit, "entry");
  const json::object& details = object_in(audit, "details");
  const json::object& checkpoint = object_in(object_in(audit, "proof"), "checkpoint");
  std::string proof = "no checkpoint covers it yet";
  if (!checkpoint.empty()) {
    proof = fmt::format("in the checkpoint of {} records at {}, signed by {}", text_of(checkpoint, "size"),
                        short_time(text_of(checkpoint, "at")), text_of(checkpoint, "key"));
  }
  print_pairs({{"number", text_of(audit, "position")},
               {"audit", text_of(entry, "audit_id")},
               {"at", short_time(text_of(audit, "at"))},
               {"action", text_of(entry, "action")},
               {"result", text_of(entry, "result")},
               {"reason", text_of(entry, "reason")},
               {"by", fmt::format("{} {}", text_of(entry, "actor_type"), text_of(entry, "actor_id"))},
               {"role", text_of(entry, "role")},
               {"target", target_of(entry)},
               {"client", text_of(entry, "client_id")},
               {"platform", text_of(entry, "platform")},
               {"surface", text_of(entry, "surface")},
               {"lane", text_of(entry, "lane")},
               {"policy", text_of(entry, "policy_snapshot_id")},
               {"request", text_of(entry, "request_id")},
               {"correlation", text_of(entry, "correlation_id")},
               {"trace", text_of(entry, "trace_id")},
               {"span", text_of(entry, "span_id")},
               {"identifiers", text_of(entry, "identifiers")},
               {"payload hash", text_of(entry, "payload_hash")},
               {"proof", joined(entry, "proof")},
               {"evidence", joined(entry, "evidence")},
               {"summary", text_of(details, "summary")},
               {"payload", text_of(details, "payload")},
               {"before", text_of(details, "before")},
               {"after", text_of(details, "after")},
               {"hash", text_of(audit, "hash")},
               {"proven", proof}});
  return 0;
}

int list_audit_checkpoints(const RemoteCommand& how, std::size_t limit) {
  return print_list(
      how, "/api/v1/audit/checkpoints", limit, Table({"RECORDS", "AT", "ROOT", "KEY"}),
      [](const json::object& one) -> std::vector<Cell> {
        return {number(one, "size"), time_cell(one, "at"), cell(one, "root"), cell(one, "key")};
      },
      "no checkpoints yet");
}

int export_audits(const RemoteCommand& how, const AuditExport& what) {
  std::string target = "/api/v1/audit/export";
  add_parameter(target, "from", what.from);
  add_parameter(target, "to", what.to);
  if (what.without_details) add_parameter(target, "details", "false");
  std::error_code ignored;
  if (std::filesystem::exists(what.output, ignored)) {
    return complain(Error(ErrorCode::kConflict, fmt::format("{} is there already", what.output.string())));
  }
  auto file = ledger::BundleFile::create(what.output);
  if (!file) return complain(file.error());
  // Verified on the way: what was cut off or bent never gets its name.
  ledger::BundleVerifier verifier(ledger::VerifyOptions{.public_keys = {}, .witnessed = {}, .is_whole = false});
  std::string rest;
  Result<void> written;
  Remote remote(how.remote);
  auto done = remote.stream(target, [&](std::string_view piece) {
    written = file->write(piece);
    rest += piece;
    std::size_t at = 0;
    for (std::size_t end = rest.find('\n'); end != std::string::npos; end = rest.find('\n', at)) {
      verifier.line(std::string_view(rest).substr(at, end - at));
      at = end + 1;
    }
    rest.erase(0, at);
    return written.has_value();
  });
  if (!written) return complain(written.error());
  if (!done) return complain(done.error());
  const ledger::VerifyReport report = verifier.finish();
  if (report.bad) {
    return complain(Error(ErrorCode::kDataLoss, fmt::format("what the server sent is not good from record {} on: {}",
                                                            report.bad->position, report.bad->what)));
  }
  if (auto finished = file->finish(); !finished) return complain(finished.error());
  const std::string sha256 = ledger::to_hex(file->sha256());
  if (how.json) {
    json::object said{{"file", what.output.string()},
                      {"from", report.from},
                      {"to", report.to},
                      {"bytes", file->bytes()},
                      {"sha256", sha256}};
    fmt::print("{}\n", json::serialize(said));
  } else {
    fmt::print("{}: records {} to {} of '{}', {} bytes, verified\nsha256 {}\n", what.output.string(), report.from,
               report.to, report.workspace.value, file->bytes(), sha256);
  }
  return 0;
}

}  // namespace fettle::server
