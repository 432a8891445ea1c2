#include "http/compression.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <new>

#include "http/response_head.h"

namespace fettle::http {
namespace {

constexpr int kGzipLevel = 1;
constexpr int kZstdLevel = 1;
constexpr int kGzipWindow = 15 + 16;  // the largest window, with a gzip header instead of zlib's
constexpr int kMemoryLevel = 8;
constexpr std::size_t kStepBytes = 64 * 1024;

constexpr std::array<std::string_view, 3> kOtherTypes = {"application/json", "application/problem+json",
                                                         "application/openmetrics-text"};

std::string lower_trimmed(std::string_view text) {
  constexpr std::string_view kBlank = " \t";
  text.remove_prefix(std::min(text.find_first_not_of(kBlank), text.size()));
  text = text.substr(0, text.find_last_not_of(kBlank) + 1);
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return out;
}

}  // namespace

std::string_view to_string(Coding coding) {
  switch (coding) {
    case Coding::kGzip: return "gzip";
    case Coding::kZstd: return "zstd";
    case Coding::kIdentity: break;
  }
  return "identity";
}

double encoding_weight(std::string_view accept_encoding, std::string_view coding) {
  double found = -1;
  double any = 0;
  while (!accept_encoding.empty()) {
    const std::string_view member = accept_encoding.substr(0, accept_encoding.find(','));
    accept_encoding.remove_prefix(std::min(accept_encoding.size(), member.size() + 1));
    const std::string name = lower_trimmed(member.substr(0, member.find(';')));
    double weight = 1;
    if (const std::size_t semicolon = member.find(';'); semicolon != std::string_view::npos) {
      const std::string parameter = lower_trimmed(member.substr(semicolon + 1));
      const std::string_view value = std::string_view(parameter).substr(std::min<std::size_t>(parameter.size(), 2));
      if (parameter.starts_with("q=") &&
          std::from_chars(value.data(), value.data() + value.size(), weight).ec != std::errc()) {
        weight = 0;
      }
    }
    weight = std::clamp(weight, 0.0, 1.0);
    if (name == coding) found = weight;
    if (name == "*") any = weight;
  }
  return found >= 0 ? found : any;
}

Coding coding_for(std::string_view accept_encoding) {
  if (accept_encoding.empty()) return Coding::kIdentity;
  const double zstd = encoding_weight(accept_encoding, "zstd");
  const double gzip = encoding_weight(accept_encoding, "gzip");
  // Not named it is acceptable and no more: whoever names a coding wants it.
  const double identity =
      accept_encoding.find("identity") == std::string_view::npos ? 0 : encoding_weight(accept_encoding, "identity");
  if (zstd > 0 && zstd >= gzip && zstd >= identity) return Coding::kZstd;
  if (gzip > 0 && gzip >= identity) return Coding::kGzip;
  return Coding::kIdentity;
}

bool is_compressible(const Response& response) {
  const Headers& headers = response.headers;
  if (is_bodyless(response.status) || response.status == 206) return false;
  if (headers.has("Content-Encoding") || headers.has("Content-Range")) return false;
  if (lists_token(headers.get("Cache-Control"), "no-transform")) return false;
  const std::string_view field = headers.get("Content-Type");
  const std::string type = lower_trimmed(field.substr(0, field.find(';')));
  if (type == "text/event-stream") return false;
  return type.starts_with("text/") || std::ranges::find(kOtherTypes, type) != kOtherTypes.end();
}

void name_coding(Headers& headers, Coding coding) {
  if (coding != Coding::kIdentity) headers.set("Content-Encoding", std::string(to_string(coding)));
  const std::string_view vary = headers.get("Vary");
  if (vary == "*" || lists_token(vary, "Accept-Encoding")) return;
  headers.set("Vary", vary.empty() ? "Accept-Encoding" : std::string(vary) + ", Accept-Encoding");
}

struct Compressor::Impl {
  explicit Impl(Coding its_coding) : coding(its_coding) {
    if (coding == Coding::kZstd) {
      zstd = ZSTD_createCCtx();
      if (zstd == nullptr) throw std::bad_alloc();
      ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, kZstdLevel);
    } else if (deflateInit2(&gzip, kGzipLevel, Z_DEFLATED, kGzipWindow, kMemoryLevel, Z_DEFAULT_STRATEGY) != Z_OK) {
      throw std::bad_alloc();
    }
  }
  ~Impl() {
    if (coding == Coding::kZstd) {
      ZSTD_freeCCtx(zstd);
    } else {
      deflateEnd(&gzip);
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  std::string run(std::string_view bytes, bool is_last) {
    return coding == Coding::kZstd ? run_zstd(bytes, is_last) : run_gzip(bytes, is_last);
  }

  std::string run_zstd(std::string_view bytes, bool is_last) const {
    std::string out;
    ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
    while (true) {
      const std::size_t before = out.size();
      out.resize(before + kStepBytes);
      ZSTD_outBuffer room{out.data() + before, kStepBytes, 0};
      // Into memory, with a context that was made: it has nothing to fail of.
      const std::size_t left = ZSTD_compressStream2(zstd, &room, &in, is_last ? ZSTD_e_end : ZSTD_e_continue);
      out.resize(before + room.pos);
      if (is_last ? left == 0 : in.pos == in.size) return out;
    }
  }

  std::string run_gzip(std::string_view bytes, bool is_last) {
    std::string out;
    gzip.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));  // zlib only reads it
    gzip.avail_in = static_cast<uInt>(bytes.size());
    do {
      const std::size_t before = out.size();
      out.resize(before + kStepBytes);
      gzip.next_out = reinterpret_cast<Bytef*>(out.data() + before);
      gzip.avail_out = static_cast<uInt>(kStepBytes);
      deflate(&gzip, is_last ? Z_FINISH : Z_NO_FLUSH);
      out.resize(out.size() - gzip.avail_out);
    } while (gzip.avail_out == 0);
    return out;
  }

  const Coding coding;
  ZSTD_CCtx* zstd = nullptr;
  z_stream gzip{};
};

Compressor::Compressor(Coding coding) : impl_(std::make_unique<Impl>(coding)) {}
Compressor::~Compressor() = default;
Compressor::Compressor(Compressor&&) noexcept = default;
Compressor& Compressor::operator=(Compressor&&) noexcept = default;

std::string Compressor::add(std::string_view bytes) { return impl_->run(bytes, false); }
std::string Compressor::finish() { return impl_->run({}, true); }

}  // namespace fettle::http
