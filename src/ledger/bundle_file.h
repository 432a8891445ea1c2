// A file that counts only once it is whole: written under another name, hashed on the way, synced, renamed.
#pragma once

#include <openssl/evp.h>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "core/error.h"
#include "ledger/hash.h"

namespace fettle::ledger {

// SHA-256 over pieces that come one after the other.
class RunningSha256 {
 public:
  RunningSha256();
  // A copy goes on from the same pieces by itself.
  RunningSha256(const RunningSha256& other);
  RunningSha256& operator=(const RunningSha256& other);
  RunningSha256(RunningSha256&&) noexcept = default;
  RunningSha256& operator=(RunningSha256&&) noexcept = default;
  void add(std::string_view bytes);
  // Ends it.
  Digest digest();

 private:
  struct Free {
    void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
  };
  std::unique_ptr<EVP_MD_CTX, Free> context_;
};

// Removes what it wrote unless it was finished.
class BundleFile {
 public:
  static Result<BundleFile> create(const std::filesystem::path& file);
  ~BundleFile();
  BundleFile(BundleFile&& other) noexcept;
  BundleFile& operator=(BundleFile&&) = delete;

  // kUnavailable when the disk does not take it, kResourceExhausted when it is full.
  Result<void> write(std::string_view bytes);
  Result<void> finish();
  std::uint64_t bytes() const { return bytes_; }
  // After finish().
  const Digest& sha256() const { return digest_; }

 private:
  BundleFile(std::filesystem::path file, std::filesystem::path draft, int fd)
      : file_(std::move(file)), draft_(std::move(draft)), fd_(fd) {}
  Result<void> flush();
  std::filesystem::path file_;
  std::filesystem::path draft_;
  int fd_;
  std::string buffer_;
  std::uint64_t bytes_ = 0;
  RunningSha256 hash_;
  Digest digest_{};
};

}  // namespace fettle::ledger
