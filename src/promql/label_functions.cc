// Functions of labels: label_replace, label_join, sort_by_label, and the way to info().
#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <utility>

#include "core/json.h"
#include "promql/evaluation.h"
#include "promql/functions.h"

namespace fettle::promql {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_word(char c) { return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

void require_label_name(const std::string& name, std::string_view what, std::string_view function) {
  if (!name.empty() && is_utf8(name)) return;
  throw EvalFailure{ErrorCode::kInvalidArgument,
                    fmt::format("invalid {} label name in {}(): {}", what, function, to_utf8(name))};
}

// A replacement text with $1, ${1}, $name and ${name}, taken apart once.
class Template {
 public:
  Template(std::string_view text, const RE2& regex) {
    const auto& names = regex.NamedCapturingGroups();
    std::string literal;
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] != '$' || i + 1 == text.size()) {
        literal += text[i];
        continue;
      }
      if (text[i + 1] == '$') {
        literal += '$';
        ++i;
        continue;
      }
      const bool braced = text[i + 1] == '{';
      const std::size_t begin = i + (braced ? 2 : 1);
      std::size_t end = begin;
      while (end < text.size() && is_word(text[end])) ++end;
      if (end == begin || (braced && (end == text.size() || text[end] != '}'))) {
        literal += '$';
        continue;
      }
      const std::string name(text.substr(begin, end - begin));
      int group = -1;
      if (std::all_of(name.begin(), name.end(), is_digit)) {
        group = name.size() > 4 ? -1 : std::stoi(name);
      } else if (const auto found = names.find(name); found != names.end()) {
        group = found->second;
      }
      parts_.push_back({std::exchange(literal, {}), group});
      i = braced ? end : end - 1;
    }
    parts_.push_back({std::move(literal), -1});
  }

  std::string fill(const std::vector<re2::StringPiece>& groups) const {
    std::string out;
    for (const Part& part : parts_) {
      out += part.literal;
      if (part.group < 0 || static_cast<std::size_t>(part.group) >= groups.size()) continue;
      const re2::StringPiece& group = groups[static_cast<std::size_t>(part.group)];
      out.append(group.data() == nullptr ? "" : group.data(), group.size());
    }
    return out;
  }

 private:
  struct Part {
    std::string literal;
    int group = -1;  // after it; -1: none
  };
  std::vector<Part> parts_;
};

void relabel(Track& track, std::string_view name, std::string_view value) {
  Labels labels = *track.labels;
  labels.set(name, value);
  track.labels = std::make_shared<const Labels>(std::move(labels));
  if (name == kMetricName) track.drop_name = false;
}

Tracks label_replace(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  const std::string& target = evaluation.text(*call.args[1]);
  const std::string& replacement = evaluation.text(*call.args[2]);
  const std::string& source = evaluation.text(*call.args[3]);
  const std::string& pattern = evaluation.text(*call.args[4]);
  const auto regex = compile_regex(pattern);
  if (!regex) {
    throw EvalFailure{ErrorCode::kInvalidArgument, "invalid regular expression in label_replace(): " + pattern};
  }
  require_label_name(target, "destination", "label_replace");
  const Template text(replacement, **regex);
  Tracks tracks = evaluation.vector(*call.args[0], grid);
  std::vector<re2::StringPiece> groups(static_cast<std::size_t>((*regex)->NumberOfCapturingGroups()) + 1);
  for (Track& track : tracks) {
    const std::string_view value = track.labels->get(source);
    const re2::StringPiece subject(value.data() == nullptr ? "" : value.data(), value.size());
    if (!(*regex)->Match(subject, 0, subject.size(), RE2::ANCHOR_BOTH, groups.data(),
                         static_cast<int>(groups.size()))) {
      continue;
    }
    relabel(track, target, text.fill(groups));
  }
  merge_equal(tracks, grid.steps);
  return tracks;
}

Tracks label_join(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  const std::string& target = evaluation.text(*call.args[1]);
  const std::string& separator = evaluation.text(*call.args[2]);
  require_label_name(target, "destination", "label_join");
  for (std::size_t i = 3; i < call.args.size(); ++i) {
    require_label_name(evaluation.text(*call.args[i]), "source", "label_join");
  }
  Tracks tracks = evaluation.vector(*call.args[0], grid);
  for (Track& track : tracks) {
    std::string joined;
    for (std::size_t i = 3; i < call.args.size(); ++i) {
      if (i > 3) joined += separator;
      joined += track.labels->get(evaluation.text(*call.args[i]));
    }
    relabel(track, target, joined);
  }
  merge_equal(tracks, grid.steps);
  return tracks;
}

// Runs of digits compare as numbers: "4m5" comes before "4m600".
int natural_order(std::string_view a, std::string_view b) {
  std::size_t i = 0;
  std::size_t j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]) ? -1 : 1;
      ++i;
      ++j;
      continue;
    }
    const auto run = [](std::string_view text, std::size_t& at) {
      while (at < text.size() && text[at] == '0') ++at;
      const std::size_t begin = at;
      while (at < text.size() && is_digit(text[at])) ++at;
      return text.substr(begin, at - begin);
    };
    const std::string_view x = run(a, i);
    const std::string_view y = run(b, j);
    if (x.size() != y.size()) return x.size() < y.size() ? -1 : 1;
    if (const int order = x.compare(y); order != 0) return order;
  }
  if (a.size() - i != b.size() - j) return a.size() - i < b.size() - j ? -1 : 1;
  return a.compare(b);
}

Tracks sort_by_label(Evaluation& evaluation, const CallExpr& call, const Grid& grid) {
  Tracks tracks = evaluation.vector(*call.args[0], grid);
  const bool descending = call.function->name == "sort_by_label_desc";
  const auto order = [&](const Track& a, const Track& b) {
    for (std::size_t i = 1; i < call.args.size(); ++i) {
      const std::string& label = evaluation.text(*call.args[i]);
      if (const int by = natural_order(a.labels->get(label), b.labels->get(label)); by != 0) return by;
    }
    // Whatever the named labels leave open, all labels decide.
    if (*a.labels == *b.labels) return 0;
    return *a.labels < *b.labels ? -1 : 1;
  };
  std::sort(tracks.begin(), tracks.end(),
            [&](const Track& a, const Track& b) { return descending ? order(a, b) > 0 : order(a, b) < 0; });
  return tracks;
}

}  // namespace

VectorFunction find_label_function(std::string_view name) {
  if (name == "label_replace") return label_replace;
  if (name == "label_join") return label_join;
  if (name == "sort_by_label" || name == "sort_by_label_desc") return sort_by_label;
  if (name == "info") return info_function;
  return nullptr;
}

}  // namespace fettle::promql
