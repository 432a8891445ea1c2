#include "ingest/pipeline.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <tuple>
#include <unordered_map>

#include "ingest/attribute_keys.h"
#include "ingest/llm_usage.h"
#include "ingest/masking.h"
#include "ingest/ndjson.h"
#include "ingest/resolve.h"
#include "otlp/strings.h"
#include "telemetry/identifier_block.h"
#include "telemetry/llm_call_block.h"
#include "telemetry/log_block.h"
#include "telemetry/metric_blocks.h"
#include "telemetry/span_block.h"

namespace fettle::ingest {
namespace {

constexpr std::string_view kUnknownSender = "unknown_service";
constexpr std::string_view kTooOld = "too_old";
constexpr std::string_view kTooFarAhead = "too_far_ahead";
constexpr std::string_view kInvalid = "invalid";
constexpr std::size_t kSpanIdBytes = 8;
// How often a long request looks at how much it has become.
constexpr std::size_t kItemsBetweenLooks = 1'024;
// Of a request after which the memory that decoding took is given back instead of kept for the next one.
constexpr std::size_t kLargeBodyBytes = 8 * 1024 * 1024;
constexpr std::size_t kLargeItems = 65'536;

std::string_view service_name_of(const otlp::Common& request, const otlp::Resource& resource) {
  for (std::uint32_t i = resource.attributes.first; i < resource.attributes.first + resource.attributes.count; ++i) {
    const otlp::Attribute& attribute = request.attributes[i];
    if (attribute.key == "service.name" && attribute.value.type == otlp::ValueType::kString &&
        !attribute.value.text().empty()) {
      return attribute.value.text();
    }
  }
  return kUnknownSender;
}

// Rows of one sender that follow each other in the blocks of one table and day.
struct Run {
  std::uint32_t count = 0;  // index into the record's counts
  std::uint32_t rows = 0;
};

// Which rows of which block belong to which sender, noted as rows are appended and told block by block at the end.
class Origins {
 public:
  void note(UnixNanos ts, std::uint32_t count) {
    std::vector<Run>& runs = by_day_[day_of(ts)];
    if (!runs.empty() && runs.back().count == count) {
      ++runs.back().rows;
    } else {
      runs.push_back({count, 1});
    }
  }

  // `first` is the number of blocks already in the record.
  void tell(const std::vector<telemetry::TableBlock>& blocks, std::uint32_t first, std::vector<RowOrigin>& out) {
    std::map<std::int32_t, std::size_t> next;  // by day: the run that is not used up
    for (std::uint32_t i = 0; i < blocks.size(); ++i) {
      std::vector<Run>& runs = by_day_[blocks[i].day];
      std::size_t& at = next[blocks[i].day];
      for (std::uint32_t left = blocks[i].rows; left > 0 && at < runs.size();) {
        const std::uint32_t rows = std::min(left, runs[at].rows);
        out.push_back({first + i, runs[at].count, rows});
        left -= rows;
        runs[at].rows -= rows;
        if (runs[at].rows == 0) ++at;
      }
    }
    by_day_.clear();
  }

 private:
  std::map<std::int32_t, std::vector<Run>> by_day_;
};

void move_into(std::vector<telemetry::TableBlock>& to, std::vector<telemetry::TableBlock> from) {
  to.insert(to.end(), std::make_move_iterator(from.begin()), std::make_move_iterator(from.end()));
}

}  // namespace

Signal balance_signal(otlp::Signal signal) {
  switch (signal) {
    case otlp::Signal::kTraces: return Signal::kSpans;
    case otlp::Signal::kLogs: return Signal::kLogs;
    case otlp::Signal::kMetrics: break;
  }
  return Signal::kPoints;
}

struct Pipeline::Impl {
  Impl(PipelineParts its_parts, PipelineOptions its_options)
      : parts(std::move(its_parts)),
        options(std::move(its_options)),
        keys(parts.identifiers, *parts.redactor),
        masking(parts.redactor),
        spans(parts.identifiers),
        logs(parts.identifiers),
        identifiers(parts.identifiers),
        llm_calls(parts.identifiers) {
    for (const std::string& rule : parts.redactor->rule_names()) {
      rule_counters.push_back(
          &parts.registry.counter("fettle_redactions_total", "Values masked, by rule.", {{"rule", rule}}));
    }
  }

  Result<Accepted> add(const Submission& submission, const Steps& its_steps) {
    steps = &its_steps;
    body_bytes = items = 0;
    Result<Accepted> accepted = read(submission);
    if (items > kLargeItems || body_bytes > kLargeBodyBytes) {
      traces = {};
      records = {};
      points = {};
      infos = {};
      decompressed = {};
    }
    return accepted;
  }

  Result<Accepted> read(const Submission& submission) {
    const std::string* body = &submission.body;
    if (submission.compression != Compression::kNone) {
      auto plain = decompress(submission.compression, submission.body, options.body_bytes_max, decompressed);
      if (!plain) return std::unexpected(std::move(plain).error());
      body = &decompressed;
    }
    body_bytes = body->size();
    if (steps->admit) {
      if (auto admitted = steps->admit(body_bytes); !admitted) return std::unexpected(std::move(admitted).error());
    }
    now = submission.received_at;
    switch (submission.signal) {
      case otlp::Signal::kTraces: return add_traces(submission, *body);
      case otlp::Signal::kLogs: return add_logs(submission, *body);
      case otlp::Signal::kMetrics: return add_metrics(submission, *body);
    }
    return fail(ErrorCode::kInternal, "unknown signal");
  }

  // What is the same for all signals once a request is decoded: after this no secret is left in it.
  template <class Request>
  std::uint64_t clean(const Submission& submission, Request& request) {
    repaired.add(static_cast<double>(otlp::repair_utf8(request)));
    keys.look_up(request, infos);
    std::uint64_t removed = 0;
    if constexpr (requires { request.records; }) {
      removed = apply_content_policy(options.content, submission.workspace.value, infos, request);
    } else {
      apply_content_policy(options.content, submission.workspace.value, infos, request);
    }
    masking.apply(request, infos, rule_counts);
    for (std::size_t rule = 0; rule < rule_counts.size(); ++rule) {
      if (rule_counts[rule] != 0) rule_counters[rule]->add(static_cast<double>(std::exchange(rule_counts[rule], 0)));
    }
    resolver.begin(request, infos);
    return removed;
  }

  Result<Accepted> add_traces(const Submission& submission, const std::string& body) {
    auto decoded = submission.format == Submission::Format::kJson ? otlp::decode_json(body, options.limits, traces)
                                                                  : otlp::decode_protobuf(body, options.limits, traces);
    if (!decoded) return std::unexpected(std::move(decoded).error());
    Accepted accepted = begin(traces, traces.spans.size());
    open(traces.spans.size());
    clean(submission, traces);
    open_senders(submission, traces);
    spans.begin(submission.workspace.value, traces, now);
    for (const otlp::Span& span : traces.spans) {
      CountDelta& books = *sender_of(span.resource);
      ++books.received;
      // Ends are the newest a sender knows of, but one that lies beyond what is taken at all is a mistake, not a clock.
      hear(span.resource, span.end > span.start && span.end <= now + options.ahead_max_ns ? span.end : span.start);
      if (!check_time(span.start, options.spans_kept_ns, books, accepted)) continue;
      ++books.accepted;
      resolver.resolve(span.attributes, span.resource, span.scope, ids);
      spans.append(span, ids);
      identifiers.append(submission.workspace.value, ids, span.trace_id, span.start, telemetry::Signal::kSpan);
      span_origins.note(span.start, count_of(span.resource));
      if (const auto usage = read_llm_usage(traces, span, infos)) add_llm_call(submission, span, *usage);
      if (auto fits = look(); !fits) return std::unexpected(std::move(fits).error());
    }
    return close(submission, std::move(accepted));
  }

  Result<Accepted> add_logs(const Submission& submission, const std::string& body) {
    std::string warning;
    std::vector<LineError> line_errors;
    if (submission.format == Submission::Format::kNdjson || submission.format == Submission::Format::kJsonLogs) {
      NdjsonOptions reading;
      reading.limits = options.limits;
      reading.received_at = now;
      reading.service_name = submission.service_name;
      reading.container_id = submission.container_id;
      auto summary = decode_ndjson(body, submission.format == Submission::Format::kJsonLogs, reading, records);
      if (!summary) return std::unexpected(std::move(summary).error());
      if (summary->unparsable != 0) warning = fmt::format("{} lines were kept as text", summary->unparsable);
      line_errors = std::move(summary->errors);
    } else {
      auto decoded = submission.format == Submission::Format::kJson
                         ? otlp::decode_json(body, options.limits, records)
                         : otlp::decode_protobuf(body, options.limits, records);
      if (!decoded) return std::unexpected(std::move(decoded).error());
    }
    Accepted accepted = begin(records, records.records.size());
    open(records.records.size());
    if (accepted.message.empty()) accepted.message = std::move(warning);
    accepted.line_errors = std::move(line_errors);
    const std::uint64_t removed = clean(submission, records);
    open_senders(submission, records);
    if (removed != 0) {
      first_sender()->received += removed;
      first_sender()->redacted_away += removed;
    }
    adopt_trace_ids(records);
    logs.begin(submission.workspace.value, records, now);
    for (const otlp::LogRecord& record : records.records) {
      CountDelta& books = *sender_of(record.resource);
      ++books.received;
      hear(record.resource, record.time);
      const UnixNanos ts = record.time != 0 ? record.time : record.observed_time != 0 ? record.observed_time : now;
      if (!check_time(ts, options.logs_kept_ns, books, accepted)) continue;
      ++books.accepted;
      resolver.resolve(record.attributes, record.resource, record.scope, ids);
      if (!record.foreign_trace_id.empty()) {
        if (const auto* definition = parts.identifiers.by_name("trace_id"))
          ids.set(definition->kind, record.foreign_trace_id);
      }
      logs.append(record, ids);
      identifiers.append(submission.workspace.value, ids, record.trace_id, ts, telemetry::Signal::kLog);
      log_origins.note(ts, count_of(record.resource));
      if (auto fits = look(); !fits) return std::unexpected(std::move(fits).error());
    }
    return close(submission, std::move(accepted));
  }

  Result<Accepted> add_metrics(const Submission& submission, const std::string& body) {
    auto decoded = submission.format == Submission::Format::kJson ? otlp::decode_json(body, options.limits, points)
                                                                  : otlp::decode_protobuf(body, options.limits, points);
    if (!decoded) return std::unexpected(std::move(decoded).error());
    const std::size_t total = points.number_points.size() + points.histogram_points.size() +
                              points.exponential_histogram_points.size() + points.summary_points.size();
    Accepted accepted = begin(points, total);
    open(total);
    clean(submission, points);
    open_senders(submission, points);
    point_blocks.begin(submission.workspace.value, points, now);
    Result<void> fits;
    const auto append_all = [&](const auto& list) {
      for (const auto& point : list) {
        if (fits = look(); !fits) return;
        CountDelta& books = *sender_of(points.metrics[point.metric].resource);
        ++books.received;
        hear(points.metrics[point.metric].resource, point.time);
        if (!check_time(point.time, options.points_kept_ns, books, accepted)) continue;
        ++books.accepted;
        point_blocks.append(point);
      }
    };
    append_all(points.number_points);
    if (fits) append_all(points.histogram_points);
    if (fits) append_all(points.exponential_histogram_points);
    if (fits) append_all(points.summary_points);
    if (!fits) return std::unexpected(std::move(fits).error());
    return close(submission, std::move(accepted));
  }

  // Before the first item of a request goes into the batch: one that is much larger than a batch gets its own, so that
  // what becomes of it concerns nobody else.
  void open(std::size_t its_items) {
    items = its_items;
    const bool shares = rows() + items <= 2 * std::size_t{options.batch_rows_max} &&
                        bytes() + body_bytes <= 2 * options.batch_bytes_max;
    if (!shares && !is_empty() && steps->close) steps->close();
    is_alone = is_empty();
    until_look = kItemsBetweenLooks;
  }

  // After each item. Blocks are ended when they are as large as a batch: the store takes a record of many blocks one by
  // one where it has no memory for all.
  Result<void> look() {
    if (--until_look != 0) return {};
    until_look = kItemsBetweenLooks;
    if (open_bytes() < options.batch_bytes_max) return {};
    end_blocks();
    return check_size();
  }

  Result<Accepted> close(const Submission& submission, Accepted accepted) {
    if (auto fits = check_size(); !fits) return std::unexpected(std::move(fits).error());
    tell_clocks(submission);
    return accepted;
  }

  Result<void> check_size() {
    if (!is_alone || bytes() <= options.record_bytes_max) return {};
    std::ignore = take();
    point_blocks.forget();
    return fail(ErrorCode::kTooLarge,
                fmt::format("the request is over {} bytes as rows: send it in smaller ones", options.record_bytes_max));
  }

  std::size_t open_bytes() const { return spans.bytes() + logs.bytes() + point_blocks.bytes(); }
  std::size_t bytes() const { return ended_bytes + open_bytes(); }
  std::size_t rows() const { return ended_rows + spans.rows() + logs.rows() + point_blocks.rows(); }
  bool is_empty() const { return counts.empty() && requests.empty(); }

  // Logs that carry their trace's ids or their event's name as attributes (legacy formats, structured loggers) are read
  // as if these stood in the record's own fields, and what the record says in its own fields is not stored a second
  // time.
  void adopt_trace_ids(otlp::Logs& request) {
    for (otlp::LogRecord& record : request.records) {
      std::uint32_t kept = record.attributes.first;
      for (std::uint32_t i = record.attributes.first; i < record.attributes.first + record.attributes.count; ++i) {
        if (adopt(request, record, request.attributes[i])) continue;
        request.attributes[kept] = request.attributes[i];
        infos[kept++] = infos[i];
      }
      record.attributes.count = kept - record.attributes.first;
    }
  }

  // True when the attribute says nothing that the record does not say itself.
  static bool adopt(otlp::Logs& request, otlp::LogRecord& record, const otlp::Attribute& attribute) {
    if (attribute.value.type != otlp::ValueType::kString)
      return attribute.key == "trace_flags" && !record.trace_id.empty();
    const std::string_view text = attribute.value.text();
    if (attribute.key == "event_name") {
      if (record.event_name.empty()) record.event_name = text;
      return record.event_name == text;
    }
    if (attribute.key == "trace_id" || attribute.key == "traceId") {
      std::string raw = parse_trace_id(text);
      if (!record.trace_id.empty()) return raw == record.trace_id;
      if (raw.empty() && record.foreign_trace_id.empty()) record.foreign_trace_id = text;
      if (!raw.empty()) record.trace_id = request.keep(std::move(raw));
      return true;
    }
    if (attribute.key == "span_id" || attribute.key == "spanId") {
      auto raw = from_hex(text);
      if (!raw || raw->size() != kSpanIdBytes) return false;
      if (!record.span_id.empty()) return *raw == record.span_id;
      record.span_id = request.keep(*std::move(raw));
      return true;
    }
    return attribute.key == "trace_flags" && !record.trace_id.empty();
  }

  template <class Request>
  static Accepted begin(const Request& request, std::size_t items) {
    Accepted accepted;
    accepted.received = static_cast<std::int64_t>(items) + request.rejections.count;
    accepted.rejected = request.rejections.count;
    accepted.message = request.rejections.first_reason;
    return accepted;
  }

  // The line of the books for each resource of the request.
  template <class Request>
  void open_senders(const Submission& submission, const Request& request) {
    sender_index.clear();
    const Signal signal = balance_signal(submission.signal);
    for (const otlp::Resource& resource : request.resources) {
      sender_index.push_back(line_of(submission.workspace, service_name_of(request, resource), signal));
    }
    if (sender_index.empty()) sender_index.push_back(line_of(submission.workspace, kUnknownSender, signal));
    newest.assign(sender_index.size(), 0);
    // Which sender an item that could not be read belonged to is not known: it goes to the request's first.
    if (request.rejections.count != 0) {
      first_sender()->received += static_cast<std::uint64_t>(request.rejections.count);
      first_sender()->rejected[std::string(kInvalid)] += static_cast<std::uint64_t>(request.rejections.count);
    }
  }

  std::uint32_t line_of(const WorkspaceId& workspace, std::string_view sender, Signal signal) {
    const auto [entry, is_new] = lines.try_emplace(std::tuple(workspace.value, std::string(sender), signal),
                                                   static_cast<std::uint32_t>(counts.size()));
    if (is_new) {
      CountDelta& line = counts.emplace_back();
      line.workspace = workspace;
      line.sender = sender;
      line.signal = signal;
    }
    return entry->second;
  }

  std::uint32_t count_of(std::uint32_t resource) const {
    return sender_index[std::min<std::size_t>(resource, sender_index.size() - 1)];
  }
  CountDelta* sender_of(std::uint32_t resource) { return &counts[count_of(resource)]; }
  CountDelta* first_sender() { return &counts[sender_index.front()]; }

  // The event time of an item, wherever it lies; 0 is none.
  void hear(std::uint32_t resource, UnixNanos ts) {
    UnixNanos& of_resource = newest[std::min<std::size_t>(resource, newest.size() - 1)];
    of_resource = std::max(of_resource, ts);
  }
  void tell_clocks(const Submission& submission) {
    if (parts.clocks == nullptr) return;
    for (std::size_t i = 0; i < newest.size(); ++i) {
      if (newest[i] == 0) continue;
      parts.clocks->note(submission.workspace.value, counts[sender_index[i]].sender,
                         std::chrono::nanoseconds(newest[i] - now));
    }
  }

  bool check_time(UnixNanos ts, std::int64_t kept_ns, CountDelta& books, Accepted& accepted) {
    const bool too_old = ts < now - kept_ns;
    const bool too_new = ts > now + options.ahead_max_ns;
    if (!too_old && !too_new) return true;
    ++books.rejected[std::string(too_old ? kTooOld : kTooFarAhead)];
    if (accepted.rejected++ == 0) {
      accepted.message = too_old ? "event time is older than the retention of its signal"
                                 : "event time is more than an hour ahead of the server's clock";
    }
    return false;
  }

  void add_llm_call(const Submission& submission, const otlp::Span& span, const LlmUsage& usage) {
    const PriceQuote quote = parts.prices.price(usage.provider, usage.model(), usage_for_pricing(usage), span.start);
    telemetry::LlmCall call;
    call.ts = span.start;
    call.duration = std::max<UnixNanos>(0, span.end - span.start);
    call.trace_id = span.trace_id;
    call.span_id = span.span_id;
    call.status_code = span.status_code;
    call.service_name = counts[count_of(span.resource)].sender;
    call.operation = usage.operation;
    call.task_class = usage.task_class;
    call.provider = usage.provider;
    call.model = usage.model();
    call.tokens_fresh = quote.tokens.fresh;
    call.tokens_cache_read = quote.tokens.cache_read;
    call.tokens_cache_write = quote.tokens.cache_write;
    call.tokens_output = quote.tokens.output;
    call.tokens_reasoning = quote.tokens.reasoning;
    call.images = usage.images;
    call.video_seconds = usage.video_seconds;
    call.cost_nano_usd = quote.cost_nano_usd;
    call.price_row = quote.price_row;
    call.key_owner = usage.key_owner == "client" ? "client" : "agency";
    llm_calls.append(submission.workspace.value, call, ids, now);
  }

  static Usage usage_for_pricing(const LlmUsage& usage) {
    return {.input = usage.input_tokens,
            .output = usage.output_tokens,
            .cache_read = usage.cache_read_tokens,
            .cache_write = usage.cache_write_tokens,
            .reasoning = usage.reasoning_tokens,
            .images = usage.images,
            .video_seconds = usage.video_seconds};
  }

  // Moves the open blocks into the record.
  void end_blocks() {
    ended_rows = rows();
    const std::size_t before = batch.blocks.size();
    std::vector<telemetry::TableBlock> blocks = spans.take();
    span_origins.tell(blocks, static_cast<std::uint32_t>(batch.blocks.size()), batch.origins);
    move_into(batch.blocks, std::move(blocks));
    move_into(batch.blocks, spans.take_derived());
    blocks = logs.take();
    log_origins.tell(blocks, static_cast<std::uint32_t>(batch.blocks.size()), batch.origins);
    move_into(batch.blocks, std::move(blocks));
    move_into(batch.blocks, identifiers.take());
    move_into(batch.blocks, llm_calls.take());
    move_into(batch.blocks, point_blocks.take());
    for (std::size_t i = before; i < batch.blocks.size(); ++i) ended_bytes += batch.blocks[i].bytes.size();
  }

  SpoolRecord take() {
    end_blocks();
    batch.counts = std::exchange(counts, {});
    batch.requests = std::exchange(requests, {});
    lines.clear();
    ended_rows = ended_bytes = 0;
    return std::exchange(batch, {});
  }

  PipelineParts parts;
  PipelineOptions options;
  UnixNanos now = 0;

  // The request being added.
  const Steps* steps = nullptr;
  std::size_t body_bytes = 0;  // plain
  std::size_t items = 0;
  std::size_t until_look = 0;
  bool is_alone = false;  // in the batch

  // Reused between requests.
  std::string decompressed;
  otlp::Traces traces;
  otlp::Logs records;
  otlp::Metrics points;
  std::vector<const KeyInfo*> infos;
  AttributeKeys keys;
  Masking masking;
  IdentifierResolver resolver;
  telemetry::ResolvedIds ids;
  redact::RuleCounts rule_counts;
  std::vector<metrics::Counter*> rule_counters;
  metrics::Counter& repaired =
      parts.registry.counter("fettle_ingest_repaired_strings_total", "Strings whose UTF-8 was repaired.");
  std::vector<std::uint32_t> sender_index;  // by resource of the request: index into counts
  std::vector<UnixNanos> newest;            // by resource of the request: the newest event time

  // The open batch: `batch` has the blocks that are ended, the builders those that grow.
  SpoolRecord batch;
  std::size_t ended_rows = 0;
  std::size_t ended_bytes = 0;
  telemetry::SpanBlockBuilder spans;
  telemetry::LogBlockBuilder logs;
  telemetry::IdentifierBlockBuilder identifiers;
  telemetry::LlmCallBlockBuilder llm_calls;
  telemetry::MetricBlocksBuilder point_blocks;
  Origins span_origins;
  Origins log_origins;
  std::vector<CountDelta> counts;
  std::map<std::tuple<std::string, std::string, Signal>, std::uint32_t> lines;
  std::vector<RequestKey> requests;
};

Pipeline::Pipeline(PipelineParts parts, PipelineOptions options)
    : impl_(std::make_unique<Impl>(std::move(parts), std::move(options))) {}
Pipeline::~Pipeline() = default;

Result<Accepted> Pipeline::add(const Submission& submission, const Steps& steps) {
  Result<Accepted> accepted = impl_->add(submission, steps);
  if (accepted) {
    impl_->requests.push_back(
        {submission.hash,
         {static_cast<std::uint32_t>(accepted->received), static_cast<std::uint32_t>(accepted->rejected)}});
  }
  return accepted;
}

void Pipeline::add_duplicate(const Submission& submission, std::uint64_t records) {
  CountDelta& books =
      impl_->counts[impl_->line_of(submission.workspace, submission.sender, balance_signal(submission.signal))];
  books.received += records;
  books.duplicate += records;
}

void Pipeline::forget_series() { impl_->point_blocks.forget(); }

bool Pipeline::is_empty() const { return impl_->is_empty(); }

bool Pipeline::is_full() const {
  return impl_->rows() >= impl_->options.batch_rows_max || impl_->bytes() >= impl_->options.batch_bytes_max;
}

SpoolRecord Pipeline::take() { return impl_->take(); }

}  // namespace fettle::ingest
