// What every change of access has in common: who makes it, when and from which request; its audit record; its number.
//
//   Change change{.auditor = auditor, .actor = grant, .now = clock.now(), .request_id = id};
//   database.write([=](db::Transaction& tx) { return revoke_token(tx, change, token_id); }, …);
//
// The functions that take a Change run inside a transaction of the caller and may run more than once: time, identifiers
// and secrets are made outside. Each asks can() itself, so that no caller can forget to.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "access/grant.h"
#include "core/clock.h"
#include "core/error.h"
#include "db/transaction.h"
#include "ledger/audit.h"

namespace fettle::access {

struct Change {
  const ledger::Auditor& auditor;  // outlives every transaction that uses it
  Grant actor;
  UnixNanos now = 0;
  std::string request_id = {};
  std::string correlation_id = {};
  std::string trace_id = {};
  std::string address = {};  // where the request came from
};

// Fettle itself, or whoever has its data folder. May do what an owner may, in any workspace.
Grant system_actor(const WorkspaceId& workspace);

struct Recorded {
  std::string_view action;  // "token.create"
  std::string_view target_type;
  std::string_view target_id;
  ledger::AuditResult result = ledger::AuditResult::kSuccess;
  std::string_view reason = {};  // a code
  std::string summary = {};      // may name people
  std::string before = {};       // JSON
  std::string after = {};        // JSON
};

// Writes the audit record of a change into the chain of `workspace`.
Result<void> record(db::Transaction& tx, const Change& change, const WorkspaceId& workspace, const Recorded& what);

// The number of this change; every row it writes carries it. Changes are numbered in the order of their commits.
Result<std::int64_t> next_version(db::Transaction& tx);

}  // namespace fettle::access
