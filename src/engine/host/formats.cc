#include "engine/host/formats.h"

#include <algorithm>
#include <array>

namespace fettle::engine_host {
namespace {

struct Format {
  std::string_view name;
  std::string_view content_type;
  Joining joining;
  int header_lines = 0;
};

constexpr std::string_view kTsv = "text/tab-separated-values; charset=UTF-8";
constexpr std::string_view kCsv = "text/csv; charset=UTF-8; header=absent";
constexpr std::string_view kCsvWithHeader = "text/csv; charset=UTF-8; header=present";
constexpr std::string_view kJson = "application/json; charset=UTF-8";
constexpr std::string_view kJsonLines = "application/x-ndjson; charset=UTF-8";
constexpr std::string_view kBytes = "application/octet-stream";
constexpr std::string_view kText = "text/plain; charset=UTF-8";

constexpr auto kFormats = std::to_array<Format>({
    {"TabSeparated", kTsv, Joining::kPlain},
    {"TSV", kTsv, Joining::kPlain},
    {"TabSeparatedRaw", kTsv, Joining::kPlain},
    {"TSVRaw", kTsv, Joining::kPlain},
    {"Raw", kTsv, Joining::kPlain},
    {"TabSeparatedWithNames", kTsv, Joining::kOneHeader, 1},
    {"TSVWithNames", kTsv, Joining::kOneHeader, 1},
    {"TabSeparatedWithNamesAndTypes", kTsv, Joining::kOneHeader, 2},
    {"TSVWithNamesAndTypes", kTsv, Joining::kOneHeader, 2},
    {"CSV", kCsv, Joining::kPlain},
    {"CSVWithNames", kCsvWithHeader, Joining::kOneHeader, 1},
    {"CSVWithNamesAndTypes", kCsvWithHeader, Joining::kOneHeader, 2},
    {"JSON", kJson, Joining::kNone},
    {"JSONStrings", kJson, Joining::kNone},
    {"JSONColumns", kJson, Joining::kNone},
    {"JSONColumnsWithMetadata", kJson, Joining::kNone},
    {"JSONCompact", kJson, Joining::kNone},
    {"JSONCompactColumns", kJson, Joining::kNone},
    {"JSONCompactStrings", kJson, Joining::kNone},
    {"JSONObjectEachRow", kJson, Joining::kNone},
    {"JSONEachRow", kJsonLines, Joining::kPlain},
    {"JSONLines", kJsonLines, Joining::kPlain},
    {"NDJSON", kJsonLines, Joining::kPlain},
    {"JSONStringsEachRow", kJsonLines, Joining::kPlain},
    {"JSONCompactEachRow", kJsonLines, Joining::kPlain},
    {"JSONCompactStringsEachRow", kJsonLines, Joining::kPlain},
    {"JSONCompactEachRowWithNames", kJsonLines, Joining::kOneHeader, 1},
    {"JSONCompactEachRowWithNamesAndTypes", kJsonLines, Joining::kOneHeader, 2},
    {"JSONCompactStringsEachRowWithNames", kJsonLines, Joining::kOneHeader, 1},
    {"JSONCompactStringsEachRowWithNamesAndTypes", kJsonLines, Joining::kOneHeader, 2},
    {"Native", kBytes, Joining::kPlain},
    {"RowBinary", kBytes, Joining::kPlain},
    {"RawBLOB", kBytes, Joining::kPlain},
    {"LineAsString", kText, Joining::kPlain},
    {"Null", kText, Joining::kPlain},
    {"RowBinaryWithNames", kBytes, Joining::kNone},
    {"RowBinaryWithNamesAndTypes", kBytes, Joining::kNone},
    {"Parquet", kBytes, Joining::kNone},
    {"ORC", kBytes, Joining::kNone},
    {"Arrow", "application/vnd.apache.arrow.file", Joining::kNone},
    {"ArrowStream", "application/vnd.apache.arrow.stream", Joining::kNone},
    {"XML", "application/xml; charset=UTF-8", Joining::kNone},
    {"SQLInsert", kText, Joining::kNone},
});

const Format* find(std::string_view name) {
  const auto found = std::find_if(kFormats.begin(), kFormats.end(), [&](const Format& f) { return f.name == name; });
  return found == kFormats.end() ? nullptr : &*found;
}

}  // namespace

std::string_view content_type(std::string_view format) {
  const Format* known = find(format);
  return known == nullptr ? kText : known->content_type;
}

Joining joining(std::string_view format) {
  const Format* known = find(format);
  return known == nullptr ? Joining::kNone : known->joining;
}

std::size_t header_bytes(std::string_view format, std::string_view piece) {
  const Format* known = find(format);
  int lines = known == nullptr ? 0 : known->header_lines;
  // In CSV a quoted name may hold a line break; the other formats escape it.
  const bool is_csv = format.starts_with("CSV");
  bool is_quoted = false;
  std::size_t at = 0;
  while (at < piece.size() && lines > 0) {
    const char c = piece[at++];
    if (is_csv && c == '"') is_quoted = !is_quoted;
    if (c == '\n' && !is_quoted) --lines;
  }
  return at;
}

}  // namespace fettle::engine_host
