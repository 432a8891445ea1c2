#include "engine/host/tokens.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <sys/stat.h>

#include <algorithm>
#include <boost/json.hpp>
#include <fstream>
#include <sstream>

#include "core/ids.h"
#include "core/log.h"
#include "core/secret.h"

namespace fettle::engine_host {
namespace {

constexpr std::size_t kFileBytesMax = 1024 * 1024;
constexpr std::size_t kSha256HexSize = 64;

std::string sha256_hex(std::string_view text) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest);
  return to_hex({reinterpret_cast<const char*>(digest), sizeof digest});
}

std::string decode_base64(std::string_view text) {
  if (text.empty() || text.size() % 4 != 0) return {};
  std::string out(text.size() / 4 * 3, '\0');
  const int size = EVP_DecodeBlock(reinterpret_cast<unsigned char*>(out.data()),
                                   reinterpret_cast<const unsigned char*>(text.data()), static_cast<int>(text.size()));
  if (size < 0) return {};
  const auto padding = static_cast<std::size_t>(std::count(text.end() - 2, text.end(), '='));
  out.resize(static_cast<std::size_t>(size) - padding);
  return out;
}

}  // namespace

Tokens::Stamp Tokens::stamp() const {
  struct stat info{};
  if (stat(path_.c_str(), &info) != 0) return {};
  return {.modified_ns = info.st_mtim.tv_sec * 1'000'000'000 + info.st_mtim.tv_nsec,
          .size = info.st_size,
          .inode = info.st_ino};
}

Result<void> Tokens::load() {
  const Stamp before = stamp();
  const auto refuse = [&](std::string_view why) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("token file {}: {}", path_, why));
  };
  std::ifstream file(path_, std::ios::binary);
  if (!file) {
    MutexLock lock(mutex_);
    entries_.clear();  // taking the file away takes the tokens away
    return refuse("cannot be read");
  }
  std::string text(kFileBytesMax + 1, '\0');
  file.read(text.data(), static_cast<std::streamsize>(text.size()));
  text.resize(static_cast<std::size_t>(file.gcount()));
  if (text.size() > kFileBytesMax) return refuse("is larger than 1 MiB");

  boost::system::error_code error;
  const boost::json::value document = boost::json::parse(text, error);
  if (error || !document.is_array()) return refuse("is not a JSON array");
  std::vector<Entry> entries;
  for (const auto& item : document.get_array()) {
    const auto* object = item.if_object();
    const auto* sha256 = object == nullptr ? nullptr : object->if_contains("sha256");
    const auto* workspace = object == nullptr ? nullptr : object->if_contains("workspace");
    const auto* server = object == nullptr ? nullptr : object->if_contains("server");
    const bool is_server = server != nullptr && server->is_bool() && server->get_bool();
    if (sha256 == nullptr || !sha256->is_string() || is_server == (workspace != nullptr) ||
        (workspace != nullptr && !workspace->is_string()) || (server != nullptr && !server->is_bool())) {
      return refuse("an entry lacks sha256, has not one of workspace and server, or its server is not true or false");
    }
    Entry entry{.sha256 = std::string(sha256->get_string()), .caller = {}};
    std::transform(entry.sha256.begin(), entry.sha256.end(), entry.sha256.begin(),
                   [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c; });
    entry.caller.is_trusted = is_server;
    if (!is_server) entry.caller.workspace = std::string(workspace->get_string());
    if (entry.sha256.size() != kSha256HexSize || !is_hex(entry.sha256))
      return refuse("a sha256 is not 64 hexadecimal digits");
    // Never '*': that name reads every workspace.
    if (!is_server && !is_workspace_name(entry.caller.workspace)) return refuse("a workspace's name is not allowed");
    entries.push_back(std::move(entry));
  }
  MutexLock lock(mutex_);
  entries_ = std::move(entries);
  loaded_ = before;
  return {};
}

std::optional<Caller> Tokens::find(std::string_view token) {
  if (token.empty()) return std::nullopt;
  const Stamp current = stamp();
  bool is_stale = false;
  {
    MutexLock lock(mutex_);
    is_stale = !(current == loaded_);
    loaded_ = current;  // a file that cannot be read is complained of once, not at every request
  }
  if (is_stale) {
    if (auto loaded = load(); !loaded) log::error("tokens_not_reloaded", {{"error", loaded.error().message()}});
  }
  const Secret digest(sha256_hex(token));
  MutexLock lock(mutex_);
  for (const Entry& entry : entries_) {
    if (digest.equals(entry.sha256)) return entry.caller;
  }
  return std::nullopt;
}

std::string token_of(const http::Request& request) {
  if (const std::string key(request.headers.get("X-ClickHouse-Key")); !key.empty()) return key;
  const std::string_view authorization = request.headers.get("Authorization");
  constexpr std::string_view kBearer = "Bearer ";
  constexpr std::string_view kBasic = "Basic ";
  if (authorization.starts_with(kBearer)) return std::string(authorization.substr(kBearer.size()));
  if (authorization.starts_with(kBasic)) {
    const std::string pair = decode_base64(authorization.substr(kBasic.size()));
    const std::size_t colon = pair.find(':');
    return colon == std::string::npos ? std::string() : pair.substr(colon + 1);
  }
  return std::string(request.query.get("password"));
}

}  // namespace fettle::engine_host
