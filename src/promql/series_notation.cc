#include "promql/series_notation.h"

#include <fmt/format.h>

#include <bit>
#include <charconv>
#include <cmath>
#include <limits>

#include "promql/parser.h"

namespace fettle::promql {
namespace {

constexpr std::size_t kSamplesMax = 1'000'000;

struct Unreadable {
  std::string message;
};

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_blank(char c) { return c == ' ' || c == '\t'; }

class Reader {
 public:
  explicit Reader(std::string_view line) : line_(line) {}

  NotedSeries run() {
    NotedSeries series;
    series.labels = labels();
    for (skip_blanks(); at_ < line_.size(); skip_blanks()) values(series.samples);
    return series;
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < line_.size() ? line_[at_ + ahead] : '\0'; }
  void skip_blanks() {
    while (is_blank(peek())) ++at_;
  }
  [[noreturn]] void refuse(std::string_view what) const {
    throw Unreadable{fmt::format("{} at \"{}\"", what, line_.substr(std::min(at_, line_.size()), 40))};
  }
  bool accept(std::string_view text) {
    if (line_.substr(at_, text.size()) != text) return false;
    at_ += text.size();
    return true;
  }

  Labels labels() {
    const std::size_t begin = at_;
    while (at_ < line_.size() && !is_blank(peek()) && peek() != '{') ++at_;
    std::size_t end = at_;
    while (is_blank(line_.substr(end).empty() ? '\0' : line_[end])) ++end;
    const bool braces = end < line_.size() && line_[end] == '{' && line_.substr(end, 2) != "{{";
    if (braces) {
      char quote = '\0';
      for (at_ = end; at_ < line_.size(); ++at_) {
        const char c = line_[at_];
        if (quote != '\0') {
          if (c == '\\' && quote != '`')
            ++at_;
          else if (c == quote)
            quote = '\0';
        } else if (c == '"' || c == '\'' || c == '`') {
          quote = c;
        } else if (c == '}') {
          break;
        }
      }
      if (at_ >= line_.size()) refuse("labels without an end");
      ++at_;
    }
    auto parsed = parse_series_labels(line_.substr(begin, at_ - begin));
    if (!parsed) throw Unreadable{parsed.error().to_string()};
    return std::move(*parsed);
  }

  void values(std::vector<NotedSample>& out) {
    if (accept("_")) return repeat(out, std::nullopt, times_or(1));
    if (accept("stale")) return repeat(out, Sample{0, stale_marker(), nullptr}, times_or(0) + 1);
    if (line_.substr(at_, 2) == "{{") return histograms(out);
    const double first = number();
    double step = 0;
    bool steps = false;
    if (peek() == '+' || peek() == '-') {
      const bool minus = peek() == '-';
      ++at_;
      step = number();
      if (minus) step = -step;
      steps = true;
    }
    if (steps && peek() != 'x') refuse("expected x and a count");
    const std::size_t count = times_or(0) + 1;
    double value = first;
    for (std::size_t i = 0; i < count; ++i) {
      push(out, Sample{0, value, nullptr});
      value += step;
    }
    expect_blank();
  }

  void repeat(std::vector<NotedSample>& out, const NotedSample& sample, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) push(out, sample);
    expect_blank();
  }

  static void push(std::vector<NotedSample>& out, NotedSample sample) {
    if (out.size() >= kSamplesMax) throw Unreadable{"too many samples"};
    out.push_back(std::move(sample));
  }

  void expect_blank() const {
    if (peek() != '\0' && !is_blank(peek())) refuse("unexpected text");
  }

  // xN
  std::size_t times_or(std::size_t otherwise) {
    if (peek() != 'x') return otherwise;
    ++at_;
    if (!is_digit(peek())) refuse("expected a count");
    std::size_t count = 0;
    while (is_digit(peek())) count = std::min(count * 10 + static_cast<std::size_t>(line_[at_++] - '0'), kSamplesMax);
    return count;
  }

  double number() {
    double sign = 1;
    if (peek() == '-') sign = -1;
    if (peek() == '-' || peek() == '+') ++at_;
    for (const std::string_view word : {"Inf", "inf", "NaN", "nan"}) {
      if (!accept(word)) continue;
      return sign * (word[0] == 'I' || word[0] == 'i' ? std::numeric_limits<double>::infinity()
                                                      : std::bit_cast<double>(kNanBits));
    }
    const std::size_t begin = at_;
    while (is_digit(peek()) || peek() == '.') ++at_;
    if ((peek() == 'e' || peek() == 'E') &&
        (is_digit(peek(1)) || ((peek(1) == '+' || peek(1) == '-') && is_digit(peek(2))))) {
      at_ += 2;
      while (is_digit(peek())) ++at_;
    }
    std::string text(line_.substr(begin, at_ - begin));
    std::erase(text, '+');
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size()) {
      at_ = begin;
      refuse("expected a number");
    }
    return sign * value;
  }

  // Of a schema or an offset.
  std::int32_t whole_number() {
    constexpr double kWholeMax = 100'000;
    const double value = number();
    if (!(std::abs(value) <= kWholeMax) || value != std::floor(value)) refuse("expected a small whole number before");
    return static_cast<std::int32_t>(value);
  }

  void histograms(std::vector<NotedSample>& out) {
    const auto first = std::make_shared<const NativeHistogram>(histogram());
    if (peek() != '+' && peek() != '-') return repeat(out, Sample{0, 0, first}, times_or(0) + 1);
    const bool minus = peek() == '-';
    ++at_;
    const NativeHistogram step = histogram();
    if (peek() != 'x') refuse("expected x and a count");
    const std::size_t count = times_or(0) + 1;
    HistogramPtr value = first;
    for (std::size_t i = 0; i < count; ++i) {
      push(out, Sample{0, 0, value});
      auto next = std::make_shared<NativeHistogram>(*value);
      const bool fits = (minus ? next->subtract(step) : next->add(step)).compatible;
      if (!fits) throw Unreadable{"histograms of different kinds cannot be added"};
      value = std::move(next);
    }
    expect_blank();
  }

  NativeHistogram histogram() {
    if (!accept("{{")) refuse("expected a histogram");
    NativeHistogram h;
    std::int32_t offset = 0;
    std::int32_t negative_offset = 0;
    std::vector<double> buckets;
    std::vector<double> negative;
    for (;;) {
      skip_blanks();
      if (accept("}}")) break;
      if (accept("schema:"))
        h.schema = whole_number();
      else if (accept("sum:"))
        h.sum = number();
      else if (accept("count:"))
        h.count = number();
      else if (accept("z_bucket_w:"))
        h.zero_threshold = number();
      else if (accept("z_bucket:"))
        h.zero_count = number();
      else if (accept("n_offset:"))
        negative_offset = whole_number();
      else if (accept("offset:"))
        offset = whole_number();
      else if (accept("n_buckets:"))
        negative = list();
      else if (accept("buckets:"))
        buckets = list();
      else if (accept("custom_values:"))
        h.custom_bounds = list();
      else if (accept("counter_reset_hint:"))
        h.hint = hint();
      else
        refuse("unknown histogram property");
    }
    if (h.schema != kCustomSchema && (h.schema < kSchemaMin || h.schema > kSchemaMax)) refuse("unknown schema");
    const auto place = [](const std::vector<double>& counts, std::int32_t from) {
      std::vector<NativeHistogram::Bucket> out;
      for (const double count : counts) out.push_back({from++, count});
      return out;
    };
    h.positive = place(buckets, offset);
    h.negative = place(negative, negative_offset);
    if (h.is_custom() && (!h.negative.empty() || offset < 0 ||
                          static_cast<std::size_t>(offset) + buckets.size() > h.custom_bounds.size() + 1)) {
      refuse("more buckets than custom bounds");
    }
    return h;
  }

  std::vector<double> list() {
    if (!accept("[")) refuse("expected [");
    std::vector<double> out;
    for (;;) {
      skip_blanks();
      if (accept("]")) return out;
      out.push_back(number());
    }
  }

  ResetHint hint() {
    if (accept("unknown")) return ResetHint::kUnknown;
    if (accept("not_reset")) return ResetHint::kNotReset;
    if (accept("reset")) return ResetHint::kReset;
    if (accept("gauge")) return ResetHint::kGauge;
    refuse("unknown counter_reset_hint");
  }

  std::string_view line_;
  std::size_t at_ = 0;
};

}  // namespace

Result<NotedSeries> read_series(std::string_view line) {
  try {
    return Reader(line).run();
  } catch (const Unreadable& what) {
    return fail(ErrorCode::kInvalidArgument, what.message);
  }
}

}  // namespace fettle::promql
