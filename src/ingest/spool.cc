// Segment files go through these states:
//
//   open    the appender writes to it; there is at most one       open_segment()
//   sealed  complete, waiting for the writer                      seal()
//   taken   the writer sends it                                   take()
//   gone    the store has it, the checkpoint says so              confirm()
//
// A record is acknowledged only after its bytes are synced, and only bytes before Segment::bytes are ever read: what a
// failed write or sync left beyond is cut off, and the header of the next segment says where the intact part ends, so
// that it stays cut off even if the cut itself is lost in a crash.
#include "ingest/spool.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <map>
#include <mutex>
#include <set>
#include <span>
#include <thread>
#include <tuple>
#include <utility>

#include "core/log.h"
#include "core/mutex.h"
#include "ingest/checkpoint.h"
#include "ingest/disk.h"
#include "ingest/segment.h"

namespace fettle::ingest {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSegmentSuffix = ".segment";
constexpr std::string_view kUnreadableSuffix = ".unreadable";
constexpr std::string_view kWriterFile = "writer.id";
// Space is reserved in steps: a sync then need not write the file's length, and a full disk shows before a write.
constexpr std::uint64_t kReserveStepMin = 1 << 20;
constexpr std::uint64_t kReserveStepMax = 8 << 20;
constexpr int kReadAttemptsMax = 10;
constexpr std::chrono::nanoseconds kReadRetryDelay = std::chrono::seconds(1);
// From a sync on a fast disk to one on a disk that is in trouble.
const std::vector<double> kSecondsBounds = {0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 5};

double seconds(std::chrono::nanoseconds duration) { return std::chrono::duration<double>(duration).count(); }

bool is_record_table(telemetry::Table table) {
  using telemetry::Table;
  return table == Table::kSpans || table == Table::kLogs || table == Table::kNumberPoints ||
         table == Table::kHistogramPoints;
}

struct Rows {
  std::uint64_t all = 0;
  std::uint64_t records = 0;  // spans, log lines and points
};
Rows rows_of(const SpoolRecord& record) {
  Rows rows;
  for (const telemetry::TableBlock& block : record.blocks) {
    rows.all += block.rows;
    if (is_record_table(block.table)) rows.records += block.rows;
  }
  return rows;
}

std::string segment_name(std::uint32_t number) { return fmt::format("{:010}{}", number, kSegmentSuffix); }

std::optional<std::uint32_t> segment_number(std::string_view name) {
  if (name.size() != 10 + kSegmentSuffix.size() || !name.ends_with(kSegmentSuffix)) return std::nullopt;
  const std::string_view digits = name.substr(0, 10);
  if (digits.find_first_not_of("0123456789") != std::string_view::npos) return std::nullopt;
  const std::uint64_t number = std::stoull(std::string(digits));
  if (number == 0 || number > UINT32_MAX) return std::nullopt;
  return static_cast<std::uint32_t>(number);
}

struct Segment {
  std::uint32_t number = 0;
  std::uint64_t bytes = 0;  // intact ones, header included
  Rows rows;
  std::optional<UnixNanos> oldest_row_at;
  std::chrono::nanoseconds opened_at{0};  // monotonic
  std::uint64_t first_sequence = 0;
  std::uint64_t next_sequence = 0;
  bool sealed = false;
  bool taken = false;
  bool ask_first = false;
  std::set<std::uint64_t> known_losses;  // offsets, so that a loss found at start is not counted again when sent
};

// A segment's file that nobody writes to any more, and where its records end.
struct FinishedFile {
  std::unique_ptr<DiskFile> file;
  std::uint64_t end = 0;

  // Gives back the space reserved beyond. If that fails the zeros stay until the file goes: harmless.
  void trim() {
    if (file) std::ignore = file->truncate(end);
    file.reset();
  }
};

struct Waiting {
  EncodedRecord encoded;
  Spool::Done done;
  std::chrono::nanoseconds since{0};
};

}  // namespace

struct Spool::Impl {
  Impl(Options options_, Disk& disk_, Clock& clock_, metrics::Registry& registry, Balance& balance_,
       ReplayGuard& guard_)
      : options(std::move(options_)),
        disk(disk_),
        clock(clock_),
        balance(balance_),
        guard(guard_),
        request_log(disk_, options.dir, clock_, ReplayGuard::Limits{}.remember_for),
        bytes_gauge(registry.gauge("fettle_spool_bytes", "Bytes acknowledged and not yet in the store.")),
        age_gauge(registry.gauge("fettle_spool_oldest_seconds", "Age of the oldest record that is not readable yet.")),
        append_seconds(registry.histogram("fettle_spool_append_seconds", "From append to durable.", kSecondsBounds)),
        sync_seconds(registry.histogram("fettle_spool_sync_seconds", "One fdatasync of the spool.", kSecondsBounds)),
        lost_counter(registry.counter("fettle_spool_losses_total", "Damaged places found in spool files.")) {
    for (const Signal signal : {Signal::kSpans, Signal::kLogs, Signal::kPoints}) {
      for (const char* outcome :
           {"received", "duplicate", "rejected", "redacted_away", "stored", "sampled_out", "expired"}) {
        outcomes[{signal, outcome}] =
            &registry.counter("fettle_ingest_records_total", "Records by signal and outcome.",
                              {{"signal", std::string(to_string(signal))}, {"outcome", outcome}});
      }
    }
  }

  // Start.
  Result<void> start(Rng& rng);
  Result<std::uint32_t> find_writer(const std::optional<Checkpoint>& checkpoint,
                                    const std::vector<std::uint32_t>& numbers, Rng& rng);
  Result<void> recover(const std::optional<Checkpoint>& checkpoint, const std::vector<std::uint32_t>& numbers)
      FETTLE_REQUIRES(confirm_mutex);

  // The appender, with `writing` set.
  void run_appender();
  void write_group(std::vector<Waiting> group);
  Result<void> make_room_for(const EncodedRecord& next);
  Result<void> open_segment();
  std::size_t end_of_run(const std::vector<Waiting>& group, std::size_t begin);
  Result<void> write_run(std::span<Waiting> run);
  Result<void> reserve(std::uint64_t end);
  void give_up(const Error& error, bool content_unknown);

  FinishedFile seal() FETTLE_REQUIRES(mutex);
  void note_loss(SpoolLoss loss) FETTLE_REQUIRES(mutex);
  void show_bytes() FETTLE_REQUIRES(mutex) { bytes_gauge.set(static_cast<double>(bytes + waiting_bytes)); }
  std::optional<UnixNanos> oldest_row_at() FETTLE_REQUIRES(mutex);
  void count(const SpoolRecord& record);
  void count(Signal signal, const char* outcome, std::uint64_t records);
  std::optional<Segment> next_due(const std::stop_token& stop);
  std::optional<SealedSegment> read(const Segment& segment, const std::stop_token& stop);
  Result<void> store_checkpoint(bool clean, std::uint32_t attempted) FETTLE_REQUIRES(confirm_mutex);
  fs::path path_of(std::uint32_t number) const { return options.dir / segment_name(number); }
  // A record larger than what may wait would find no way through, and while it waits nobody else would: it counts as
  // most of the limit, so that one at a time passes and small ones pass beside it.
  std::uint64_t charge_of(std::uint64_t record_bytes) const {
    return std::min(record_bytes, options.waiting_bytes_max / 4 * 3);
  }
  bool is_full(std::uint64_t segment_bytes, std::uint64_t records, const EncodedRecord& next) const {
    return segment_bytes + next.bytes > options.segment_bytes_max || records >= options.segment_rows_max;
  }

  const Options options;
  Disk& disk;
  Clock& clock;
  Balance& balance;
  ReplayGuard& guard;
  std::uint32_t writer = 0;  // constant after start()

  Mutex confirm_mutex;  // taken before `mutex`
  std::optional<CheckpointFiles> checkpoints FETTLE_GUARDED_BY(confirm_mutex);
  RequestLog request_log FETTLE_GUARDED_BY(confirm_mutex);
  std::uint32_t applied FETTLE_GUARDED_BY(confirm_mutex) = 0;  // the newest segment in the balance's confirmed books
  std::uint32_t ask_until = 0;                                 // constant after start(); see Checkpoint
  std::uint32_t attempted_before = 0;  // constant after start(): the newest segment that an earlier run may have sent

  Mutex mutex;
  Condition has_waiting;
  Condition changed;  // what take() waits for
  std::vector<Waiting> waiting FETTLE_GUARDED_BY(mutex);
  std::uint64_t waiting_bytes FETTLE_GUARDED_BY(mutex) = 0;   // those being written included
  std::uint64_t waiting_charge FETTLE_GUARDED_BY(mutex) = 0;  // the same against options.waiting_bytes_max
  std::deque<Segment> segments FETTLE_GUARDED_BY(mutex);      // unconfirmed, oldest first
  std::uint64_t bytes FETTLE_GUARDED_BY(mutex) = 0;           // of `segments`
  std::uint32_t next_number FETTLE_GUARDED_BY(mutex) = 1;
  std::uint32_t last_number FETTLE_GUARDED_BY(mutex) = 0;  // the newest segment ever made, and where it ends
  std::uint64_t last_end FETTLE_GUARDED_BY(mutex) = 0;
  std::uint64_t next_sequence FETTLE_GUARDED_BY(mutex) = 1;
  bool closed FETTLE_GUARDED_BY(mutex) = false;
  std::once_flag joined;
  bool appender_done FETTLE_GUARDED_BY(mutex) = false;
  bool hurry FETTLE_GUARDED_BY(mutex) = false;
  bool disk_full FETTLE_GUARDED_BY(mutex) = false;
  bool writing FETTLE_GUARDED_BY(mutex) = false;  // the appender is using `file` without the lock
  bool seal_when_written FETTLE_GUARDED_BY(mutex) = false;
  std::optional<std::chrono::nanoseconds> sealed_at FETTLE_GUARDED_BY(mutex);
  std::stop_source timed_wait FETTLE_GUARDED_BY(mutex);  // ends the taker's wait for the time to seal
  std::deque<SpoolLoss> losses FETTLE_GUARDED_BY(mutex);
  std::uint64_t losses_total FETTLE_GUARDED_BY(mutex) = 0;

  // Of the open segment. The appender's while `writing`, else guarded by `mutex`.
  std::unique_ptr<DiskFile> file;
  std::uint64_t reserved = 0;
  std::uint32_t open_number = 0;
  std::string header;  // to be written with the first records; until then the segment is not in `segments`

  metrics::Gauge& bytes_gauge;
  metrics::Gauge& age_gauge;
  metrics::Histogram& append_seconds;
  metrics::Histogram& sync_seconds;
  metrics::Counter& lost_counter;
  std::map<std::pair<Signal, std::string>, metrics::Counter*> outcomes;  // constant after construction

  std::thread appender;
};

// ---- start

Result<std::unique_ptr<Spool>> Spool::open(Options options, Disk& disk, Clock& clock, Rng& rng,
                                           metrics::Registry& registry, Balance& balance, ReplayGuard& guard) {
  auto impl = std::make_unique<Impl>(std::move(options), disk, clock, registry, balance, guard);
  if (auto started = impl->start(rng); !started) {
    return std::unexpected(std::move(started).error().within("opening the spool"));
  }
  impl->appender = std::thread([raw = impl.get()] { raw->run_appender(); });
  return std::unique_ptr<Spool>(new Spool(std::move(impl)));
}

Spool::Spool(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Spool::~Spool() { close(); }

Result<void> Spool::Impl::start(Rng& rng) {
  if (auto made = disk.make_folder(options.dir); !made) return made;
  // A new folder is as lasting as its name in the one above.
  const fs::path parent = options.dir.has_parent_path() ? options.dir.parent_path() : fs::path(".");
  if (auto synced = disk.sync_folder(parent); !synced) {
    log::warning("spool_parent_not_synced", {{"error", synced.error().message()}});
  }
  auto names = disk.list(options.dir);
  if (!names) return std::unexpected(std::move(names).error());
  std::vector<std::uint32_t> numbers;
  for (const std::string& name : *names) {
    if (const auto number = segment_number(name)) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());

  MutexLock confirm_lock(confirm_mutex);
  auto files = CheckpointFiles::open(disk, options.dir);
  if (!files) return std::unexpected(std::move(files).error());
  checkpoints = std::move(*files);
  auto checkpoint = checkpoints->load();
  std::optional<Checkpoint> known;
  if (checkpoint) {
    known = std::move(*checkpoint);
  } else if (checkpoint.error().code() == ErrorCode::kDataLoss) {
    MutexLock lock(mutex);
    note_loss({0, 0, 0, 0, true, checkpoint.error().message()});
  } else {
    return std::unexpected(std::move(checkpoint).error());
  }
  if (known) {
    if (auto restored = balance.restore_confirmed(known->books); !restored) {
      MutexLock lock(mutex);
      note_loss({0, 0, 0, 0, true, restored.error().message()});
    }
  }
  auto id = find_writer(known, numbers, rng);
  if (!id) return std::unexpected(std::move(id).error());
  writer = *id;
  if (known && known->writer != writer) known.reset();
  if (auto loaded = request_log.load(guard); !loaded) return loaded;
  if (auto recovered = recover(known, numbers); !recovered) return recovered;
  if (auto stored = store_checkpoint(false, 0); !stored) return stored;
  return disk.sync_folder(options.dir);
}

// The store knows a segment by writer and number, so the two must never be used again for other rows. Where nothing
// says which numbers were used, a new writer begins.
Result<std::uint32_t> Spool::Impl::find_writer(const std::optional<Checkpoint>& checkpoint,
                                               const std::vector<std::uint32_t>& numbers, Rng& rng) {
  if (checkpoint) return checkpoint->writer;
  for (const std::uint32_t number : numbers) {
    auto found = disk.open(path_of(number), Disk::Mode::kExisting);
    if (!found) return std::unexpected(std::move(found).error());
    auto head = (*found)->read(0, kSegmentHeaderBytes);
    if (!head) return std::unexpected(std::move(head).error());
    if (const auto fields = decode_header(*head)) return fields->writer;
  }
  std::uint32_t id = 0;
  while (id == 0) id = static_cast<std::uint32_t>(rng.next());
  if (auto written = write_file(disk, options.dir / kWriterFile, fmt::format("{:08x}\n", id)); !written) {
    return std::unexpected(std::move(written).error());
  }
  return id;
}

Result<void> Spool::Impl::recover(const std::optional<Checkpoint>& checkpoint,
                                  const std::vector<std::uint32_t>& numbers) {
  const bool same_boot = checkpoint && !options.boot_id.empty() && checkpoint->boot_id == options.boot_id;
  const bool clean = checkpoint && checkpoint->clean;
  MutexLock lock(mutex);
  applied = checkpoint ? checkpoint->applied : 0;
  last_number = applied;
  if (clean) {
    last_number = std::max(last_number, checkpoint->last_segment);
    next_sequence = checkpoint->next_sequence;
  }

  std::vector<std::uint32_t> kept;
  for (const std::uint32_t number : numbers) {
    if (number > applied) {
      kept.push_back(number);
      last_number = std::max(last_number, number);
    } else if (auto removed = disk.remove(path_of(number)); !removed) {
      return removed;
    }
  }
  // What the header of each segment says about the one before it.
  std::map<std::uint32_t, SegmentHeader> said_by_next;
  // Of a run that did not end in order, every segment may have been sent. Where the store may have lost its tokens
  // since, it is asked, in this run and in every later one that still has the segment.
  attempted_before = clean ? checkpoint->attempted : last_number;
  ask_until = checkpoint ? checkpoint->ask_until : 0;
  if (!same_boot) ask_until = std::max(ask_until, attempted_before);

  for (const std::uint32_t number : kept) {
    auto found = disk.open(path_of(number), Disk::Mode::kExisting);
    if (!found) return std::unexpected(std::move(found).error());
    auto bytes_read = (*found)->read(0, kSegmentHeaderBytes);
    if (!bytes_read) return std::unexpected(std::move(bytes_read).error());
    const auto fields = decode_header(*bytes_read);
    if (fields && fields->number == number && fields->writer == writer) said_by_next[fields->previous] = *fields;
  }
  for (const auto& [previous, fields] : said_by_next) {
    const bool is_missing = previous > applied && std::ranges::find(kept, previous) == kept.end();
    if (is_missing && fields.previous_end > kSegmentHeaderBytes) {
      note_loss({previous, 0, fields.previous_end, 0, true, "missing segment file"});
    }
  }

  for (const std::uint32_t number : kept) {
    auto file_bytes = read_file(disk, path_of(number));
    if (!file_bytes) return std::unexpected(std::move(file_bytes).error());
    SegmentExpectation expected{writer, number};
    if (const auto said = said_by_next.find(number); said != said_by_next.end()) {
      expected.end = said->second.previous_end;
      expected.next_sequence = said->second.first_sequence;
    } else if (clean && checkpoint->last_segment == number) {
      expected.end = checkpoint->last_end;
      expected.next_sequence = checkpoint->next_sequence;
    }
    const SegmentScan scan = scan_segment(*file_bytes, expected);
    Segment segment;
    segment.number = number;
    if (!scan.records.empty()) segment.first_sequence = scan.records.front().sequence;
    segment.bytes = scan.end;
    segment.sealed = true;
    segment.ask_first = number <= ask_until;
    for (const ReadRecord& read_record : scan.records) {
      const Rows rows = rows_of(read_record.record);
      segment.rows.all += rows.all;
      segment.rows.records += rows.records;
      if (rows.all > 0 && !segment.oldest_row_at) segment.oldest_row_at = read_record.appended_at;
      segment.next_sequence = read_record.sequence + 1;
      balance.add(number, read_record.record.counts);
      for (const RequestKey& key : read_record.record.requests) guard.restore(key, read_record.appended_at);
    }
    next_sequence = std::max(next_sequence, segment.next_sequence);
    for (const SpoolLoss& loss : scan.losses) {
      segment.known_losses.insert(loss.offset);
      note_loss(loss);
    }
    last_end = scan.end;
    if (scan.records.empty()) {
      if (auto removed = disk.remove(path_of(number)); !removed) return removed;
      continue;
    }
    if (scan.end < file_bytes->size()) {
      auto file_to_cut = disk.open(path_of(number), Disk::Mode::kExisting);
      if (!file_to_cut) return std::unexpected(std::move(file_to_cut).error());
      if (auto cut = (*file_to_cut)->truncate(scan.end); !cut) return cut;
      if (auto synced = (*file_to_cut)->sync(); !synced) return synced;
    }
    bytes += segment.bytes;
    segments.push_back(std::move(segment));
  }
  next_number = last_number + 1;
  show_bytes();
  log::info("spool_opened",
            {{"segments", segments.size()}, {"bytes", bytes}, {"clean", clean}, {"losses", losses_total}});
  return {};
}

// ---- appending

void Spool::append(SpoolRecord record, Done done) {
  Impl& my = *impl_;
  auto encoded = encode_record(std::move(record), my.writer, my.clock.now());
  if (!encoded) return done(std::unexpected(std::move(encoded).error()));
  std::optional<Error> refused;
  {
    MutexLock lock(my.mutex);
    const std::uint64_t size = encoded->bytes;
    if (my.closed) {
      refused = Error(ErrorCode::kCancelled, "the spool is closing");
    } else if (my.bytes + my.waiting_bytes + size > my.options.bytes_max) {
      refused = Error(ErrorCode::kResourceExhausted,
                      fmt::format("the spool is at its budget of {} bytes", my.options.bytes_max))
                    .with_retry_after(my.options.retry_after);
    } else if (my.waiting_bytes > 0 && my.waiting_charge + my.charge_of(size) > my.options.waiting_bytes_max) {
      refused = Error(ErrorCode::kResourceExhausted,
                      fmt::format("{} bytes are waiting for the disk already", my.waiting_bytes))
                    .with_retry_after(my.options.retry_after);
    } else {
      my.waiting_bytes += size;
      my.waiting_charge += my.charge_of(size);
      my.waiting.push_back({std::move(*encoded), std::move(done), my.clock.monotonic()});
      if (my.waiting.size() == 1) my.has_waiting.notify_one();
    }
  }
  if (refused) done(std::unexpected(std::move(*refused)));
}

void Spool::Impl::run_appender() {
  while (true) {
    std::vector<Waiting> group;
    {
      MutexLock lock(mutex);
      while (waiting.empty() && !closed) has_waiting.wait(lock);
      if (waiting.empty()) {
        appender_done = true;
        changed.notify_all();
        timed_wait.request_stop();
        return;
      }
      std::size_t count = 0;
      std::uint64_t size = 0;
      while (count < waiting.size() && (count == 0 || size + waiting[count].encoded.bytes <= options.group_bytes_max)) {
        size += waiting[count++].encoded.bytes;
      }
      if (count == waiting.size()) {
        group.swap(waiting);
      } else {
        const auto end = waiting.begin() + static_cast<std::ptrdiff_t>(count);
        group.assign(std::make_move_iterator(waiting.begin()), std::make_move_iterator(end));
        waiting.erase(waiting.begin(), end);
      }
      writing = true;
    }
    write_group(std::move(group));
  }
}

void Spool::Impl::write_group(std::vector<Waiting> group) {
  std::size_t begin = 0;
  Result<void> outcome;
  while (begin < group.size()) {
    outcome = make_room_for(group[begin].encoded);
    if (!outcome) break;
    const std::size_t end = end_of_run(group, begin);
    outcome = write_run(std::span(group).subspan(begin, end - begin));
    if (!outcome) break;
    begin = end;
  }
  const std::span<Waiting> failed = std::span(group).subspan(begin);
  FinishedFile finished;
  {
    MutexLock lock(mutex);
    writing = false;
    for (const Waiting& each : failed) {
      waiting_bytes -= each.encoded.bytes;
      waiting_charge -= charge_of(each.encoded.bytes);
    }
    if (!outcome) disk_full = outcome.error().code() == ErrorCode::kResourceExhausted;
    if (seal_when_written && file) finished = seal();
    seal_when_written = false;
    show_bytes();
    changed.notify_all();
  }
  finished.trim();
  if (failed.empty()) return;

  log::error("spool_append_failed", {{"records", failed.size()}, {"error", outcome.error().message()}});
  const ErrorCode code =
      outcome.error().code() == ErrorCode::kResourceExhausted ? ErrorCode::kResourceExhausted : ErrorCode::kUnavailable;
  const Error error = Error(code, outcome.error().message()).with_retry_after(options.retry_after);
  for (Waiting& each : failed) each.done(std::unexpected(error));
}

Result<void> Spool::Impl::make_room_for(const EncodedRecord& next) {
  if (file && header.empty()) {
    FinishedFile finished;
    {
      MutexLock lock(mutex);
      const Segment& open = segments.back();
      if (is_full(open.bytes, open.rows.records, next)) {
        finished = seal();
        changed.notify_all();
        timed_wait.request_stop();
      }
    }
    finished.trim();
  }
  if (file) return {};
  return open_segment();
}

Result<void> Spool::Impl::open_segment() {
  SegmentHeader fields;
  {
    MutexLock lock(mutex);
    if (next_number == 0) return fail(ErrorCode::kInternal, "the spool has used all its segment numbers");
    fields = {writer, next_number, last_number, last_end, next_sequence, clock.now()};
  }
  auto made = disk.open(path_of(fields.number), Disk::Mode::kCreate);
  if (!made) return std::unexpected(std::move(made).error());
  Result<void> named = (*made)->truncate(0);
  if (named) named = disk.sync_folder(options.dir);
  if (!named) {
    std::ignore = disk.remove(path_of(fields.number));
    return named;
  }
  file = std::move(*made);
  reserved = 0;
  open_number = fields.number;
  header = encode_header(fields);
  MutexLock lock(mutex);
  ++next_number;
  return {};
}

std::size_t Spool::Impl::end_of_run(const std::vector<Waiting>& group, std::size_t begin) {
  std::uint64_t segment_bytes = kSegmentHeaderBytes;
  std::uint64_t records = 0;
  if (header.empty()) {
    MutexLock lock(mutex);
    segment_bytes = segments.back().bytes;
    records = segments.back().rows.records;
  }
  std::size_t end = begin;
  do {
    segment_bytes += group[end].encoded.bytes;
    records += rows_of(group[end].encoded.record).records;
    ++end;
  } while (end < group.size() && !is_full(segment_bytes, records, group[end].encoded));
  return end;
}

Result<void> Spool::Impl::reserve(std::uint64_t end) {
  if (end <= reserved) return {};
  const std::uint64_t step = std::clamp(reserved, kReserveStepMin, kReserveStepMax);
  auto done = file->reserve(end + step);
  if (done) {
    reserved = end + step;
    return {};
  }
  done = file->reserve(end);
  if (done) reserved = end;
  return done;
}

// All of the run becomes durable, or none of it is acknowledged.
Result<void> Spool::Impl::write_run(std::span<Waiting> run) {
  Segment grown;
  std::uint64_t sequence = 0;
  {
    MutexLock lock(mutex);
    sequence = next_sequence;
    if (header.empty()) {
      grown = segments.back();
    } else {
      grown.number = open_number;
      grown.first_sequence = sequence;
      grown.opened_at = clock.monotonic();
    }
  }
  const std::uint64_t offset = grown.bytes;
  std::vector<std::string_view> pieces;
  if (!header.empty()) {
    pieces.emplace_back(header);
    grown.bytes = header.size();
  }
  for (Waiting& each : run) {
    stamp(each.encoded, writer, open_number, sequence++);
    pieces.emplace_back(each.encoded.front);
    pieces.emplace_back(each.encoded.meta);
    for (const telemetry::TableBlock& block : each.encoded.record.blocks) pieces.emplace_back(block.bytes);
    const Rows rows = rows_of(each.encoded.record);
    grown.rows.all += rows.all;
    grown.rows.records += rows.records;
    if (rows.all > 0 && !grown.oldest_row_at) grown.oldest_row_at = each.encoded.appended_at;
    grown.bytes += each.encoded.bytes;
  }
  grown.next_sequence = sequence;

  auto outcome = reserve(grown.bytes);
  if (outcome) outcome = file->write(offset, pieces);
  if (!outcome) {
    give_up(outcome.error(), false);
    return outcome;
  }
  const auto sync_begin = clock.monotonic();
  outcome = file->sync();
  const auto now = clock.monotonic();
  sync_seconds.observe(seconds(now - sync_begin));
  if (!outcome) {
    give_up(outcome.error(), true);
    return outcome;
  }

  std::uint64_t run_bytes = 0;
  std::uint64_t run_charge = 0;
  for (const Waiting& each : run) {
    run_bytes += each.encoded.bytes;
    run_charge += charge_of(each.encoded.bytes);
    // Before the segment can be taken, hence before it can be confirmed.
    balance.add(open_number, each.encoded.record.counts);
    count(each.encoded.record);
  }
  {
    MutexLock lock(mutex);
    next_sequence = sequence;
    disk_full = false;
    waiting_bytes -= run_bytes;
    waiting_charge -= run_charge;
    bytes += grown.bytes - offset;
    if (header.empty()) {
      segments.back() = grown;
    } else {
      segments.push_back(grown);
      header.clear();
    }
    changed.notify_all();
    show_bytes();
  }
  for (Waiting& each : run) {
    append_seconds.observe(seconds(now - each.since));
    each.done({});
  }
  return {};
}

// After a failed write the file is cut back to what is intact and used on; after a failed sync, or when it cannot be
// cut, nobody knows what is in it: it is used no more.
void Spool::Impl::give_up(const Error& error, bool content_unknown) {
  FinishedFile finished;
  {
    MutexLock lock(mutex);
    if (!header.empty()) {
      // Nothing of this segment was acknowledged. Its number is not used again: the file may come back in a crash.
      file.reset();
      header.clear();
      last_number = open_number;
      last_end = kSegmentHeaderBytes;
    } else {
      const std::uint64_t intact = segments.back().bytes;
      const bool is_cut = file->truncate(intact).has_value();
      reserved = intact;
      if (is_cut && !content_unknown) return;
      finished = seal();
      changed.notify_all();
      timed_wait.request_stop();
    }
  }
  log::error("spool_segment_abandoned", {{"segment", open_number}, {"error", error.message()}});
  if (finished.file) {
    finished.trim();
  } else {
    std::ignore = disk.remove(path_of(open_number));
  }
}

FinishedFile Spool::Impl::seal() {
  Segment& open = segments.back();
  open.sealed = true;
  last_number = open.number;
  last_end = open.bytes;
  sealed_at = clock.monotonic();
  hurry = false;
  return {std::move(file), open.bytes};
}

std::uint64_t Spool::room() const {
  MutexLock lock(impl_->mutex);
  const std::uint64_t used = impl_->bytes + impl_->waiting_bytes;
  return used < impl_->options.bytes_max ? impl_->options.bytes_max - used : 0;
}

// ---- the writer's side

std::optional<SealedSegment> Spool::take(const std::stop_token& stop) {
  while (true) {
    const std::optional<Segment> due = impl_->next_due(stop);
    if (!due) return std::nullopt;
    if (auto read = impl_->read(*due, stop)) return read;
    if (stop.stop_requested()) return std::nullopt;
  }
}

std::optional<Segment> Spool::Impl::next_due(const std::stop_token& stop) {
  while (true) {
    std::chrono::nanoseconds due{0};
    std::stop_source woken;
    FinishedFile finished;
    {
      MutexLock lock(mutex);
      if (stop.stop_requested()) return std::nullopt;
      const auto next = std::ranges::find_if(segments, [](const Segment& segment) { return !segment.taken; });
      if (next == segments.end()) {
        if (closed && appender_done) return std::nullopt;
        changed.wait(lock, stop);
        continue;
      }
      if (next->sealed) {
        next->taken = true;
        return *next;
      }
      due = next->opened_at + options.linger;
      if (sealed_at) due = std::max(due, *sealed_at + options.seal_interval);
      if (hurry || closed || clock.monotonic() >= due) {
        if (writing) {
          seal_when_written = true;
          changed.wait(lock, stop);
          continue;
        }
        finished = seal();
      } else {
        timed_wait = woken;
      }
    }
    if (finished.file) {
      finished.trim();
      continue;
    }
    const std::stop_callback pass_on(stop, [&woken] { woken.request_stop(); });
    clock.wait_until(due, woken.get_token());
  }
}

// Nothing when the file cannot be read; it is then set aside under another name, as a loss.
std::optional<SealedSegment> Spool::Impl::read(const Segment& segment, const std::stop_token& stop) {
  SealedSegment sealed;
  sealed.number = segment.number;
  sealed.ingest_id = std::uint64_t{writer} << 32 | segment.number;
  sealed.ask_first = segment.ask_first;
  for (int attempt = 1;; ++attempt) {
    auto file_bytes = read_file(disk, path_of(segment.number));
    if (file_bytes) {
      file_bytes->resize(std::min<std::uint64_t>(file_bytes->size(), segment.bytes));
      sealed.bytes = std::make_unique<const std::string>(std::move(*file_bytes));
      break;
    }
    log::error("spool_segment_unreadable", {{"segment", segment.number}, {"error", file_bytes.error().message()}});
    if (file_bytes.error().code() == ErrorCode::kNotFound || attempt == kReadAttemptsMax) {
      const fs::path path = path_of(segment.number);
      std::ignore = disk.rename(path, path.string() + std::string(kUnreadableSuffix));
      sealed.bytes = std::make_unique<const std::string>();
      break;
    }
    if (!clock.wait_for(kReadRetryDelay, stop)) {
      MutexLock lock(mutex);
      for (Segment& each : segments) {
        if (each.number == segment.number) each.taken = false;
      }
      return std::nullopt;
    }
  }
  SegmentScan scan = scan_segment(
      *sealed.bytes, {writer, segment.number, segment.bytes, segment.first_sequence, segment.next_sequence});
  sealed.records.reserve(scan.records.size());
  for (ReadRecord& record : scan.records) {
    sealed.records.push_back({record.appended_at, std::move(record.record), std::move(record.block_bytes)});
  }
  std::vector<CountDelta> intact;
  for (const SealedRecord& record : sealed.records) {
    intact.insert(intact.end(), record.record.counts.begin(), record.record.counts.end());
  }
  sealed.lost = balance.missing(segment.number, intact);
  MutexLock lock(mutex);
  for (SpoolLoss& loss : scan.losses) {
    if (!segment.known_losses.contains(loss.offset)) note_loss(std::move(loss));
  }
  return sealed;
}

void Spool::flush() {
  MutexLock lock(impl_->mutex);
  impl_->hurry = true;
  impl_->changed.notify_all();
  impl_->timed_wait.request_stop();
}

Result<void> Spool::confirm(const SealedSegment& segment, const std::vector<CountDelta>& refused) {
  Impl& my = *impl_;
  MutexLock confirm_lock(my.confirm_mutex);
  {
    MutexLock lock(my.mutex);
    if (my.segments.empty() || my.segments.front().number != segment.number || !my.segments.front().taken) {
      return fail(ErrorCode::kInternal, fmt::format("segment {} is confirmed out of order", segment.number));
    }
  }
  // The order matters: a key must be known after a crash whenever its rows are stored, and the books must be whole
  // before the segment they were rebuilt from goes.
  std::vector<RequestLog::Entry> keys;
  for (const SealedRecord& sealed : segment.records) {
    for (const RequestKey& key : sealed.record.requests) keys.emplace_back(sealed.appended_at, key);
  }
  if (auto logged = my.request_log.append(std::move(keys)); !logged) {
    log::warning("request_keys_not_durable", {{"error", logged.error().message()}});
  }
  if (segment.number > my.applied) {
    std::vector<CountDelta> not_stored = refused;
    not_stored.insert(not_stored.end(), segment.lost.begin(), segment.lost.end());
    my.balance.confirm(segment.number, not_stored);
    my.applied = segment.number;
    for (const SealedRecord& sealed : segment.records) {
      for (const CountDelta& delta : sealed.record.counts) my.count(delta.signal, "stored", delta.accepted);
    }
    for (const CountDelta& delta : not_stored) {
      for (const auto& [reason, records] : delta.rejected) my.count(delta.signal, "rejected", records);
    }
  }
  if (auto stored = my.store_checkpoint(false, 0); !stored) {
    return std::unexpected(std::move(stored).error().within(fmt::format("confirming segment {}", segment.number)));
  }
  if (auto removed = my.disk.remove(my.path_of(segment.number)); !removed) {
    log::warning("spool_segment_not_removed", {{"segment", segment.number}, {"error", removed.error().message()}});
  }
  MutexLock lock(my.mutex);
  my.bytes -= my.segments.front().bytes;
  my.segments.pop_front();
  my.disk_full = false;
  my.show_bytes();
  return {};
}

Result<void> Spool::Impl::store_checkpoint(bool clean, std::uint32_t attempted) {
  Checkpoint checkpoint;
  checkpoint.writer = writer;
  checkpoint.applied = applied;
  checkpoint.boot_id = options.boot_id;
  checkpoint.clean = clean;
  checkpoint.attempted = std::max(attempted, attempted_before);
  checkpoint.ask_until = ask_until;
  {
    MutexLock lock(mutex);
    checkpoint.last_segment = last_number;
    checkpoint.last_end = last_end;
    checkpoint.next_sequence = next_sequence;
  }
  checkpoint.books = balance.encode_confirmed();
  return checkpoints->store(checkpoint);
}

// ---- looking at it

SpoolStatus Spool::status() const {
  Impl& my = *impl_;
  MutexLock lock(my.mutex);
  SpoolStatus status;
  status.bytes = my.bytes + my.waiting_bytes;
  status.bytes_max = my.options.bytes_max;
  status.segments = my.segments.size();
  for (const Segment& segment : my.segments) status.rows += segment.rows.all;
  if (const auto oldest = my.oldest_row_at()) {
    status.oldest_age = std::chrono::nanoseconds(std::max<UnixNanos>(0, my.clock.now() - *oldest));
  }
  status.disk_full = my.disk_full;
  status.losses_total = my.losses_total;
  status.losses.assign(my.losses.begin(), my.losses.end());
  my.age_gauge.set(seconds(status.oldest_age));
  return status;
}

UnixNanos Spool::readable_watermark() const {
  MutexLock lock(impl_->mutex);
  const UnixNanos now = impl_->clock.now();
  const auto oldest = impl_->oldest_row_at();
  return oldest ? std::min(*oldest, now) : now;
}

std::optional<UnixNanos> Spool::Impl::oldest_row_at() {
  for (const Segment& segment : segments) {
    if (segment.oldest_row_at) return segment.oldest_row_at;
  }
  return std::nullopt;
}

void Spool::Impl::note_loss(SpoolLoss loss) {
  log::error("spool_loss", {{"segment", loss.segment},
                            {"offset", loss.offset},
                            {"bytes", loss.bytes},
                            {"records", loss.records},
                            {"acknowledged", loss.acknowledged},
                            {"what", loss.what}});
  ++losses_total;
  lost_counter.add();
  losses.push_back(std::move(loss));
  if (losses.size() > kLossesKept) losses.pop_front();
}

void Spool::Impl::count(Signal signal, const char* outcome, std::uint64_t records) {
  if (records > 0) outcomes.at({signal, outcome})->add(static_cast<double>(records));
}

void Spool::Impl::count(const SpoolRecord& record) {
  for (const CountDelta& delta : record.counts) {
    count(delta.signal, "received", delta.received);
    count(delta.signal, "duplicate", delta.duplicate);
    count(delta.signal, "redacted_away", delta.redacted_away);
    count(delta.signal, "sampled_out", delta.sampled_out);
    count(delta.signal, "expired", delta.expired);
    for (const auto& [reason, records] : delta.rejected) count(delta.signal, "rejected", records);
  }
}

std::uint32_t Spool::writer_id() const { return impl_->writer; }
const fs::path& Spool::dir() const { return impl_->options.dir; }

// ---- stop

void Spool::close() {
  {
    MutexLock lock(impl_->mutex);
    impl_->closed = true;
    impl_->has_waiting.notify_all();
    impl_->changed.notify_all();
    impl_->timed_wait.request_stop();
  }
  std::call_once(impl_->joined, [this] { impl_->appender.join(); });
}

Result<void> Spool::mark_clean(std::uint32_t attempted) {
  close();
  FinishedFile finished;
  MutexLock confirm_lock(impl_->confirm_mutex);
  {
    MutexLock lock(impl_->mutex);
    if (impl_->file && impl_->header.empty()) finished = impl_->seal();
  }
  finished.trim();
  return impl_->store_checkpoint(true, attempted);
}

std::string current_boot_id() {
  std::ifstream in("/proc/sys/kernel/random/boot_id");
  std::string id;
  std::getline(in, id);
  return id;
}

}  // namespace fettle::ingest
