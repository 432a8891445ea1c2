// The ledger's store: SQLite or PostgreSQL behind one interface. Small transactions that travel together, and
// snapshots.
//
//   auto ledger = db::open(Secret("sqlite:/var/lib/fettle/ledger.db"), options, clock, registry);
//   (*ledger)->write([id](db::Transaction& tx) -> Result<int> { … return attempts; },
//                    [](Result<int> committed) { … });
//
// A BODY MAY RUN MORE THAN ONCE (PostgreSQL runs it SERIALIZABLE and repeats it on a conflict; either store repeats it
// when a neighbour in its commit upset the commit), so it touches nothing but its transaction and its own return value,
// takes time and randomness from what it captured, and gives the same answer for the same data. It runs on a thread of
// the store: it must not block on anything else, nor call *_and_wait. Returning an error undoes what it did. A body
// that throws has failed with kInternal.
//
// `done` is called once, on a thread of the store, after the commit is durable; or before write() returns when the
// transaction is refused outright. It must be quick, must not throw and must not call *_and_wait. Thread-safe.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <future>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/secret.h"
#include "db/transaction.h"

namespace fettle::db {

struct Options {
  std::size_t write_queue_max = 10'000;  // transactions waiting; past it kResourceExhausted
  std::size_t read_queue_max = 2'000;
  std::size_t fold_max = 1'000;  // transactions under one commit
  unsigned readers = 4;          // threads, each with a connection
  unsigned writers = 1;          // threads, each with a connection; PostgreSQL only: SQLite has one
  std::uint64_t result_rows_max = 100'000;
  std::uint64_t result_bytes_max = 64ULL << 20;
  std::chrono::milliseconds retry_after = std::chrono::seconds(1);  // advised when a queue is full
  std::chrono::milliseconds read_deadline = std::chrono::seconds(10);
  std::chrono::milliseconds write_deadline = std::chrono::seconds(10);
  std::chrono::milliseconds lock_wait_max = std::chrono::seconds(5);  // for another process or replica
  unsigned repeats_max = 20;                                          // of a transaction that conflicts
  std::size_t statements_max = 256;                                   // prepared, for each connection
  std::uint64_t writer_cache_bytes = 64ULL << 20;                     // SQLite's pages
  std::uint64_t reader_cache_bytes = 8ULL << 20;
  std::uint64_t wal_bytes_target = 8ULL << 20;  // SQLite: a checkpoint is due
  std::uint64_t wal_bytes_max = 256ULL << 20;   // SQLite: the writer stops to help
  std::chrono::milliseconds connect_timeout = std::chrono::seconds(5);
};

struct WriteOptions {
  // In a commit of its own and without time limits: for migrations and maintenance.
  bool alone = false;
  // Asked for from inside a body: in that body's commit and after it, where the store can (Database::joins).
  bool joins = false;
  // The workspace that it is for, if for one: from the second on none has more than half of a queue, so that one that
  // floods the store is refused (kResourceExhausted) while the others go on.
  std::string owner = {};
};

struct ReadOptions {
  // For the whole body, from when it starts; Options::read_deadline when empty.
  std::optional<std::chrono::milliseconds> deadline = {};
  std::string owner = {};  // as above
};

// Counts since the store was opened.
struct Status {
  std::uint64_t commits = 0;
  std::uint64_t transactions = 0;  // that are in them
  std::uint64_t failed = 0;
  std::uint64_t refused = 0;  // by a full queue
  std::uint64_t repeated = 0;
  std::uint64_t reads = 0;
  std::size_t writes_waiting = 0;
  std::size_t reads_waiting = 0;
  // Empty while the store works; otherwise why it does not. It mends itself: the next transaction tries again.
  std::string down;
};

namespace internal {
template <class Body, class Argument>
using BodyValue = typename std::invoke_result_t<Body&, Argument&>::value_type;
}

class Database {
 public:
  template <class T>
  using Done = std::move_only_function<void(Result<T>)>;

  virtual ~Database() = default;
  virtual Dialect dialect() const = 0;

  // `body` is callable as Result<T>(Transaction&), `done` as void(Result<T>). Never blocks. Refusals:
  // kResourceExhausted with retry_after when the queue is full, kCancelled after close(). kUnavailable means that the
  // store did not answer; its message says when it is unknown whether the commit happened.
  template <class Body, class T = internal::BodyValue<Body, Transaction>>
  void write(Body body, std::type_identity_t<Done<T>> done, WriteOptions options = {}) {
    auto [run, finish] = split<Transaction, T>(std::move(body), std::move(done));
    submit_write(std::move(run), std::move(finish), options);
  }
  // The same with a snapshot: Result<T>(Reader&). Sees every commit that was completed before; never delays a writer.
  template <class Body, class T = internal::BodyValue<Body, Reader>>
  void read(Body body, std::type_identity_t<Done<T>> done, ReadOptions options = {}) {
    auto [run, finish] = split<Reader, T>(std::move(body), std::move(done));
    submit_read(std::move(run), std::move(finish), options);
  }

  // For start-up, command line and tests: block until done.
  template <class Body, class T = internal::BodyValue<Body, Transaction>>
  Result<T> write_and_wait(Body body, WriteOptions options = {}) {
    std::promise<Result<T>> promise;
    write(std::move(body), [&](Result<T> result) { promise.set_value(std::move(result)); }, options);
    return promise.get_future().get();
  }
  template <class Body, class T = internal::BodyValue<Body, Reader>>
  Result<T> read_and_wait(Body body, ReadOptions options = {}) {
    std::promise<Result<T>> promise;
    read(std::move(body), [&](Result<T> result) { promise.set_value(std::move(result)); }, options);
    return promise.get_future().get();
  }

  // Whether it obeys WriteOptions::joins. Elsewhere such a transaction queues like any other, and what the body changes
  // is not to be seen by it yet.
  virtual bool joins() const { return false; }
  virtual Status status() const = 0;
  // No transaction is accepted any more; those waiting are run and called back. Blocks until then. Idempotent.
  virtual void close() = 0;

 protected:
  template <class Argument>
  using ErasedBody = std::move_only_function<Result<void>(Argument&)>;
  virtual void submit_write(ErasedBody<Transaction> body, Done<void> done, WriteOptions options) = 0;
  virtual void submit_read(ErasedBody<Reader> body, Done<void> done, ReadOptions options) = 0;

 private:
  // A body's value waits beside the queue until the commit is durable.
  template <class Argument, class T, class Body>
  static std::pair<ErasedBody<Argument>, Done<void>> split(Body body, Done<T> done) {
    if constexpr (std::is_void_v<T>) {
      return {ErasedBody<Argument>(std::move(body)), std::move(done)};
    } else {
      // Shared: the body writes it, possibly several times, and the completion takes it.
      auto slot = std::make_shared<std::optional<T>>();
      return {[slot, body = std::move(body)](Argument& argument) mutable -> Result<void> {
                Result<T> result = body(argument);
                if (!result) return std::unexpected(std::move(result).error());
                *slot = std::move(*result);
                return {};
              },
              [slot, done = std::move(done)](Result<void> result) mutable {
                if (!result) return done(std::unexpected(std::move(result).error()));
                done(std::move(**slot));
              }};
    }
  }
};

// `url` is sqlite:PATH, or postgres://… or postgresql://… as libpq reads it. The references outlive the database.
// Creates the SQLite file (0600) when there is none; the folder must exist. kDataLoss when the file is damaged or is
// not a database, kUnavailable when the store cannot be reached. No message holds the password.
Result<std::unique_ptr<Database>> open(const Secret& url, const Options& options, Clock& clock,
                                       metrics::Registry& registry);

}  // namespace fettle::db
