#include "core/secret.h"

#include <openssl/crypto.h>

#include <utility>

namespace fettle {

// A moved-from std::string may keep its short bytes in place, so moves wipe their source.
Secret::Secret(Secret&& other) noexcept : value_(std::move(other.value_)) {
  OPENSSL_cleanse(other.value_.data(), other.value_.size());
  other.value_.clear();
}

Secret& Secret::operator=(Secret&& other) noexcept {
  std::swap(value_, other.value_);
  return *this;
}

Secret::~Secret() { OPENSSL_cleanse(value_.data(), value_.size()); }

bool Secret::equals(std::string_view candidate) const {
  return candidate.size() == value_.size() && CRYPTO_memcmp(candidate.data(), value_.data(), value_.size()) == 0;
}

}  // namespace fettle
