#include "engine/host/gzip.h"

#include <zlib.h>

#include <algorithm>

namespace fettle::engine_host {
namespace {

constexpr int kGzipWindow = 15 + 16;  // the largest window, with a gzip header instead of zlib's
constexpr int kLevel = 1;             // a local hop: the processor is dearer than the bytes
constexpr int kMemoryLevel = 8;
constexpr std::size_t kStepBytes = 64 * 1024;

Bytef* bytes_of(std::string_view text) { return reinterpret_cast<Bytef*>(const_cast<char*>(text.data())); }

}  // namespace

Result<std::string> gunzip(std::string_view compressed, std::size_t bytes_max) {
  z_stream stream{};
  if (inflateInit2(&stream, kGzipWindow) != Z_OK) return fail(ErrorCode::kInternal, "gzip could not be started");
  const std::unique_ptr<z_stream, int (*)(z_stream*)> end(&stream, inflateEnd);
  std::string out;
  stream.next_in = bytes_of(compressed);
  stream.avail_in = static_cast<uInt>(compressed.size());
  int state = Z_OK;
  while (state == Z_OK) {
    const std::size_t before = out.size();
    if (before > bytes_max) return fail(ErrorCode::kTooLarge, "the uncompressed query is too large");
    out.resize(before + kStepBytes);
    stream.next_out = bytes_of(std::string_view(out).substr(before));
    stream.avail_out = static_cast<uInt>(kStepBytes);
    state = inflate(&stream, Z_NO_FLUSH);
    out.resize(out.size() - stream.avail_out);
  }
  if (state != Z_STREAM_END || stream.avail_in != 0)
    return fail(ErrorCode::kInvalidArgument, "the body is not valid gzip");
  if (out.size() > bytes_max) return fail(ErrorCode::kTooLarge, "the uncompressed query is too large");
  return out;
}

struct Gzip::Impl {
  Impl() { deflateInit2(&stream, kLevel, Z_DEFLATED, kGzipWindow, kMemoryLevel, Z_DEFAULT_STRATEGY); }
  ~Impl() { deflateEnd(&stream); }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::string run(std::string_view bytes, int flush) {
    std::string out;
    stream.next_in = bytes_of(bytes);
    stream.avail_in = static_cast<uInt>(bytes.size());
    do {
      const std::size_t before = out.size();
      out.resize(before + kStepBytes);
      stream.next_out = bytes_of(std::string_view(out).substr(before));
      stream.avail_out = static_cast<uInt>(kStepBytes);
      deflate(&stream, flush);
      out.resize(out.size() - stream.avail_out);
    } while (stream.avail_out == 0);
    return out;
  }

  z_stream stream{};
};

Gzip::Gzip() : impl_(std::make_unique<Impl>()) {}
Gzip::~Gzip() = default;
Gzip::Gzip(Gzip&&) noexcept = default;
Gzip& Gzip::operator=(Gzip&&) noexcept = default;

std::string Gzip::add(std::string_view bytes) { return impl_->run(bytes, Z_NO_FLUSH); }
std::string Gzip::finish() { return impl_->run({}, Z_FINISH); }

}  // namespace fettle::engine_host
