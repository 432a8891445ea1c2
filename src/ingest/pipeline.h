// From a request's bytes to the open batch: decode, repair, drop content, mask, resolve identifiers, price, append.
//
//   Pipeline pipeline(parts, options);
//   auto accepted = pipeline.add(submission);           // on failure the batch is unchanged
//   if (pipeline.is_full() || queue_is_empty) spool.append(pipeline.take(), …);
//
// A batch becomes one record, durable whole or not at all, whose blocks hold about batch_bytes_max each. A request that
// needs more than that has a record of its own. One worker owns a pipeline. The parts outlive it.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/clock.h"
#include "core/error.h"
#include "core/ids.h"
#include "core/metrics.h"
#include "ingest/content_policy.h"
#include "ingest/decompress.h"
#include "ingest/line_error.h"
#include "ingest/pricing.h"
#include "ingest/replay_guard.h"
#include "ingest/segment.h"
#include "ingest/sender_clocks.h"
#include "ingest/spool.h"
#include "otlp/decode.h"
#include "otlp/encode.h"
#include "redact/redactor.h"
#include "telemetry/identifiers.h"

namespace fettle::ingest {

struct PipelineParts {
  const telemetry::IdentifierCatalogue& identifiers;
  std::shared_ptr<const redact::Redactor> redactor;
  const PriceTable& prices;
  metrics::Registry& registry;
  SenderClocks* clocks = nullptr;  // told of every request; null: nobody wants to know
};

struct PipelineOptions {
  otlp::DecodeLimits limits;
  std::size_t body_bytes_max = 64 * 1024 * 1024;  // decompressed
  // Event time further back than its signal is kept, or further ahead than this, is rejected item by item.
  std::int64_t spans_kept_ns = 30 * kNanosPerDay;
  std::int64_t logs_kept_ns = 30 * kNanosPerDay;
  std::int64_t points_kept_ns = 90 * kNanosPerDay;
  std::int64_t ahead_max_ns = 3'600 * kNanosPerSecond;
  ContentPolicy content;
  std::uint32_t batch_rows_max = 8'192;
  std::size_t batch_bytes_max = 8 * 1024 * 1024;
  std::size_t record_bytes_max = kRecordBytesMax;  // of one request as rows, when a batch holds nothing else
};

// A request as a receiver hands it over.
struct Submission {
  enum class Format : std::uint8_t { kProtobuf, kJson, kNdjson, kJsonLogs };
  WorkspaceId workspace;
  std::string sender;  // of the token: named where the request itself was not read
  otlp::Signal signal = otlp::Signal::kTraces;
  Format format = Format::kProtobuf;
  Compression compression = Compression::kNone;
  std::string body;
  UnixNanos received_at = 0;
  RequestHash hash{};
  // For log lines that name no service or container of their own.
  std::string service_name;
  std::string container_id;
};

struct Accepted {
  std::int64_t received = 0;
  std::int64_t rejected = 0;
  std::string message;  // the first reason of a rejection or a warning; never payload
  std::vector<LineError> line_errors;
};

// In whose books the records of a request are.
Signal balance_signal(otlp::Signal signal);

class Pipeline {
 public:
  // What the owner has a say in while a request is added; either may be empty.
  struct Steps {
    // Before the request is decoded, which costs several times its plain bytes: its failure is that of add().
    std::function<Result<void>(std::size_t plain_bytes)> admit;
    // The request is too large to share a batch with what is there: take() that now.
    std::function<void()> close;
  };

  Pipeline(PipelineParts parts, PipelineOptions options);
  ~Pipeline();

  // kInvalidArgument: not what its format says. kTooLarge, kUnsupported as named.
  Result<Accepted> add(const Submission& submission, const Steps& steps);
  Result<Accepted> add(const Submission& submission) { return add(submission, Steps{}); }
  // Notes a request that was answered before, in the books only: under the name of its token, because it is not read.
  void add_duplicate(const Submission& submission, std::uint64_t records);
  // A batch was not stored: what it was the first to say of metric series is said again.
  void forget_series();

  bool is_empty() const;
  bool is_full() const;
  // The batch as a record for the spool; the pipeline is empty then.
  SpoolRecord take();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::ingest
