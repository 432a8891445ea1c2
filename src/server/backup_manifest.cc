#include "server/backup_manifest.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_to.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "ledger/bundle_file.h"

namespace fettle::server {
namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr const char* kName = "manifest.json";
constexpr std::size_t kPieceBytes = 1 << 20;

Result<BackedFile> look_at(const fs::path& folder, const fs::path& file) {
  BackedFile found{.path = fs::relative(file, folder).generic_string(), .bytes = 0, .sha256 = {}};
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (fd < 0) return fail(ErrorCode::kDataLoss, fmt::format("opening {}: {}", file.string(), std::strerror(errno)));
  // From the disk and not from what was just written to memory, as far as the system lets go of it.
  ::posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
  ledger::RunningSha256 hash;
  std::string piece(kPieceBytes, '\0');
  ssize_t count = 0;
  while ((count = ::read(fd, piece.data(), piece.size())) > 0) {
    hash.add(std::string_view(piece).substr(0, static_cast<std::size_t>(count)));
    found.bytes += static_cast<std::uint64_t>(count);
  }
  const int error = errno;
  ::close(fd);
  if (count < 0) return fail(ErrorCode::kDataLoss, fmt::format("reading {}: {}", file.string(), std::strerror(error)));
  found.sha256 = ledger::to_hex(hash.digest());
  return found;
}

}  // namespace

Result<std::vector<BackedFile>> list_files(const fs::path& folder) {
  std::vector<BackedFile> files;
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(folder, error); !error && entry != fs::end(entry);
       entry.increment(error)) {
    if (entry->is_directory() || entry->path() == folder / kName) continue;
    if (!entry->is_regular_file() || entry->is_symlink()) {
      return fail(ErrorCode::kDataLoss, fmt::format("{} is no plain file", entry->path().string()));
    }
    auto file = look_at(folder, entry->path());
    if (!file) return std::unexpected(std::move(file).error());
    files.push_back(std::move(*file));
  }
  if (error) return fail(ErrorCode::kUnavailable, fmt::format("reading {}: {}", folder.string(), error.message()));
  std::ranges::sort(files, {}, &BackedFile::path);
  return files;
}

Result<void> write_manifest(const fs::path& folder, const BackupManifest& manifest) {
  json::array files;
  for (const BackedFile& file : manifest.files) {
    files.push_back({{"path", file.path}, {"bytes", file.bytes}, {"sha256", file.sha256}});
  }
  const json::object document{{"format", manifest.format},
                              {"made_by", manifest.made_by},
                              {"taken_at", manifest.taken_at},
                              {"taken_at_text", format_rfc3339(manifest.taken_at)},
                              {"ledger", manifest.ledger},
                              {"telemetry", manifest.telemetry},
                              {"telemetry_schema", manifest.telemetry_schema},
                              {"files", std::move(files)}};
  std::ofstream out(folder / kName, std::ios::binary);
  out << json::serialize(document) << '\n';
  out.close();
  if (!out) return fail(ErrorCode::kResourceExhausted, fmt::format("writing {}", (folder / kName).string()));
  std::error_code ignored;
  fs::permissions(folder / kName, fs::perms(0600), ignored);
  return {};
}

Result<BackupManifest> read_manifest(const fs::path& folder) {
  std::ifstream in(folder / kName, std::ios::binary);
  if (!in) return fail(ErrorCode::kNotFound, fmt::format("there is no whole backup in {}", folder.string()));
  const std::string text(std::istreambuf_iterator<char>(in), {});
  try {
    const json::value document = json::parse(text);
    BackupManifest manifest;
    manifest.format = document.at("format").to_number<int>();
    if (manifest.format > BackupManifest::kFormat) {
      return fail(ErrorCode::kUnsupported, "the backup was made by a newer Fettle");
    }
    manifest.made_by = json::value_to<std::string>(document.at("made_by"));
    manifest.taken_at = document.at("taken_at").to_number<std::int64_t>();
    manifest.ledger = json::value_to<std::string>(document.at("ledger"));
    manifest.telemetry = json::value_to<std::string>(document.at("telemetry"));
    manifest.telemetry_schema = document.at("telemetry_schema").to_number<std::uint32_t>();
    for (const json::value& one : document.at("files").as_array()) {
      manifest.files.push_back({json::value_to<std::string>(one.at("path")), one.at("bytes").to_number<std::uint64_t>(),
                                json::value_to<std::string>(one.at("sha256"))});
    }
    return manifest;
  } catch (const std::exception& error) {
    return fail(ErrorCode::kDataLoss, fmt::format("{} is not a manifest: {}", (folder / kName).string(), error.what()));
  }
}

Result<void> check_files(const fs::path& folder, const BackupManifest& manifest) {
  auto found = list_files(folder);
  if (!found) return std::unexpected(std::move(found).error());
  auto is = found->begin();
  for (const BackedFile& was : manifest.files) {
    if (is == found->end() || is->path > was.path) return fail(ErrorCode::kDataLoss, was.path + " is missing");
    if (is->path < was.path) return fail(ErrorCode::kDataLoss, is->path + " is not in the manifest");
    if (*is != was) {
      return fail(ErrorCode::kDataLoss, fmt::format("{} is not as it was written: {} bytes, {} in the manifest",
                                                    was.path, is->bytes, was.bytes));
    }
    ++is;
  }
  if (is != found->end()) return fail(ErrorCode::kDataLoss, is->path + " is not in the manifest");
  return {};
}

Result<void> sync_all(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool is_synced = fd >= 0 && ::syncfs(fd) == 0;
  const int error = errno;
  if (fd >= 0) ::close(fd);
  if (is_synced) return {};
  return fail(error == ENOSPC ? ErrorCode::kResourceExhausted : ErrorCode::kUnavailable,
              fmt::format("syncing {}: {}", folder.string(), std::strerror(error)));
}

}  // namespace fettle::server
