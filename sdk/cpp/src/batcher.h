// Folds calls made close together into one request.
//
// A thread sends what has gathered as soon as there is something; what comes while its request is under way leaves with
// the next. So an idle client adds no delay, and a busy one sends few large requests. With one thread, order is kept.
//
// A batch is bounded by items and bytes, and so is the queue before it: past that, an item is refused. Everybody gets
// the answer or the error of their own item.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <future>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "fettle/sdk/json.h"

namespace fettle::sdk {

// Used by many threads at once.
class Batcher {
 public:
  struct Limits {
    std::size_t items_max = 1'000;
    std::size_t bytes_max = std::size_t{4} * 1024 * 1024;  // the server takes 8 MiB
    std::size_t queue_items_max = 10'000;
    std::size_t queue_bytes_max = std::size_t{64} * 1024 * 1024;
    std::size_t in_flight_max = 1;
  };
  // Gets the items, joined by commas, and answers with {"results":[…]}: one result per item, in their order.
  using Send = std::function<Result<Json>(const std::string& items)>;
  // Called once per item, on a thread of the batcher, or at once when it is refused. Must not wait.
  using Done = std::function<void(Result<Json>)>;

  Batcher(std::string name, Limits limits, Send send);
  ~Batcher();  // sends what waits

  void add(std::string item, Done done);
  std::future<Result<Json>> add(std::string item);

  std::size_t pending() const;  // items that wait or are under way
  void drain();                 // returns when nothing waits and nothing is under way
  void close();                 // sends what waits, then refuses

 private:
  struct Entry {
    std::string item;
    Done done;
  };

  void run();
  std::vector<Entry> take();  // with mutex_ held
  void deliver(std::span<Entry> batch);

  // Constant after construction.
  const std::string name_;
  const Limits limits_;
  const Send send_;

  mutable std::mutex mutex_;
  std::condition_variable added_;
  std::condition_variable idle_;
  // Guarded by mutex_.
  std::deque<Entry> queue_;
  std::size_t queue_bytes_ = 0;
  std::size_t under_way_ = 0;
  bool closed_ = false;
  std::vector<std::jthread> threads_;  // last, so that it joins before what it uses is destroyed
};

}  // namespace fettle::sdk
