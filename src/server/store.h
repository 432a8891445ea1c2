// The telemetry store as the server has it: the embedded engine, or a ClickHouse server of the user's own; its schema
// brought up to date; and the way in for the spool's writer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "engine/supervisor.h"
#include "ingest/store.h"
#include "server/config.h"
#include "server/opening.h"
#include "telemetry/client.h"
#include "telemetry/identifiers.h"
#include "telemetry/schema.h"

namespace fettle::server {

// How long each table keeps its rows, in whole days.
telemetry::RetentionDays retention_days(const Config& config);

// A client for the ClickHouse server of `telemetry.url`, which has answered and lets its user name workspaces. The
// error says what to look at, and no password.
Result<std::unique_ptr<telemetry::Client>> connect_external(const Config::Telemetry& telemetry);

class Store final : public ingest::Store {
 public:
  // A store that is closed until it is opened; asks nobody. Fails for what no waiting mends: kInvalidArgument for a
  // configuration that can never work, kUnavailable for a machine that cannot run the engine.
  static Result<std::unique_ptr<Store>> make(const Config& config, const std::filesystem::path& data_dir,
                                             const telemetry::IdentifierCatalogue& catalogue, Clock& clock,
                                             metrics::Registry& metrics);
  // Starts the engine if there is to be one, brings the schema up to date and checks that workspaces are kept apart, in
  // the background and until that succeeds.
  Opening& opening() { return *opening_; }
  const Opening& opening() const { return *opening_; }
  // After the writer and every reader have ended; ends the opening too.
  void stop(std::chrono::milliseconds deadline);

  telemetry::Client& client() { return *client_; }
  const telemetry::Schema& schema() const { return schema_; }
  // For the status: "up", "restarting", … or "external", and how often the engine was restarted.
  std::pair<std::string, std::uint64_t> engine_state() const;

  // Both wait until the store is open.
  Result<void> insert(telemetry::Table table, std::span<const std::string_view> pieces, std::string_view token,
                      const std::stop_token& stop) override;
  Result<bool> has_ingest_id(telemetry::Table table, std::int32_t day, std::uint64_t ingest_id,
                             const std::stop_token& stop) override;

 private:
  Store(const Config& config, const telemetry::IdentifierCatalogue& catalogue);
  Result<void> make_engine(const Config& config, const std::filesystem::path& data_dir, metrics::Registry& metrics);
  Result<void> open(const std::stop_token& stop);

  // Constant after make().
  telemetry::Schema schema_;
  telemetry::RetentionDays ttl_days_;
  Config::Telemetry telemetry_;
  std::unique_ptr<engine::Supervisor> engine_;  // null: the store is somebody else's
  std::unique_ptr<telemetry::Client> client_;
  std::unique_ptr<Opening> opening_;  // last: its thread uses everything above
};

}  // namespace fettle::server
