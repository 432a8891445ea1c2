// Masks secrets and personal data in strings before anything is stored, spooled, logged or forwarded.
//
// A Redactor is compiled once from the built-in rules plus the configured ones, is immutable, and may be used by any
// number of threads; each thread brings a Scratch of its own. It knows strings and the attribute key a string belongs
// to, nothing else: numbers, and which strings exist, are the caller's business (see is_payment_card for numbers).
//
//   std::vector<Finding> findings;
//   redactor->scan(subjects, scratch, findings, counts);           // all strings of a request at once
//   for (Finding& f : findings) strings[f.index] = request.keep(std::move(f.replacement));
//
// Redaction is idempotent: redacting what came out changes nothing.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.h"

namespace fettle::redact {

// A configured rule: RE2 syntax; \1…\9 in the replacement keep what a group matched. An empty replacement means
// "[redacted:<name>]".
struct Rule {
  std::string name;
  std::string pattern;
  std::string replacement;

  bool operator==(const Rule&) const = default;
};

constexpr std::size_t kCustomRulesMax = 64;
constexpr std::size_t kPatternBytesMax = 4096;
constexpr std::size_t kReplacementBytesMax = 256;

// String `index` of the scanned subjects must become `replacement`.
struct Finding {
  std::uint32_t index = 0;
  std::uint16_t rule = 0;  // the first rule that masked something in it; an index into rule_names()
  std::string replacement;
};

// Masks applied, by index into rule_names(). scan() grows it as needed and only ever adds.
using RuleCounts = std::vector<std::uint64_t>;

// Memory that scanning reuses. One per thread; works with any Redactor and follows a new one by itself.
class Scratch {
 public:
  Scratch();
  ~Scratch();
  Scratch(Scratch&&) noexcept;
  Scratch& operator=(Scratch&&) noexcept;

 private:
  friend class Redactor;
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// Asked now and then during a scan whether to end it.
using GiveUp = std::function<bool()>;

class Redactor {
 public:
  struct Subject {
    std::string_view text;
    std::string_view key;  // the attribute key the text is a value of, or empty
  };

  // kInvalidArgument names the rule, the part and, where the expression is at fault, the offending piece of it.
  // kDeadlineExceeded when `give_up` said so between two rules. Takes milliseconds a rule: compile once and share.
  // Shared, because requests in flight finish with the rules they began with while a reloaded configuration brings new
  // ones.
  static Result<std::shared_ptr<const Redactor>> compile(std::span<const Rule> custom = {}, const GiveUp& give_up = {});
  ~Redactor();

  // Compiles what all redactors of a process share, which takes 0.2 s; otherwise the first scan does. Thread-safe.
  // Fails where the processor is not one that the prefilter can run on: a scan would throw.
  static Result<void> prepare();

  // Appends one Finding for each subject that must change, in order of index.
  // A string that configured rules make more than eight times as long becomes "[redacted:unstable]".
  void scan(std::span<const Subject> subjects, Scratch& scratch, std::vector<Finding>& findings,
            RuleCounts& counts) const;
  // The same with rules that nobody has vouched for. False when `give_up` said so: then nothing is known.
  [[nodiscard]] bool try_scan(std::span<const Subject> subjects, Scratch& scratch, std::vector<Finding>& findings,
                              RuleCounts& counts, const GiveUp& give_up) const;

  // One string. Convenience over scan(), with a scratch per calling thread.
  std::string redact(std::string_view text, std::string_view key = {}) const;

  // Built-in rules first, then the custom ones as configured. Stable for the life of the Redactor.
  std::span<const std::string> rule_names() const;

 private:
  struct Impl;
  explicit Redactor(std::unique_ptr<const Impl> impl);
  bool scan(std::span<const Subject> subjects, Scratch& scratch, std::vector<Finding>& findings, RuleCounts& counts,
            const GiveUp* give_up) const;
  std::unique_ptr<const Impl> impl_;
};

// True when scan() masks a value because of this key, whatever the value looks like (password, authorization,
// x-api-key, db.clientSecret, …): case, dashes, dots and underscores do not matter, and what counts is how the key
// ends. Of bank numbers (account_number, routing_number) only digits are masked. False for what only sounds so:
// token_count, gen_ai.usage.input_tokens, token_type, next_page_token, author. A caller that interns its keys asks
// once a key and leaves Subject::key empty for all others.
bool is_secret_key(std::string_view key);

// For numeric attributes: 13 to 19 digits, a known issuer's range and length, and a valid check digit.
bool is_payment_card(std::uint64_t number);

}  // namespace fettle::redact
