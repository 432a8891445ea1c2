#include "runs/erase.h"

#include <fmt/format.h>

#include <iterator>
#include <optional>

namespace fettle::runs {
namespace {

const std::string kSignalSeparator = "\x1f";

// What is left of a payload; by it erased runs are known.
constexpr std::string_view kGone = R"({"erased":true})";

#define FETTLE_IN_LIST(statement, column)                                                            \
  db::Sql(statement " WHERE workspace = $1 AND " column " IN (SELECT j.value FROM json_each($2) j)", \
          statement " WHERE workspace = $1 AND " column                                              \
                    " IN (SELECT j.value::bigint FROM jsonb_array_elements_text($2::jsonb) j(value))")

std::int64_t erase_runs(Unit& unit, const std::string& client, std::int32_t items_max) {
  std::string list = "[";
  std::int64_t count = 0;
  for (const db::Row row :
       unit.rows("SELECT r.id FROM runs r JOIN run_data d ON d.workspace = r.workspace AND d.id = r.id"
                 " WHERE r.workspace = $1 AND r.client = $2 AND r.client <> '' AND r.state >= 4 AND d.payload <> $3"
                 " ORDER BY r.id LIMIT $4",
                 {unit.workspace(), client, kGone, items_max})) {
    std::int64_t number = 0;
    if (!unit.read(row, number)) return 0;
    fmt::format_to(std::back_inserter(list), "{}{}", count++ == 0 ? "" : ",", number);
  }
  list += ']';
  if (count == 0) return 0;
  for (const db::Sql& sql :
       {FETTLE_IN_LIST("UPDATE run_data SET payload = '{\"erased\":true}', context = '{}', result = NULL, error = NULL,"
                       " progress = NULL",
                       "id"),
        FETTLE_IN_LIST("UPDATE run_steps SET result = NULL, error = NULL", "run"),
        FETTLE_IN_LIST("UPDATE run_attempts SET error = NULL, late_body = NULL", "run")}) {
    unit.execute(sql, {unit.workspace(), list});
  }
  return count;
}

}  // namespace

Result<Erased> erase_client(Unit& unit, const std::string& client, std::int32_t items_max) {
  if (auto good = check_name("client", client, unit.limits()); !good) return std::unexpected(good.error());
  if (!unit.allows(client)) {
    return fail(ErrorCode::kPermissionDenied, "this client is outside of what you may see");
  }
  Erased out;
  out.runs = erase_runs(unit, client, items_max);
  for (const char* collection : {"agent_runs", "agent_logs", "workflow_triggers"}) {
    out.records += unit.execute(
        "DELETE FROM records WHERE workspace = $1 AND collection = $2 AND id IN"
        " (SELECT id FROM records WHERE workspace = $1 AND collection = $2 AND client = $3 LIMIT $4)",
        {unit.workspace(), collection, client, items_max});
  }
  out.failures = unit.execute(
      "UPDATE workflow_failures SET message = '', extra = '{}' WHERE workspace = $1 AND id IN"
      " (SELECT id FROM workflow_failures WHERE workspace = $1 AND client = $2 AND (message <> '' OR extra <> '{}')"
      " LIMIT $3)",
      {unit.workspace(), client, items_max});
  out.decisions = unit.execute(
      "UPDATE approvals SET title = '', details = 'null', note = NULL, edited = NULL WHERE workspace = $1 AND id IN"
      " (SELECT id FROM approvals WHERE workspace = $1 AND client = $2 AND state <> 0 AND title <> '' LIMIT $3)",
      {unit.workspace(), client, items_max});
  out.decisions += unit.execute(
      "UPDATE escalations SET subject = '', details = 'null', note = NULL WHERE workspace = $1 AND id IN"
      " (SELECT id FROM escalations WHERE workspace = $1 AND client = $2 AND closed_at IS NOT NULL AND subject <> ''"
      " LIMIT $3)",
      {unit.workspace(), client, items_max});
  // Hash, target and proof are the evidence that it was done once.
  out.effects = unit.execute(
      "UPDATE side_effects SET payload_summary = '', note = NULL, result = NULL WHERE workspace = $1 AND id IN"
      " (SELECT id FROM side_effects WHERE workspace = $1 AND client = $2 AND state IN (1, 4)"
      " AND (payload_summary <> '' OR note IS NOT NULL OR result IS NOT NULL) LIMIT $3)",
      {unit.workspace(), client, items_max});
  // Those that name the client they are kept for: name, key, client (steps.cc). Others belong to none, and expire.
  const std::string kept_for = kSignalSeparator + client;
  out.signals = unit.execute(
      "DELETE FROM run_signals WHERE workspace = $1 AND id IN (SELECT id FROM run_signals WHERE workspace = $1"
      " AND substr(signal, length(signal) - length($2) + 1) = $2"
      " AND length(replace(signal, $3, '')) = length(signal) - 2 LIMIT $4)",
      {unit.workspace(), kept_for, kSignalSeparator, items_max});
  return out;
}

}  // namespace fettle::runs
