#include "server/secret_file.h"

#include <fmt/format.h>
#include <sys/stat.h>

#include <cctype>
#include <fstream>
#include <string>
#include <utility>

#include "ingest/disk.h"

namespace fettle::server {
namespace {

constexpr std::size_t kSecretBytesMax = 4'096;

}  // namespace

Result<Secret> read_secret_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::string text(kSecretBytesMax + 1, '\0');
  in.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (!in && !in.eof()) return fail(ErrorCode::kInvalidArgument, fmt::format("cannot read '{}'", file.string()));
  text.resize(static_cast<std::size_t>(in.gcount()));
  if (text.size() > kSecretBytesMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' holds more than {} bytes, so it is no token or password",
                                                         file.string(), kSecretBytesMax));
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) text.pop_back();
  if (text.empty()) return fail(ErrorCode::kInvalidArgument, fmt::format("'{}' is empty", file.string()));
  return Secret(std::move(text));
}

Result<Secret> secret_of_server(const std::filesystem::path& file, std::size_t bytes, Rng& rng) {
  struct stat info{};
  if (::stat(file.c_str(), &info) == 0) {
    if ((info.st_mode & 0077) != 0) {
      return fail(
          ErrorCode::kInvalidArgument,
          fmt::format("others may read '{0}', which the server's keys are made of: chmod 600 '{0}'", file.string()));
    }
    std::ifstream in(file, std::ios::binary);
    std::string text(bytes, '\0');
    in.read(text.data(), static_cast<std::streamsize>(bytes));
    if (static_cast<std::size_t>(in.gcount()) != bytes) {
      return fail(ErrorCode::kDataLoss,
                  fmt::format("'{}' holds fewer than {} bytes: bring back the file that was there; "
                              "with another one earlier signatures cannot be told to be ours",
                              file.string(), bytes));
    }
    return Secret(std::move(text));
  }
  // Under another name first: a file that is there is whole.
  const std::filesystem::path unfinished = file.string() + ".new";
  std::string text = rng.bytes(bytes);
  ingest::PosixDisk disk;
  Result<void> kept = ingest::write_file(disk, unfinished, text);
  if (kept) kept = disk.rename(unfinished, file);
  if (kept) kept = disk.sync_folder(file.parent_path());
  if (!kept) return std::unexpected(std::move(kept).error().within("writing the server's secret"));
  return Secret(std::move(text));
}

}  // namespace fettle::server
