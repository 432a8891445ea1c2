// fettle_bench NAME: the figures that the project promises, each as "name value unit target ok|short".
#include <fmt/format.h>

#include <chrono>
#include <cstdlib>
#include <iostream>
#include <string_view>
#include <thread>

#include "fixture.h"
#include "scenarios.h"

int main(int argc, char** argv) {
  using namespace fettle::bench;
  const std::string_view name = argc > 1 ? argv[1] : "";
  for (const Scenario& scenario : kScenarios) {
    if (scenario.name != name) continue;
    note(fmt::format("{}: {} cores", name, std::thread::hardware_concurrency()));
    scenario.run();
    return finish(std::string(name));
  }
  std::cerr << "usage: fettle_bench NAME, where NAME is one of";
  for (const Scenario& scenario : kScenarios) std::cerr << ' ' << scenario.name;
  std::cerr << '\n';
  return 2;
}
