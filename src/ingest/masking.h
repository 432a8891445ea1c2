// Redaction over a whole decoded request, in place: every string that would be stored is looked at, in one scan.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>
#include <vector>

#include "ingest/attribute_keys.h"
#include "otlp/model.h"
#include "redact/redactor.h"

namespace fettle::ingest {

// Keeps its memory between requests. One thread at a time.
class Masking {
 public:
  explicit Masking(std::shared_ptr<const redact::Redactor> redactor);
  ~Masking();

  // `infos` speaks of request.attributes. Adds to the counts by rule.
  void apply(otlp::Traces& request, const std::vector<const KeyInfo*>& infos, redact::RuleCounts& counts);
  void apply(otlp::Logs& request, const std::vector<const KeyInfo*>& infos, redact::RuleCounts& counts);
  void apply(otlp::Metrics& request, const std::vector<const KeyInfo*>& infos, redact::RuleCounts& counts);

 private:
  template <class Request>
  void apply_to(Request& request, const std::vector<const KeyInfo*>& infos, redact::RuleCounts& counts);
  template <class Request>
  void mask_below_secret_keys(Request& request, const std::vector<const KeyInfo*>& infos, redact::RuleCounts& counts);
  void hand_down(otlp::Common& request, const std::vector<const KeyInfo*>& infos, otlp::Value& value,
                 std::string_view key, redact::RuleCounts& counts);
  struct Work;
  std::shared_ptr<const redact::Redactor> redactor_;
  const std::size_t card_rule_;  // under which masked numbers are counted
  const std::size_t secret_rule_;
  std::unique_ptr<Work> work_;
};

}  // namespace fettle::ingest
