#include "redact/redactor.h"

#include <fmt/format.h>
#include <hs/hs.h>
#include <re2/filtered_re2.h>
#include <re2/re2.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <deque>
#include <set>
#include <stdexcept>
#include <utility>

#include "redact/keys.h"
#include "redact/matchers.h"
#include "redact/numbers.h"
#include "redact/rules.h"
#include "redact/shape.h"

namespace fettle::redact {
namespace {

// What is gathered before it is scanned: fits the second-level cache together with the automaton.
constexpr std::size_t kBatchBytes = 128 * 1024;
constexpr std::size_t kBufferBytesKept = 4 * 1024 * 1024;
// The shortest built-in match is an e-mail address (a@b.cd) or a key with a value (pwd=x).
constexpr std::size_t kTextBytesMin = 5;
// A mask may bring together what stood apart, so masked strings are looked at again until nothing changes.
constexpr int kRoundsMax = 4;
constexpr std::size_t kRuleNameBytesMax = 64;
constexpr int kAtomBytesMin = 3;
constexpr std::int64_t kPatternMemoryMax = 1 << 20;
constexpr int kGroupsMax = 10;
// How large masks may make a string: the built-in ones at most fivefold ("pwd=x"), a configured rule that replaces each
// letter by a paragraph without bound.
constexpr std::size_t kGrowthMax = 8;
constexpr std::size_t kGrowthBytesFree = 4096;
std::size_t rewritten_bytes_max(std::size_t bytes) { return bytes * kGrowthMax + kGrowthBytesFree; }
// The first byte a text may not begin behind: strings are separated by zero bytes, which no prefilter can match.
constexpr char kSeparator = '\0';
constexpr std::string_view kMaskOpen = "[redacted:";

std::uint16_t first_custom_detector() { return static_cast<std::uint16_t>(kFirstTokenFormat + token_formats().size()); }

// Every byte as \xHH: no byte has a meaning of its own then.
std::string as_literal(std::string_view text) {
  std::string expression;
  for (const char c : text) expression += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  return expression;
}

std::string_view alphabet_class(Alphabet alphabet) {
  switch (alphabet) {
    case Alphabet::kAlnum: return "[A-Za-z0-9]";
    case Alphabet::kWord: return "[A-Za-z0-9_-]";
    case Alphabet::kWordDots: return "[A-Za-z0-9_.-]";
    case Alphabet::kHexLower: return "[0-9a-f]";
    case Alphabet::kHex: return "[0-9A-Fa-f]";
    case Alphabet::kUpperDigits: return "[A-Z0-9]";
    case Alphabet::kPath: return "[A-Za-z0-9_.%@/-]";
  }
  return "";
}

// Longer repeats make the automaton larger and the answer hardly better: the exact matcher counts again.
constexpr int kRepeatMax = 16;

std::string prefilter_of(const TokenFormat& format) {
  // What may stand before a short prefix: no word, but the end of an escape (%3D, \n, \u0026).
  constexpr std::string_view kBoundary = "(?:[^A-Za-z0-9]|%[0-9A-Fa-f]{2}|\\\\[nrtbfv]|\\\\u[0-9A-Fa-f]{4})";
  return fmt::format("{}{}{}{{{}}}", format.boundary ? kBoundary : "", as_literal(format.prefix),
                     alphabet_class(format.alphabet), std::min<int>(format.length_min, kRepeatMax));
}

// Expressions that are searched for at once, and the detector that a hit of each asks for.
class Automaton {
 public:
  Automaton() = default;
  Automaton(Automaton&& other) noexcept
      : expressions_(std::move(other.expressions_)),
        flags_(std::move(other.flags_)),
        detectors_(std::move(other.detectors_)),
        database_(std::exchange(other.database_, nullptr)) {}
  Automaton& operator=(Automaton&&) = delete;
  ~Automaton() { hs_free_database(database_); }

  void add(std::string expression, std::uint16_t detector, bool caseless) {
    expressions_.push_back(std::move(expression));
    flags_.push_back(caseless ? HS_FLAG_CASELESS : 0);
    detectors_.push_back(detector);
  }
  Result<void> compile() {
    std::vector<const char*> pointers;
    std::vector<unsigned> ids;
    for (const std::string& expression : expressions_) {
      ids.push_back(static_cast<unsigned>(pointers.size()));
      pointers.push_back(expression.c_str());
    }
    hs_compile_error_t* error = nullptr;
    if (hs_compile_multi(pointers.data(), flags_.data(), ids.data(), static_cast<unsigned>(pointers.size()),
                         HS_MODE_BLOCK, nullptr, &database_, &error) != HS_SUCCESS) {
      std::string message = error == nullptr ? "unknown" : error->message;
      hs_free_compile_error(error);
      return fail(ErrorCode::kInternal, fmt::format("compiling the redaction prefilter: {}", message));
    }
    return {};
  }
  bool is_empty() const { return expressions_.empty(); }
  const hs_database_t* database() const { return database_; }
  std::uint16_t detector(unsigned id) const { return detectors_[id]; }

 private:
  std::vector<std::string> expressions_;
  std::vector<unsigned> flags_;
  std::vector<std::uint16_t> detectors_;
  hs_database_t* database_ = nullptr;
};

// Compiled once a process, when it is first asked for: it takes 0.2 s, and checking a configuration does not need it.
const Result<Automaton>& built_in_automaton() {
  static const Result<Automaton> compiled = []() -> Result<Automaton> {
    Automaton automaton;
    for (const Prefilter& prefilter : prefilters()) {
      automaton.add(std::string(prefilter.expression), prefilter.detector, prefilter.caseless);
    }
    std::uint16_t detector = kFirstTokenFormat;
    for (const TokenFormat& format : token_formats()) automaton.add(prefilter_of(format), detector++, false);
    if (auto done = automaton.compile(); !done) return std::unexpected(std::move(done).error());
    return automaton;
  }();
  return compiled;
}

bool is_rule_name(std::string_view name) {
  return !name.empty() && name.size() <= kRuleNameBytesMax && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
  });
}

struct CustomRule {
  std::unique_ptr<RE2> expression;
  std::string rewrite;
  bool literal = true;      // no \N in the rewrite
  bool unfiltered = false;  // no word that every match must hold: looked for in every string
};

}  // namespace

struct Scratch::Impl {
  struct Hit {
    std::uint32_t string;
    std::uint16_t detector;
    auto operator<=>(const Hit&) const = default;
  };

  ~Impl() { hs_free_scratch(hs); }
  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  hs_scratch_t* hs = nullptr;
  std::uint64_t compiled_for = 0;  // the Redactor that `hs` fits
  std::unique_ptr<char[]> buffer;
  std::size_t capacity = 0;
  std::size_t size = 0;
  std::vector<std::uint32_t> starts;    // of each gathered string in the buffer
  std::vector<std::uint32_t> subjects;  // which subject it is
  std::vector<Hit> hits;
  std::vector<ShapeHit> shapes;
  std::vector<MaskSpan> spans;
  std::vector<MaskRange> masks;
  std::deque<std::string> rewritten;
  // Of the string that is being matched.
  std::size_t growth_left = 0;  // bytes that replacements may still add
  bool overgrown = false;
  const GiveUp* give_up = nullptr;
  bool gave_up = false;

  bool must_stop() {
    if (!gave_up && give_up != nullptr) gave_up = (*give_up)();
    return gave_up;
  }
  void reserve(std::size_t bytes) {
    if (bytes + kShapePadding <= capacity) return;
    const std::size_t grown = std::max(bytes + kShapePadding, capacity * 2);
    auto larger = std::make_unique_for_overwrite<char[]>(grown);
    if (size != 0) std::memcpy(larger.get(), buffer.get(), size);
    buffer = std::move(larger);
    capacity = grown;
  }
  void clear() {
    size = 0;
    starts.clear();
    subjects.clear();
    hits.clear();
    shapes.clear();
    if (capacity > kBufferBytesKept) {
      buffer.reset();
      capacity = 0;
    }
  }
  std::uint32_t string_at(std::uint64_t position) const {
    return static_cast<std::uint32_t>(std::ranges::upper_bound(starts, position) - starts.begin()) - 1;
  }
};

Scratch::Scratch() : impl_(std::make_unique<Impl>()) {}
Scratch::~Scratch() = default;
Scratch::Scratch(Scratch&&) noexcept = default;
Scratch& Scratch::operator=(Scratch&&) noexcept = default;

struct Redactor::Impl {
  std::vector<std::string> names;
  std::set<std::string, std::less<>> known_names;
  std::vector<std::string> custom_masks;
  std::vector<CustomRule> custom;
  std::vector<std::uint16_t> unfiltered;  // detectors of custom rules to run on every string
  Automaton words;                        // that matches of custom rules must hold
  std::uint64_t serial = 0;
  std::size_t text_bytes_min = kTextBytesMin;

  Result<void> add_custom(const Rule& rule);

  // One look at every subject; `changed` is called with the subject's index, its new text and the rule.
  // `bytes_max` holds how long each may become; empty: as its own length allows.
  template <class Changed>
  void pass(std::span<const Subject> subjects, std::span<const std::size_t> bytes_max, Scratch::Impl& scratch,
            RuleCounts& counts, Changed&& changed) const;
  template <class Changed>
  void flush(std::span<const Subject> subjects, std::span<const std::size_t> bytes_max, Scratch::Impl& scratch,
             RuleCounts& counts, Changed&& changed) const;
  void find_masks(std::string_view text, std::vector<MaskRange>& masks) const;
  void match_custom(std::size_t index, const Text& text, Scratch::Impl& scratch) const;
};

Result<void> Redactor::Impl::add_custom(const Rule& rule) {
  const auto refuse = [&](std::string_view what) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("redaction rule \"{}\": {}", rule.name, what));
  };
  if (!is_rule_name(rule.name)) return refuse("a name is 1 to 64 of a-z, 0-9, '-' and '_'");
  if (known_names.contains(rule.name)) return refuse("there already is a rule of this name");
  if (rule.pattern.empty()) return refuse("the pattern is empty");
  if (rule.pattern.size() > kPatternBytesMax)
    return refuse(fmt::format("the pattern is longer than {} bytes", kPatternBytesMax));
  if (rule.replacement.size() > kReplacementBytesMax)
    return refuse(fmt::format("the replacement is longer than {} bytes", kReplacementBytesMax));

  RE2::Options options(RE2::Quiet);
  options.set_max_mem(kPatternMemoryMax);
  re2::FilteredRE2 filter(kAtomBytesMin);
  int id = 0;
  CustomRule compiled;
  compiled.expression = std::make_unique<RE2>(rule.pattern, options);
  if (!compiled.expression->ok()) {
    const std::string& piece = compiled.expression->error_arg();
    const std::size_t position = rule.pattern.find(piece);
    return refuse(fmt::format("the pattern does not compile at position {}: {}",
                              piece.empty() || position == std::string::npos ? 0 : position,
                              compiled.expression->error()));
  }
  if (RE2::FullMatch("", *compiled.expression)) return refuse("the pattern matches the empty string");
  compiled.rewrite = rule.replacement;
  if (compiled.rewrite.empty()) compiled.rewrite = fmt::format("{}{}]", kMaskOpen, rule.name);
  std::string problem;
  if (!compiled.expression->CheckRewriteString(compiled.rewrite, &problem)) {
    return refuse(fmt::format("the replacement does not fit the pattern: {}", problem));
  }
  if (compiled.expression->NumberOfCapturingGroups() >= kGroupsMax) return refuse("more than 9 groups");
  compiled.literal = compiled.rewrite.find('\\') == std::string::npos;
  // A mask of this rule that the rule would mask again never comes to rest. Default masks are told apart by their form.
  if (compiled.literal && !rule.replacement.empty() && RE2::PartialMatch(compiled.rewrite, *compiled.expression)) {
    return refuse("the pattern matches its own replacement");
  }

  const auto detector = static_cast<std::uint16_t>(first_custom_detector() + custom.size());
  std::vector<std::string> needed;
  if (filter.Add(rule.pattern, options, &id) == RE2::NoError) filter.Compile(&needed);
  std::vector<int> without_words;
  if (!needed.empty()) filter.AllPotentials({}, &without_words);
  const bool ascii = std::ranges::all_of(
      needed, [](const std::string& word) { return std::ranges::all_of(word, [](char c) { return c > 0; }); });
  compiled.unfiltered = needed.empty() || !without_words.empty() || !ascii;
  if (compiled.unfiltered) {
    unfiltered.push_back(detector);
    text_bytes_min = 1;
  } else {
    for (const std::string& word : needed) {
      words.add(as_literal(word), detector, true);
      text_bytes_min = std::min(text_bytes_min, word.size());
    }
  }
  names.push_back(rule.name);
  known_names.insert(rule.name);
  custom.push_back(std::move(compiled));
  return {};
}

Result<std::shared_ptr<const Redactor>> Redactor::compile(std::span<const Rule> rules, const GiveUp& give_up) {
  static std::atomic<std::uint64_t> serials{0};
  if (rules.size() > kCustomRulesMax) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("more than {} redaction rules", kCustomRulesMax));
  }
  auto impl = std::make_unique<Impl>();
  impl->serial = ++serials;
  for (std::uint16_t i = 0; i < kBuiltInRuleCount; ++i) {
    impl->names.emplace_back(rule_name(static_cast<RuleId>(i)));
    impl->known_names.insert(impl->names.back());
  }
  for (const Rule& rule : rules) {
    if (give_up && give_up()) return fail(ErrorCode::kDeadlineExceeded, "compiling the redaction rules took too long");
    if (auto added = impl->add_custom(rule); !added) return std::unexpected(std::move(added).error());
  }
  if (!impl->words.is_empty()) {
    if (auto built = impl->words.compile(); !built) return std::unexpected(std::move(built).error());
  }
  return std::shared_ptr<const Redactor>(new Redactor(std::move(impl)));
}

Result<void> Redactor::prepare() {
  const Result<Automaton>& automaton = built_in_automaton();
  if (!automaton) return std::unexpected(automaton.error());
  return {};
}

Redactor::Redactor(std::unique_ptr<const Impl> impl) : impl_(std::move(impl)) {}
Redactor::~Redactor() = default;

std::span<const std::string> Redactor::rule_names() const { return impl_->names; }

// "[redacted:<name>]" with the name of a rule that exists.
void Redactor::Impl::find_masks(std::string_view text, std::vector<MaskRange>& masks) const {
  masks.clear();
  for (std::size_t at = text.find(kMaskOpen); at != std::string_view::npos; at = text.find(kMaskOpen, at + 1)) {
    const std::size_t name = at + kMaskOpen.size();
    const std::size_t close = text.substr(name, kRuleNameBytesMax + 1).find(']');
    if (close == std::string_view::npos || !known_names.contains(text.substr(name, close))) continue;
    masks.push_back({at, name + close + 1});
  }
}

namespace {

// How long Rewrite() makes it, without making it: a group may be the whole text.
std::size_t rewritten_bytes(std::string_view rewrite, std::span<const re2::StringPiece> groups) {
  std::size_t bytes = 0;
  for (std::size_t i = 0; i < rewrite.size(); ++i, ++bytes) {
    if (rewrite[i] != '\\' || ++i == rewrite.size() || rewrite[i] == '\\') continue;
    bytes += groups[static_cast<std::size_t>(rewrite[i] - '0')].size() - 1;
  }
  return bytes;
}

}  // namespace

void Redactor::Impl::match_custom(std::size_t index, const Text& text, Scratch::Impl& scratch) const {
  const CustomRule& rule = custom[index];
  const auto id = static_cast<std::uint16_t>(kBuiltInRuleCount + index);
  std::array<re2::StringPiece, kGroupsMax> groups;
  const int group_count = rule.literal ? 1 : rule.expression->NumberOfCapturingGroups() + 1;
  const re2::StringPiece whole(text.bytes.data(), text.bytes.size());
  for (std::size_t from = 0; from <= text.bytes.size();) {
    if (!rule.expression->Match(whole, from, whole.size(), RE2::UNANCHORED, groups.data(), group_count)) return;
    const auto begin = static_cast<std::size_t>(groups[0].data() - whole.data());
    const std::size_t end = begin + groups[0].size();
    from = std::max(end, begin + 1);
    if (scratch.must_stop()) return;
    if (begin == end || text.masked(begin, end)) continue;
    const std::size_t bytes = rule.literal ? rule.rewrite.size() : rewritten_bytes(rule.rewrite, groups);
    if (const std::size_t growth = bytes - std::min(bytes, end - begin); growth > scratch.growth_left) {
      scratch.overgrown = true;
      return;
    } else {
      scratch.growth_left -= growth;
    }
    std::string_view replacement = rule.rewrite;
    if (!rule.literal) {
      std::string& text_out = scratch.rewritten.emplace_back();
      rule.expression->Rewrite(&text_out, rule.rewrite, groups.data(), group_count);
      replacement = text_out;
    }
    if (replacement == text.bytes.substr(begin, end - begin)) continue;
    scratch.spans.push_back({begin, end, id, replacement});
  }
}

namespace {

// Sorts the spans and merges those that overlap into the one that begins first (of several, the longest): what two
// rules found is masked as a whole. E-mail addresses give way instead: the rest of a masked one says nothing.
void merge(std::vector<MaskSpan>& spans) {
  if (spans.size() < 2) return;
  std::ranges::sort(spans, [](const MaskSpan& a, const MaskSpan& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.end != b.end ? a.end > b.end : a.rule < b.rule;
  });
  std::size_t kept = 0;
  for (std::size_t i = 1; i < spans.size(); ++i) {
    if (spans[i].begin >= spans[kept].end) {
      spans[++kept] = spans[i];
    } else if (spans[kept].rule == kEmail) {
      spans[kept] = spans[i];
    } else if (spans[i].rule != kEmail) {
      spans[kept].end = std::max(spans[kept].end, spans[i].end);
    }
  }
  spans.resize(kept + 1);
}

std::string with_masks(std::string_view text, const std::vector<MaskSpan>& spans) {
  std::string out;
  out.reserve(text.size() + spans.size() * 16);
  std::size_t at = 0;
  for (const MaskSpan& span : spans) {
    out.append(text, at, span.begin - at);
    out.append(span.replacement);
    at = span.end;
  }
  out.append(text, at);
  return out;
}

}  // namespace

template <class Changed>
void Redactor::Impl::flush(std::span<const Subject> subjects, std::span<const std::size_t> bytes_max,
                           Scratch::Impl& scratch, RuleCounts& counts, Changed&& changed) const {
  if (scratch.starts.empty()) return;
  std::memset(scratch.buffer.get() + scratch.size, 0, kShapePadding);

  struct Context {
    const Automaton* automaton;
    Scratch::Impl* scratch;
  };
  const auto on_match = [](unsigned id, unsigned long long, unsigned long long to, unsigned, void* raw) {
    const auto& [automaton, memory] = *static_cast<Context*>(raw);
    const Scratch::Impl::Hit hit{memory->string_at(to - 1), automaton->detector(id)};
    // One string that hits a hundred times is one hit: what is kept stays small.
    if (memory->hits.empty() || memory->hits.back() != hit) memory->hits.push_back(hit);
    return 0;
  };
  const auto search = [&](const Automaton& automaton) {
    Context context{&automaton, &scratch};
    hs_scan(automaton.database(), scratch.buffer.get(), static_cast<unsigned>(scratch.size), 0, scratch.hs, on_match,
            &context);
  };
  search(*built_in_automaton());
  if (!words.is_empty()) search(words);
  find_shapes(scratch.buffer.get(), scratch.size, scratch.shapes);
  for (const ShapeHit& shape : scratch.shapes) {
    const Scratch::Impl::Hit hit{scratch.string_at(shape.at), shape.detector};
    if (scratch.hits.empty() || scratch.hits.back() != hit) scratch.hits.push_back(hit);
  }
  for (const std::uint16_t detector : unfiltered) {
    for (std::uint32_t i = 0; i < scratch.starts.size(); ++i) scratch.hits.push_back({i, detector});
  }

  std::ranges::sort(scratch.hits);
  const std::uint16_t custom_from = first_custom_detector();
  for (std::size_t i = 0; i < scratch.hits.size();) {
    const std::uint32_t string = scratch.hits[i].string;
    const std::uint32_t subject = scratch.subjects[string];
    const std::string_view bytes = subjects[subject].text;
    find_masks(bytes, scratch.masks);
    const Text text{bytes, scratch.masks};
    const std::size_t limit = bytes_max.empty() ? rewritten_bytes_max(bytes.size()) : bytes_max[subject];
    scratch.spans.clear();
    scratch.rewritten.clear();
    scratch.growth_left = limit - std::min(limit, bytes.size());
    scratch.overgrown = false;
    for (std::uint16_t last = 0xFFFF; i < scratch.hits.size() && scratch.hits[i].string == string; ++i) {
      const std::uint16_t detector = scratch.hits[i].detector;
      if (detector == last || scratch.overgrown) continue;
      last = detector;
      if (scratch.must_stop()) return scratch.clear();
      if (detector >= custom_from) {
        match_custom(detector - custom_from, text, scratch);
      } else {
        match(detector, text, scratch.spans);
      }
    }
    std::erase_if(scratch.spans, [&](const MaskSpan& span) { return text.masked(span.begin, span.end); });
    if (scratch.overgrown) {
      ++counts[kUnstable];
      changed(subject, std::string(mask_of(kUnstable)), kUnstable);
      continue;
    }
    if (scratch.spans.empty()) continue;
    merge(scratch.spans);
    for (const MaskSpan& span : scratch.spans) ++counts[span.rule];
    changed(subject, with_masks(bytes, scratch.spans), scratch.spans.front().rule);
  }
  scratch.clear();
}

template <class Changed>
void Redactor::Impl::pass(std::span<const Subject> subjects, std::span<const std::size_t> bytes_max,
                          Scratch::Impl& scratch, RuleCounts& counts, Changed&& changed) const {
  scratch.clear();
  for (std::uint32_t i = 0; i < subjects.size(); ++i) {
    const auto& [text, key] = subjects[i];
    if (text.empty()) continue;
    if (!key.empty()) {
      if (const auto meaning = key_meaning(key)) {
        find_masks(text, scratch.masks);
        const bool is_mask =
            scratch.masks.size() == 1 && scratch.masks[0].begin == 0 && scratch.masks[0].end == text.size();
        if (is_mask) continue;
        if (meaning->digits ? is_bank_account_text(text) : !is_placeholder(text)) {
          ++counts[meaning->rule];
          changed(i, std::string(mask_of(meaning->rule)), meaning->rule);
          continue;
        }
      }
    }
    if (text.size() < text_bytes_min) continue;
    if (scratch.size + text.size() + 2 > kBatchBytes) flush(subjects, bytes_max, scratch, counts, changed);
    scratch.reserve(scratch.size + text.size() + 2);
    char* to = scratch.buffer.get() + scratch.size;
    *to = kSeparator;
    std::memcpy(to + 1, text.data(), text.size());
    to[1 + text.size()] = kSeparator;
    scratch.starts.push_back(static_cast<std::uint32_t>(scratch.size));
    scratch.subjects.push_back(i);
    scratch.size += text.size() + 1;
  }
  flush(subjects, bytes_max, scratch, counts, changed);
}

void Redactor::scan(std::span<const Subject> subjects, Scratch& scratch, std::vector<Finding>& findings,
                    RuleCounts& counts) const {
  static_cast<void>(scan(subjects, scratch, findings, counts, nullptr));
}

bool Redactor::try_scan(std::span<const Subject> subjects, Scratch& scratch, std::vector<Finding>& findings,
                        RuleCounts& counts, const GiveUp& give_up) const {
  return scan(subjects, scratch, findings, counts, &give_up);
}

bool Redactor::scan(std::span<const Subject> subjects, Scratch& scratch, std::vector<Finding>& findings,
                    RuleCounts& counts, const GiveUp* give_up) const {
  Scratch::Impl& memory = *scratch.impl_;
  memory.give_up = give_up;
  memory.gave_up = false;
  if (memory.compiled_for != impl_->serial) {
    // Fails only for want of memory, and then nothing could be scanned: the exception is the caller's as any other.
    const Result<Automaton>& built_in = built_in_automaton();
    if (!built_in) throw std::runtime_error(built_in.error().message());
    if (hs_alloc_scratch(built_in->database(), &memory.hs) != HS_SUCCESS) throw std::bad_alloc();
    if (!impl_->words.is_empty() && hs_alloc_scratch(impl_->words.database(), &memory.hs) != HS_SUCCESS) {
      throw std::bad_alloc();
    }
    memory.compiled_for = impl_->serial;
  }
  if (counts.size() < impl_->names.size()) counts.resize(impl_->names.size());

  const std::size_t first = findings.size();
  impl_->pass(subjects, {}, memory, counts, [&](std::uint32_t index, std::string text, std::uint16_t rule) {
    findings.push_back({index, rule, std::move(text)});
  });
  if (memory.gave_up) return false;
  if (findings.size() == first) return true;
  const auto found = std::span(findings).subspan(first);
  std::ranges::sort(found, {}, &Finding::index);

  // What was masked is looked at again, until a look changes nothing.
  std::vector<Subject> again;
  std::vector<std::size_t> bytes_max;
  std::vector<std::uint32_t> which(found.size());
  for (std::uint32_t i = 0; i < which.size(); ++i) which[i] = i;
  for (int round = 1; !which.empty(); ++round) {
    again.clear();
    bytes_max.clear();
    for (const std::uint32_t i : which) {
      again.push_back({found[i].replacement, subjects[found[i].index].key});
      // Measured from what came in, or four rounds would grow it four times over.
      bytes_max.push_back(rewritten_bytes_max(subjects[found[i].index].text.size()));
    }
    std::vector<Finding> changes;
    impl_->pass(again, bytes_max, memory, counts, [&](std::uint32_t index, std::string text, std::uint16_t rule) {
      changes.push_back({which[index], rule, std::move(text)});
    });
    if (memory.gave_up) return false;
    which.clear();
    for (Finding& change : changes) {
      if (round < kRoundsMax) {
        found[change.index].replacement = std::move(change.replacement);
        which.push_back(change.index);
      } else {
        // Only a configured rule that feeds on its own output gets here.
        found[change.index].replacement = mask_of(kUnstable);
        ++counts[kUnstable];
      }
    }
  }
  return true;
}

std::string Redactor::redact(std::string_view text, std::string_view key) const {
  thread_local Scratch scratch;
  thread_local RuleCounts counts;
  std::vector<Finding> findings;
  const Subject subject{text, key};
  scan({&subject, 1}, scratch, findings, counts);
  return findings.empty() ? std::string(text) : std::move(findings.front().replacement);
}

}  // namespace fettle::redact
