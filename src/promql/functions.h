// The functions of the language: their names, what they take and what they give.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "promql/ast.h"

namespace fettle::promql {

// In the order of the table in functions.cc.
struct FunctionSignature {
  std::string_view name;
  std::vector<ValueType> args;
  // How many of the last arguments may be left out; -1: the last may be given any number of times, none included.
  int optional = 0;
  ValueType returns = ValueType::kInstantVector;
};

// Null when there is none.
const FunctionSignature* find_function(std::string_view name);
std::span<const FunctionSignature> all_functions();

}  // namespace fettle::promql
