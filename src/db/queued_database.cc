#include "db/queued_database.h"

#include <utility>

#include "core/log.h"

namespace fettle::db {

QueuedDatabase::QueuedDatabase(const Options& options, Clock& clock, metrics::Registry& registry)
    : options_(options),
      clock_(clock),
      books_(registry),
      writes_(options.write_queue_max),
      reads_(options.read_queue_max) {}

Status QueuedDatabase::status() const {
  Status status = books_.status();
  status.writes_waiting = writes_.size();
  status.reads_waiting = reads_.size();
  MutexLock lock(down_mutex_);
  status.down = down_;
  return status;
}

void QueuedDatabase::set_down(std::string why) {
  MutexLock lock(down_mutex_);
  if (why != down_) {
    if (why.empty()) {
      log::info("ledger_store_works_again");
    } else {
      log::error("ledger_store_down", {{"error", why}});
    }
  }
  down_ = std::move(why);
}

void QueuedDatabase::submit_write(ErasedBody<Transaction> body, Done<void> done, WriteOptions options) {
  WriteJob job{std::move(body), std::move(done), std::move(options)};
  if (const auto pushed = writes_.push(std::move(job)); pushed != JobQueue<WriteJob>::Push::kAccepted) {
    refuse(job, pushed, "write queue", options_, books_);
  }
}

void QueuedDatabase::submit_read(ErasedBody<Reader> body, Done<void> done, ReadOptions options) {
  ReadJob job{std::move(body), std::move(done), std::move(options)};
  if (const auto pushed = reads_.push(std::move(job)); pushed != JobQueue<ReadJob>::Push::kAccepted) {
    refuse(job, pushed, "read queue", options_, books_);
  }
}

}  // namespace fettle::db
