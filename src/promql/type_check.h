// Whether each operator and function is given what it takes.
#pragma once

#include "promql/ast.h"

namespace fettle::promql {

// Marks what does not change from step to step. Throws ParseFailure with the first thing that is wrong.
void check_types(Expr& expr);

}  // namespace fettle::promql
