// Any bytes: redacting terminates, redacting twice is redacting once, and a string comes out the same alone and among
// others. The first byte chooses the key; zero bytes split the rest into the strings of a request.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "redact/redactor.h"

namespace {

using fettle::redact::Finding;
using fettle::redact::Redactor;

const Redactor& redactor() {
  static const auto compiled = [] {
    const std::vector<fettle::redact::Rule> rules = {{"ticket", "TICKET-[0-9]{2,6}", ""},
                                                     {"pair", "([a-c])=([0-9]+)", "\\1=#"}};
    return Redactor::compile(rules).value();
  }();
  return *compiled;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  static constexpr std::string_view kKeys[] = {
      "", "message", "password", "http.request.header.authorization", "account_number", "url.full"};
  const std::string_view key = kKeys[data[0] % std::size(kKeys)];
  std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string_view> texts = {rest};
  while (!rest.empty()) {
    const std::size_t end = rest.find('\0');
    texts.push_back(rest.substr(0, end));
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
  }

  std::vector<Redactor::Subject> subjects;
  for (const std::string_view text : texts) subjects.push_back({text, key});
  static fettle::redact::Scratch scratch;
  std::vector<Finding> findings;
  fettle::redact::RuleCounts counts;
  redactor().scan(subjects, scratch, findings, counts);
  std::vector<std::string> together(texts.begin(), texts.end());
  for (Finding& finding : findings) together[finding.index] = std::move(finding.replacement);
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (redactor().redact(texts[i], key) != together[i]) std::abort();
    if (redactor().redact(together[i], key) != together[i]) std::abort();
  }
  return 0;
}
