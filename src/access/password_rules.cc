#include "access/password_rules.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <functional>
#include <set>
#include <string>

#include "core/json.h"

namespace fettle::access {
namespace {

constexpr std::size_t kDistinctCharsMin = 5;
constexpr std::size_t kPartCharsMin = 4;  // of a name or address that may not be most of a password

// What is left of these is too little: the stems that long passwords of the lists in circulation are built from.
constexpr std::array<std::string_view, 26> kStems = {
    "password", "passwort", "passw0rd", "p@ssword",      "p@ssw0rd", "qwertyuiop", "qwerty", "qwertz", "azerty",
    "letmein",  "welcome",  "iloveyou", "administrator", "admin",    "changeme",   "fettle", "monkey", "dragon",
    "football", "baseball", "princess", "sunshine",      "superman", "trustno1",   "master", "abc"};

std::string folded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (std::isspace(static_cast<unsigned char>(c)) == 0) {
      out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return out;
}

std::size_t chars_of(std::string_view utf8) {
  return static_cast<std::size_t>(
      std::ranges::count_if(utf8, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

void remove_all(std::string& text, std::string_view part) {
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at)) text.erase(at, part.size());
}

// A run up or down the alphabet, the digits or a row of the keyboard, such as 123456 or asdfgh, counts as one
// character.
std::string without_runs(std::string_view text) {
  constexpr std::array<std::string_view, 5> kRows = {"01234567890", "abcdefghijklmnopqrstuvwxyz", "qwertyuiop",
                                                     "asdfghjkl", "zxcvbnm"};
  const auto follows = [&](char a, char b) {
    return std::ranges::any_of(kRows, [&](std::string_view row) {
      const std::string up = {a, b};
      const std::string down = {b, a};
      return row.contains(up) || row.contains(down);
    });
  };
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (i == 0 || (text[i] != text[i - 1] && !follows(text[i - 1], text[i]))) out += text[i];
  }
  return out;
}

}  // namespace

Result<void> check_new_password(std::string_view password, std::string_view email, std::string_view name) {
  const auto refuse = [](std::string why) -> Result<void> { return fail(ErrorCode::kInvalidArgument, std::move(why)); };
  if (!is_utf8(password) || password.contains('\0')) return refuse("the password is not text");
  if (password.size() > kPasswordBytesMax) {
    return refuse(fmt::format("the password is {} bytes, the limit is {}", password.size(), kPasswordBytesMax));
  }
  if (chars_of(password) < kPasswordCharsMin) {
    return refuse(fmt::format("the password has {} characters, it needs {}", chars_of(password), kPasswordCharsMin));
  }
  std::string rest = folded(password);
  const std::set<char> distinct(rest.begin(), rest.end());
  if (distinct.size() < kDistinctCharsMin) return refuse("the password repeats a few characters");
  // The longer part first, or what is left of it would pass for something new.
  std::string own[] = {folded(email), folded(email.substr(0, email.find('@'))), folded(name)};
  std::ranges::sort(own, std::ranges::greater{}, &std::string::size);
  for (const std::string& part : own) {
    if (part.size() >= kPartCharsMin) remove_all(rest, part);
  }
  if (chars_of(rest) < kPasswordCharsMin / 2) return refuse("the password is made of your own name or address");
  for (const std::string_view stem : kStems) remove_all(rest, stem);
  if (chars_of(without_runs(rest)) < kPasswordCharsMin / 2)
    return refuse("the password is one that everybody tries first");
  return {};
}

}  // namespace fettle::access
