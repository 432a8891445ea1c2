// What a client and its workers share.
#pragma once

#include <memory>

#include "caller.h"
#include "enqueuer.h"
#include "fettle/sdk/client.h"
#include "may_i_cache.h"
#include "recorder.h"
#include "side_effects.h"

namespace fettle::sdk {

struct Client::Core {
  Core(std::shared_ptr<Transport> transport, std::shared_ptr<Clock> clock, const ClientOptions& options)
      : caller(std::move(transport), std::move(clock), options.retry, options.timeout),
        may_i(caller),
        side_effects(caller),
        enqueuer(caller, options.queue_items_max),
        recorder(caller) {}

  Caller caller;
  MayICache may_i;
  SideEffects side_effects;
  Enqueuer enqueuer;  // these two have threads that use the caller
  Recorder recorder;
};

}  // namespace fettle::sdk
