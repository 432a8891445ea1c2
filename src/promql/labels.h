// The labels of a series: names and values, sorted by name, no empty values, no name twice. The metric's name is the
// label __name__. A value type; LabelsPtr shares one among the steps of an evaluation.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace fettle::promql {

inline constexpr std::string_view kMetricName = "__name__";
inline constexpr std::string_view kMetricType = "__type__";
inline constexpr std::string_view kMetricUnit = "__unit__";
inline constexpr std::string_view kBucketLabel = "le";

struct Label {
  std::string name;
  std::string value;
  auto operator<=>(const Label&) const = default;
};

class Labels {
 public:
  Labels() = default;
  // In any order; of a name given twice the greater value counts, and an empty value means no label.
  explicit Labels(std::vector<Label> labels);

  // Empty when there is no such label.
  std::string_view get(std::string_view name) const;
  std::string_view metric_name() const { return get(kMetricName); }
  bool empty() const { return labels_.empty(); }
  std::size_t size() const { return labels_.size(); }
  auto begin() const { return labels_.begin(); }
  auto end() const { return labels_.end(); }
  // The same for equal labels in every process, evenly spread over 64 bits.
  std::uint64_t hash() const;
  // {__name__="up", job="a"}
  std::string to_string() const;
  auto operator<=>(const Labels&) const = default;

  // An empty value removes the label.
  void set(std::string_view name, std::string_view value);
  void remove(std::string_view name);
  // Without the metric's name and what else describes the metric rather than the series (__type__, __unit__).
  Labels without_metadata() const;
  // Only the named ones; with `on` false all but those and the metric's name.
  Labels matching(bool on, std::span<const std::string> names) const;

 private:
  std::vector<Label> labels_;
};

using LabelsPtr = std::shared_ptr<const Labels>;

struct LabelsHash {
  std::size_t operator()(const Labels& labels) const { return labels.hash(); }
};

// `text` in double quotes, escaped as a label value.
std::string quoted(std::string_view text);
// [a-zA-Z_][a-zA-Z0-9_]*, for metric names also with ':'.
bool is_classic_label_name(std::string_view name);
bool is_classic_metric_name(std::string_view name);

}  // namespace fettle::promql
