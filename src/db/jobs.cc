#include "db/jobs.h"

#include <exception>
#include <string>

#include "core/log.h"

namespace fettle::db {
namespace {

template <class Body, class Argument>
Result<void> guarded(Body& body, Argument& argument) {
  try {
    return body(argument);
  } catch (const std::exception& error) {
    return fail(ErrorCode::kInternal, std::string("a transaction's body threw: ") + error.what());
  } catch (...) {
    return fail(ErrorCode::kInternal, "a transaction's body threw");
  }
}

}  // namespace

Result<void> run_body(std::move_only_function<Result<void>(Transaction&)>& body, Transaction& tx) {
  return guarded(body, tx);
}

Result<void> run_body(std::move_only_function<Result<void>(Reader&)>& body, Reader& reader) {
  return guarded(body, reader);
}

void complete(std::move_only_function<void(Result<void>)>& done, Result<void> result) {
  try {
    done(std::move(result));
  } catch (const std::exception& error) {
    log::error("ledger_completion_threw", {{"error", error.what()}});
  } catch (...) {
    log::error("ledger_completion_threw");
  }
}

Books::Books(metrics::Registry& registry)
    : committed_(registry.counter("fettle_ledger_transactions_total", "Transactions of the ledger by outcome.",
                                  {{"outcome", "committed"}})),
      failed_(registry.counter("fettle_ledger_transactions_total", "Transactions of the ledger by outcome.",
                               {{"outcome", "failed"}})),
      refused_(registry.counter("fettle_ledger_transactions_total", "Transactions of the ledger by outcome.",
                                {{"outcome", "refused"}})),
      repeated_(
          registry.counter("fettle_ledger_repeats_total", "Transaction bodies of the ledger that were run again.")),
      commits_(registry.counter("fettle_ledger_commits_total", "Commits of the ledger, each of many transactions.")),
      reads_ok_(registry.counter("fettle_ledger_reads_total", "Snapshots read from the ledger by outcome.",
                                 {{"outcome", "ok"}})),
      reads_failed_(registry.counter("fettle_ledger_reads_total", "Snapshots read from the ledger by outcome.",
                                     {{"outcome", "failed"}})),
      commit_seconds_(registry.histogram("fettle_ledger_commit_seconds",
                                         "From the start of a group of transactions to its durable commit.",
                                         {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5})) {}

void Books::committed(std::size_t transactions, double seconds) {
  committed_.add(static_cast<double>(transactions));
  commits_.add();
  commit_seconds_.observe(seconds);
  MutexLock lock(mutex_);
  status_.transactions += transactions;
  ++status_.commits;
}

void Books::failed(std::size_t transactions) {
  if (transactions == 0) return;
  failed_.add(static_cast<double>(transactions));
  MutexLock lock(mutex_);
  status_.failed += transactions;
}

void Books::refused() {
  refused_.add();
  MutexLock lock(mutex_);
  ++status_.refused;
}

void Books::repeated() {
  repeated_.add();
  MutexLock lock(mutex_);
  ++status_.repeated;
}

void Books::read(bool ok) {
  (ok ? reads_ok_ : reads_failed_).add();
  MutexLock lock(mutex_);
  ++status_.reads;
}

Status Books::status() const {
  MutexLock lock(mutex_);
  return status_;
}

}  // namespace fettle::db
