#include "server/entrance.h"

#include <set>
#include <utility>
#include <vector>

#include "access/login_throttle.h"
#include "access/password_hasher.h"
#include "access/workspaces.h"
#include "db/database.h"

namespace fettle::server {

// Members that use others stand below them.
struct Entrance::Parts {
  Parts(const Config& config, access::ConfiguredTokens its_configured, Ledger& ledger, Clock& clock, Rng& rng,
        metrics::Registry& metrics)
      : configured(std::move(its_configured)),
        directory(ledger.database(), clock, metrics, {}),
        admission(directory),
        tokens({&configured, &directory}),
        hasher({}, metrics),
        throttle({}, clock),
        accounts({.database = ledger.database(),
                  .directory = directory,
                  .hasher = hasher,
                  .throttle = throttle,
                  .auditor = ledger.auditor(),
                  .clock = clock,
                  .rng = rng,
                  .grant_outside = [this, dev = config.dev](const WorkspaceId& workspace,
                                                            std::string_view actor) -> std::optional<access::Grant> {
                    // What was made without a door works only while there is none.
                    if (dev && actor == access::development_grant().actor_id) return access::development_grant();
                    return configured.grant_of(workspace, actor);
                  }},
                 {}),
        for_programs(&tokens, config.dev ? access::Mode::kDevelopment : access::Mode::kTokens),
        for_everybody(&tokens, for_programs.mode(), &directory) {}

  access::ConfiguredTokens configured;
  access::Directory directory;
  runs::DirectoryAdmission admission;
  access::TokensOf tokens;
  access::PasswordHasher hasher;
  access::LoginThrottle throttle;
  access::Accounts accounts;
  access::Authenticator for_programs;
  access::Authenticator for_everybody;
  std::string first_owner_link;
};

Entrance::Entrance(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Entrance::~Entrance() { stop(); }

Result<std::unique_ptr<Entrance>> Entrance::open(const Config& config, Ledger& ledger, Clock& clock, Rng& rng,
                                                 metrics::Registry& metrics) {
  auto configured = access::ConfiguredTokens::make(config.tokens);
  if (!configured) return std::unexpected(std::move(configured).error().within("tokens"));

  const WorkspaceId home{"default"};
  std::set<WorkspaceId> named = {home};
  for (const access::TokenEntry& entry : config.tokens) named.insert(entry.workspace);
  auto made = ledger.database().write_and_wait([&](db::Transaction& tx) -> Result<void> {
    for (const WorkspaceId& workspace : named) {
      const access::Change change{
          .auditor = ledger.auditor(), .actor = access::system_actor(workspace), .now = clock.now()};
      if (auto there = access::ensure_workspace(tx, change, workspace); !there) return std::unexpected(there.error());
    }
    return {};
  });
  if (!made) return std::unexpected(std::move(made).error().within("making the workspaces of the configuration"));

  auto parts = std::make_unique<Parts>(config, std::move(*configured), ledger, clock, rng, metrics);
  if (auto started = parts->directory.start(); !started) {
    return std::unexpected(std::move(started).error().within("reading who may come in"));
  }
  if (!config.dev) {
    auto link = access::first_owner_link(ledger.database(), ledger.auditor(), clock, rng, home);
    if (!link) return std::unexpected(std::move(link).error().within("making a link for the first owner"));
    parts->first_owner_link = std::move(*link);
  }
  return std::unique_ptr<Entrance>(new Entrance(std::move(parts)));
}

access::Authenticator& Entrance::for_programs() { return parts_->for_programs; }
access::Authenticator& Entrance::for_everybody() { return parts_->for_everybody; }
access::Directory& Entrance::directory() { return parts_->directory; }
access::Accounts& Entrance::accounts() { return parts_->accounts; }
const runs::Admission& Entrance::admission() const { return parts_->admission; }
const std::string& Entrance::first_owner_link() const { return parts_->first_owner_link; }
void Entrance::stop() { parts_->directory.stop(); }

}  // namespace fettle::server
