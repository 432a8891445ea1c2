#include "db/digest.h"

#include <openssl/sha.h>

#include <bit>
#include <cstring>

#include "core/ids.h"

namespace fettle::db {

void RowDigest::add(std::string_view row) {
  std::array<std::uint64_t, 4> lanes;
  static_assert(sizeof lanes == SHA256_DIGEST_LENGTH);
  SHA256(reinterpret_cast<const unsigned char*>(row.data()), row.size(),
         reinterpret_cast<unsigned char*>(lanes.data()));
  for (std::size_t i = 0; i < lanes.size(); ++i) sum_[i] += lanes[i];
  ++rows_;
}

void RowDigest::add(const Row& row) {
  scratch_.clear();
  for (std::size_t i = 0; i < row.size(); ++i) {
    const Value::Variant& value = row[i].get();
    // Kind and length in front: no two rows read the same.
    const auto append = [&](const void* bytes, std::uint64_t size) {
      scratch_ += static_cast<char>(value.index());
      scratch_.append(reinterpret_cast<const char*>(&size), sizeof size);
      scratch_.append(static_cast<const char*>(bytes), size);
    };
    if (const auto* number = std::get_if<std::int64_t>(&value)) {
      append(number, sizeof *number);
    } else if (const auto* real = std::get_if<double>(&value)) {
      append(real, sizeof *real);
    } else if (const auto* text = std::get_if<std::string_view>(&value)) {
      append(text->data(), text->size());
    } else if (const auto* blob = std::get_if<BlobView>(&value)) {
      append(blob->bytes.data(), blob->bytes.size());
    } else {
      append("", 0);
    }
  }
  add(std::string_view(scratch_));
}

std::string RowDigest::hex() const {
  return to_hex(std::string_view(reinterpret_cast<const char*>(sum_.data()), sizeof sum_));
}

}  // namespace fettle::db
