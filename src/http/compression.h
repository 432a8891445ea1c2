// Answers made smaller on their way out: which coding a client wants, what is worth it, and the compressing.
//
// Level 1 of both codings: see the figures in this room's README.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

#include "http/message.h"

namespace fettle::http {

enum class Coding { kIdentity, kGzip, kZstd };
std::string_view to_string(Coding coding);

// The weight of a coding in Accept-Encoding, 0 to 1; 0 when it is not accepted.
double encoding_weight(std::string_view accept_encoding, std::string_view coding);

// zstd unless gzip is liked better; identity when neither is accepted or it is liked better than both.
Coding coding_for(std::string_view accept_encoding);

// True for an answer that compresses: JSON and text of a kind that is read whole, not compressed already, not a part of
// something (ranges) and not one whose fields forbid it. An event stream is none: its reader waits for every line.
bool is_compressible(const Response& response);

// Below this a body is sent as it is.
constexpr std::size_t kCompressFromBytes = 1024;

// Compresses one body, piece by piece. Not thread-safe.
class Compressor {
 public:
  // `coding` is not kIdentity.
  explicit Compressor(Coding coding);
  ~Compressor();
  Compressor(Compressor&&) noexcept;
  Compressor& operator=(Compressor&&) noexcept;

  // What is ready so far, possibly nothing.
  std::string add(std::string_view bytes);
  // The rest. Nothing may be added afterwards.
  std::string finish();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Sets Content-Encoding (unless `coding` is kIdentity) and names Accept-Encoding in Vary.
void name_coding(Headers& headers, Coding coding);

}  // namespace fettle::http
