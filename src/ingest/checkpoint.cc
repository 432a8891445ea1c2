#include "ingest/checkpoint.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/log.h"
#include "ingest/bytes.h"

namespace fettle::ingest {
namespace {

// On disk: never change.
constexpr std::uint32_t kCheckpointMagic = 0x424C5446;  // "FTLB"
constexpr std::uint32_t kCheckpointVersion = 1;
constexpr std::uint32_t kRequestsMagic = 0x514C5446;  // "FTLQ"
constexpr std::size_t kEntryBytes = 32;

constexpr std::array<std::string_view, 2> kCheckpointNames = {"books.a", "books.b"};
// Enough for a few thousand lines of books; doubled long before it is full.
constexpr std::uint64_t kReserveBytesMin = 256 << 10;
constexpr std::size_t kCheckpointHeaderBytes = 24;

constexpr std::string_view kRequestsPrefix = "requests-";
constexpr std::uint64_t kRequestsReserveBytes = 1 << 20;
constexpr std::uint64_t kRequestsFileBytesMax = 16 << 20;
constexpr UnixNanos kRequestsFileAge = 120 * kNanosPerSecond;
constexpr std::size_t kUnwrittenMax = 200'000;

std::string encode(const Checkpoint& checkpoint) {
  ByteWriter out;
  out.fixed(checkpoint.writer);
  out.fixed(checkpoint.applied);
  out.fixed(checkpoint.ask_until);
  out.string(checkpoint.boot_id);
  out.fixed(static_cast<std::uint8_t>(checkpoint.clean));
  out.fixed(checkpoint.attempted);
  out.fixed(checkpoint.last_segment);
  out.fixed(checkpoint.last_end);
  out.fixed(checkpoint.next_sequence);
  out.string(checkpoint.books);
  return out.take();
}

std::optional<Checkpoint> decode(std::string_view bytes) {
  ByteReader in(bytes);
  Checkpoint checkpoint;
  checkpoint.writer = in.fixed<std::uint32_t>();
  checkpoint.applied = in.fixed<std::uint32_t>();
  checkpoint.ask_until = in.fixed<std::uint32_t>();
  checkpoint.boot_id = in.string();
  checkpoint.clean = in.fixed<std::uint8_t>() != 0;
  checkpoint.attempted = in.fixed<std::uint32_t>();
  checkpoint.last_segment = in.fixed<std::uint32_t>();
  checkpoint.last_end = in.fixed<std::uint64_t>();
  checkpoint.next_sequence = in.fixed<std::uint64_t>();
  checkpoint.books = in.string();
  if (!in.finished()) return std::nullopt;
  return checkpoint;
}

// Grows the reserved space while there is plenty left, so that a later write need not.
void reserve_ahead(DiskFile& file, std::uint64_t& reserved, std::uint64_t used) {
  if (reserved >= 2 * used && reserved >= kReserveBytesMin) return;
  const std::uint64_t wanted = std::max(kReserveBytesMin, 4 * used);
  if (file.reserve(wanted)) reserved = wanted;
}

}  // namespace

Result<CheckpointFiles> CheckpointFiles::open(Disk& disk, const std::filesystem::path& folder) {
  CheckpointFiles files;
  for (std::size_t i = 0; i < kCheckpointNames.size(); ++i) {
    auto file = disk.open(folder / kCheckpointNames[i], Disk::Mode::kCreate);
    if (!file) return std::unexpected(std::move(file).error());
    files.files_[i] = std::move(*file);
    reserve_ahead(*files.files_[i], files.reserved_[i], 0);
  }
  return files;
}

Result<std::optional<Checkpoint>> CheckpointFiles::load() {
  std::optional<Checkpoint> newest;
  bool any_written = false;
  for (auto& file : files_) {
    auto size = file->size();
    if (!size) return std::unexpected(std::move(size).error());
    auto bytes = file->read(0, *size);
    if (!bytes) return std::unexpected(std::move(bytes).error());
    ByteReader in(*bytes);
    const auto magic = in.fixed<std::uint32_t>();
    if (magic != 0) any_written = true;
    const auto version = in.fixed<std::uint32_t>();
    const auto generation = in.fixed<std::uint64_t>();
    const auto length = in.fixed<std::uint32_t>();
    const auto checksum = in.fixed<std::uint32_t>();
    const std::string_view payload = in.raw(length);
    if (in.failed() || magic != kCheckpointMagic || version != kCheckpointVersion) continue;
    if (crc32c(static_cast<std::uint32_t>(generation), payload) != checksum) continue;
    if (newest && generation <= generation_) continue;
    if (auto checkpoint = decode(payload)) {
      newest = std::move(checkpoint);
      generation_ = generation;
    }
  }
  if (!newest && any_written) return fail(ErrorCode::kDataLoss, "both copies of the books are damaged");
  return newest;
}

Result<void> CheckpointFiles::store(const Checkpoint& checkpoint) {
  const std::uint64_t generation = generation_ + 1;
  const std::string payload = encode(checkpoint);
  ByteWriter header;
  header.fixed(kCheckpointMagic);
  header.fixed(kCheckpointVersion);
  header.fixed(generation);
  header.fixed(static_cast<std::uint32_t>(payload.size()));
  header.fixed(crc32c(static_cast<std::uint32_t>(generation), payload));
  const std::size_t which = generation % files_.size();
  DiskFile& file = *files_[which];
  reserve_ahead(file, reserved_[which], kCheckpointHeaderBytes + payload.size());
  const std::array<std::string_view, 2> pieces = {header.bytes(), payload};
  if (auto written = file.write(0, pieces); !written) return written;
  if (auto synced = file.sync(); !synced) return synced;
  generation_ = generation;
  return {};
}

Result<void> RequestLog::load(ReplayGuard& guard) {
  auto names = disk_.list(folder_);
  if (!names) return std::unexpected(std::move(names).error());
  for (const std::string& name : *names) {
    if (!name.starts_with(kRequestsPrefix)) continue;
    const std::uint64_t number = std::strtoull(name.c_str() + kRequestsPrefix.size(), nullptr, 16);
    next_number_ = std::max(next_number_, number + 1);
    auto bytes = read_file(disk_, path_of(name));
    if (!bytes) return std::unexpected(std::move(bytes).error());
    ByteReader in(*bytes);
    UnixNanos newest = 0;
    while (true) {
      const auto magic = in.fixed<std::uint32_t>();
      const auto length = in.fixed<std::uint32_t>();
      const auto checksum = in.fixed<std::uint32_t>();
      const std::string_view entries = in.raw(length);
      if (in.failed() || magic != kRequestsMagic || length % kEntryBytes != 0 || crc32c(0, entries) != checksum) break;
      ByteReader each(entries);
      while (!each.finished()) {
        const auto at = static_cast<UnixNanos>(each.fixed<std::uint64_t>());
        RequestKey key;
        const std::string_view hash = each.raw(key.hash.size());
        std::copy(hash.begin(), hash.end(), key.hash.begin());
        key.answer.records = each.fixed<std::uint32_t>();
        key.answer.rejected = each.fixed<std::uint32_t>();
        guard.restore(key, at);
        newest = std::max(newest, at);
      }
    }
    old_.push_back({name, newest});
  }
  drop_old();
  return {};
}

Result<void> RequestLog::append(std::vector<Entry> entries) {
  const UnixNanos now = clock_.now();
  if (unwritten_.size() + entries.size() <= kUnwrittenMax) {
    unwritten_.insert(unwritten_.end(), entries.begin(), entries.end());
  } else {
    log::warning("request_keys_not_durable", {{"keys", entries.size()}});
  }
  if (unwritten_.empty()) return {};
  if (file_ && (end_ > kRequestsFileBytesMax || now - opened_at_ > kRequestsFileAge || now < opened_at_)) {
    old_.push_back({name_, newest_});
    file_.reset();
    drop_old();
  }
  if (!file_) {
    std::string name = fmt::format("{}{:08x}", kRequestsPrefix, next_number_);
    auto file = disk_.open(path_of(name), Disk::Mode::kCreate);
    if (!file) return std::unexpected(std::move(file).error());
    if (auto synced = disk_.sync_folder(folder_); !synced) return synced;
    ++next_number_;
    file_ = std::move(*file);
    name_ = std::move(name);
    end_ = reserved_ = 0;
    newest_ = 0;
    opened_at_ = now;
  }
  ByteWriter body;
  UnixNanos newest = newest_;
  for (const auto& [at, key] : unwritten_) {
    body.fixed(static_cast<std::uint64_t>(at));
    body.raw({reinterpret_cast<const char*>(key.hash.data()), key.hash.size()});
    body.fixed(key.answer.records);
    body.fixed(key.answer.rejected);
    newest = std::max(newest, at);
  }
  ByteWriter header;
  header.fixed(kRequestsMagic);
  header.fixed(static_cast<std::uint32_t>(body.bytes().size()));
  header.fixed(crc32c(0, body.bytes()));
  const std::uint64_t size = header.bytes().size() + body.bytes().size();
  if (end_ + size > reserved_) {
    const std::uint64_t wanted = end_ + size + kRequestsReserveBytes;
    if (file_->reserve(wanted)) reserved_ = wanted;
  }
  const std::array<std::string_view, 2> pieces = {header.bytes(), body.bytes()};
  if (auto written = file_->write(end_, pieces); !written) return written;
  if (auto synced = file_->sync(); !synced) return synced;
  end_ += size;
  newest_ = newest;
  unwritten_.clear();
  return {};
}

void RequestLog::drop_old() {
  const UnixNanos horizon = clock_.now() - remember_for_.count();
  std::erase_if(old_, [&](const OldFile& file) {
    return file.newest <= horizon && disk_.remove(path_of(file.name)).has_value();
  });
}

}  // namespace fettle::ingest
