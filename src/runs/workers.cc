#include "runs/workers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "access/grant.h"
#include "runs/json.h"
#include "runs/listing.h"

namespace fettle::runs {
namespace {

constexpr std::array<std::string_view, 4> kStates = {"free", "busy", "lost", "draining"};
constexpr std::int32_t kCapacityMax = 10'000;
constexpr std::int32_t kWorkersMax = 10'000;  // that are added up

struct InUse {
  std::int32_t leases = 0;
  UnixNanos oldest = 0, progress = 0;
};

std::map<std::string, InUse> leases_by_worker(View& view) {
  Where where(view);
  where.add_scope(view);
  where.add_literal("lease_until IS NOT NULL");
  const std::string sql = fmt::format(
      "SELECT worker, count(*), min(leased_at), max(progress_at) FROM runs WHERE {} GROUP BY worker", where.text());
  std::map<std::string, InUse> out;
  for (const db::Row row : view.rows(db::Sql::assembled(sql), where.values())) {
    std::string worker;
    InUse use;
    if (view.read(row, worker, use.leases, use.oldest, use.progress)) out[worker] = use;
  }
  return out;
}

// Of whoever registered it, of operators and above, of the server itself.
Result<void> may_manage(Unit& unit, const WorkerId& id) {
  std::string registered_by;
  if (!unit.first("SELECT registered_by FROM workers WHERE workspace = $1 AND id = $2", {unit.workspace(), id},
                  registered_by)) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no worker {}", id.value));
  }
  const Actor& actor = unit.actor();
  if (actor.type == "system" || registered_by == actor.id) return {};
  const auto role = access::role_named(actor.role);
  if (role && *role >= access::Role::kOperator && unit.scope().clients.empty()) return {};
  return fail(ErrorCode::kPermissionDenied,
              fmt::format("worker {} is for the token that registered it and for operators of every client", id.value));
}

// Those that whoever looks may see, by id.
std::vector<Worker> visible_workers(View& view, std::string_view actor, std::string_view after, std::int32_t most) {
  const std::map<std::string, InUse> in_use = leases_by_worker(view);
  Where where(view, "w");
  if (!view.scope().clients.empty()) {
    std::string names;
    for (const ClientId& client : view.scope().clients) {
      names += fmt::format("{}r.client = {}", names.empty() ? "" : " OR ", where.parameter(client));
    }
    const std::string own = where.parameter(actor);
    where.add_literal(
        fmt::format("((w.registered_by = {} AND w.registered_by <> '') OR w.id IN (SELECT r.worker FROM runs r"
                    " WHERE r.lease_until IS NOT NULL AND r.workspace = $1 AND ({})))",
                    own, names));
  }
  if (!after.empty()) where.add("w.id > {}", after);
  const std::string limit = where.parameter(most);
  const std::string sql = fmt::format(
      "SELECT w.id, w.pool, w.capacity, w.version, w.labels, w.draining, w.registered_at, w.seen_at, w.progress_at"
      " FROM workers w WHERE {} ORDER BY w.id LIMIT {}",
      where.text(), limit);
  std::vector<Worker> out;
  for (const db::Row row : view.rows(db::Sql::assembled(sql), where.values())) {
    Worker one;
    bool draining = false;
    view.read(row, one.id, one.pool, one.capacity, one.version, one.labels, draining, one.registered_at, one.seen_at,
              one.progress_at);
    if (const auto use = in_use.find(one.id.value); use != in_use.end()) {
      one.in_use = use->second.leases;
      one.oldest_lease_at = use->second.oldest;
      one.progress_at = std::max(one.progress_at.value_or(0), use->second.progress);
    }
    if (view.now() - one.seen_at > kLostAfter.count()) {
      one.state = WorkerState::kLost;
    } else if (draining) {
      one.state = WorkerState::kDraining;
    } else {
      one.state = one.in_use > 0 ? WorkerState::kBusy : WorkerState::kFree;
    }
    out.push_back(std::move(one));
  }
  return out;
}

}  // namespace

std::string_view to_string(WorkerState state) { return kStates.at(static_cast<std::size_t>(state)); }

Result<void> register_worker(Unit& unit, const WorkerRegistration& registration) {
  if (auto good = check_name("worker", registration.id.value, unit.limits()); !good) return good;
  if (auto good = check_name("pool", registration.pool, unit.limits()); !good) return good;
  if (auto good = check_size("version", registration.version, unit.limits().name_bytes_max); !good) return good;
  if (auto good = check_size("labels", registration.labels, unit.limits().context_bytes_max); !good) return good;
  if (registration.capacity < 1 || registration.capacity > kCapacityMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("capacity must be from 1 to {}", kCapacityMax));
  }
  unit.execute(
      "INSERT INTO workers (workspace, id, pool, capacity, version, labels, registered_at, seen_at, registered_by)"
      " VALUES ($1, $2, $3, $4, $5, $6, $7, $7, $8) ON CONFLICT (workspace, id) DO UPDATE SET pool = excluded.pool,"
      " capacity = excluded.capacity, version = excluded.version, labels = excluded.labels, draining = 0,"
      " registered_at = excluded.registered_at, seen_at = excluded.seen_at, registered_by = excluded.registered_by",
      {unit.workspace(), registration.id, registration.pool, registration.capacity, registration.version,
       registration.labels, unit.now(), unit.actor().id});
  JsonObject body;
  body.add("capacity", registration.capacity).add("pool", registration.pool).add_text("version", registration.version);
  unit.event("worker.registered", {{"runner_id", registration.id.value}, {"runner_pool", registration.pool}},
             std::move(body).text());
  return {};
}

Result<Beat> beat_worker(Unit& unit, const WorkerId& id, bool progressed) {
  bool draining = false;
  UnixNanos seen_at = 0;
  std::optional<UnixNanos> progress_at;
  if (!unit.first("SELECT draining, seen_at, progress_at FROM workers WHERE workspace = $1 AND id = $2",
                  {unit.workspace(), id}, draining, seen_at, progress_at)) {
    return Beat{};
  }
  // A time to come is of a clock that was set back since.
  const auto is_fresh = [&](UnixNanos at) { return at <= unit.now() && unit.now() - at < kSeenWithin.count(); };
  if (is_fresh(seen_at) && (!progressed || is_fresh(progress_at.value_or(0)))) {
    return Beat{Applied::kApplied, draining};
  }
  unit.execute(
      "UPDATE workers SET seen_at = $3, progress_at = CASE WHEN $4 = 1 THEN $3 ELSE progress_at END"
      " WHERE workspace = $1 AND id = $2",
      {unit.workspace(), id, unit.now(), progressed ? 1 : 0});
  return Beat{Applied::kApplied, draining};
}

Result<Beat> note_asking(Unit& unit, const LeaseRequest& request) {
  auto beat = beat_worker(unit, request.worker, false);
  if (!beat || beat->applied == Applied::kApplied) return beat;
  WorkerRegistration registration;
  registration.id = request.worker;
  registration.pool = request.pool;
  registration.capacity = request.runs_max;
  if (auto done = register_worker(unit, registration); !done) return std::unexpected(std::move(done).error());
  return Beat{Applied::kApplied, false};
}

Result<void> drain_worker(Unit& unit, const WorkerId& id, bool drain, std::string_view reason) {
  if (auto good = check_size("reason", reason, unit.limits().message_bytes_max); !good) return good;
  if (auto may = may_manage(unit, id); !may) return may;
  unit.execute("UPDATE workers SET draining = $3 WHERE workspace = $1 AND id = $2", {unit.workspace(), id, drain});
  Audit audit;
  audit.action = drain ? "worker.drain" : "worker.undrain";
  audit.target_type = "worker";
  audit.target_id = id.value;
  audit.summary = reason;
  unit.audit(std::move(audit));
  unit.event("worker.draining", {{"runner_id", id.value}});
  return {};
}

Result<void> remove_worker(Unit& unit, const WorkerId& id) {
  if (auto may = may_manage(unit, id); !may) return may;
  unit.execute("DELETE FROM workers WHERE workspace = $1 AND id = $2", {unit.workspace(), id});
  unit.event("worker.removed", {{"runner_id", id.value}});
  return {};
}

PageOf<Worker> list_workers(View& view, std::string_view actor, const PageRequest& page) {
  PageOf<Worker> out;
  out.items = visible_workers(view, actor, page.cursor, page.limit + 1);
  if (out.items.size() > static_cast<std::size_t>(page.limit)) {
    out.items.pop_back();
    out.next = out.items.back().id.value;
  }
  return out;
}

std::vector<PoolCapacity> pool_capacity(View& view, std::string_view actor) {
  std::map<std::string, PoolCapacity> pools;
  for (const Worker& worker : visible_workers(view, actor, {}, kWorkersMax)) {
    PoolCapacity& pool = pools[worker.pool];
    pool.pool = worker.pool;
    ++pool.workers;
    if (worker.state == WorkerState::kLost) {
      ++pool.lost;
      continue;
    }
    if (worker.state == WorkerState::kDraining) ++pool.draining;
    pool.capacity += worker.capacity;
    pool.in_use += worker.in_use;
  }
  std::vector<PoolCapacity> out;
  for (auto& [name, pool] : pools) out.push_back(std::move(pool));
  return out;
}

}  // namespace fettle::runs
