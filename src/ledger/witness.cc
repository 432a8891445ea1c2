#include "ledger/witness.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>

#include "db/database.h"
#include "ledger/events.h"

namespace fettle::ledger {
namespace {
constexpr std::size_t kCheckpointsMax = 1'000'000;
}

Result<void> FileWitness::deliver(const Checkpoint& checkpoint) {
  const std::string line = to_json(checkpoint) + '\n';
  const int fd = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  bool good = fd >= 0;
  // In one write, so that two servers with one file never mix their lines.
  good = good && ::write(fd, line.data(), line.size()) == static_cast<ssize_t>(line.size());
  good = good && ::fdatasync(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (!good) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("writing a checkpoint to '{}': {}", file_.string(), std::strerror(error)));
  }
  return {};
}

Result<void> EventWitness::deliver(const Checkpoint& checkpoint) {
  const std::string body = to_json(checkpoint);
  return database_.write_and_wait([&](db::Transaction& tx) {
    return publish(tx, Scope{checkpoint.workspace, {}},
                   Event{.type = "audit.checkpoint", .at = clock_.now(), .identifiers = {}, .body = body});
  });
}

Result<std::vector<Checkpoint>> read_witness_file(const std::filesystem::path& file) {
  std::ifstream in(file);
  if (!in) return fail(ErrorCode::kNotFound, fmt::format("'{}' cannot be read", file.string()));
  std::vector<Checkpoint> checkpoints;
  std::string line;
  while (std::getline(in, line)) {
    if (line.empty()) continue;
    auto checkpoint = parse_checkpoint(line);
    if (!checkpoint) {
      return std::unexpected(
          std::move(checkpoint).error().within(fmt::format("'{}' line {}", file.string(), checkpoints.size() + 1)));
    }
    if (checkpoints.size() == kCheckpointsMax) {
      return fail(ErrorCode::kTooLarge,
                  fmt::format("'{}' holds more than {} checkpoints", file.string(), kCheckpointsMax));
    }
    checkpoints.push_back(std::move(*checkpoint));
  }
  return checkpoints;
}

}  // namespace fettle::ledger
