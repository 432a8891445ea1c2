#include "server/live_store.h"

#include <fmt/format.h>
#include <stdlib.h>

#include <array>
#include <cerrno>
#include <cstdint>
#include <cstring>
#include <fstream>

namespace fettle::server {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kSqlite = "sqlite:";

db::Options options() {
  db::Options options;
  options.readers = 1;
  return options;
}

// How long the file has to be, from its first page: 0 when that is damaged, too.
std::uint64_t stated_bytes(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::array<unsigned char, 32> head{};
  if (!in.read(reinterpret_cast<char*>(head.data()), head.size())) return 0;
  if (std::memcmp(head.data(), "SQLite format 3", 16) != 0) return 0;
  std::uint64_t page = std::uint64_t{head[16]} << 8 | head[17];
  if (page == 1) page = 65'536;
  const std::uint64_t pages =
      std::uint64_t{head[28]} << 24 | std::uint64_t{head[29]} << 16 | std::uint64_t{head[30]} << 8 | head[31];
  return page * pages;
}

// Answers the copy's path.
Result<fs::path> fill_up(const fs::path& file, const fs::path& folder) {
  const fs::path copy = folder / "ledger.db";
  std::error_code error;
  fs::copy_file(file, copy, error);
  if (!error && fs::exists(file.string() + "-wal"))
    fs::copy_file(file.string() + "-wal", copy.string() + "-wal", error);
  const std::uint64_t bytes = stated_bytes(copy);
  if (!error && fs::file_size(copy, error) < bytes) fs::resize_file(copy, bytes, error);
  if (error) return fail(ErrorCode::kUnavailable, fmt::format("copying {}: {}", file.string(), error.message()));
  return copy;
}

}  // namespace

LiveStore::~LiveStore() {
  if (database_ != nullptr) database_->close();
  database_.reset();
  std::error_code ignored;
  if (!scratch_.empty()) fs::remove_all(scratch_, ignored);
}

Result<LiveStore> LiveStore::open(const Secret& url, Clock& clock, metrics::Registry& metrics) {
  const std::string text(url.reveal());
  const bool is_file = text.starts_with(kSqlite);
  const fs::path file = is_file ? fs::path(text.substr(kSqlite.size())) : fs::path();
  if (is_file && !fs::exists(file)) return fail(ErrorCode::kNotFound, fmt::format("there is no {}", file.string()));
  LiveStore store;
  auto opened = db::open(url, options(), clock, metrics);
  if (!opened && is_file && opened.error().code() == ErrorCode::kDataLoss) {
    store.damage_ = opened.error().message();
    std::string pattern = (fs::temp_directory_path() / "fettle-verify-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) {
      return fail(ErrorCode::kUnavailable, fmt::format("making a folder for a copy: {}", std::strerror(errno)));
    }
    store.scratch_ = pattern;
    auto copy = fill_up(file, store.scratch_);
    if (!copy) return std::unexpected(std::move(copy).error());
    opened = db::open(Secret(std::string(kSqlite) + copy->string()), options(), clock, metrics);
    if (!opened) {
      return fail(ErrorCode::kDataLoss, fmt::format("{} cannot be read at all: {}", file.string(), store.damage_));
    }
  }
  if (!opened) return std::unexpected(std::move(opened).error().within("opening the ledger"));
  store.database_ = std::move(*opened);
  return store;
}

}  // namespace fettle::server
