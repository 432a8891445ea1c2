#include "server/secret_file.h"

#include <fmt/format.h>

#include <cctype>
#include <fstream>
#include <string>
#include <utility>

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

}  // namespace fettle::server
