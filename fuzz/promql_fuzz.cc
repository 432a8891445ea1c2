// Any text as a query: what parses prints, what was printed parses to the same text, and evaluating it over a few
// series ends in an answer or an error. A text that begins with "load" or "eval" is run as a test script besides.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "promql/memory_source.h"
#include "promql/parser.h"
#include "promql/query.h"
#include "promql/script.h"
#include "promql/series_notation.h"

namespace {

using namespace fettle::promql;

MemorySource& source() {
  static MemorySource series = [] {
    MemorySource made;
    for (const std::string_view line :
         {R"(a{l="x"} 1 2 3 0 NaN stale Inf)", R"(a{l="y"} 5x6)", R"(b{l="x"} 0+1x6)", R"(h_bucket{le="1"} 0+1x6)",
          R"(h_bucket{le="+Inf"} 0+3x6)", "n {{schema:1 sum:3 count:6 z_bucket:1 z_bucket_w:0.01 buckets:[1 2 2]}}x6",
          "n{l=\"c\"} {{schema:-53 sum:3 count:3 custom_values:[1 2] buckets:[1 1 1]}}x6"}) {
      const auto noted = read_series(line).value();
      std::int64_t at = 0;
      for (const auto& sample : noted.samples) {
        if (sample) made.add(noted.labels, {at, sample->value, sample->histogram});
        at += 60'000;
      }
    }
    return made;
  }();
  return series;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (text.starts_with("load") || text.starts_with("eval")) run_script(text);
  const auto expr = parse(text);
  if (!expr) return 0;
  const std::string printed = format_query(**expr);
  const auto again = parse(printed);
  if (!again || format_query(**again) != printed) std::abort();
  QueryOptions options;
  options.samples_max = 200'000;
  options.series_max = 1'000;
  (void)query_instant(source(), **expr, text, 180'000, options);
  (void)query_range(source(), **expr, text, {.start_ms = 0, .end_ms = 300'000, .step_ms = 60'000}, options);
  return 0;
}
