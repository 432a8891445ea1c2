// What the tests of spool and writer share: a folder of their own, a spool with everything it needs, small records.
#pragma once

#include <gtest/gtest.h>
#include <stdlib.h>
#include <unistd.h>

#include <filesystem>
#include <future>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/metrics.h"
#include "core/rng.h"
#include "ingest/balance.h"
#include "ingest/disk_for_test.h"
#include "ingest/replay_guard.h"
#include "ingest/spool.h"

namespace fettle::ingest {

class TempFolder {
 public:
  TempFolder() {
    // In memory where that can be had: what is tested is the order of syncs, not their speed.
    const std::filesystem::path memory = "/dev/shm";
    const bool in_memory = ::access(memory.c_str(), W_OK) == 0;
    std::string pattern = (in_memory ? memory : std::filesystem::temp_directory_path()) / "fettle-spool-XXXXXX";
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempFolder(const TempFolder&) = delete;
  TempFolder& operator=(const TempFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

constexpr UnixNanos kTestStart = 1'790'000'000 * kNanosPerSecond;

inline RequestHash hash_of(std::uint64_t number) {
  RequestHash hash{};
  std::memcpy(hash.data(), &number, sizeof number);
  return hash;
}

// A record of `rows` spans of one sender whose block bytes are `text`.
inline SpoolRecord spans_record(std::string text, std::uint32_t rows = 1, std::string sender = "web") {
  SpoolRecord record;
  record.blocks.push_back({telemetry::Table::kSpans, 20'000, rows, 3, std::move(text)});
  CountDelta delta;
  delta.workspace.value = "acme";
  delta.sender = std::move(sender);
  delta.received = delta.accepted = rows;
  record.counts.push_back(std::move(delta));
  return record;
}

// One run of a server: a new Life on the same folder is a restart. Leaving it without stop() is a kill, but that what
// was appended before is written.
struct Life {
  explicit Life(std::filesystem::path folder, Clock& its_clock, std::string boot_id = "boot-1")
      : clock(its_clock), guard(its_clock) {
    options.dir = std::move(folder);
    options.boot_id = std::move(boot_id);
  }

  void open() {
    auto opened = Spool::open(options, disk, clock, rng, registry, balance, guard);
    ASSERT_TRUE(opened) << opened.error().message();
    spool = std::move(*opened);
  }
  std::future<Result<void>> append_later(SpoolRecord record) {
    auto promise = std::make_shared<std::promise<Result<void>>>();  // shared: the callback must be copyable into append
    std::future<Result<void>> outcome = promise->get_future();
    spool->append(std::move(record), [promise](Result<void> durable) { promise->set_value(std::move(durable)); });
    return outcome;
  }
  Result<void> append(SpoolRecord record) { return append_later(std::move(record)).get(); }
  SealedSegment take() {
    spool->flush();
    auto segment = spool->take({});
    EXPECT_TRUE(segment);
    return segment ? std::move(*segment) : SealedSegment{};
  }
  // The block bytes of everything that is left, by taking it; the spool is closed then.
  std::vector<std::string> drain() {
    spool->close();
    std::vector<std::string> texts;
    while (auto segment = spool->take({})) {
      for (const SealedRecord& sealed : segment->records) {
        for (std::string_view bytes : sealed.block_bytes) texts.emplace_back(bytes);
      }
      EXPECT_TRUE(spool->confirm(*segment, {}));
    }
    return texts;
  }
  BalanceRow books(const std::string& sender = "web") const {
    for (BalanceRow& row : balance.snapshot({"acme"})) {
      if (row.sender == sender) return row;
    }
    return {};
  }

  Clock& clock;
  FaultyDisk disk;
  SeededRng rng{7};
  metrics::Registry registry;
  Balance balance;
  ReplayGuard guard;
  Spool::Options options;
  std::unique_ptr<Spool> spool;
};

}  // namespace fettle::ingest
