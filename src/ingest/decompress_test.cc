#include "ingest/decompress.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

namespace fettle::ingest {
namespace {

constexpr std::size_t kMax = 1024 * 1024;

std::string deflated(std::string_view plain, int window_bits) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 6, Z_DEFLATED, window_bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, plain.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(plain.data()));
  stream.avail_in = static_cast<uInt>(plain.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

std::string compressed(Compression how, std::string_view plain) {
  switch (how) {
    case Compression::kNone: return std::string(plain);
    case Compression::kGzip: return deflated(plain, 15 + 16);
    case Compression::kDeflate: return deflated(plain, 15);
    case Compression::kZstd: {
      std::string out(ZSTD_compressBound(plain.size()), '\0');
      out.resize(ZSTD_compress(out.data(), out.size(), plain.data(), plain.size(), 3));
      return out;
    }
  }
  return {};
}

constexpr Compression kAll[] = {Compression::kNone, Compression::kGzip, Compression::kDeflate, Compression::kZstd};
constexpr Compression kReal[] = {Compression::kGzip, Compression::kDeflate, Compression::kZstd};

TEST(Decompress, GivesBackWhatWasCompressed) {
  std::string out;
  for (const Compression how : kAll) {
    for (const std::size_t size : {0UL, 1UL, 1000UL, 300'000UL, kMax}) {
      const std::string plain(size, 'x');
      ASSERT_TRUE(decompress(how, compressed(how, plain), kMax, out)) << static_cast<int>(how) << ' ' << size;
      EXPECT_EQ(out, plain);
    }
  }
}

TEST(Decompress, SeveralMembersAreOneBody) {
  std::string out;
  for (const Compression how : {Compression::kGzip, Compression::kZstd}) {
    ASSERT_TRUE(decompress(how, compressed(how, "one ") + compressed(how, "two"), kMax, out));
    EXPECT_EQ(out, "one two");
  }
}

TEST(Decompress, StopsABombAtTheLimit) {
  std::string out;
  for (const Compression how : kReal) {
    const auto outcome = decompress(how, compressed(how, std::string(50 * kMax, '\0')), kMax, out);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code(), ErrorCode::kTooLarge);
    EXPECT_LE(out.capacity(), 2 * kMax);
  }
}

TEST(Decompress, RefusesWhatIsCutShortAtAnyByte) {
  std::string out;
  for (const Compression how : kReal) {
    const std::string whole = compressed(how, "a body that is long enough to have some length");
    for (std::size_t length = 0; length < whole.size(); ++length) {
      EXPECT_FALSE(decompress(how, whole.substr(0, length), kMax, out)) << static_cast<int>(how) << ' ' << length;
    }
  }
}

TEST(Decompress, RefusesDamage) {
  std::string out;
  for (const Compression how : kReal) {
    const auto outcome = decompress(how, "this is not compressed at all", kMax, out);
    ASSERT_FALSE(outcome);
    EXPECT_EQ(outcome.error().code(), ErrorCode::kInvalidArgument);
  }
}

TEST(ContentEncoding, KnowsWhatIsSpokenHere) {
  EXPECT_EQ(*parse_content_encoding("GZIP"), Compression::kGzip);
  EXPECT_EQ(*parse_content_encoding(""), Compression::kNone);
  EXPECT_EQ(parse_content_encoding("br").error().code(), ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace fettle::ingest
