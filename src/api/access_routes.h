// What the routes of access share: sessions, members, links, tokens, the workspace.
//
//   change(rooms, std::move(exchange), 200, [=](db::Transaction& tx, const access::Change& by) -> Result<std::string> {
//     if (auto done = access::revoke_token(tx, by, id); !done) return std::unexpected(done.error());
//     return "{}";
//   });
//
// No thread waits: bodies run on the store's threads, and what they return is the answer once the change is durable and
// authentication knows of it.
#pragma once

#include <boost/json/object.hpp>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "access/accounts.h"
#include "access/authenticator.h"
#include "access/rights.h"
#include "api/exchange.h"
#include "api/keyed.h"
#include "api/router.h"
#include "api/trusted_proxies.h"

namespace fettle::api {

// The rooms behind these routes; all null while there is no ledger: the routes then answer 503. Outlive the routes.
struct AccessRooms {
  access::Directory* directory = nullptr;
  access::Accounts* accounts = nullptr;
  db::Database* ledger = nullptr;
  const ledger::Auditor* auditor = nullptr;
  Rng* rng = nullptr;
};

struct AccessRoutes {
  const AccessRooms rooms;
  const access::Authenticator& authenticator;
  Clock& clock;
  const TrustedProxies proxies;
  metrics::Registry& metrics;
  // The same counters as those of the work half.
  mutable ledger::IdempotencyCounters replays{metrics};
};

// False, and answered, when there is no ledger.
bool is_open(const AccessRoutes& routes, Exchange& exchange);
// The request as accounts and audit records name it.
access::Accounts::From from(const AccessRoutes& routes, const Exchange& exchange);
// Whether the client came over TLS, as far as a trusted proxy says so: cookies are then marked Secure.
bool is_secure(const AccessRoutes& routes, const Exchange& exchange);

// A change that answers; with an Idempotency-Key its effect happens once (keyed.h). What shows a secret once keeps its
// answer without it (Answer::stored_body): no credential is stored as it is.
void change(const AccessRoutes& routes, Exchange exchange,
            std::move_only_function<Result<Answer>(db::Transaction&, const access::Change&)> body);
// The same for one that always answers with that status.
void change(const AccessRoutes& routes, Exchange exchange, int status,
            std::move_only_function<Result<std::string>(db::Transaction&, const access::Change&)> body);
// `right` is asked for the whole workspace: a caller limited to some clients, who could learn of others, is refused.
void look(const AccessRoutes& routes, Exchange exchange, access::Action right,
          std::move_only_function<Result<std::string>(db::Reader&, const Scope&)> body,
          std::span<const std::string_view> parameters = {});

// The members `role`, `clients` and `payloads` of a request's body.
Result<access::Membership> membership_of(const boost::json::object& body);
// A list of clients; empty for null or none.
Result<std::vector<ClientId>> clients_of(const boost::json::object& body);
Result<std::optional<bool>> flag_of(const boost::json::object& body, std::string_view name);

// Each file's routes.
void add_session_routes(Router& router, AccessRoutes& routes);    // session.cc
void add_member_routes(Router& router, AccessRoutes& routes);     // members.cc: members and links
void add_token_routes(Router& router, AccessRoutes& routes);      // tokens.cc
void add_workspace_routes(Router& router, AccessRoutes& routes);  // workspaces.cc

// A route that asks for a right; `body_bytes_max` 0 for one without a body.
void add_route(Router& router, std::string_view method, std::string_view path, access::Action right,
               std::function<void(Exchange)> handle);

}  // namespace fettle::api
