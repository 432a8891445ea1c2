// A real engine on a folder of its own, for the tests of other rooms.
//
//   engine::TestEngine engine({"spans", "logs"});
//   telemetry::Client client(engine.base_url());
//
// Only in builds without sanitizers (FETTLE_HAS_ENGINE is defined then): a program that holds libchdb dies under them.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "core/metrics.h"
#include "engine/supervisor.h"

namespace fettle::engine {

class TestEngine {
 public:
  // Starts the engine with a row filter for each of `tables`. Ends the test program with the reason if it cannot.
  explicit TestEngine(const std::vector<std::string>& tables = {}, SupervisorOptions options = {});
  ~TestEngine();
  TestEngine(const TestEngine&) = delete;
  TestEngine& operator=(const TestEngine&) = delete;

  std::string base_url() const { return supervisor_->base_url(); }
  Supervisor& supervisor() { return *supervisor_; }
  // Removed with everything in it when the TestEngine goes.
  const std::filesystem::path& data_dir() const { return data_dir_; }

 private:
  std::filesystem::path data_dir_;
  metrics::Registry metrics_;
  std::unique_ptr<Supervisor> supervisor_;
};

}  // namespace fettle::engine
