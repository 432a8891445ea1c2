// How runs, their steps, attempts and switches look in answers.
#pragma once

#include <string>
#include <string_view>

#include "runs/inspect.h"
#include "runs/steps.h"
#include "runs/switches.h"

namespace fettle::api {

void append_switch(std::string& out, const runs::Switch& one);
// As lists have it.
void append_run(std::string& out, const runs::ListedRun& listed);
// With everything: `reveals` says whether payload, results and progress are shown.
void append_run_detail(std::string& out, const runs::RunDetail& detail, const std::vector<runs::Step>& steps,
                       const std::vector<runs::PastAttempt>& attempts, bool reveals, UnixNanos now);

}  // namespace fettle::api
