#include "http/compression.h"

#include <gtest/gtest.h>
#include <zlib.h>
#include <zstd.h>

#include "http/client.h"
#include "http/test_support.h"

namespace fettle::http {
namespace {

std::string gunzip(std::string_view bytes) {
  z_stream stream{};
  EXPECT_EQ(inflateInit2(&stream, 15 + 16), Z_OK);
  std::string out(8 * 1024 * 1024, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  stream.avail_in = static_cast<uInt>(bytes.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(inflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(out.size() - stream.avail_out);
  inflateEnd(&stream);
  return out;
}

std::string unzstd(std::string_view bytes) {
  std::string out(8 * 1024 * 1024, '\0');
  ZSTD_DCtx* context = ZSTD_createDCtx();
  ZSTD_inBuffer in{bytes.data(), bytes.size(), 0};
  ZSTD_outBuffer room{out.data(), out.size(), 0};
  EXPECT_EQ(ZSTD_decompressStream(context, &room, &in), 0U) << "the frame has its end";
  ZSTD_freeDCtx(context);
  out.resize(room.pos);
  return out;
}

std::string plain(Coding coding, std::string_view bytes) {
  if (coding == Coding::kIdentity) return std::string(bytes);
  return coding == Coding::kGzip ? gunzip(bytes) : unzstd(bytes);
}

// JSON of about so many bytes.
std::string document(std::size_t bytes) {
  std::string out = "[";
  for (int i = 0; out.size() < bytes; ++i)
    out += R"({"span_id":")" + std::to_string(i * 7919) + R"(","name":"GET /"},)";
  return out + "0]";
}

TEST(Compression, AnEncodingHasItsWeight) {
  EXPECT_EQ(encoding_weight("gzip, br;q=0.5", "br"), 0.5);
  EXPECT_EQ(encoding_weight("gzip, deflate", "br"), 0);
  EXPECT_EQ(encoding_weight("*;q=0.3", "br"), 0.3);
  EXPECT_EQ(encoding_weight("br;q=0, *", "br"), 0);
  EXPECT_EQ(encoding_weight("GZip ; Q=0.2", "gzip"), 0.2);
  EXPECT_EQ(encoding_weight("gzip;q=x", "gzip"), 0);
  EXPECT_EQ(encoding_weight("", "br"), 0);
}

TEST(Compression, TheCodingIsTheOneTheClientLikesBest) {
  for (const auto& [accepted, wanted] :
       std::initializer_list<std::pair<const char*, Coding>>{{"gzip, deflate, br, zstd", Coding::kZstd},
                                                             {"gzip", Coding::kGzip},
                                                             {"zstd;q=0.4, gzip;q=0.5", Coding::kGzip},
                                                             {"zstd;q=0, *", Coding::kGzip},
                                                             {"br, deflate", Coding::kIdentity},
                                                             {"gzip;q=0.5, identity", Coding::kIdentity},
                                                             {"*;q=0", Coding::kIdentity},
                                                             {"", Coding::kIdentity}}) {
    EXPECT_EQ(coding_for(accepted), wanted) << accepted;
  }
}

TEST(Compression, OnlyWholeTextIsCompressible) {
  const auto is = [](int status, const char* type, const char* name = "X-Other", const char* value = "x") {
    Response response = Response::make(status, type, "x");
    response.headers.set(name, value);
    return is_compressible(response);
  };
  for (const char* type : {"application/json", "application/problem+json", "text/plain; version=0.0.4", "TEXT/HTML"}) {
    EXPECT_TRUE(is(200, type)) << type;
    EXPECT_TRUE(is(404, type)) << type;
  }
  for (const char* type :
       {"text/event-stream", "text/event-stream; charset=utf-8", "font/woff2", "application/x-protobuf", ""}) {
    EXPECT_FALSE(is(200, type)) << type;
  }
  EXPECT_FALSE(is(206, "application/json"));
  EXPECT_FALSE(is(304, "application/json"));
  EXPECT_FALSE(is(200, "application/json", "Content-Encoding", "br"));
  EXPECT_FALSE(is(200, "application/json", "Content-Range", "bytes 0-1/9"));
  EXPECT_FALSE(is(200, "application/json", "Cache-Control", "no-store, no-transform"));
}

TEST(Compression, WhatComesOutIsWhatWentInPieceByPiece) {
  const std::string text = document(300'000);
  for (const Coding coding : {Coding::kGzip, Coding::kZstd}) {
    Compressor compressor(coding);
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += 1 + at % 9'973) {
      out += compressor.add(std::string_view(text).substr(at, 1 + at % 9'973));
    }
    out += compressor.finish();
    EXPECT_EQ(plain(coding, out), text);
    EXPECT_LT(out.size(), text.size() / 4);
    Compressor nothing(coding);
    EXPECT_EQ(plain(coding, nothing.finish()), "");
  }
}

TEST(Compression, AcceptEncodingJoinsWhatVaries) {
  Headers headers;
  headers.set("Vary", "X-Forwarded-Prefix");
  name_coding(headers, Coding::kGzip);
  name_coding(headers, Coding::kGzip);
  EXPECT_EQ(headers.get("Vary"), "X-Forwarded-Prefix, Accept-Encoding");
  EXPECT_EQ(headers.get("Content-Encoding"), "gzip");
}

// ---- as the server does it

class CompressedAnswers : public ::testing::Test {
 protected:
  // Answers GET /whole, /stream, /events, /small and /bytes.
  void start() {
    server_.handler = [this](Request request, Responder responder) {
      Response head = Response::make(200, "application/json", document_);
      if (request.path == "/small") head.body = "{}";
      if (request.path == "/bytes") head.headers.set("Content-Type", "application/octet-stream");
      if (request.path == "/events") head.headers.set("Content-Type", "text/event-stream");
      if (request.path != "/stream" && request.path != "/events") return std::move(responder).respond(std::move(head));
      writer_ = std::jthread([this, stream = std::move(responder).stream(std::move(head))] {
        for (std::size_t at = 0; at < document_.size(); at += 50'000) {
          if (!stream->write(std::string_view(document_).substr(at, 50'000))) return;
        }
        stream->finish();
      });
    };
    server_.start();
    client_.emplace(server_.url(), ClientOptions{});
  }
  Response ask(std::string path, std::string accepted, bool is_far = true, std::string method = "GET") {
    ClientRequest request{.method = std::move(method), .target = std::move(path)};
    request.headers.add("Accept-Encoding", std::move(accepted));
    if (is_far) request.headers.add("X-Forwarded-For", "192.0.2.7");
    auto answer = client_->send(request);
    EXPECT_TRUE(answer) << answer.error().message();
    return answer ? std::move(*answer) : Response{};
  }

  const std::string document_ = document(2'500'000);
  std::optional<Client> client_;
  std::jthread writer_;
  // Last, so that it goes first: its threads may still be at the writer.
  TestServer server_{ServerOptions{.compress_answers = true}};
};

TEST_F(CompressedAnswers, AreAsTheClientAcceptsThemWholeOrStreamed) {
  // On the I/O thread a body of this size is left alone, so the whole answer is given by another.
  start();
  for (const auto& [accepted, coding] : std::initializer_list<std::pair<const char*, Coding>>{
           {"gzip", Coding::kGzip}, {"gzip, zstd", Coding::kZstd}, {"br", Coding::kIdentity}}) {
    const Response answer = ask("/stream", accepted);
    EXPECT_EQ(answer.headers.get("Content-Encoding"), coding == Coding::kIdentity ? "" : to_string(coding));
    EXPECT_EQ(answer.headers.get("Vary"), "Accept-Encoding");
    EXPECT_EQ(plain(coding, answer.body) == document_, true) << accepted;
    EXPECT_EQ(answer.body.size() < document_.size() / 4, coding != Coding::kIdentity);
  }
}

TEST_F(CompressedAnswers, HaveTheLengthThatHeadNames) {
  start();
  const auto whole = [this](Request, Responder responder) {
    writer_ = std::jthread([this, held = std::make_shared<Responder>(std::move(responder))] {
      std::move(*held).respond(Response::make(200, "application/json", document_));
    });
  };
  server_.handler = whole;
  for (const char* accepted : {"gzip", "zstd"}) {
    const Response got = ask("/whole", accepted);
    EXPECT_EQ(got.headers.get("Content-Encoding"), accepted);
    EXPECT_EQ(got.headers.get("Content-Length"), std::to_string(got.body.size()));
    EXPECT_EQ(plain(coding_for(accepted), got.body) == document_, true);
    const Response head = ask("/whole", accepted, true, "HEAD");
    EXPECT_EQ(head.headers.get("Content-Encoding"), accepted);
    EXPECT_EQ(head.headers.get("Content-Length"), got.headers.get("Content-Length"));
    EXPECT_EQ(head.body, "");
  }
}

TEST_F(CompressedAnswers, AreNotEventsNorSmallNorBytesNorForThisMachine) {
  start();
  for (const char* path : {"/events", "/small", "/bytes"}) {
    const Response answer = ask(path, "gzip, zstd");
    EXPECT_FALSE(answer.headers.has("Content-Encoding")) << path;
    EXPECT_FALSE(answer.headers.has("Vary")) << path;
  }
  const Response near = ask("/stream", "gzip, zstd", false);
  EXPECT_FALSE(near.headers.has("Content-Encoding"));
  EXPECT_EQ(near.headers.get("Vary"), "Accept-Encoding") << "a cache must know that others get something else";
  EXPECT_EQ(near.body == document_, true);
}

TEST_F(CompressedAnswers, DoNotHoldUpTheIoThread) {
  start();
  EXPECT_FALSE(ask("/whole", "gzip").headers.has("Content-Encoding")) << "2.5 MB, answered on the I/O thread";
}

TEST_F(CompressedAnswers, AreCutWhenTheirStreamIsCut) {
  start();
  server_.handler = [this](Request, Responder responder) {
    Response head = Response::make(200, "application/json", "");
    writer_ = std::jthread([this, stream = std::move(responder).stream(std::move(head))] {
      stream->write(document_);
      stream->abort();
    });
  };
  ClientRequest request{.target = "/"};
  request.headers.add("Accept-Encoding", "zstd");
  request.headers.add("X-Forwarded-For", "192.0.2.7");
  EXPECT_FALSE(client_->send(request));
}

TEST(Compression, IsOffUnlessItIsAskedFor) {
  TestServer server;
  server.handler = [](Request, Responder responder) {
    std::move(responder).respond(Response::make(200, "application/json", document(10'000)));
  };
  server.start();
  Client client(server.url(), {});
  ClientRequest request{.target = "/"};
  request.headers.add("Accept-Encoding", "gzip");
  request.headers.add("X-Forwarded-For", "192.0.2.7");
  const auto answer = client.send(request);
  ASSERT_TRUE(answer);
  EXPECT_FALSE(answer->headers.has("Content-Encoding"));
  EXPECT_FALSE(answer->headers.has("Vary"));
}

}  // namespace
}  // namespace fettle::http
