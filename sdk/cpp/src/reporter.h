// What a worker tells the server about its runs: what gathers while a request is under way leaves with the next.
//
// One request at a time, so a run's reports arrive in the order in which they were made. A report whose run's lease is
// gone comes back as an error that says why (Error::is_late); the server keeps it and applies nothing.
#pragma once

#include <string>

#include "batcher.h"
#include "caller.h"

namespace fettle::sdk {

// Used by many threads at once.
class Reporter {
 public:
  Reporter(Caller& caller, const std::string& runner_id)
      : batcher_("reports", {.queue_items_max = 100'000, .queue_bytes_max = std::size_t{256} * 1024 * 1024},
                 [&caller, prefix = "{\"runner_id\":" + Json(runner_id).text() + ",\"reports\":["](
                     const std::string& items) { return caller.post("/api/v1/work/report", prefix + items + "]}"); }) {}

  void report(std::string_view op, const std::string& run_id, const Json& fence, const Json& members,
              Batcher::Done done) {
    std::string item = "{\"op\":\"";
    item.append(op).append("\",\"run_id\":");
    append_quoted(item, run_id);
    item += ",\"fence\":";
    fence.append_text_to(item);
    for (const Json::Member& member : members.members()) {
      item += ',';
      append_quoted(item, member.name);
      item += ':';
      member.value.append_text_to(item);
    }
    batcher_.add(item + "}", std::move(done));
  }

  std::size_t pending() const { return batcher_.pending(); }
  void drain() { batcher_.drain(); }

 private:
  Batcher batcher_;
};

}  // namespace fettle::sdk
