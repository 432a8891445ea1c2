#include "ingest/decompress.h"

#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cctype>
#include <memory>

namespace fettle::ingest {
namespace {

constexpr std::size_t kFirstGuessBytes = 256 * 1024;
// zstd lets a frame ask for a window of gigabytes; 8 MiB is what level 19 uses and what the format asks readers to
// take.
constexpr int kZstdWindowLogMax = 23;

std::unexpected<Error> too_large(std::size_t bytes_max) {
  return fail(ErrorCode::kTooLarge, fmt::format("the body is larger than {} bytes once decompressed", bytes_max));
}

// Makes room after the first `used` bytes and returns the free part, never past bytes_max + 1: the one byte more tells
// a body that fits exactly from one that does not.
std::string_view grow(std::string& out, std::size_t used, std::size_t bytes_max) {
  const std::size_t wanted =
      std::min(std::max(kFirstGuessBytes, out.capacity() > used ? out.capacity() : used * 2), bytes_max + 1);
  out.resize(std::max(wanted, used));
  return std::string_view(out).substr(used);
}

Result<void> inflate_all(std::string_view body, int window_bits, std::size_t bytes_max, std::string& out) {
  z_stream stream{};
  if (inflateInit2(&stream, window_bits) != Z_OK) return fail(ErrorCode::kInternal, "zlib would not start");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(body.data()));
  stream.avail_in = static_cast<uInt>(body.size());
  std::size_t used = 0;
  while (true) {
    const std::string_view room = grow(out, used, bytes_max);
    stream.next_out = reinterpret_cast<Bytef*>(const_cast<char*>(room.data()));
    stream.avail_out = static_cast<uInt>(room.size());
    const int outcome = inflate(&stream, Z_NO_FLUSH);
    used += room.size() - stream.avail_out;
    if (used > bytes_max) return too_large(bytes_max);
    if (outcome == Z_STREAM_END) {
      if (stream.avail_in == 0) break;
      if (inflateReset(&stream) != Z_OK) return fail(ErrorCode::kInternal, "zlib would not start again");
      continue;
    }
    if (outcome != Z_OK && !(outcome == Z_BUF_ERROR && stream.avail_out == 0)) {
      return fail(ErrorCode::kInvalidArgument, "the compressed body is damaged or cut short");
    }
    if (stream.avail_in == 0 && stream.avail_out != 0) {
      return fail(ErrorCode::kInvalidArgument, "the compressed body is cut short");
    }
  }
  out.resize(used);
  return {};
}

Result<void> zstd_all(std::string_view body, std::size_t bytes_max, std::string& out) {
  const std::unique_ptr<ZSTD_DCtx, std::size_t (*)(ZSTD_DCtx*)> context(ZSTD_createDCtx(), ZSTD_freeDCtx);
  if (!context) return fail(ErrorCode::kInternal, "zstd would not start");
  ZSTD_DCtx_setParameter(context.get(), ZSTD_d_windowLogMax, kZstdWindowLogMax);
  ZSTD_inBuffer in{body.data(), body.size(), 0};
  std::size_t used = 0;
  std::size_t outcome = 1;
  while (in.pos < in.size || outcome != 0) {
    const std::string_view room = grow(out, used, bytes_max);
    ZSTD_outBuffer plain{const_cast<char*>(room.data()), room.size(), 0};
    const std::size_t before = in.pos;
    outcome = ZSTD_decompressStream(context.get(), &plain, &in);
    if (ZSTD_isError(outcome)) return fail(ErrorCode::kInvalidArgument, "the compressed body is damaged");
    used += plain.pos;
    if (used > bytes_max) return too_large(bytes_max);
    if (outcome != 0 && in.pos == in.size && plain.pos < plain.size && in.pos == before) {
      return fail(ErrorCode::kInvalidArgument, "the compressed body is cut short");
    }
  }
  out.resize(used);
  return {};
}

}  // namespace

Result<Compression> parse_content_encoding(std::string_view header) {
  std::string name(header);
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  if (name.empty() || name == "identity") return Compression::kNone;
  if (name == "gzip" || name == "x-gzip") return Compression::kGzip;
  if (name == "deflate" || name == "zlib") return Compression::kDeflate;
  if (name == "zstd") return Compression::kZstd;
  return fail(ErrorCode::kUnsupported, "this Content-Encoding is not spoken here: use gzip, deflate, zstd or none");
}

Result<void> decompress(Compression compression, std::string_view body, std::size_t bytes_max, std::string& out) {
  constexpr int kGzipOnly = 15 + 16;
  constexpr int kZlibOnly = 15;
  out.clear();
  switch (compression) {
    case Compression::kNone: out.assign(body); return {};
    case Compression::kGzip: return inflate_all(body, kGzipOnly, bytes_max, out);
    case Compression::kDeflate: return inflate_all(body, kZlibOnly, bytes_max, out);
    case Compression::kZstd: return zstd_all(body, bytes_max, out);
  }
  return fail(ErrorCode::kInternal, "unknown compression");
}

}  // namespace fettle::ingest
