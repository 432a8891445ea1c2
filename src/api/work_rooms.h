// The rooms behind the work half of the interface.
#pragma once

namespace fettle::db {
class Database;
}
namespace fettle::ledger {
class Auditor;
class Outbox;
}  // namespace fettle::ledger
namespace fettle::notify {
class Webhooks;
}
namespace fettle::runs {
class Runs;
}

namespace fettle::api {

// Null while there is no ledger: the routes then answer 503. What they point to outlives the Api.
struct WorkRooms {
  runs::Runs* runs = nullptr;
  db::Database* ledger = nullptr;
  const ledger::Auditor* auditor = nullptr;
  ledger::Outbox* outbox = nullptr;
  notify::Webhooks* webhooks = nullptr;
};

}  // namespace fettle::api
