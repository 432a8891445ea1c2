// GET /api/v1/ingest/balance and /api/v1/ingest/status.
#include <fmt/format.h>

#include <iterator>

#include "api/api.h"
#include "api/times.h"
#include "core/json.h"

namespace fettle::api {
namespace {

double in_ms(std::chrono::nanoseconds duration) { return std::chrono::duration<double, std::milli>(duration).count(); }

// The counts of a line, without braces.
void append_counts(std::string& out, const ingest::BalanceRow& row) {
  fmt::format_to(std::back_inserter(out), R"("received":{},"duplicate":{},"rejected":{{)", row.received, row.duplicate);
  bool is_first = true;
  for (const auto& [reason, count] : row.rejected) {
    if (!is_first) out += ',';
    is_first = false;
    append_json_string(out, reason);
    fmt::format_to(std::back_inserter(out), ":{}", count);
  }
  fmt::format_to(std::back_inserter(out),
                 R"(}},"redacted_away":{},"stored":{},"sampled_out":{},"expired":{},"pending":{},"balanced":{})",
                 row.redacted_away, row.stored, row.sampled_out, row.expired, row.pending, row.balanced());
}

void add_to(ingest::BalanceRow& total, const ingest::BalanceRow& row) {
  total.received += row.received;
  total.duplicate += row.duplicate;
  for (const auto& [reason, count] : row.rejected) total.rejected[reason] += count;
  total.redacted_away += row.redacted_away;
  total.stored += row.stored;
  total.sampled_out += row.sampled_out;
  total.expired += row.expired;
  total.pending += row.pending;
}

}  // namespace

void Api::get_balance(Exchange exchange) {
  if (!exchange.scope().clients.empty()) {
    return exchange.problem(
        Error(ErrorCode::kPermissionDenied, "a token limited to some clients does not see what all senders sent"));
  }
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  ingest::BalanceRow total;
  std::string body = R"({"senders":[)";
  bool is_first = true;
  for (const ingest::BalanceRow& row : services_.ingest.balance(exchange.scope().workspace)) {
    body += is_first ? R"({"sender":)" : R"(,{"sender":)";
    is_first = false;
    append_json_string(body, row.sender);
    fmt::format_to(std::back_inserter(body), R"(,"signal":"{}",)", ingest::to_string(row.signal));
    append_counts(body, row);
    body += '}';
    add_to(total, row);
  }
  body += R"(],"totals":{)";
  append_counts(body, total);
  body += "}}";
  exchange.json(std::move(body));
}

void Api::get_ingest_status(Exchange exchange) {
  if (auto known = only_parameters(exchange.request().query, {}); !known) return exchange.problem(known.error());
  const IngestStatus status = services_.ingest.status(exchange.scope().workspace);
  std::string body = fmt::format(
      R"({{"lag_ms":{:.3f},"readable_watermark_ts":{},"rates":{{"spans_per_second":{:.1f},"logs_per_second":{:.1f},)"
      R"("points_per_second":{:.1f}}},"spool":{{"bytes":{},"bytes_max":{},"oldest_age_ms":{:.3f}}},)"
      R"("rejected_recent":{},"dropped_recent":{},"refused_rows":{},"engine":{{"state":)",
      in_ms(status.lag), status.readable_watermark == 0 ? "null" : '"' + format_time(status.readable_watermark) + '"',
      status.spans_per_second, status.logs_per_second, status.points_per_second, status.spool_bytes,
      status.spool_bytes_max, in_ms(status.oldest_age), status.rejected_recent, status.dropped_recent,
      status.refused_rows);
  append_json_string(body, status.engine_state);
  fmt::format_to(std::back_inserter(body), R"(,"restarts":{}}},"skew":[)", status.engine_restarts);
  for (std::size_t i = 0; i < status.skew.size(); ++i) {
    body += i == 0 ? R"({"sender":)" : R"(,{"sender":)";
    append_json_string(body, status.skew[i].sender);
    fmt::format_to(std::back_inserter(body), R"(,"skew_ms":{:.3f},"delay_ms":{:.3f}}})", in_ms(status.skew[i].skew),
                   in_ms(status.skew[i].delay));
  }
  body += "]}";
  exchange.json(std::move(body));
}

}  // namespace fettle::api
