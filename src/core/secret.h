// A secret in memory: never printed, compared in constant time, wiped when it goes.
#pragma once

#include <string>
#include <string_view>

namespace fettle {

class Secret {
 public:
  Secret() = default;
  explicit Secret(std::string value) : value_(std::move(value)) {}
  Secret(const Secret&) = default;
  Secret(Secret&& other) noexcept;
  Secret& operator=(const Secret&) = default;
  Secret& operator=(Secret&& other) noexcept;
  ~Secret();

  bool empty() const { return value_.empty(); }
  // Takes the same time whatever the bytes are; a difference in length alone can be told.
  bool equals(std::string_view candidate) const;
  // The one way to the bytes, named so that a reviewer can search for it.
  const std::string& reveal() const { return value_; }

 private:
  std::string value_;
};

}  // namespace fettle
