// Drains the spool into the store: one INSERT per table and day for a whole segment, all workspaces together.
//
//   Writer writer(options, spool, store, disk, clock, registry);
//   …
//   const Writer::Rest rest = writer.stop(clock.monotonic() + std::chrono::seconds(5));
//
// Every insert carries a token made of writer, segment, table and day, so that one that is sent again lands once. What
// the store does not answer, or cannot take for a reason of its own, is sent again for ever, with growing pauses; what
// it refuses for good is split into parts and then into halves down to the row, and the rows are put into
// spool/refused, counted and logged while the queue moves on. Works from construction on; at most two segments are in
// memory.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>

#include "core/clock.h"
#include "core/metrics.h"
#include "ingest/spool.h"
#include "ingest/store.h"

namespace fettle::ingest {

class Disk;

class Writer {
 public:
  struct Options {
    int inserts_max = 2;  // at once
    // In memory, while the older one is still on its way. telemetry::Retention relies on it (its kSegmentsOpenMax):
    // rows of older segments than the so many newest that can be read can all be read.
    std::size_t segments_open_max = 2;
    std::chrono::nanoseconds pause_min = std::chrono::milliseconds(100);
    std::chrono::nanoseconds pause_max = std::chrono::seconds(2);
    // A segment's table that the store refuses costs at most so many inserts more; what is refused after them is put
    // aside as it is, good rows included, lest a block of nothing but bad rows holds up the queue for hours. Two open
    // segments may be split at a time: together they must stay below the 1000 inserts whose tokens the store remembers,
    // or a kill in the middle would double rows.
    int split_inserts_max = 400;
    // After so many answers that the store has no memory or no time for it, a segment is sent in parts.
    int exhausted_answers_max = 5;
    std::uint64_t refused_bytes_max = 64ULL << 20;  // of spool/refused; past it refused rows are only counted
  };
  // What stop() left for the next start.
  struct Rest {
    std::uint64_t segments = 0;
    std::uint64_t bytes = 0;
  };

  // The references outlive the writer.
  Writer(Options options, Spool& spool, Store& store, Disk& disk, Clock& clock, metrics::Registry& registry);
  // Stops at once when stop() was not called: as good as a kill.
  ~Writer();
  Writer(const Writer&) = delete;
  Writer& operator=(const Writer&) = delete;

  // Closes the spool, sends what is in it until `deadline` (of Clock::monotonic), and notes that the run ended in
  // order.
  Rest stop(std::chrono::nanoseconds deadline);

  std::uint64_t refused_rows() const;
  // How long inserts have been failing; zero while the last one succeeded. For health checks.
  std::chrono::nanoseconds failing_for() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::ingest
