#include "telemetry/reading.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <limits>
#include <utility>

#include "core/ids.h"

namespace fettle::telemetry {
namespace {

constexpr std::size_t kTraceIdDigits = 32;

char order_letter(Order order) { return order == Order::kNewestFirst ? 'd' : 'a'; }

}  // namespace

bool is_hex_trace_id(std::string_view id) { return id.size() == kTraceIdDigits && is_hex(id); }

std::string stored_trace_id(std::string_view id) {
  std::string out(id);
  if (is_hex_trace_id(id)) {
    std::ranges::transform(out, out.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  }
  return out;
}

StatementOptions scoped(const Scope& scope, const ReadOptions& options, NameValues parameters) {
  StatementOptions statement;
  statement.workspace = scope.workspace.value;
  statement.parameters = std::move(parameters);
  statement.time_max = options.time_max;
  statement.stop = options.stop;
  // Compiling an expression takes longer than a short statement runs.
  statement.settings = {{"json_type_escape_dots_in_keys", "1"},
                        {"compile_expressions", "0"},
                        {"output_format_json_quote_64bit_integers", "0"},
                        {"output_format_json_escape_forward_slashes", "0"}};
  return statement;
}

bool Lines::feed(std::string_view bytes) {
  while (true) {
    const std::size_t end = bytes.find('\n');
    if (end == std::string_view::npos) {
      rest_ += bytes;
      return true;
    }
    bool go_on = false;
    if (rest_.empty()) {
      go_on = line_(bytes.substr(0, end));
    } else {
      rest_ += bytes.substr(0, end);
      go_on = line_(rest_);
      rest_.clear();
    }
    if (!go_on) return false;
    bytes.remove_prefix(end + 1);
  }
}

Result<PageBuilder> PageBuilder::begin(const PageRequest& request, Order order) {
  PageBuilder builder(request, order);
  if (!request.after) return builder;
  const std::string_view text = request.after->value;
  const std::size_t bar = text.find('_');
  const auto whole = [](std::string_view digits, auto& out) {
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out);
    return error == std::errc() && end == digits.data() + digits.size();
  };
  Place& place = builder.begin_;
  if (text.size() < 4 || text[0] != order_letter(order) || bar == std::string_view::npos ||
      !whole(text.substr(1, bar - 1), place.ts) || !whole(text.substr(bar + 1), place.shown)) {
    return fail(ErrorCode::kInvalidArgument, "cursor: not one of this list's; leave it out to begin anew");
  }
  builder.last_ = place;
  builder.skip_ = place.shown;
  return builder;
}

TimeRange PageBuilder::rest_of(TimeRange time) const {
  if (!request_.after) return time;
  constexpr UnixNanos kLast = std::numeric_limits<UnixNanos>::max();
  if (order_ == Order::kNewestFirst) {
    time.to = std::min(time.to.value_or(kLast), std::min(begin_.ts, kLast - 1) + 1);
  } else {
    time.from = std::max(time.from.value_or(begin_.ts), begin_.ts);
  }
  return time;
}

Result<bool> PageBuilder::offer(UnixNanos ts, const std::function<Result<void>(std::string&)>& append) {
  if (skip_ > 0 && ts == begin_.ts) {
    --skip_;
    return true;
  }
  if (page_.count == request_.rows_max || (page_.count > 0 && page_.rows.size() >= request_.bytes_max)) {
    is_full_ = true;
    return false;
  }
  if (page_.count > 0) page_.rows += ',';
  if (auto appended = append(page_.rows); !appended) return std::unexpected(std::move(appended).error());
  ++page_.count;
  last_ = ts == last_.ts ? Place{ts, last_.shown + 1} : Place{ts, 1};
  return true;
}

Page PageBuilder::take() && {
  if (is_full_) page_.next = Cursor{fmt::format("{}{}_{}", order_letter(order_), last_.ts, last_.shown)};
  return std::move(page_);
}

}  // namespace fettle::telemetry
