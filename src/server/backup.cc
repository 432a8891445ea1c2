#include "server/backup.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <set>
#include <utility>

#include "core/metrics.h"
#include "core/rng.h"
#include "db/backup.h"
#include "engine/config.h"
#include "engine/supervisor.h"
#include "server/backup_manifest.h"
#include "server/ledger.h"
#include "server/packs.h"
#include "server/secret_file.h"
#include "server/server.h"
#include "telemetry/client.h"
#include "telemetry/schema.h"

namespace fettle::server {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLedger = "ledger";
constexpr const char* kTelemetry = "telemetry";
constexpr std::string_view kSegmentSuffix = ".segment";
constexpr std::chrono::seconds kSpoolWaitMax{60};
constexpr std::chrono::milliseconds kSpoolLookEvery{100};
constexpr std::chrono::hours kCopyTimeMax{6};
constexpr std::size_t kSecretBytes = 32;

Error system_error(std::string_view what, const fs::path& path, int error) {
  const bool is_full = error == ENOSPC || error == EDQUOT;
  return Error(is_full ? ErrorCode::kResourceExhausted : ErrorCode::kUnavailable,
               fmt::format("{} {}: {}", what, path.string(), std::strerror(error)));
}

Result<void> make_folder(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) != 0) return std::unexpected(system_error("making", path, errno));
  return {};
}

// Files of one tree in another, as other names of the same bytes where that is possible.
Result<void> copy_tree(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::copy(from, to, fs::copy_options::recursive | fs::copy_options::create_hard_links, error);
  if (error) {
    fs::remove_all(to, error);
    fs::copy(from, to, fs::copy_options::recursive, error);
  }
  if (error) return std::unexpected(system_error("copying to", to, error.value()));
  return {};
}

// A folder that is removed unless it is kept.
class Building {
 public:
  explicit Building(fs::path path) : path_(std::move(path)) {
    std::error_code ignored;
    fs::remove_all(path_, ignored);  // of an earlier try that was killed
  }
  ~Building() {
    std::error_code ignored;
    if (!path_.empty()) fs::remove_all(path_, ignored);
  }
  Building(const Building&) = delete;
  Building& operator=(const Building&) = delete;
  const fs::path& path() const { return path_; }
  // Under its own name, durable.
  Result<void> keep_as(const fs::path& name) {
    if (::rename(path_.c_str(), name.c_str()) != 0) return std::unexpected(system_error("renaming to", name, errno));
    path_.clear();
    return sync_all(name.has_parent_path() ? name.parent_path() : fs::path("."));
  }

 private:
  fs::path path_;
};

// One backup at a time uses the engine's folder for them.
class EngineFolder {
 public:
  static Result<EngineFolder> lock(const fs::path& engine) {
    const fs::path file = engine / "backups.lock";
    const int fd = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return std::unexpected(system_error("opening", file, errno));
    EngineFolder folder(engine / "backups", fd);
    if (::flock(fd, LOCK_EX | LOCK_NB) != 0) return fail(ErrorCode::kConflict, "another backup is under way");
    std::error_code ignored;
    fs::remove_all(folder.path_, ignored);  // what a killed one left
    if (auto made = make_folder(folder.path_); !made) return std::unexpected(std::move(made).error());
    return folder;
  }
  EngineFolder(EngineFolder&& other) noexcept : path_(std::move(other.path_)), fd_(std::exchange(other.fd_, -1)) {}
  EngineFolder& operator=(EngineFolder&&) = delete;
  ~EngineFolder() {
    if (fd_ < 0) return;
    std::error_code ignored;
    fs::remove_all(path_, ignored);
    ::close(fd_);
  }
  fs::path copy() const { return path_ / "copy"; }

 private:
  EngineFolder(fs::path path, int fd) : path_(std::move(path)), fd_(fd) {}
  fs::path path_;
  int fd_;
};

std::string quoted(const fs::path& path) {
  std::string text = "'";
  for (const char c : path.string()) {
    if (c == '\'' || c == '\\') text += '\\';
    text += c;
  }
  return text + '\'';
}

telemetry::StatementOptions patiently(const std::stop_token& stop) {
  telemetry::StatementOptions options;
  options.time_max = kCopyTimeMax;
  options.stop = stop;
  return options;
}

std::set<std::string> segments_in(const fs::path& spool) {
  std::set<std::string> names;
  std::error_code error;
  for (auto entry = fs::directory_iterator(spool, error); !error && entry != fs::end(entry); entry.increment(error)) {
    std::string name = entry->path().filename().string();
    if (name.ends_with(kSegmentSuffix)) names.insert(std::move(name));
  }
  return names;
}

// What was acknowledged before now is in the store once the spool's files of now are gone.
Result<void> await_spool(const fs::path& spool, Clock& clock, const std::stop_token& stop) {
  const std::set<std::string> waiting = segments_in(spool);
  const auto end = clock.monotonic() + kSpoolWaitMax;
  while (true) {
    const std::set<std::string> now = segments_in(spool);
    const auto still_there = [&](const std::string& name) { return now.contains(name); };
    if (std::ranges::none_of(waiting, still_there)) return {};
    if (clock.monotonic() > end) {
      return fail(ErrorCode::kUnavailable,
                  fmt::format("the store does not take what waits in {}: see the server's health", spool.string()));
    }
    if (!clock.wait_for(kSpoolLookEvery, stop)) return fail(ErrorCode::kCancelled, "stopped");
  }
}

Result<std::uint32_t> schema_of(telemetry::Client& client, const std::stop_token& stop) {
  auto rows = client.query(fmt::format("SELECT max(version) FROM {}.migrations", engine::kDatabase), patiently(stop));
  if (!rows) return std::unexpected(std::move(rows).error().within("reading the store's schema"));
  std::uint32_t version = 0;
  if (rows->size() == 1 && rows->front().size() == 1) {
    const std::string& text = rows->front().front();
    std::from_chars(text.data(), text.data() + text.size(), version);
  }
  return version;
}

// Into `folder`, by the engine of the running server. Answers the version of its schema.
Result<std::uint32_t> copy_telemetry(const fs::path& data, const fs::path& folder, Clock& clock,
                                     const std::stop_token& stop) {
  const fs::path engine = fs::absolute(data) / "engine";
  auto client = telemetry::Client::connect("unix:" + (engine / "engine.sock").string());
  if (!client) return std::unexpected(std::move(client).error());
  auto version = schema_of(**client, stop);
  if (!version) {
    if (version.error().code() != ErrorCode::kUnavailable) return version;
    return fail(ErrorCode::kUnavailable,
                fmt::format("no server uses {}: start it, or, while it is stopped, copy the folder as it is ({})",
                            data.string(), version.error().message()));
  }
  if (auto sent = await_spool(fs::absolute(data) / "spool", clock, stop); !sent) {
    return std::unexpected(std::move(sent).error());
  }
  auto place = EngineFolder::lock(engine);
  if (!place) return std::unexpected(std::move(place).error());
  auto made = (*client)->execute(
      fmt::format("BACKUP DATABASE {} TO File({})", engine::kDatabase, quoted(place->copy())), patiently(stop));
  if (!made) return std::unexpected(std::move(made).error().within("backing up the telemetry store"));
  std::error_code error;
  fs::rename(place->copy(), folder, error);
  if (error) {  // another file system
    if (auto copied = copy_tree(place->copy(), folder); !copied) return std::unexpected(std::move(copied).error());
  }
  return version;
}

// The engine lists the files that its backup consists of; those with equal content are stored once.
Result<void> check_engine_list(const fs::path& folder) {
  std::ifstream in(folder / ".backup", std::ios::binary);
  const std::string text(std::istreambuf_iterator<char>(in), {});
  const auto between = [&](std::size_t begin, std::size_t end, std::string_view tag) -> std::string_view {
    const std::string open = fmt::format("<{}>", tag);
    const std::size_t from = text.find(open, begin);
    if (from == std::string::npos || from >= end) return {};
    const std::size_t to = text.find("</", from);
    return std::string_view(text).substr(from + open.size(), to - from - open.size());
  };
  std::size_t files = 0;
  for (std::size_t at = text.find("<file>"); at != std::string::npos; at = text.find("<file>", at + 1)) {
    const std::size_t end = text.find("</file>", at);
    const std::string_view name = between(at, end, "name");
    const std::string_view data = between(at, end, "data_file");
    std::uint64_t bytes = 0;
    const std::string_view size = between(at, end, "size");
    std::from_chars(size.data(), size.data() + size.size(), bytes);
    std::error_code error;
    const fs::path file = folder / (data.empty() ? name : data);
    if (bytes > 0 && (fs::file_size(file, error) != bytes || error)) {
      return fail(ErrorCode::kDataLoss, fmt::format("{} is not as the engine wrote it", file.string()));
    }
    ++files;
  }
  if (files == 0) return fail(ErrorCode::kDataLoss, fmt::format("{} lists no files", (folder / ".backup").string()));
  return {};
}

BackupReport report_of(const BackupManifest& manifest, const db::Manifest& ledger) {
  BackupReport report{.taken_at = manifest.taken_at,
                      .files = manifest.files.size(),
                      .bytes = 0,
                      .ledger_rows = 0,
                      .ledger = manifest.ledger,
                      .telemetry = manifest.telemetry};
  for (const BackedFile& file : manifest.files) report.bytes += file.bytes;
  for (const db::TableCopy& table : ledger.tables) report.ledger_rows += table.rows;
  return report;
}

// ---- the way back

Result<std::uint32_t> known_schema(const Config& config, std::vector<std::string>& tables) {
  auto catalogue = load_identifiers(config);
  if (!catalogue) return std::unexpected(std::move(catalogue).error());
  const telemetry::Schema schema(*catalogue, {.database = std::string(engine::kDatabase), .cluster = ""});
  tables = schema.table_names();
  const auto migrations = schema.migrations();
  return migrations.empty() ? 0 : migrations.back().version;
}

Result<void> fill_telemetry(const Config& config, const fs::path& backup, const fs::path& data,
                            const std::vector<std::string>& tables, const std::stop_token& stop) {
  const fs::path engine = data / "engine";
  if (auto made = make_folder(engine); !made) return made;
  auto place = EngineFolder::lock(engine);
  if (!place) return std::unexpected(std::move(place).error());
  if (auto copied = copy_tree(backup, place->copy()); !copied) return copied;
  metrics::Registry metrics;
  engine::SupervisorOptions options;
  options.data_dir = data;
  options.program = config.engine.binary;
  options.memory_bytes = config.engine.memory_bytes;
  engine::Supervisor supervisor(std::move(options), metrics);
  if (auto started = supervisor.start(tables, stop); !started) {
    return std::unexpected(std::move(started).error().within("starting the engine"));
  }
  auto client = telemetry::Client::connect(supervisor.base_url());
  if (!client) return std::unexpected(std::move(client).error());
  auto filled = (*client)->execute(
      fmt::format("RESTORE DATABASE {} FROM File({})", engine::kDatabase, quoted(place->copy())), patiently(stop));
  supervisor.stop(std::chrono::seconds(5));
  if (!filled) return std::unexpected(std::move(filled).error().within("restoring the telemetry store"));
  return {};
}

Result<void> place_secret(const fs::path& from, const fs::path& data) {
  struct Reader {  // never makes a new one
    static Result<Secret> read(const fs::path& file) {
      if (!fs::exists(file)) return fail(ErrorCode::kNotFound, fmt::format("there is no {}", file.string()));
      SystemRng rng;
      return secret_of_server(file, kSecretBytes, rng);
    }
  };
  auto secret = Reader::read(from);
  if (!secret) return std::unexpected(std::move(secret).error());
  const fs::path to = data / "secret.key";
  const int fd = ::open(to.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return std::unexpected(system_error("making", to, errno));
  const std::string_view bytes = secret->reveal();
  const bool is_written = ::write(fd, bytes.data(), bytes.size()) == static_cast<ssize_t>(bytes.size());
  const int error = errno;
  ::close(fd);
  if (!is_written) return std::unexpected(system_error("writing", to, error));
  return {};
}

}  // namespace

Result<BackupReport> take_backup(const Config& config, const fs::path& folder, Clock& clock,
                                 const std::stop_token& stop) {
  std::error_code error;
  const fs::path target = fs::absolute(folder, error);
  if (fs::exists(target, error)) return fail(ErrorCode::kConflict, fmt::format("{} is there already", folder.string()));
  auto url = ledger_url(config.ledger, config.data);
  if (!url) return std::unexpected(std::move(url).error());
  if (config.ledger.url.empty() && !fs::exists(config.data / "ledger.db", error)) {
    return fail(ErrorCode::kNotFound, fmt::format("there is no ledger in {}", config.data.string()));
  }
  Building building(target.string() + ".partial");
  if (auto made = make_folder(building.path()); !made) return std::unexpected(std::move(made).error());

  BackupManifest manifest;
  manifest.made_by = version();
  manifest.taken_at = clock.now();
  auto ledger = db::backup(*url, building.path() / kLedger, clock);
  if (!ledger) return std::unexpected(std::move(ledger).error());
  manifest.ledger = ledger->dialect == db::Dialect::kSqlite ? "sqlite" : "postgres";
  manifest.telemetry = config.telemetry.url.empty() ? "embedded" : "elsewhere";
  if (config.telemetry.url.empty()) {
    auto schema = copy_telemetry(config.data, building.path() / kTelemetry, clock, stop);
    if (!schema) return std::unexpected(std::move(schema).error());
    manifest.telemetry_schema = *schema;
  }
  // Everything is on the disk before it is read back, and what is read back is what the manifest states.
  if (auto synced = sync_all(building.path()); !synced) return std::unexpected(std::move(synced).error());
  if (config.telemetry.url.empty()) {
    if (auto whole = check_engine_list(building.path() / kTelemetry); !whole) {
      return std::unexpected(std::move(whole).error());
    }
  }
  auto files = list_files(building.path());
  if (!files) return std::unexpected(std::move(files).error());
  manifest.files = std::move(*files);
  if (auto written = write_manifest(building.path(), manifest); !written) {
    return std::unexpected(std::move(written).error());
  }
  if (stop.stop_requested()) return fail(ErrorCode::kCancelled, "stopped");
  if (auto synced = sync_all(building.path()); !synced) return std::unexpected(std::move(synced).error());
  if (auto kept = building.keep_as(target); !kept) return std::unexpected(std::move(kept).error());
  return report_of(manifest, *ledger);
}

Result<BackupReport> verify_backup(const fs::path& folder, Clock&) {
  auto manifest = read_manifest(folder);
  if (!manifest) return std::unexpected(std::move(manifest).error());
  if (auto good = check_files(folder, *manifest); !good) {
    return std::unexpected(std::move(good).error().within("the backup is damaged"));
  }
  auto ledger = db::verify_backup(folder / kLedger);
  if (!ledger) return std::unexpected(std::move(ledger).error());
  return report_of(*manifest, *ledger);
}

Result<BackupReport> restore_backup(const Config& config, const fs::path& folder, const fs::path& secret_key,
                                    Clock& clock, const std::stop_token& stop) {
  std::error_code error;
  const fs::path data = fs::absolute(config.data, error);
  if (fs::exists(data, error) && !fs::is_empty(data, error)) {
    return fail(ErrorCode::kConflict,
                fmt::format("{} is not empty: a restore overwrites nothing; name another folder", data.string()));
  }
  auto report = verify_backup(folder, clock);
  if (!report) return report;
  auto manifest = read_manifest(folder);
  if (!manifest) return std::unexpected(std::move(manifest).error());
  std::vector<std::string> tables;
  auto known = known_schema(config, tables);
  if (!known) return std::unexpected(std::move(known).error());
  if (manifest->telemetry_schema > *known) {
    return fail(ErrorCode::kUnsupported,
                fmt::format("the backup's telemetry has schema version {} and this program knows {}: it was made by a "
                            "newer Fettle ({})",
                            manifest->telemetry_schema, *known, manifest->made_by));
  }
  if ((manifest->ledger == "sqlite") != config.ledger.url.empty()) {
    return fail(ErrorCode::kInvalidArgument, manifest->ledger == "sqlite"
                                                 ? "the backup's ledger is a file: leave ledger.url away"
                                                 : "the backup's ledger is PostgreSQL's: name an empty one with "
                                                   "ledger.url");
  }

  Building building(data.string() + ".restoring");
  if (auto made = make_folder(building.path()); !made) return std::unexpected(std::move(made).error());
  if (!secret_key.empty()) {
    if (auto placed = place_secret(secret_key, building.path()); !placed) {
      return std::unexpected(std::move(placed).error());
    }
  }
  if (manifest->telemetry == "embedded" && config.telemetry.url.empty()) {
    auto filled = fill_telemetry(config, fs::absolute(folder) / kTelemetry, building.path(), tables, stop);
    if (!filled) return std::unexpected(std::move(filled).error());
  } else {
    report->telemetry = "elsewhere";
  }
  // Last, because a ledger on a server is filled at once and for good.
  auto url = ledger_url(config.ledger, building.path());
  if (!url) return std::unexpected(std::move(url).error());
  if (auto filled = db::restore(folder / kLedger, *url, ledger_rooms(), clock); !filled) {
    return std::unexpected(std::move(filled).error());
  }
  if (auto synced = sync_all(building.path()); !synced) return std::unexpected(std::move(synced).error());
  if (auto kept = building.keep_as(data); !kept) return std::unexpected(std::move(kept).error());
  return report;
}

}  // namespace fettle::server
