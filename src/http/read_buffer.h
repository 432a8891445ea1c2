// Received bytes waiting to be understood. Consuming moves nothing; prepare() does, so it must not be called while a
// read into the prepared space is under way.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>

namespace fettle::http {

class ReadBuffer {
 public:
  explicit ReadBuffer(std::size_t capacity) { reallocate(capacity); }

  std::string_view data() const { return {bytes_.get() + begin_, end_ - begin_}; }
  bool empty() const { return begin_ == end_; }
  std::size_t size() const { return end_ - begin_; }
  std::size_t capacity() const { return capacity_; }

  void consume(std::size_t count) { begin_ += count; }
  void clear() { begin_ = end_; }

  // Room for more; empty when the buffer is full.
  std::span<char> prepare() {
    if (begin_ != 0) {
      std::memmove(bytes_.get(), bytes_.get() + begin_, size());
      end_ -= begin_;
      begin_ = 0;
    }
    return {bytes_.get() + end_, capacity_ - end_};
  }
  void commit(std::size_t count) { end_ += count; }

  // `capacity` is at least size().
  void reallocate(std::size_t capacity) {
    auto bytes = std::make_unique_for_overwrite<char[]>(capacity);
    if (bytes_ && size() != 0) std::memcpy(bytes.get(), bytes_.get() + begin_, size());
    end_ -= begin_;
    begin_ = 0;
    bytes_ = std::move(bytes);
    capacity_ = capacity;
  }

 private:
  std::unique_ptr<char[]> bytes_;
  std::size_t begin_ = 0;
  std::size_t end_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace fettle::http
