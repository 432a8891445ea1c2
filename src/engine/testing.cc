#include "engine/testing.h"

#include <fmt/format.h>

#include <cstdio>
#include <cstdlib>

namespace fettle::engine {

TestEngine::TestEngine(const std::vector<std::string>& tables, SupervisorOptions options) {
  std::string name = (std::filesystem::temp_directory_path() / "fettle-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) {
    fmt::print(stderr, "cannot make a scratch folder: {}\n", name);
    std::abort();
  }
  data_dir_ = name;
  options.data_dir = data_dir_;
  if (options.program.empty()) options.program = FETTLE_ENGINE_PROGRAM;
  supervisor_ = std::make_unique<Supervisor>(options, metrics_);
  if (auto started = supervisor_->start(tables); !started) {
    fmt::print(stderr, "{}\n", started.error().message());
    std::abort();
  }
}

TestEngine::~TestEngine() {
  supervisor_.reset();
  std::error_code error;
  std::filesystem::remove_all(data_dir_, error);
}

}  // namespace fettle::engine
