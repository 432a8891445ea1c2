#include "batcher.h"

#include "problem.h"

namespace fettle::sdk {

namespace {

// What a batch refused as a whole may owe to one of its items.
bool for_its_content(const Error& error) {
  return error.kind == ErrorKind::kProblem && (error.status == 400 || error.status == 413 || error.status == 422);
}

Result<Json> result_of(const Json& answer) {
  if (answer["ok"].as_bool()) return answer;
  const Json& problem = answer["error"];
  return fail(problem_error(static_cast<int>(problem["status"].as_int(400)), problem));
}

}  // namespace

Batcher::Batcher(std::string name, Limits limits, Send send)
    : name_(std::move(name)), limits_(limits), send_(std::move(send)) {}

Batcher::~Batcher() { close(); }

void Batcher::add(std::string item, Done done) {
  if (item.size() > limits_.bytes_max) {
    done(fail(invalid_value(name_ + ": " + std::to_string(item.size()) + " bytes, at most " +
                            std::to_string(limits_.bytes_max) + " fit")));
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    const bool full = queue_.size() >= limits_.queue_items_max || queue_bytes_ + item.size() > limits_.queue_bytes_max;
    if (!closed_ && !full) {
      queue_bytes_ += item.size();
      queue_.push_back({std::move(item), std::move(done)});
      if (threads_.size() < limits_.in_flight_max && queue_.size() > threads_.size()) {
        threads_.emplace_back([this] { run(); });
      }
      added_.notify_one();
      return;
    }
  }
  done(
      fail({.kind = ErrorKind::kQueueFull, .code = "queue_full", .message = name_ + ": the queue is full, or closed"}));
}

std::future<Result<Json>> Batcher::add(std::string item) {
  auto promise = std::make_shared<std::promise<Result<Json>>>();
  std::future<Result<Json>> future = promise->get_future();
  add(std::move(item), [promise](Result<Json> answer) { promise->set_value(std::move(answer)); });
  return future;
}

std::size_t Batcher::pending() const {
  const std::lock_guard lock(mutex_);
  return queue_.size() + under_way_;
}

void Batcher::drain() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [this] { return queue_.empty() && under_way_ == 0; });
}

void Batcher::close() {
  std::vector<std::jthread> threads;
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    added_.notify_all();
    threads.swap(threads_);
  }
}

void Batcher::run() {
  while (true) {
    std::vector<Entry> batch;
    {
      std::unique_lock lock(mutex_);
      added_.wait(lock, [this] { return !queue_.empty() || closed_; });
      if (queue_.empty()) return;
      batch = take();
      under_way_ += batch.size();
    }
    deliver(batch);
    const std::lock_guard lock(mutex_);
    under_way_ -= batch.size();
    if (queue_.empty() && under_way_ == 0) idle_.notify_all();
  }
}

std::vector<Batcher::Entry> Batcher::take() {
  std::vector<Entry> batch;
  std::size_t bytes = 0;
  while (!queue_.empty() && batch.size() < limits_.items_max) {
    const std::size_t size = queue_.front().item.size();
    if (!batch.empty() && bytes + size > limits_.bytes_max) break;
    bytes += size + 1;
    queue_bytes_ -= size;
    batch.push_back(std::move(queue_.front()));
    queue_.pop_front();
  }
  return batch;
}

void Batcher::deliver(std::span<Entry> batch) {
  std::string items;
  for (const Entry& entry : batch) {
    if (!items.empty()) items += ',';
    items += entry.item;
  }
  const Result<Json> answer = send_(items);
  if (!answer) {
    if (for_its_content(answer.error()) && batch.size() > 1) {
      // One bad item does not take its neighbours along.
      deliver(batch.subspan(0, batch.size() / 2));
      deliver(batch.subspan(batch.size() / 2));
      return;
    }
    for (Entry& entry : batch) entry.done(fail(answer.error()));
    return;
  }
  const Json::Array& results = (*answer)["results"].items();
  for (std::size_t i = 0; i < batch.size(); ++i) {
    batch[i].done(i < results.size() ? result_of(results[i])
                                     : fail(invalid_value(name_ + ": the server answered fewer results than items")));
  }
}

}  // namespace fettle::sdk
