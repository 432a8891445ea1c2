#include "ledger/cleaning.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json.hpp>

#include "core/json.h"

namespace fettle::ledger {
namespace {

// The last second that nanoseconds since 1970 hold, rounded down to a whole year.
constexpr UnixNanos kTimeMax = 9'214'646'400'000'000'000;

struct Field {
  std::string_view name;
  std::string AuditRecord::* text;
  bool is_identifier;  // an identifier of this name belongs into the field
};
constexpr Field kFields[] = {
    {"audit_id", &AuditRecord::audit_id, true},
    {"actor_type", &AuditRecord::actor_type, true},
    {"actor_id", &AuditRecord::actor_id, true},
    {"role", &AuditRecord::role, true},
    {"action", &AuditRecord::action, true},
    {"target_type", &AuditRecord::target_type, true},
    {"target_id", &AuditRecord::target_id, true},
    {"reason", &AuditRecord::reason, false},
    {"client_id", &AuditRecord::client_id, true},
    {"platform", &AuditRecord::platform, true},
    {"surface", &AuditRecord::surface, true},
    {"lane", &AuditRecord::lane, true},
    {"request_id", &AuditRecord::request_id, true},
    {"correlation_id", &AuditRecord::correlation_id, true},
    {"trace_id", &AuditRecord::trace_id, true},
    {"span_id", &AuditRecord::span_id, true},
    {"payload_hash", &AuditRecord::payload_hash, false},
    {"policy_snapshot_id", &AuditRecord::policy_snapshot_id, true},
};

bool is_identifier_name(std::string_view name) {
  return !name.empty() && name.size() <= kIdentifierNameBytesMax && name[0] >= 'a' && name[0] <= 'z' &&
         std::ranges::all_of(name, [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_'; });
}

std::unexpected<Error> too_large(std::string_view field, std::size_t size, std::size_t size_max) {
  return fail(ErrorCode::kTooLarge, fmt::format("audit record: {} has {}, at most {}", field, size, size_max));
}

void mend(std::string& text) {
  if (!is_utf8(text)) text = to_utf8(text);
}

// The strings of a parsed JSON value, with the name of the member each belongs to.
struct JsonStrings {
  std::vector<redact::Redactor::Subject> subjects;
  std::vector<boost::json::value*> values;  // of each subject; null for a member's name
  bool has_card = false;

  void add(boost::json::value& value, std::string_view key) {
    if (auto* text = value.if_string()) {
      subjects.push_back({{text->data(), text->size()}, key});
      values.push_back(&value);
    } else if (auto* object = value.if_object()) {
      for (auto& member : *object) {
        subjects.push_back({{member.key().data(), member.key().size()}, {}});
        values.push_back(nullptr);
        add(member.value(), {member.key().data(), member.key().size()});
      }
    } else if (auto* array = value.if_array()) {
      for (auto& element : *array) add(element, key);
    } else if (value.is_int64() || value.is_uint64()) {
      const auto number = value.is_uint64() ? value.get_uint64() : static_cast<std::uint64_t>(value.get_int64());
      if (redact::is_payment_card(number)) {
        value = "[redacted:payment-card]";
        has_card = true;
      }
    }
  }
};

Result<void> redact_json(std::string& json, std::string_view field, const redact::Redactor& redactor,
                         redact::Scratch& scratch, redact::RuleCounts& counts) {
  if (json.empty()) return {};
  boost::system::error_code error;
  boost::json::value parsed = boost::json::parse(json, error);
  if (error) return fail(ErrorCode::kInvalidArgument, fmt::format("{} is not JSON", field));
  JsonStrings strings;
  strings.add(parsed, {});
  std::vector<redact::Finding> findings;
  redactor.scan(strings.subjects, scratch, findings, counts);
  if (findings.empty() && !strings.has_card) {
    // A bundle has one record a line. Line ends inside a JSON string are escaped, so these are blanks.
    std::ranges::replace_if(json, [](char c) { return c == '\n' || c == '\r'; }, ' ');
    return {};
  }
  for (const redact::Finding& finding : findings) {
    if (boost::json::value* value = strings.values[finding.index]) {
      *value = finding.replacement;
    } else {
      // A secret as a member's name: the object's shape cannot be kept, so the value goes as a whole.
      json = "\"[redacted:member-name]\"";
      return {};
    }
  }
  json = boost::json::serialize(parsed);
  return {};
}

}  // namespace

Result<void> check_record(const AuditRecord& record, const Scope& scope) {
  if (record.action.empty()) return fail(ErrorCode::kInvalidArgument, "audit record: action is required");
  if (record.at <= 0 || record.at >= kTimeMax) {
    return fail(ErrorCode::kInvalidArgument, "audit record: at is not a time since 1970");
  }
  if (to_string(record.result).empty()) return fail(ErrorCode::kInvalidArgument, "audit record: unknown result");
  for (const Field& field : kFields) {
    const std::string& text = record.*field.text;
    const std::size_t size_max = field.is_identifier ? kIdentifierValueBytesMax : kAuditFieldBytesMax;
    if (text.size() > size_max) return too_large(field.name, text.size(), size_max);
  }
  if (record.identifiers.size() > kIdentifiersMax) {
    return too_large("identifiers", record.identifiers.size(), kIdentifiersMax);
  }
  for (const Identifier& identifier : record.identifiers) {
    if (!is_identifier_name(identifier.name)) {
      return fail(ErrorCode::kInvalidArgument, "audit record: an identifier's name is malformed");
    }
    if (identifier.value.size() > kIdentifierValueBytesMax) {
      return too_large(identifier.name, identifier.value.size(), kIdentifierValueBytesMax);
    }
  }
  for (const auto& [name, list] : {std::pair("proof", &record.proof), std::pair("evidence", &record.evidence)}) {
    if (list->size() > kAuditReferencesMax) return too_large(name, list->size(), kAuditReferencesMax);
    for (const std::string& reference : *list) {
      if (reference.size() > kAuditFieldBytesMax) return too_large(name, reference.size(), kAuditFieldBytesMax);
    }
  }
  if (record.target_ids.size() > kAuditTargetsMax) {
    return too_large("target_ids", record.target_ids.size(), kAuditTargetsMax);
  }
  for (const std::string& target : record.target_ids) {
    if (target.empty()) return fail(ErrorCode::kInvalidArgument, "audit record: a target without an id");
    if (target.size() > kIdentifierValueBytesMax)
      return too_large("target_ids", target.size(), kIdentifierValueBytesMax);
  }
  const std::size_t details =
      record.payload_summary.size() + record.payload.size() + record.before.size() + record.after.size();
  if (details > kAuditDetailsBytesMax) return too_large("details", details, kAuditDetailsBytesMax);
  if (!scope.clients.empty()) {
    const bool may = std::ranges::any_of(scope.clients, [&](const ClientId& c) { return c.value == record.client_id; });
    if (!may) return fail(ErrorCode::kPermissionDenied, "audit record: the client is outside the caller's");
  }
  return {};
}

void tidy_record(AuditRecord& record) {
  for (Identifier& identifier : record.identifiers) {
    for (const Field& field : kFields) {
      if (!field.is_identifier || field.name != identifier.name) continue;
      // Who is limited to some clients was checked by the field, so an identifier never decides whose record it is.
      if ((record.*field.text).empty() && field.name != "client_id") record.*field.text = identifier.value;
      identifier.value.clear();
    }
  }
  std::erase_if(record.identifiers, [](const Identifier& identifier) { return identifier.value.empty(); });
  std::ranges::stable_sort(record.identifiers, {}, &Identifier::name);
  const auto doubles = std::ranges::unique(record.identifiers, {}, &Identifier::name);
  record.identifiers.erase(doubles.begin(), doubles.end());
  for (const Field& field : kFields) mend(record.*field.text);
  for (Identifier& identifier : record.identifiers) mend(identifier.value);
  for (std::string& target : record.target_ids) mend(target);
  for (std::string& reference : record.proof) mend(reference);
  for (std::string& reference : record.evidence) mend(reference);
  mend(record.payload_summary);
}

Result<void> redact_records(std::span<AuditRecord> records, const redact::Redactor& redactor,
                            redact::RuleCounts& counts) {
  thread_local redact::Scratch scratch;
  std::vector<redact::Redactor::Subject> subjects;
  std::vector<std::string*> texts;
  const auto add = [&](std::string& text, std::string_view key) {
    if (text.empty()) return;
    subjects.push_back({text, key});
    texts.push_back(&text);
  };
  for (AuditRecord& record : records) {
    for (const Field& field : kFields) add(record.*field.text, field.name);
    for (Identifier& identifier : record.identifiers) add(identifier.value, identifier.name);
    for (std::string& target : record.target_ids) add(target, "target_id");
    for (std::string& reference : record.proof) add(reference, "proof");
    for (std::string& reference : record.evidence) add(reference, "evidence");
    add(record.payload_summary, "summary");
  }
  std::vector<redact::Finding> findings;
  redactor.scan(subjects, scratch, findings, counts);
  for (redact::Finding& finding : findings) *texts[finding.index] = std::move(finding.replacement);
  for (AuditRecord& record : records) {
    for (const auto& [name, json] :
         {std::pair("audit record: payload", &record.payload), std::pair("audit record: before", &record.before),
          std::pair("audit record: after", &record.after)}) {
      if (auto done = redact_json(*json, name, redactor, scratch, counts); !done) return done;
    }
  }
  return {};
}

Result<void> redact_json(std::string& json, std::string_view what, const redact::Redactor& redactor) {
  thread_local redact::Scratch scratch;
  redact::RuleCounts counts;
  return redact_json(json, what, redactor, scratch, counts);
}

}  // namespace fettle::ledger
