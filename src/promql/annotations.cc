#include "promql/annotations.h"

#include <fmt/format.h>

#include <algorithm>

namespace fettle::promql {
namespace {

// More than anybody reads; a query over many differently broken metrics stops collecting here.
constexpr std::size_t kAnnotationsMax = 1000;

}  // namespace

void Annotations::add(Annotation::Kind kind, std::string_view text, std::size_t offset) {
  if (all_.size() >= kAnnotationsMax) return;
  std::string whole = fmt::format("PromQL {}: {} ({})", kind == Annotation::Kind::kWarning ? "warning" : "info", text,
                                  line_and_column(query_, offset));
  const bool known = std::any_of(all_.begin(), all_.end(), [&](const Annotation& a) { return a.text == whole; });
  if (!known) all_.push_back({kind, std::move(whole)});
}

std::string line_and_column(std::string_view query, std::size_t offset) {
  const std::string_view before = query.substr(0, std::min(offset, query.size()));
  const auto line = std::count(before.begin(), before.end(), '\n') + 1;
  const std::size_t start = before.rfind('\n');
  const std::size_t column = before.size() - (start == std::string_view::npos ? 0 : start + 1) + 1;
  return fmt::format("{}:{}", line, column);
}

}  // namespace fettle::promql
