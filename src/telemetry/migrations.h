// Brings a store to the schema this program knows, one recorded statement after the other.
//
//   Migrator migrator(client, schema);
//   if (auto done = migrator.run(); !done) …
//
// A statement is recorded after it ran and can be run again, so a migration that was cut off anywhere goes on from
// there. Run it in one process at a time.
#pragma once

#include <cstdint>
#include <functional>
#include <stop_token>
#include <string_view>
#include <utility>

#include "core/error.h"
#include "telemetry/client.h"
#include "telemetry/schema.h"

namespace fettle::telemetry {

class Migrator {
 public:
  // A stop ends the statement in progress (kCancelled).
  Migrator(Client& client, const Schema& schema, std::stop_token stop = {})
      : client_(client), schema_(schema), stop_(std::move(stop)) {}

  // kUnsupported: the store was written by a newer Fettle; nothing was touched. Other errors name the statement; call
  // again.
  Result<void> run();
  // Sets how long each table keeps its rows; statements that are in force already are not sent.
  Result<void> apply_retention(const RetentionDays& days);
  // kPermissionDenied names a table or view of the database that has no row filter: start nothing then.
  Result<void> check_filters();

  // Called before each statement, between its running and its recording, and after that; an error stops the run there.
  using Fault = std::function<Result<void>(std::string_view where)>;
  void set_fault_for_test(Fault fault) { fault_ = std::move(fault); }

 private:
  Result<void> run_recorded(std::uint32_t version, const Statement& statement);
  StatementOptions patiently() const;

  Client& client_;
  const Schema& schema_;
  const std::stop_token stop_;
  Fault fault_;
};

}  // namespace fettle::telemetry
