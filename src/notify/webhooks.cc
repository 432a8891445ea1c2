#include "notify/webhooks.h"

#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <thread>
#include <utility>
#include <vector>

#include "core/json.h"
#include "core/log.h"
#include "core/mutex.h"
#include "db/database.h"
#include "notify/signature.h"

namespace fettle::notify {
namespace {

constexpr std::string_view kConsumer = "webhooks";
constexpr int kBatchesMax = 8;                        // of the outbox in a round, so that what is due gets its turn
constexpr std::int32_t kTidyRows = 1'000;             // of one transaction
constexpr std::size_t kResponseBytesMax = 4 * 1'024;  // read for the excerpt: redaction sees more than it leaves
constexpr std::size_t kErrorBytesMax = 512;
// After an outcome could not be recorded: what would be sent again and again meanwhile waits.
constexpr std::chrono::seconds kHold{15};

const std::vector<double> kSecondsBounds = {0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};

// At most `bytes_max` bytes of well-formed text without control characters that a store could not hold.
std::string cut_text(std::string text, std::size_t bytes_max) {
  std::erase(text, '\0');
  text = to_utf8(text);
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  text.resize(end);
  return text;
}

}  // namespace

struct Webhooks::Impl {
  Impl(Rooms its_rooms, Options its_options)
      : rooms(std::move(its_rooms)),
        options(its_options),
        dropped(counter("dropped")),
        taken(rooms.metrics.counter("fettle_webhook_events_total",
                                    "Deliveries of events to webhooks that were noted to be made.")),
        failures(
            rooms.metrics.counter("fettle_webhook_failures_total",
                                  "Rounds of webhook delivery, or records of an attempt, that the ledger failed.")),
        seconds(rooms.metrics.histogram("fettle_webhook_attempt_seconds",
                                        "How long endpoints took to answer, or not to.", kSecondsBounds)) {
    for (const char* outcome : {"delivered", "retried", "dead", "gone", "repeated"}) counter(outcome);
  }

  metrics::Counter& counter(const std::string& outcome) {
    return rooms.metrics.counter("fettle_webhook_deliveries_total",
                                 "Attempts to deliver an event to a webhook by their outcome; dropped: never tried, "
                                 "for lack of room.",
                                 {{"outcome", outcome}});
  }

  // One endpoint's share of the senders.
  struct Lane {
    std::deque<std::string> waiting;  // ids of deliveries
    std::set<std::string> known;      // those, and those under way
    int in_flight = 0;
    bool is_failing = false;
    bool has_more = false;  // in the ledger than were fetched
    std::chrono::nanoseconds held_until{0};
  };
  struct Job {
    SubscriptionKey key;
    std::string id;
    bool was_failing = false;
  };

  void work(const std::stop_token& stop);
  Result<void> round();
  Result<std::int64_t> take_batch(bool& more);
  Result<void> hand_out(const SubscriptionKey& key, UnixNanos now);
  Result<void> tidy();
  void send_all(const std::stop_token& stop);
  std::optional<Job> next_job() FETTLE_REQUIRES(mutex);
  bool may_begin(const SubscriptionKey& key, const Lane& lane) const FETTLE_REQUIRES(mutex);
  void attempt(const Job& job, const std::stop_token& stop);
  Outcome judge(const DueDelivery& due, Result<http::OutboundAnswer> answer, std::chrono::nanoseconds took);
  Result<std::vector<Secret>> secrets_of(const WorkspaceId& workspace, const DueDelivery& due, UnixNanos now) const;
  void forget_all();

  const Rooms rooms;
  const Options options;
  metrics::Counter& dropped;
  metrics::Counter& taken;
  metrics::Counter& failures;
  metrics::Histogram& seconds;

  // Of the thread that calls round().
  bool has_place = false;
  std::chrono::nanoseconds tidy_at{0};

  Mutex mutex;
  Condition changed;
  std::map<SubscriptionKey, Lane> lanes FETTLE_GUARDED_BY(mutex);
  SubscriptionKey last FETTLE_GUARDED_BY(mutex);  // served last: the next in order is the next to be served
  int in_flight FETTLE_GUARDED_BY(mutex) = 0;
  int failing_in_flight FETTLE_GUARDED_BY(mutex) = 0;
  std::map<WorkspaceId, int> workspace_in_flight FETTLE_GUARDED_BY(mutex);
  WorkspaceId first_workspace FETTLE_GUARDED_BY(mutex);
  bool is_shared FETTLE_GUARDED_BY(mutex) = false;  // another workspace than the first had something to send
  bool stopping FETTLE_GUARDED_BY(mutex) = false;

  std::vector<std::jthread> senders;
  std::jthread thread;  // last: they use everything above
};

// Events of one batch of the outbox become deliveries. A batch that is read again finds its rows there.
Result<std::int64_t> Webhooks::Impl::take_batch(bool& more) {
  more = false;
  if (!has_place) {
    if (auto added = rooms.outbox.add_consumer(kConsumer); !added) return std::unexpected(std::move(added).error());
    has_place = true;
  }
  // Most servers have no webhook: the end of the outbox is then where to go on, without a look at what is before it.
  auto end = rooms.outbox.end();
  if (!end) return std::unexpected(std::move(end).error());
  auto any = rooms.database.read_and_wait([](db::Reader& reader) -> Result<bool> {
    std::int64_t one = 0;
    return reader.fetch("SELECT 1 FROM webhook_subscriptions WHERE enabled = 1 LIMIT 1", {}, one);
  });
  if (!any) return std::unexpected(std::move(any).error());
  if (!*any) {
    if (auto passed = rooms.outbox.pass_over(kConsumer, *end); !passed) {
      return std::unexpected(std::move(passed).error());
    }
    return 0;
  }

  auto batch = rooms.outbox.next(kConsumer);
  if (!batch) return std::unexpected(std::move(batch).error());
  if (batch->rows.empty()) return 0;
  more = true;
  std::set<WorkspaceId> named;
  for (const ledger::OutboxRow& row : batch->rows) named.insert(row.workspace);
  const std::vector<WorkspaceId> workspaces(named.begin(), named.end());
  struct Made {
    std::int64_t inserted = 0;
    std::int64_t dropped = 0;
  };
  auto made = rooms.database.write_and_wait([&, now = rooms.clock.now()](db::Transaction& tx) -> Result<Made> {
    auto subscriptions = enabled_subscriptions(tx, workspaces);
    if (!subscriptions) return std::unexpected(std::move(subscriptions).error());
    Made out;
    if (subscriptions->empty()) return out;
    // Each event's text once, however many want it.
    std::deque<std::pair<std::string, std::string>> texts;
    struct Share {
      std::int64_t room = 0;
      std::int64_t dropped = 0;
    };
    std::map<const Subscription*, Share> shares;
    std::vector<NewDelivery> deliveries;
    // Nanoseconds apart, so that first attempts keep the order of commits.
    UnixNanos at = now;
    for (const ledger::OutboxRow& row : batch->rows) at -= static_cast<UnixNanos>(row.events.size());
    for (const ledger::OutboxRow& row : batch->rows) {
      for (std::size_t i = 0; i < row.events.size(); ++i) {
        const ledger::Event& event = row.events[i];
        const std::pair<std::string, std::string>* text = nullptr;
        for (const auto& [workspace, subscription] : *subscriptions) {
          if (workspace != row.workspace || !wants(subscription, row.workspace, event)) continue;
          auto share = shares.find(&subscription);
          if (share == shares.end()) {
            auto pending = count_pending(tx, {workspace, subscription.id}, options.pending_max);
            if (!pending) return std::unexpected(std::move(pending).error());
            share = shares.emplace(&subscription, Share{.room = options.pending_max - *pending, .dropped = 0}).first;
          }
          if (share->second.room <= 0) {
            ++share->second.dropped;
            continue;
          }
          --share->second.room;
          if (text == nullptr) {
            std::string id = event_id_of(row, i);
            std::string body = envelope_of(id, row.workspace, event);
            text = &texts.emplace_back(std::move(id), std::move(body));
          }
          deliveries.push_back({.workspace = row.workspace,
                                .subscription_id = subscription.id,
                                .event_id = text->first,
                                .event_type = event.type,
                                .body = text->second,
                                .at = at,
                                .give_up_at = now + std::chrono::nanoseconds(options.retry.give_up_after).count()});
        }
        ++at;
      }
    }
    auto inserted = insert_deliveries(tx, deliveries);
    if (!inserted) return std::unexpected(std::move(inserted).error());
    out.inserted = *inserted;
    for (const auto& [workspace, subscription] : *subscriptions) {
      const auto share = shares.find(&subscription);
      if (share == shares.end() || share->second.dropped == 0) continue;
      out.dropped += share->second.dropped;
      auto counted =
          tx.execute("UPDATE webhook_subscriptions SET dropped = dropped + $3 WHERE workspace = $1 AND id = $2",
                     {workspace, subscription.id, share->second.dropped});
      if (!counted) return std::unexpected(std::move(counted).error());
    }
    return out;
  });
  if (!made) return std::unexpected(std::move(made).error());
  taken.add(static_cast<double>(made->inserted));
  if (made->dropped != 0) {
    dropped.add(static_cast<double>(made->dropped));
    log::warning("webhook_events_dropped", {{"count", made->dropped}, {"pending_max", options.pending_max}});
  }
  if (auto advanced = rooms.outbox.advance(kConsumer, batch->end); !advanced) {
    return std::unexpected(std::move(advanced).error());
  }
  return made->inserted;
}

Result<void> Webhooks::Impl::round() {
  if (!rooms.is_leader()) {
    forget_all();
    return {};
  }
  bool more = true;
  for (int i = 0; more && i < kBatchesMax; ++i) {
    if (auto made = take_batch(more); !made) return std::unexpected(std::move(made).error());
  }
  const UnixNanos now = rooms.clock.now();
  auto due = rooms.database.read_and_wait([now](db::Reader& reader) { return subscriptions_with_due(reader, now); });
  if (!due) return std::unexpected(std::move(due).error());
  for (const SubscriptionKey& key : *due) {
    if (auto handed = hand_out(key, now); !handed) return handed;
  }
  if (const auto monotonic = rooms.clock.monotonic(); monotonic >= tidy_at) {
    tidy_at = monotonic + options.tidy_every;
    if (auto tidied = tidy(); !tidied) return tidied;
  }
  return {};
}

Result<void> Webhooks::Impl::hand_out(const SubscriptionKey& key, UnixNanos now) {
  std::int32_t wanted = 0;
  {
    MutexLock lock(mutex);
    const Lane& lane = lanes[key];
    if (stopping || rooms.clock.monotonic() < lane.held_until) return {};
    if (lane.waiting.size() >= static_cast<std::size_t>(options.fetch) / 2) return {};
    // Those known are among the first that are due.
    wanted = options.fetch + static_cast<std::int32_t>(lane.known.size());
  }
  auto ids = rooms.database.read_and_wait([&](db::Reader& reader) { return due_deliveries(reader, key, now, wanted); });
  if (!ids) return std::unexpected(std::move(ids).error());
  MutexLock lock(mutex);
  if (first_workspace.value.empty()) first_workspace = key.workspace;
  is_shared = is_shared || key.workspace != first_workspace;
  Lane& lane = lanes[key];
  lane.has_more = ids->size() == static_cast<std::size_t>(wanted);
  for (std::string& id : *ids) {
    if (lane.known.insert(id).second) lane.waiting.push_back(std::move(id));
  }
  changed.notify_all();
  return {};
}

Result<void> Webhooks::Impl::tidy() {
  const Upkeep upkeep{.now = rooms.clock.now(),
                      .finished_keep = options.finished_keep,
                      .finished_max = options.finished_max,
                      .rows_max = kTidyRows};
  auto tidied = rooms.database.write_and_wait([upkeep](db::Transaction& tx) { return tidy_deliveries(tx, upkeep); });
  if (!tidied) return std::unexpected(std::move(tidied).error());
  // Full steps: there is more to do than once in a while.
  if (*tidied >= kTidyRows) tidy_at = rooms.clock.monotonic();
  MutexLock lock(mutex);
  std::erase_if(lanes, [](const auto& entry) {
    return entry.second.known.empty() && !entry.second.is_failing && entry.second.held_until.count() == 0;
  });
  return {};
}

void Webhooks::Impl::forget_all() {
  has_place = false;
  MutexLock lock(mutex);
  for (auto& [key, lane] : lanes) {
    for (const std::string& id : lane.waiting) lane.known.erase(id);
    lane.waiting.clear();
    lane.has_more = false;
  }
}

void Webhooks::Impl::work(const std::stop_token& stop) {
  std::chrono::nanoseconds wait{0};
  while (rooms.clock.wait_for(wait, stop)) {
    wait = options.every;
    if (auto done = round(); !done) {
      if (stop.stop_requested()) return;
      wait = options.again_after;
      failures.add();
      log::warning("webhooks_failed", {{"error", done.error().message()}});
    }
  }
}

bool Webhooks::Impl::may_begin(const SubscriptionKey& key, const Lane& lane) const {
  const int half = std::max(1, options.senders / 2);
  // However many endpoints hang: half of the senders are for those that answered last time, and half for endpoints that
  // have none yet.
  if (lane.is_failing && failing_in_flight >= half) return false;
  const int most = lane.is_failing || in_flight >= half ? 1 : options.in_flight_max;
  if (lane.waiting.empty() || lane.in_flight >= most) return false;
  const auto own = workspace_in_flight.find(key.workspace);
  return !is_shared || own == workspace_in_flight.end() || own->second < half;
}

std::optional<Webhooks::Impl::Job> Webhooks::Impl::next_job() {
  // Once around, beginning behind the endpoint that was served last.
  auto lane = lanes.upper_bound(last);
  for (std::size_t i = 0; i < lanes.size(); ++i, ++lane) {
    if (lane == lanes.end()) lane = lanes.begin();
    if (!may_begin(lane->first, lane->second)) continue;
    Job job{.key = lane->first, .id = std::move(lane->second.waiting.front())};
    lane->second.waiting.pop_front();
    ++lane->second.in_flight;
    ++in_flight;
    ++workspace_in_flight[job.key.workspace];
    job.was_failing = lane->second.is_failing;
    failing_in_flight += job.was_failing ? 1 : 0;
    last = lane->first;
    return job;
  }
  return std::nullopt;
}

void Webhooks::Impl::send_all(const std::stop_token& stop) {
  for (;;) {
    std::optional<Job> job;
    {
      MutexLock lock(mutex);
      while (!stopping && !(job = next_job())) changed.wait(lock);
      if (stopping) return;
    }
    attempt(*job, stop);
    bool refill = false;
    {
      MutexLock lock(mutex);
      Lane& lane = lanes[job->key];
      --lane.in_flight;
      --in_flight;
      if (--workspace_in_flight[job->key.workspace] == 0) workspace_in_flight.erase(job->key.workspace);
      failing_in_flight -= job->was_failing ? 1 : 0;
      lane.known.erase(job->id);
      refill = lane.has_more && lane.waiting.empty() && rooms.clock.monotonic() >= lane.held_until;
      if (refill) lane.has_more = false;
      changed.notify_all();
    }
    if (!refill) continue;
    // Faster than the next round would: an endpoint that keeps up is not made to wait.
    if (auto handed = hand_out(job->key, rooms.clock.now()); !handed) failures.add();
  }
}

Result<std::vector<Secret>> Webhooks::Impl::secrets_of(const WorkspaceId& workspace, const DueDelivery& due,
                                                       UnixNanos now) const {
  const std::string place = workspace.value + '/' + due.subscription_id;
  std::vector<Secret> secrets;
  auto own = rooms.box.open(due.sealed_secret, place);
  if (!own) return std::unexpected(std::move(own).error());
  secrets.push_back(std::move(*own));
  if (due.sealed_prior_secret && due.prior_secret_until && now < *due.prior_secret_until) {
    // One that does not open only ends its time early.
    if (auto prior = rooms.box.open(*due.sealed_prior_secret, place)) secrets.push_back(std::move(*prior));
  }
  return secrets;
}

Outcome Webhooks::Impl::judge(const DueDelivery& due, Result<http::OutboundAnswer> answer,
                              std::chrono::nanoseconds took) {
  const UnixNanos now = rooms.clock.now();
  Outcome out;
  out.attempt.number = due.attempts + 1;
  out.attempt.at = now;
  out.attempt.latency_ms = std::chrono::duration_cast<std::chrono::milliseconds>(took).count();
  Verdict verdict = Verdict::kRetry;
  std::chrono::nanoseconds retry_after{0};
  if (answer) {
    out.attempt.status = answer->response.status;
    out.attempt.latency_ms = answer->latency.count();
    out.attempt.excerpt = cut_text(rooms.redactor->redact(to_utf8(answer->response.body)), kExcerptBytesMax);
    verdict = verdict_of(answer->response.status);
    retry_after = parse_retry_after(answer->response.headers.get("Retry-After"), now);
  } else {
    out.attempt.error = cut_text(rooms.redactor->redact(answer.error().message()), kErrorBytesMax);
    // A name may lead elsewhere tomorrow; a URL that cannot be sent never will.
    if (answer.error().code() == ErrorCode::kInvalidArgument) verdict = Verdict::kDead;
  }
  switch (verdict) {
    case Verdict::kDelivered: out.state = DeliveryState::kDelivered; break;
    case Verdict::kDead:
      out.state = DeliveryState::kDead;
      out.reason = "refused";
      break;
    case Verdict::kGone:
      out.state = DeliveryState::kDead;
      out.reason = "gone";
      break;
    case Verdict::kRetry: {
      std::optional<UnixNanos> next;
      {
        MutexLock lock(mutex);  // for the sake of a generator that is not thread-safe
        next = next_attempt(options.retry, out.attempt.number, now, due.give_up_at, retry_after, rooms.rng);
      }
      if (next) {
        out.next_at = *next;
      } else {
        out.state = DeliveryState::kDead;
        out.reason = "gave_up";
      }
    }
  }
  return out;
}

void Webhooks::Impl::attempt(const Job& job, const std::stop_token& stop) {
  const auto hold = [&](const Error& error) {
    failures.add();
    log::warning("webhook_attempt_not_recorded", {{"delivery_id", job.id}, {"error", error.message()}});
    MutexLock lock(mutex);
    Lane& lane = lanes[job.key];
    lane.held_until = rooms.clock.monotonic() + kHold;
    for (const std::string& id : lane.waiting) lane.known.erase(id);
    lane.waiting.clear();
  };
  if (!rooms.is_leader()) return;
  auto found = rooms.database.read_and_wait(
      [&](db::Reader& reader) { return find_due(reader, job.key.workspace, job.id, rooms.clock.now()); });
  if (!found) return hold(found.error());
  if (!*found) return;
  const DueDelivery& due = **found;

  const UnixNanos now = rooms.clock.now();
  const auto begun = rooms.clock.monotonic();
  Result<http::OutboundAnswer> answer;
  if (auto secrets = secrets_of(job.key.workspace, due, now); secrets) {
    http::OutboundRequest request{.method = "POST", .url = due.url};
    request.headers.add("Content-Type", "application/json");
    request.headers.add("User-Agent", "Fettle-Webhooks/1");
    request.headers.add("webhook-id", due.event_id);
    request.headers.add("webhook-timestamp", std::to_string(now / kNanosPerSecond));
    request.headers.add("webhook-signature", sign_webhook(*secrets, due.event_id, now / kNanosPerSecond, due.body));
    request.body = due.body;
    request.time_max = options.attempt_time_max;
    request.response_bytes_max = kResponseBytesMax;
    request.stop = stop;
    answer = rooms.client.send(request);
  } else {
    answer = fail(secrets.error().code(), secrets.error().message() + ": make a new one (rotate)");
  }
  // Whatever it was, the next start does it again.
  if (stop.stop_requested() && !answer) return;
  const auto took = rooms.clock.monotonic() - begun;
  seconds.observe(std::chrono::duration<double>(took).count());
  const Outcome outcome = judge(due, std::move(answer), took);
  const bool is_gone = outcome.reason == "gone";

  auto recorded = rooms.database.write_and_wait([&](db::Transaction& tx) -> Result<bool> {
    auto kept = record_attempt(tx, job.key.workspace, due.subscription_id, due.id, outcome);
    if (!kept || !*kept || !is_gone) return kept;
    auto disabled = disable_subscription(tx, job.key.workspace, {.auditor = rooms.auditor, .now = outcome.attempt.at},
                                         due.subscription_id, "gone");
    if (!disabled && disabled.error().code() != ErrorCode::kNotFound) {
      return std::unexpected(std::move(disabled).error());
    }
    return kept;
  });
  if (!recorded) return hold(recorded.error());
  const bool is_pending = outcome.state == DeliveryState::kPending;
  counter(!*recorded                                   ? "repeated"
          : outcome.state == DeliveryState::kDelivered ? "delivered"
          : is_pending                                 ? "retried"
          : is_gone                                    ? "gone"
                                                       : "dead")
      .add();
  if (*recorded && !is_pending && outcome.state != DeliveryState::kDelivered) {
    log::warning("webhook_delivery_dead", {{"workspace", job.key.workspace.value},
                                           {"webhook_id", due.subscription_id},
                                           {"delivery_id", due.id},
                                           {"reason", outcome.reason},
                                           {"status", outcome.attempt.status.value_or(0)}});
  }
  MutexLock lock(mutex);
  Lane& lane = lanes[job.key];
  lane.is_failing = is_pending;
  lane.held_until = std::chrono::nanoseconds(0);
}

Webhooks::Webhooks(Rooms rooms, Options options) : impl_(std::make_unique<Impl>(std::move(rooms), options)) {}
Webhooks::~Webhooks() { stop(); }

void Webhooks::start_senders() {
  for (int i = 0; i < impl_->options.senders; ++i) {
    impl_->senders.emplace_back([this](const std::stop_token& stop) { impl_->send_all(stop); });
  }
}

void Webhooks::start() {
  start_senders();
  impl_->thread = std::jthread([this](const std::stop_token& stop) { impl_->work(stop); });
}

void Webhooks::stop() {
  impl_->thread.request_stop();
  {
    MutexLock lock(impl_->mutex);
    impl_->stopping = true;
    impl_->changed.notify_all();
  }
  for (std::jthread& sender : impl_->senders) sender.request_stop();
  if (impl_->thread.joinable()) impl_->thread.join();
  for (std::jthread& sender : impl_->senders) {
    if (sender.joinable()) sender.join();
  }
}

Result<void> Webhooks::round() { return impl_->round(); }

void Webhooks::drain() {
  const auto is_idle = [](const auto& entry) { return entry.second.known.empty(); };
  MutexLock lock(impl_->mutex);
  while (!impl_->stopping && !std::ranges::all_of(impl_->lanes, is_idle)) impl_->changed.wait(lock);
}

Result<std::int64_t> Webhooks::take_events() {
  bool more = false;
  return impl_->take_batch(more);
}

Result<void> Webhooks::tidy() { return impl_->tidy(); }

Result<void> Webhooks::check_url(std::string_view url) const {
  auto good = impl_->rooms.client.check(url);
  if (good) return {};
  return fail(ErrorCode::kInvalidArgument, "url: " + good.error().message());
}

Webhooks::MadeSecret Webhooks::make_secret(const WorkspaceId& workspace, std::string_view subscription_id) {
  const Secret secret = make_webhook_secret(impl_->rooms.rng);
  const std::string place = workspace.value + '/' + std::string(subscription_id);
  return {.text = webhook_secret_text(secret), .sealed = impl_->rooms.box.seal(secret, place, impl_->rooms.rng)};
}

Rng& Webhooks::rng() { return impl_->rooms.rng; }
const ledger::Auditor& Webhooks::auditor() const { return impl_->rooms.auditor; }
std::chrono::milliseconds Webhooks::give_up_after() const { return impl_->options.retry.give_up_after; }

}  // namespace fettle::notify
