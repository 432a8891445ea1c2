// What a key says about its value. Internal to the room; is_secret_key in redactor.h is the public part.
#pragma once

#include <optional>
#include <string_view>

#include "redact/rules.h"

namespace fettle::redact {

struct KeyMeaning {
  RuleId rule;
  bool weak = false;    // also an everyday word ("token", "pass"): in prose the value must look like a secret
  bool header = false;  // an HTTP header whose value has several words
  bool digits = false;  // secret only when the value is made of digits (bank account numbers)
};

// Judges by how the key ends, ignoring case and separators. Costs a few nanoseconds for keys that mean nothing.
std::optional<KeyMeaning> key_meaning(std::string_view key);

// True for what stands where a secret would and is none: $1, ?, %s, ${NAME}, null, true, ***, [FILTERED], ….
bool is_placeholder(std::string_view value);
// True when the value has the look of a generated secret rather than of a word.
bool looks_random(std::string_view value);

}  // namespace fettle::redact
