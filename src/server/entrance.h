// Who may come in, as the server has it: tokens of the configuration and of the ledger side by side, and people.
//
//   auto entrance = Entrance::open(config, *ledger, clock, rng, metrics);
//   receiver(entrance.for_programs()); api(entrance.for_everybody());
//   if (!entrance.first_owner_link().empty()) print it, once
//
// Thread-safe once open. stop() before the ledger's.
#pragma once

#include <memory>
#include <string>

#include "access/accounts.h"
#include "access/authenticator.h"
#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/rng.h"
#include "runs/admission.h"
#include "server/config.h"
#include "server/ledger.h"

namespace fettle::server {

class Entrance {
 public:
  // Blocks on the ledger. kInvalidArgument for tokens of the configuration that cannot be.
  static Result<std::unique_ptr<Entrance>> open(const Config& config, Ledger& ledger, Clock& clock, Rng& rng,
                                                metrics::Registry& metrics);
  ~Entrance();
  Entrance(const Entrance&) = delete;
  Entrance& operator=(const Entrance&) = delete;

  // For what sends telemetry: tokens alone.
  access::Authenticator& for_programs();
  // Tokens, and the sessions of people.
  access::Authenticator& for_everybody();
  access::Directory& directory();
  access::Accounts& accounts();
  // What plans and rights allow to run.
  const runs::Admission& admission() const;
  // Makes the first owner of workspace `default`, once; empty when there is one, or with --dev, which needs none. A
  // secret: for the terminal of whoever starts the server.
  const std::string& first_owner_link() const;

  // Idempotent.
  void stop();

 private:
  struct Parts;
  explicit Entrance(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace fettle::server
