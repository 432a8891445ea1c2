#include "ingest/writer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <climits>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <tuple>
#include <utility>

#include "core/json.h"
#include "core/log.h"
#include "core/mutex.h"
#include "ingest/disk.h"
#include "ingest/native_slice.h"
#include "ingest/release_memory.h"
#include "telemetry/native.h"

namespace fettle::ingest {
namespace {

namespace fs = std::filesystem;
using telemetry::Table;

// What is refused whole is first sent in so many parts. Their borders depend on nothing but the segment, so that a part
// which was not taken for want of memory or time is the same part when it is sent after a restart.
constexpr std::size_t kSplitParts = 32;
// One much larger than segments are holds a single large request.
constexpr std::size_t kLargeSegmentBytes = 48UL << 20;

const std::vector<double> kInsertBounds = {0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30};
// For labels and tokens. A token may be in the store's deduplication window when the server is upgraded: never rename.
std::string_view name_of(Table table) {
  switch (table) {
    case Table::kSpans: return "spans";
    case Table::kLogs: return "logs";
    case Table::kIdentifiers: return "identifiers";
    case Table::kLlmCalls: return "llm_calls";
    case Table::kSeries: return "series";
    case Table::kNumberPoints: return "number_points";
    case Table::kHistogramPoints: return "histogram_points";
    case Table::kExemplars: return "exemplars";
    case Table::kTraces: return "traces";
    case Table::kSpanRollup: return "span_rollup";
    case Table::kEvents: return "events";
  }
  return "unknown";
}

// Whose books a row of this table is in: one row is one record there. Rows of the other tables follow from them.
std::optional<Signal> signal_of(Table table) {
  switch (table) {
    case Table::kSpans: return Signal::kSpans;
    case Table::kLogs: return Signal::kLogs;
    case Table::kNumberPoints:
    case Table::kHistogramPoints: return Signal::kPoints;
    default: return std::nullopt;
  }
}

bool is_refusal(const Error& error) {
  return error.code() == ErrorCode::kInvalidArgument || error.code() == ErrorCode::kTooLarge;
}

struct BlockPlace {
  std::size_t record = 0;
  std::size_t block = 0;
};

struct OpenSegment {
  SealedSegment sealed;
  std::size_t jobs_left = 0;        // guarded by the writer's mutex
  std::vector<CountDelta> refused;  // guarded by the writer's mutex
  std::vector<fs::path> markers;    // of tables that were split; guarded by the writer's mutex
};

// All blocks of a segment for one table and day.
struct Job {
  std::shared_ptr<OpenSegment> segment;  // shared by the jobs of a segment, which end in any order
  Table table = Table::kSpans;
  std::int32_t day = 0;
  std::vector<BlockPlace> blocks;
};

enum class Sent { kStored, kRefused, kStopped };

}  // namespace

struct Writer::Impl {
  Impl(Options its_options, Spool& its_spool, Store& its_store, Disk& its_disk, Clock& its_clock,
       metrics::Registry& its_registry)
      : options(its_options),
        spool(its_spool),
        store(its_store),
        disk(its_disk),
        clock(its_clock),
        registry(its_registry),
        refused_folder(its_spool.dir() / "refused"),
        retries(registry.counter("fettle_store_insert_retries_total", "Inserts sent again.")),
        faults(registry.counter("fettle_store_insert_faults_total",
                                "Inserts that the store cannot take for a reason of its own, such as its schema.")) {
    measure_refused();
  }

  void run_dispatcher();
  void run_inserter();
  void confirm_ready();
  std::vector<Job> jobs_of(const std::shared_ptr<OpenSegment>& segment) const;

  bool run(const Job& job);
  Sent send(const Job& job, std::span<const std::string_view> pieces, std::string_view token, Error* refusal,
            int exhausted_answers_max);
  std::optional<bool> is_stored_already(const Job& job);
  bool split(const Job& job, std::string_view token, const Error& refusal);
  bool mark_split(const Job& job, std::string_view token);
  std::vector<telemetry::NativeFrame> frames_of(const Job& job, std::span<const BlockPlace> blocks,
                                                std::vector<std::string_view>& pieces) const;
  bool split_blocks(const Job& job, std::size_t first, std::size_t count, std::string_view token, const Error& refusal,
                    int& inserts_left);
  telemetry::TableBlock block_at(const Job& job, BlockPlace place) const;
  bool split_rows(const Job& job, BlockPlace place, const telemetry::TableBlock& block, std::uint32_t first,
                  std::string_view token, const Error& refusal, int& inserts_left);
  bool set_aside(const Job& job, BlockPlace place, const telemetry::TableBlock& block, std::uint32_t first,
                 const std::string& token, const Error& refusal);
  void charge(const Job& job, BlockPlace place, std::uint32_t first, std::uint32_t rows);
  void measure_refused();
  fs::path marker_of(std::string_view token) const { return refused_folder / fmt::format("{}.splitting", token); }

  const Options options;
  Spool& spool;
  Store& store;
  Disk& disk;
  Clock& clock;
  metrics::Registry& registry;
  const fs::path refused_folder;
  metrics::Counter& retries;
  metrics::Counter& faults;

  mutable Mutex mutex;
  Condition has_jobs;
  Condition has_place;
  std::deque<Job> jobs FETTLE_GUARDED_BY(mutex);
  std::deque<std::shared_ptr<OpenSegment>> open FETTLE_GUARDED_BY(mutex);  // oldest first
  bool is_confirming FETTLE_GUARDED_BY(mutex) = false;
  bool is_drained FETTLE_GUARDED_BY(mutex) = false;
  std::uint32_t attempted FETTLE_GUARDED_BY(mutex) = 0;
  std::uint64_t refused_bytes FETTLE_GUARDED_BY(mutex) = 0;
  std::uint64_t refused_rows FETTLE_GUARDED_BY(mutex) = 0;
  std::optional<std::chrono::nanoseconds> failing_since FETTLE_GUARDED_BY(mutex);

  std::stop_source stopping;
  std::stop_source drained;  // requested when everything is sent after the spool was closed
  std::vector<std::thread> threads;
};

Writer::Writer(Options options, Spool& spool, Store& store, Disk& disk, Clock& clock, metrics::Registry& registry)
    : impl_(std::make_unique<Impl>(options, spool, store, disk, clock, registry)) {
  impl_->threads.emplace_back([impl = impl_.get()] { impl->run_dispatcher(); });
  for (int i = 0; i < options.inserts_max; ++i) {
    impl_->threads.emplace_back([impl = impl_.get()] { impl->run_inserter(); });
  }
}

Writer::~Writer() {
  impl_->stopping.request_stop();
  for (std::thread& thread : impl_->threads) thread.join();
}

Writer::Rest Writer::stop(std::chrono::nanoseconds deadline) {
  impl_->spool.close();
  impl_->spool.flush();
  impl_->clock.wait_until(deadline, impl_->drained.get_token());
  impl_->stopping.request_stop();
  for (std::thread& thread : impl_->threads) thread.join();
  impl_->threads.clear();
  std::uint32_t attempted = 0;
  {
    MutexLock lock(impl_->mutex);
    attempted = impl_->attempted;
  }
  if (auto marked = impl_->spool.mark_clean(attempted); !marked) {
    log::warning("spool_end_not_noted", {{"error", marked.error().message()}});
  }
  const SpoolStatus status = impl_->spool.status();
  log::info("writer_stopped", {{"segments_left", status.segments}, {"bytes_left", status.bytes}});
  return {status.segments, status.bytes};
}

std::uint64_t Writer::refused_rows() const {
  MutexLock lock(impl_->mutex);
  return impl_->refused_rows;
}

std::chrono::nanoseconds Writer::failing_for() const {
  MutexLock lock(impl_->mutex);
  if (!impl_->failing_since) return std::chrono::nanoseconds(0);
  return impl_->clock.monotonic() - *impl_->failing_since;
}

void Writer::Impl::run_dispatcher() {
  const std::stop_token stop = stopping.get_token();
  while (true) {
    {
      MutexLock lock(mutex);
      while (open.size() >= options.segments_open_max) {
        if (!has_place.wait(lock, stop)) return;
      }
    }
    auto sealed = spool.take(stop);
    if (!sealed) break;
    auto segment = std::make_shared<OpenSegment>();
    segment->sealed = std::move(*sealed);
    std::vector<Job> made = jobs_of(segment);
    {
      MutexLock lock(mutex);
      segment->jobs_left = made.size();
      open.push_back(segment);
      std::ranges::move(made, std::back_inserter(jobs));
      has_jobs.notify_all();
    }
    confirm_ready();  // a segment of counts alone has no jobs
  }
  MutexLock lock(mutex);
  is_drained = !stop.stop_requested();
  if (is_drained && open.empty()) drained.request_stop();
}

void Writer::Impl::run_inserter() {
  const std::stop_token stop = stopping.get_token();
  while (true) {
    Job job;
    {
      MutexLock lock(mutex);
      while (jobs.empty()) {
        if (!has_jobs.wait(lock, stop)) return;
      }
      if (stop.stop_requested()) return;
      job = std::move(jobs.front());
      jobs.pop_front();
      attempted = std::max(attempted, job.segment->sealed.number);
    }
    if (!run(job)) return;
    {
      MutexLock lock(mutex);
      --job.segment->jobs_left;
    }
    confirm_ready();
  }
}

// In order, by whichever thread finds the oldest segment complete.
void Writer::Impl::confirm_ready() {
  const std::stop_token stop = stopping.get_token();
  while (true) {
    std::shared_ptr<OpenSegment> oldest;
    {
      MutexLock lock(mutex);
      if (is_confirming || open.empty() || open.front()->jobs_left > 0) return;
      is_confirming = true;
      oldest = open.front();
    }
    bool is_confirmed = false;
    while (!is_confirmed) {
      auto outcome = spool.confirm(oldest->sealed, oldest->refused);
      is_confirmed = outcome.has_value();
      if (is_confirmed) break;
      log::error("segment_not_confirmed", {{"segment", oldest->sealed.number}, {"error", outcome.error().message()}});
      if (!clock.wait_for(options.pause_max, stop)) break;
    }
    if (is_confirmed) {
      // Not before: a start that finds the segment unconfirmed must split it again with the same tokens.
      for (const fs::path& marker : oldest->markers) std::ignore = disk.remove(marker);
    }
    const bool is_large = oldest->sealed.bytes->size() > kLargeSegmentBytes;
    {
      MutexLock lock(mutex);
      is_confirming = false;
      if (!is_confirmed) return;
      open.pop_front();
      has_place.notify_all();
      if (is_drained && open.empty()) drained.request_stop();
    }
    oldest.reset();
    if (is_large) release_memory();
  }
}

std::vector<Job> Writer::Impl::jobs_of(const std::shared_ptr<OpenSegment>& segment) const {
  // Series before their points, so that no point is readable before what it belongs to.
  const auto rank = [](Table table) { return table == Table::kSeries ? 0 : static_cast<int>(table); };
  std::map<std::tuple<int, std::int32_t>, Job> by_place;
  const auto& records = segment->sealed.records;
  for (std::size_t record = 0; record < records.size(); ++record) {
    const auto& blocks = records[record].record.blocks;
    for (std::size_t block = 0; block < blocks.size(); ++block) {
      if (blocks[block].rows == 0) continue;
      Job& job = by_place[{rank(blocks[block].table), blocks[block].day}];
      job.segment = segment;
      job.table = blocks[block].table;
      job.day = blocks[block].day;
      job.blocks.push_back({record, block});
    }
  }
  std::vector<Job> made;
  made.reserve(by_place.size());
  for (auto& [place, job] : by_place) made.push_back(std::move(job));
  return made;
}

// False when stopped before the outcome was known.
bool Writer::Impl::run(const Job& job) {
  const SealedSegment& sealed = job.segment->sealed;
  const std::string token = fmt::format("{:08x}-{}-{}-{}", static_cast<std::uint32_t>(sealed.ingest_id >> 32),
                                        sealed.number, name_of(job.table), job.day);
  if (disk.open(marker_of(token), Disk::Mode::kExisting)) {
    // The last run was splitting this one: that some rows are there says nothing about the others.
    return split(job, token, Error(ErrorCode::kInvalidArgument, "refused before the last start"));
  }
  if (sealed.ask_first && telemetry::has_ingest_id(job.table)) {
    const std::optional<bool> is_stored = is_stored_already(job);
    if (!is_stored) return false;
    if (*is_stored) return true;
  }
  std::vector<std::string_view> pieces;
  const auto frames = frames_of(job, job.blocks, pieces);
  Error refusal(ErrorCode::kInternal, "");
  switch (send(job, pieces, token, &refusal, options.exhausted_answers_max)) {
    case Sent::kStored: return true;
    case Sent::kStopped: return false;
    case Sent::kRefused: break;
  }
  // The rows may be there all the same, when it is a view behind the table that failed, or when the answer came too
  // late: then parts would double them.
  if (telemetry::has_ingest_id(job.table)) {
    const std::optional<bool> is_stored = is_stored_already(job);
    if (!is_stored) return false;
    if (*is_stored) {
      log::error("store_refused_what_it_stored", {{"token", token}, {"error", refusal.message()}});
      return true;
    }
  }
  return split(job, token, refusal);
}

// The blocks as they go over the wire; `pieces` are valid as long as the frames are.
std::vector<telemetry::NativeFrame> Writer::Impl::frames_of(const Job& job, std::span<const BlockPlace> blocks,
                                                            std::vector<std::string_view>& pieces) const {
  const SealedSegment& sealed = job.segment->sealed;
  std::vector<telemetry::NativeFrame> frames;
  frames.reserve(blocks.size());  // a frame must stay where it is
  pieces.reserve(3 * blocks.size());
  for (const BlockPlace place : blocks) {
    const SealedRecord& record = sealed.records[place.record];
    const auto frame = frames.emplace_back(record.record.blocks[place.block], sealed.ingest_id).pieces();
    pieces.insert(pieces.end(), {frame[0], record.block_bytes[place.block], frame[2]});
  }
  return frames;
}

// Again and again until the store says yes or no. No is also that it had no memory or no time for it too often.
Sent Writer::Impl::send(const Job& job, std::span<const std::string_view> pieces, std::string_view token,
                        Error* refusal, int exhausted_answers_max) {
  const std::stop_token stop = stopping.get_token();
  auto pause = options.pause_min;
  int exhausted_answers = 0;
  while (true) {
    const auto begin = clock.monotonic();
    auto outcome = store.insert(job.table, pieces, token, stop);
    if (outcome) {
      registry
          .histogram("fettle_store_insert_seconds", "One insert, successful.", kInsertBounds,
                     {{"table", std::string(name_of(job.table))}})
          .observe(std::chrono::duration<double>(clock.monotonic() - begin).count());
      MutexLock lock(mutex);
      failing_since.reset();
      return Sent::kStored;
    }
    const Error& error = outcome.error();
    if (error.code() == ErrorCode::kResourceExhausted || error.code() == ErrorCode::kDeadlineExceeded) {
      ++exhausted_answers;
    }
    if (is_refusal(error) || exhausted_answers >= exhausted_answers_max) {
      *refusal = error;
      return Sent::kRefused;
    }
    if (stop.stop_requested()) return Sent::kStopped;
    {
      MutexLock lock(mutex);
      if (!failing_since) failing_since = begin;
    }
    if (error.code() == ErrorCode::kInternal) {
      faults.add();
      log::error("store_cannot_take_inserts", {{"token", token}, {"error", error.message()}});
    } else {
      log::warning("store_insert_failed", {{"token", token}, {"error", error.message()}});
    }
    if (!clock.wait_for(
            std::max<std::chrono::nanoseconds>(pause, error.retry_after().value_or(std::chrono::milliseconds(0))),
            stop)) {
      return Sent::kStopped;
    }
    retries.add();
    pause = std::min(2 * pause, options.pause_max);
  }
}

// Nothing when stopped before the store answered.
std::optional<bool> Writer::Impl::is_stored_already(const Job& job) {
  const std::stop_token stop = stopping.get_token();
  auto pause = options.pause_min;
  while (true) {
    auto answer = store.has_ingest_id(job.table, job.day, job.segment->sealed.ingest_id, stop);
    if (answer) return *answer;
    if (stop.stop_requested()) return std::nullopt;
    log::warning("store_not_asked", {{"segment", job.segment->sealed.number}, {"error", answer.error().message()}});
    if (!clock.wait_for(pause, stop)) return std::nullopt;
    pause = std::min(2 * pause, options.pause_max);
  }
}

bool Writer::Impl::split(const Job& job, std::string_view token, const Error& refusal) {
  log::error("store_refused_insert", {{"token", token}, {"blocks", job.blocks.size()}, {"error", refusal.message()}});
  if (!mark_split(job, token)) return false;
  int inserts_left = options.split_inserts_max;
  const std::size_t parts = std::min(job.blocks.size(), kSplitParts);
  for (std::size_t part = 0; part < parts; ++part) {
    const std::size_t first = part * job.blocks.size() / parts;
    const std::size_t end = (part + 1) * job.blocks.size() / parts;
    if (!split_blocks(job, first, end - first, token, refusal, inserts_left)) return false;
  }
  return true;
}

// Notes on disk that this insert is being split, before any part of it is sent: without the note, a start after a kill
// would take the parts that are stored for the whole. False when stopped before that.
bool Writer::Impl::mark_split(const Job& job, std::string_view token) {
  while (true) {
    Result<void> marked = disk.make_folder(refused_folder);
    if (marked) marked = write_file(disk, marker_of(token), {});
    if (marked) marked = disk.sync_folder(refused_folder);
    if (marked) marked = disk.sync_folder(spool.dir());
    if (marked) break;
    log::error("split_not_noted", {{"token", token}, {"error", marked.error().message()}});
    if (!clock.wait_for(options.pause_max, stopping.get_token())) return false;
  }
  MutexLock lock(mutex);
  job.segment->markers.push_back(marker_of(token));
  return true;
}

// Sends these blocks together; when they are refused, each half of them, down to the rows of one.
bool Writer::Impl::split_blocks(const Job& job, std::size_t first, std::size_t count, std::string_view token,
                                const Error& refusal, int& inserts_left) {
  const auto block_token = [&](BlockPlace place) { return fmt::format("{}-{}.{}", token, place.record, place.block); };
  if (count == 1) {
    const BlockPlace place = job.blocks[first];
    return split_rows(job, place, block_at(job, place), 0, block_token(place), refusal, inserts_left);
  }
  const std::span<const BlockPlace> blocks = std::span(job.blocks).subspan(first, count);
  const std::string own_token = fmt::format("{}-b{}+{}", token, first, count);
  std::vector<std::string_view> pieces;
  const auto frames = frames_of(job, blocks, pieces);
  Error own_refusal = refusal;
  switch (send(job, pieces, own_token, &own_refusal, INT_MAX)) {
    case Sent::kStored: return true;
    case Sent::kStopped: return false;
    case Sent::kRefused: break;
  }
  if (inserts_left > 0) {
    inserts_left -= 2;
    const std::size_t half = count / 2;
    return split_blocks(job, first, half, token, own_refusal, inserts_left) &&
           split_blocks(job, first + half, count - half, token, own_refusal, inserts_left);
  }
  for (const BlockPlace place : blocks) {
    const telemetry::TableBlock block = block_at(job, place);
    if (!set_aside(job, place, block, 0, fmt::format("{}.0+{}", block_token(place), block.rows), own_refusal)) {
      return false;
    }
  }
  return true;
}

telemetry::TableBlock Writer::Impl::block_at(const Job& job, BlockPlace place) const {
  const SealedRecord& record = job.segment->sealed.records[place.record];
  telemetry::TableBlock block = record.record.blocks[place.block];
  block.bytes = record.block_bytes[place.block];
  return block;
}

// Sends these rows; when they are refused, each half of them; a single row that is refused is put aside. `block` holds
// the rows from `first` on of the block at `place`.
bool Writer::Impl::split_rows(const Job& job, BlockPlace place, const telemetry::TableBlock& block, std::uint32_t first,
                              std::string_view token, const Error& refusal, int& inserts_left) {
  const std::string own_token = fmt::format("{}.{}+{}", token, first, block.rows);
  const telemetry::NativeFrame frame(block, job.segment->sealed.ingest_id);
  const auto pieces = frame.pieces();
  Error own_refusal = refusal;
  // A store without memory for a single block says nothing against its rows.
  switch (send(job, pieces, own_token, &own_refusal, INT_MAX)) {
    case Sent::kStored: return true;
    case Sent::kStopped: return false;
    case Sent::kRefused: break;
  }
  if (block.rows > 1 && inserts_left > 0) {
    inserts_left -= 2;
    const std::uint32_t half = block.rows / 2;
    auto front = slice_block(block.bytes, block.columns, block.rows, 0, half);
    auto back = slice_block(block.bytes, block.columns, block.rows, half, block.rows - half);
    if (front && back) {
      telemetry::TableBlock part = {block.table, block.day, half, block.columns, std::move(*front)};
      if (!split_rows(job, place, part, first, token, own_refusal, inserts_left)) return false;
      part.rows = block.rows - half;
      part.bytes = std::move(*back);
      return split_rows(job, place, part, first + half, token, own_refusal, inserts_left);
    }
    const Error& why = front ? back.error() : front.error();
    log::error("block_not_split", {{"token", own_token}, {"error", why.message()}});
  }
  return set_aside(job, place, block, first, own_token, own_refusal);
}

// False when stopped before the rows were on disk.
bool Writer::Impl::set_aside(const Job& job, BlockPlace place, const telemetry::TableBlock& block, std::uint32_t first,
                             const std::string& token, const Error& refusal) {
  log::error("store_refused_rows", {{"token", token}, {"rows", block.rows}, {"error", refusal.message()}});
  // One line of JSON, then the rows as they were sent: what an operator needs to mend them and send them again.
  std::string content = fmt::format(R"({{"token":"{}","table":"{}","day":{},"rows":{},"reason":)", token,
                                    name_of(job.table), job.day, block.rows);
  append_json_string(content, refusal.message());
  content += "}\n";
  const telemetry::NativeFrame frame(block, job.segment->sealed.ingest_id);
  for (std::string_view piece : frame.pieces()) content += piece;
  bool is_kept = true;
  {
    MutexLock lock(mutex);
    if (refused_bytes + content.size() > options.refused_bytes_max) {
      is_kept = false;
    } else {
      refused_bytes += content.size();
    }
  }
  if (!is_kept) log::error("refused_rows_not_kept", {{"token", token}, {"bytes_max", options.refused_bytes_max}});
  // The name is the token, so that rows refused again after a crash replace themselves. They are on disk before the
  // segment is confirmed, however long the disk has no room.
  while (is_kept) {
    auto written = write_file(disk, refused_folder / (token + ".refused"), content);
    if (written) written = disk.sync_folder(refused_folder);
    if (written) break;
    log::error("refused_rows_not_written", {{"token", token}, {"error", written.error().message()}});
    if (!clock.wait_for(options.pause_max, stopping.get_token())) return false;
  }
  registry
      .counter("fettle_store_refused_rows_total", "Rows that the store refused for good.",
               {{"table", std::string(name_of(job.table))}})
      .add(block.rows);
  charge(job, place, first, block.rows);
  MutexLock lock(mutex);
  refused_rows += block.rows;
  return true;
}

// Moves the rows from stored to rejected in the books of whoever sent them.
void Writer::Impl::charge(const Job& job, BlockPlace place, std::uint32_t first, std::uint32_t rows) {
  const std::optional<Signal> signal = signal_of(job.table);
  if (!signal) return;
  const SpoolRecord& record = job.segment->sealed.records[place.record].record;
  const auto charge_to = [&](const CountDelta& whose, std::uint64_t count) FETTLE_REQUIRES(mutex) {
    CountDelta& delta = job.segment->refused.emplace_back();
    delta.workspace = whose.workspace;
    delta.sender = whose.sender;
    delta.signal = whose.signal;
    delta.rejected[std::string(Balance::kRefusedByStore)] = count;
  };
  MutexLock lock(mutex);
  std::uint64_t charged = 0;
  std::uint64_t run_begin = 0;
  for (const RowOrigin& origin : record.origins) {
    if (origin.block != place.block) continue;
    const std::uint64_t from = std::max<std::uint64_t>(first, run_begin);
    run_begin += origin.rows;
    const std::uint64_t to = std::min<std::uint64_t>(std::uint64_t{first} + rows, run_begin);
    if (from >= to) continue;
    charge_to(record.counts[origin.count], to - from);
    charged += to - from;
  }
  if (charged == rows) return;
  const auto whose = std::ranges::find(record.counts, *signal, &CountDelta::signal);
  if (whose != record.counts.end()) charge_to(*whose, rows - charged);
}

void Writer::Impl::measure_refused() {
  MutexLock lock(mutex);
  auto names = disk.list(refused_folder);
  if (!names) return;
  for (const std::string& name : *names) {
    if (auto file = disk.open(refused_folder / name, Disk::Mode::kExisting)) {
      refused_bytes += (*file)->size().value_or(0);
    }
  }
}

}  // namespace fettle::ingest
