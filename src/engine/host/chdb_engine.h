// The ClickHouse engine in this process, through libchdb. One per process: the library keeps one engine per process
// and refuses a second path.
#pragma once

#include <memory>
#include <string>

#include "core/error.h"
#include "engine/host/engine.h"

namespace fettle::engine_host {

// `data_dir` is made if missing; both paths may be relative here (the library itself fails on relative ones).
// kUnavailable: the folder is locked by another engine, cannot be written, or the configuration is refused.
Result<std::unique_ptr<Engine>> open_chdb(const std::string& data_dir, const std::string& config_file);

}  // namespace fettle::engine_host
