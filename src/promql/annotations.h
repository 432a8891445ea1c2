// What a query wants its reader to know beside the result: warnings (the result is likely wrong) and infos (it may be).
// Each text ends with the place in the query, "(line:column)", and is kept once.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace fettle::promql {

struct Annotation {
  enum class Kind : std::uint8_t { kWarning, kInfo };
  Kind kind = Kind::kWarning;
  std::string text;  // with its "PromQL warning: " or "PromQL info: "
};

class Annotations {
 public:
  explicit Annotations(std::string_view query = {}) : query_(query) {}

  void warn(std::string_view text, std::size_t offset) { add(Annotation::Kind::kWarning, text, offset); }
  void inform(std::string_view text, std::size_t offset) { add(Annotation::Kind::kInfo, text, offset); }
  const std::vector<Annotation>& all() const { return all_; }

 private:
  void add(Annotation::Kind kind, std::string_view text, std::size_t offset);

  std::string query_;
  std::vector<Annotation> all_;
};

// "line:column", both from 1, columns in bytes.
std::string line_and_column(std::string_view query, std::size_t offset);

}  // namespace fettle::promql
