// Tells outside subscribers of the ledger's events: from the outbox to durable deliveries, from there to their URLs.
//
//   Webhooks webhooks({.database = db, .outbox = outbox, .client = client, …}, {});
//   webhooks.start();
//   …
//   webhooks.stop();     // what is under way is given up unrecorded and sent again after the next start
//
// A consumer of the outbox ("webhooks") writes one row for each event and subscription and moves on, so no endpoint
// holds up the outbox or another endpoint; senders take what is due from every endpoint in turn. At least once: an
// attempt whose outcome could not be recorded is made again, with the same webhook-id. Runs on the leader alone.
// Thread-safe.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/clock.h"
#include "core/error.h"
#include "core/metrics.h"
#include "core/rng.h"
#include "core/secret.h"
#include "http/outbound_client.h"
#include "ledger/outbox.h"
#include "notify/delivery.h"
#include "notify/retry.h"
#include "notify/secret_box.h"
#include "redact/redactor.h"

namespace fettle::notify {

class Webhooks {
 public:
  // All outlive the webhooks. `rng` is called from several threads and fit for secrets.
  struct Rooms {
    db::Database& database;
    ledger::Outbox& outbox;
    const ledger::Auditor& auditor;
    const http::OutboundClient& client;
    std::shared_ptr<const redact::Redactor> redactor;
    SecretBox box;
    Clock& clock;
    Rng& rng;
    metrics::Registry& metrics;
    std::function<bool()> is_leader;  // asked before each round and each attempt
  };
  struct Options {
    // Threads: attempts under way at a time. A workspace has half of them at most once a second one sends; endpoints
    // that fail share half; and in the busier half each endpoint has one.
    int senders = 16;
    int in_flight_max = 4;               // of an endpoint; of one that failed last time, 1
    std::int32_t fetch = 128;            // deliveries of an endpoint that wait in memory, by their ids
    std::int64_t pending_max = 10'000;   // of an endpoint; further events are dropped for it, and counted
    std::int64_t finished_max = 10'000;  // of an endpoint
    std::chrono::seconds finished_keep = std::chrono::hours(7 * 24);
    std::chrono::milliseconds attempt_time_max{10'000};
    std::chrono::milliseconds every{500};
    std::chrono::milliseconds again_after{2'000};  // when the ledger failed
    std::chrono::milliseconds tidy_every{30'000};
    RetryPolicy retry = {};
  };

  Webhooks(Rooms rooms, Options options);
  ~Webhooks();
  Webhooks(const Webhooks&) = delete;
  Webhooks& operator=(const Webhooks&) = delete;

  void start();
  void stop();

  // What start()'s thread does again and again, for tests: takes events, and hands out what is due to the senders,
  // which start() began.
  Result<void> round();
  // Blocks until the senders have nothing left of what round() handed out.
  void drain();
  // Only the first half: events become deliveries. How many were made.
  Result<std::int64_t> take_events();
  Result<void> tidy();
  // start() without the thread that calls round().
  void start_senders();

  // For whoever makes subscriptions: whether the URL is one that can be called (kInvalidArgument names the member).
  Result<void> check_url(std::string_view url) const;
  struct MadeSecret {
    std::string text;  // to be shown once
    std::string sealed;
  };
  MadeSecret make_secret(const WorkspaceId& workspace, std::string_view subscription_id);
  Rng& rng();
  const ledger::Auditor& auditor() const;
  std::chrono::milliseconds give_up_after() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace fettle::notify
