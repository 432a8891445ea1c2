// What both stores have in common: the queues in front of their threads, the books, and whether the store works.
#pragma once

#include <string>

#include "core/mutex.h"
#include "db/database.h"
#include "db/jobs.h"

namespace fettle::db {

class QueuedDatabase : public Database {
 public:
  Status status() const override;

 protected:
  QueuedDatabase(const Options& options, Clock& clock, metrics::Registry& registry);

  void submit_write(ErasedBody<Transaction> body, Done<void> done, WriteOptions options) override;
  void submit_read(ErasedBody<Reader> body, Done<void> done, ReadOptions options) override;
  // Empty: it works. Logged when it changes. Thread-safe.
  void set_down(std::string why);

  // Constant after construction.
  const Options options_;
  Clock& clock_;

  // Self-synchronised.
  Books books_;
  JobQueue<WriteJob> writes_;
  JobQueue<ReadJob> reads_;

 private:
  mutable Mutex down_mutex_;
  std::string down_ FETTLE_GUARDED_BY(down_mutex_);
};

}  // namespace fettle::db
