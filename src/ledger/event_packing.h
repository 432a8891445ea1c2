// Domain events as the bytes of one outbox row.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ledger/events.h"

namespace fettle::ledger {

std::string pack_events(std::span<const EventView> events);
// kDataLoss when the bytes are not what pack_events() wrote.
Result<std::vector<Event>> unpack_events(std::string_view bytes);

}  // namespace fettle::ledger
