// Somebody outside who is told of checkpoints: what the server wrote there it cannot take back.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "ledger/checkpoint.h"

namespace fettle::db {
class Database;
}

namespace fettle::ledger {

// Called by the sequencer's thread alone. May be told of the same checkpoint again.
class Witness {
 public:
  virtual ~Witness() = default;
  virtual std::string_view name() const = 0;
  // Success means that it has arrived. After a failure the newest checkpoint is offered again with the next one.
  virtual Result<void> deliver(const Checkpoint& checkpoint) = 0;
};

// Appends one line of JSON for each checkpoint to a file, best on another machine's disk or one that only appends.
class FileWitness final : public Witness {
 public:
  explicit FileWitness(std::filesystem::path file) : file_(std::move(file)) {}
  std::string_view name() const override { return "file"; }
  // kUnavailable naming the file; the line is synced to the disk before it answers.
  Result<void> deliver(const Checkpoint& checkpoint) override;

 private:
  std::filesystem::path file_;
};

// Publishes each checkpoint as the event `audit.checkpoint` of its workspace, whose body is the checkpoint: a webhook
// that takes it keeps a copy on another host.
class EventWitness final : public Witness {
 public:
  EventWitness(db::Database& database, Clock& clock) : database_(database), clock_(clock) {}
  std::string_view name() const override { return "events"; }
  Result<void> deliver(const Checkpoint& checkpoint) override;

 private:
  db::Database& database_;
  Clock& clock_;
};

// The checkpoints of a FileWitness's file, in its order; at most 1,000,000. kInvalidArgument names the line that is not
// one.
Result<std::vector<Checkpoint>> read_witness_file(const std::filesystem::path& file);

}  // namespace fettle::ledger
