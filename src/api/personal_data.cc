// DELETE /api/v1/clients/{client_id}/personal-data: what is kept of a client's people, apart from what is hashed.
#include "api/filters.h"
#include "api/json_object.h"
#include "api/work.h"
#include "ledger/attachments.h"
#include "ledger/audit_log.h"
#include "ledger/webhook_events.h"
#include "runs/erase.h"

namespace fettle::api {
namespace {

using access::Action;

constexpr std::int32_t kPieceRows = 1'000;
constexpr std::int32_t kPieceAttachments = 50;  // of up to 4 MiB

void erase(Work& work, Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const std::string client = exchange.parameter("client_id");
  if (auto may = check_reach(exchange.caller().grant, Action::kManageRetention, client); !may) {
    return exchange.problem(may.error());
  }
  change(work, std::move(exchange), [client](runs::Unit& unit) -> Result<Answer> {
    auto erased = runs::erase_client(unit, client, kPieceRows);
    if (!erased) return std::unexpected(std::move(erased).error());
    auto audits = ledger::erase_client_details(unit.tx(), unit.scope(), {client}, kPieceRows);
    if (!audits) return std::unexpected(std::move(audits).error());
    auto attachments = ledger::erase_client_attachments(unit.tx(), unit.scope(), client, kPieceAttachments);
    if (!attachments) return std::unexpected(std::move(attachments).error());
    auto events = ledger::erase_client_webhook_events(unit.tx(), unit.scope(), client, kPieceRows);
    if (!events) return std::unexpected(std::move(events).error());
    // The record of the erasing has no details itself, or the next piece would find them and there were no end.
    const bool done = erased->total() == 0 && *audits == 0 && *attachments == 0 && *events == 0;
    if (!done) {
      runs::Audit audit;
      audit.action = "client.erase";
      audit.target_type = "client";
      audit.target_id = client;
      audit.identifiers = {{"client_id", client}};
      unit.audit(std::move(audit));
    }
    Answer answer;
    ObjectText(answer.body)
        .boolean("done", done)
        .number("runs", erased->runs)
        .number("records", erased->records)
        .number("failures", erased->failures)
        .number("decisions", erased->decisions)
        .number("side_effects", erased->effects)
        .number("signals", erased->signals)
        .number("attachments", *attachments)
        .number("webhook_events", *events)
        .number("audits", *audits)
        .end();
    return answer;
  });
}

}  // namespace

void add_personal_data_routes(Router& router, Work& work) {
  add_delete(router, "/api/v1/clients/{client_id}/personal-data", Action::kManageRetention,
             [&work](Exchange exchange) { erase(work, std::move(exchange)); });
}

}  // namespace fettle::api
