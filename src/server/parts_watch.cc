#include "server/parts_watch.h"

#include <utility>

#include "core/log.h"

namespace fettle::server {

PartsWatch::PartsWatch(Look look, Clock& clock, metrics::Registry& metrics, std::chrono::nanoseconds every)
    : look_(std::move(look)),
      clock_(clock),
      every_(every),
      gauge_(metrics.gauge("fettle_store_detached_parts",
                           "Parts of tables that the store has put aside by itself, damaged ones above all.")),
      thread_([this](const std::stop_token& stop) { work(stop); }) {}

void PartsWatch::stop() {
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

std::vector<telemetry::DetachedParts> PartsWatch::latest() const {
  MutexLock lock(mutex_);
  return latest_;
}

void PartsWatch::work(const std::stop_token& stop) {
  std::uint64_t before = 0;
  do {
    auto found = look_(stop);
    if (!found) continue;  // the check `store` says that it does not answer
    const std::uint64_t now = telemetry::total(*found);
    if (now > before) {
      log::warning("store_detached_parts", {{"parts", now}, {"tables", telemetry::to_text(*found)}});
    }
    before = now;
    gauge_.set(static_cast<double>(now));
    MutexLock lock(mutex_);
    latest_ = std::move(*found);
  } while (clock_.wait_for(every_, stop));
}

}  // namespace fettle::server
