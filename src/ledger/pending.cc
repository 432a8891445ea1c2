#include "ledger/pending.h"

#include "ledger/packing.h"

namespace fettle::ledger {
namespace {

constexpr std::uint64_t kFormat = 2;  // on disk: a change of the order below is another number

// The texts of a record in their order on disk.
template <class Record, class Visit>
void for_each_text(Record& record, const Visit& visit) {
  for (auto* text : {&record.audit_id,        &record.actor_type,
                     &record.actor_id,        &record.role,
                     &record.action,          &record.target_type,
                     &record.target_id,       &record.reason,
                     &record.client_id,       &record.platform,
                     &record.surface,         &record.lane,
                     &record.request_id,      &record.correlation_id,
                     &record.trace_id,        &record.span_id,
                     &record.payload_hash,    &record.policy_snapshot_id,
                     &record.payload_summary, &record.payload,
                     &record.before,          &record.after}) {
    visit(*text);
  }
}

}  // namespace

std::string pack_records(std::span<const AuditRecord> records) {
  std::string out;
  out.reserve(records.size() * 256);
  pack_number(out, kFormat);
  pack_number(out, records.size());
  for (const AuditRecord& record : records) {
    pack_number(out, static_cast<std::uint64_t>(record.at));
    pack_number(out, static_cast<std::uint64_t>(record.result));
    for_each_text(record, [&](const std::string& text) { pack_text(out, text); });
    pack_number(out, record.identifiers.size());
    for (const Identifier& identifier : record.identifiers) {
      pack_text(out, identifier.name);
      pack_text(out, identifier.value);
    }
    for (const auto* list : {&record.target_ids, &record.proof, &record.evidence}) {
      pack_number(out, list->size());
      for (const std::string& reference : *list) pack_text(out, reference);
    }
  }
  return out;
}

Result<std::vector<AuditRecord>> unpack_records(std::string_view bytes) {
  Unpacker in(bytes);
  std::vector<AuditRecord> records;
  if (in.number() != kFormat) return fail(ErrorCode::kDataLoss, "pending audit records are of an unknown format");
  records.resize(in.count());
  for (AuditRecord& record : records) {
    record.at = static_cast<UnixNanos>(in.number());
    record.result = static_cast<AuditResult>(in.number());
    for_each_text(record, [&](std::string& text) { text = in.text(); });
    record.identifiers.resize(in.count());
    for (Identifier& identifier : record.identifiers) {
      identifier.name = in.text();
      identifier.value = in.text();
    }
    for (auto* list : {&record.target_ids, &record.proof, &record.evidence}) {
      list->resize(in.count());
      for (std::string& reference : *list) reference = in.text();
    }
    if (!in.good()) break;
  }
  if (!in.good() || !in.at_end()) return fail(ErrorCode::kDataLoss, "pending audit records are damaged");
  return records;
}

}  // namespace fettle::ledger
