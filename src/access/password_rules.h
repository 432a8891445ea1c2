// What may be a password: long enough, and not one that everybody tries first. Nothing about capitals and digits.
#pragma once

#include <string_view>

#include "core/error.h"

namespace fettle::access {

constexpr std::size_t kPasswordCharsMin = 12;
constexpr std::size_t kPasswordBytesMax = 1024;

// kInvalidArgument with a sentence that says what is wrong; never holds the password. `email` and `name` are the
// person's own: a password made of them is refused.
Result<void> check_new_password(std::string_view password, std::string_view email, std::string_view name);

}  // namespace fettle::access
