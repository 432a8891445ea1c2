#include "ledger/bundle_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

namespace fettle::ledger {
namespace {

constexpr std::size_t kBufferBytes = 1 << 20;

std::unexpected<Error> failed(std::string_view what, const std::filesystem::path& file, int error) {
  return fail(error == ENOSPC || error == EDQUOT ? ErrorCode::kResourceExhausted : ErrorCode::kUnavailable,
              fmt::format("{} '{}': {}", what, file.string(), std::strerror(error)));
}

}  // namespace

RunningSha256::RunningSha256() : context_(EVP_MD_CTX_new()) {
  if (context_ == nullptr || EVP_DigestInit_ex2(context_.get(), EVP_sha256(), nullptr) != 1) std::abort();
}
RunningSha256::RunningSha256(const RunningSha256& other) : RunningSha256() { *this = other; }
RunningSha256& RunningSha256::operator=(const RunningSha256& other) {
  if (this != &other && EVP_MD_CTX_copy_ex(context_.get(), other.context_.get()) != 1) std::abort();
  return *this;
}
void RunningSha256::add(std::string_view bytes) {
  if (EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) != 1) std::abort();
}
Digest RunningSha256::digest() {
  Digest digest{};
  if (EVP_DigestFinal_ex(context_.get(), digest.data(), nullptr) != 1) std::abort();
  return digest;
}

Result<BundleFile> BundleFile::create(const std::filesystem::path& file) {
  std::filesystem::path draft = file;
  draft += ".draft";
  const int fd = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fd < 0) return failed("creating", draft, errno);
  return BundleFile(file, std::move(draft), fd);
}

BundleFile::BundleFile(BundleFile&& other) noexcept
    : file_(std::move(other.file_)),
      draft_(std::move(other.draft_)),
      fd_(std::exchange(other.fd_, -1)),
      buffer_(std::move(other.buffer_)),
      bytes_(other.bytes_),
      hash_(std::move(other.hash_)),
      digest_(other.digest_) {}

BundleFile::~BundleFile() {
  if (fd_ < 0) return;
  ::close(fd_);
  ::unlink(draft_.c_str());
}

Result<void> BundleFile::write(std::string_view bytes) {
  buffer_ += bytes;
  bytes_ += bytes.size();
  return buffer_.size() < kBufferBytes ? Result<void>() : flush();
}

Result<void> BundleFile::flush() {
  hash_.add(buffer_);
  for (std::string_view rest = buffer_; !rest.empty();) {
    const ssize_t written = ::write(fd_, rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return failed("writing", draft_, errno);
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  buffer_.clear();
  return {};
}

Result<void> BundleFile::finish() {
  if (auto flushed = flush(); !flushed) return flushed;
  digest_ = hash_.digest();
  if (::fsync(fd_) != 0) return failed("syncing", draft_, errno);
  if (::rename(draft_.c_str(), file_.c_str()) != 0) return failed("renaming", draft_, errno);
  ::close(std::exchange(fd_, -1));
  // The name has to survive a power cut as well.
  const std::filesystem::path folder = file_.has_parent_path() ? file_.parent_path() : std::filesystem::path(".");
  const int dir = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool synced = dir >= 0 && ::fsync(dir) == 0;
  const int error = errno;
  if (dir >= 0) ::close(dir);
  if (!synced) return failed("syncing", folder, error);
  return {};
}

}  // namespace fettle::ledger
