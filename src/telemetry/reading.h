// What the questions of the StoreReader share: where rows lie, pages and their cursors, lines of a streamed answer.
// Internal to the reader.
#pragma once

#include <charconv>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "core/error.h"
#include "core/scope.h"
#include "telemetry/client.h"
#include "telemetry/read_filter.h"
#include "telemetry/reader.h"

namespace fettle::telemetry {

// How far apart the clocks of one trace's programs may be, and the resolution of the index.
constexpr UnixNanos kSlack = 5 * kNanosPerSecond;

template <class Number>
Number number_of(std::string_view text) {
  Number value{};
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

// A trace id in hex is stored in lower case; a foreign one as it was sent.
std::string stored_trace_id(std::string_view id);
bool is_hex_trace_id(std::string_view id);

StatementOptions scoped(const Scope& scope, const ReadOptions& options, NameValues parameters);

// Cuts streamed text into lines, without their ends.
class Lines {
 public:
  explicit Lines(std::function<bool(std::string_view)> line) : line_(std::move(line)) {}
  bool feed(std::string_view bytes);

 private:
  std::function<bool(std::string_view)> line_;
  std::string rest_;
};

// A page as it fills: cut by rows and bytes. Its cursor is the time of the last row and how many rows of that very time
// were shown, so that no row is shown twice or left out.
class PageBuilder {
 public:
  // kInvalidArgument when the cursor is not one of ours or of another order.
  static Result<PageBuilder> begin(const PageRequest& request, Order order);

  // What of a time range is still to be looked at.
  TimeRange rest_of(TimeRange time) const;
  // So many rows, offered in order, fill the page and show whether there is another.
  std::uint64_t rows_wanted() const { return request_.rows_max - page_.count + skip_ + 1; }
  // How many of the next rows were shown on the page before.
  std::uint64_t rows_shown_before() const { return skip_; }
  std::uint64_t bytes_max() const { return request_.bytes_max; }
  // What the store may answer: rows are longer in its form than in ours, and the last one may be large.
  std::uint64_t response_bytes_max() const { return request_.bytes_max * 4 + 64UL * 1024 * 1024; }
  bool is_full() const { return is_full_; }

  // Offers the next row: `append` adds its object to the text it is given, unless the row was shown before or the page
  // is full. False when it is full.
  Result<bool> offer(UnixNanos ts, const std::function<Result<void>(std::string&)>& append);
  Page take() &&;

 private:
  struct Place {
    UnixNanos ts = 0;
    std::uint64_t shown = 0;
  };
  PageBuilder(const PageRequest& request, Order order) : request_(request), order_(order) {}

  PageRequest request_;
  Order order_;
  Place begin_, last_;
  std::uint64_t skip_ = 0;
  bool is_full_ = false;
  Page page_;
};

}  // namespace fettle::telemetry
