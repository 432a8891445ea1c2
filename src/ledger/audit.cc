#include "ledger/audit.h"

#include <fmt/format.h>

#include <utility>

#include "core/json.h"
#include "core/mutex.h"
#include "db/transaction.h"
#include "ledger/cleaning.h"
#include "ledger/events.h"
#include "ledger/pending.h"

namespace fettle::ledger {

std::string_view to_string(AuditResult result) {
  switch (result) {
    case AuditResult::kSuccess: return "success";
    case AuditResult::kFail: return "fail";
    case AuditResult::kBlocked: return "blocked";
  }
  return {};
}

std::optional<AuditResult> audit_result_named(std::string_view name) {
  for (const AuditResult result : {AuditResult::kSuccess, AuditResult::kFail, AuditResult::kBlocked}) {
    if (to_string(result) == name) return result;
  }
  return std::nullopt;
}

namespace {

// Of a record that is cleaned.
Event event_of(const AuditRecord& record) {
  Event event{.type = "audit.recorded", .at = record.at, .identifiers = {}, .body = {}};
  const auto identify = [&](std::string_view name, const std::string& value) {
    if (value.empty() || value.size() > kIdentifierValueBytesMax || event.identifiers.size() == kIdentifiersMax) return;
    event.identifiers.push_back({std::string(name), value});
  };
  identify("client_id", record.client_id);
  identify("platform", record.platform);
  identify("lane", record.lane);
  identify("request_id", record.request_id);
  identify("correlation_id", record.correlation_id);
  identify("trace_id", record.trace_id);
  identify("span_id", record.span_id);
  for (const Identifier& identifier : record.identifiers) identify(identifier.name, identifier.value);
  const auto add = [&](std::string_view name, std::string_view value) {
    if (value.empty()) return;
    event.body += event.body.empty() ? '{' : ',';
    append_json_string(event.body, name);
    event.body += ':';
    append_json_string(event.body, value);
  };
  add("action", record.action);
  add("result", to_string(record.result));
  add("audit_id", record.audit_id);
  add("actor_type", record.actor_type);
  add("actor_id", record.actor_id);
  add("role", record.role);
  add("target_type", record.target_type);
  add("target_id", record.target_id);
  add("reason", record.reason);
  event.body += '}';
  return event;
}

}  // namespace

struct Auditor::Impl {
  Impl(std::shared_ptr<const redact::Redactor> first, Clock& handed, metrics::Registry& metrics)
      : clock(handed),
        registry(metrics),
        records(metrics.counter("fettle_audit_records_total", "Audit records written, not yet chained.")),
        redactor(std::move(first)) {}

  std::shared_ptr<const redact::Redactor> current() {
    MutexLock lock(mutex);
    return redactor;
  }

  Clock& clock;
  metrics::Registry& registry;
  metrics::Counter& records;
  Mutex mutex;
  std::shared_ptr<const redact::Redactor> redactor FETTLE_GUARDED_BY(mutex);
};

Auditor::Auditor(std::shared_ptr<const redact::Redactor> redactor, Clock& clock, metrics::Registry& registry)
    : impl_(std::make_unique<Impl>(std::move(redactor), clock, registry)) {}
Auditor::~Auditor() = default;

Result<void> Auditor::record(db::Transaction& tx, const Scope& scope, std::vector<AuditRecord> records,
                             Tell tell) const {
  if (records.empty()) return {};
  if (records.size() > kAuditRecordsMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("{} audit records, at most {} at once", records.size(), kAuditRecordsMax));
  }
  for (AuditRecord& record : records) {
    if (auto fits = check_record(record, scope); !fits) return fits;
    tidy_record(record);
  }
  const std::shared_ptr<const redact::Redactor> redactor = impl_->current();
  redact::RuleCounts counts;
  if (auto redacted = redact_records(records, *redactor, counts); !redacted) return redacted;
  const std::string packed = pack_records(records);
  if (packed.size() > kAuditBytesMax) {
    return fail(ErrorCode::kTooLarge,
                fmt::format("audit records of {} bytes, at most {} at once", packed.size(), kAuditBytesMax));
  }
  const db::Value values[] = {scope.workspace, impl_->clock.now(), db::BlobView{packed}};
  auto written = tx.post("INSERT INTO audit_pending (workspace, recorded_at, records) VALUES ($1, $2, $3)", 3, values);
  if (!written) return std::unexpected(std::move(written).error().within("recording an audit"));
  impl_->records.add(static_cast<double>(records.size()));
  for (std::size_t i = 0; i < counts.size(); ++i) {
    if (counts[i] == 0) continue;
    impl_->registry
        .counter("fettle_audit_redactions_total", "Strings masked in audit records.",
                 {{"rule", redactor->rule_names()[i]}})
        .add(static_cast<double>(counts[i]));
  }
  if (tell == Tell::kNo) return {};
  std::vector<Event> events;
  events.reserve(records.size());
  for (const AuditRecord& record : records) events.push_back(event_of(record));
  return publish(tx, scope, events);
}

Result<void> Auditor::record(db::Transaction& tx, const Scope& scope, AuditRecord record, Tell tell) const {
  std::vector<AuditRecord> one;
  one.push_back(std::move(record));
  return this->record(tx, scope, std::move(one), tell);
}

std::shared_ptr<const redact::Redactor> Auditor::redactor() const { return impl_->current(); }

void Auditor::use(std::shared_ptr<const redact::Redactor> redactor) {
  MutexLock lock(impl_->mutex);
  impl_->redactor = std::move(redactor);
}

}  // namespace fettle::ledger
