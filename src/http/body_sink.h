// Where the body of a request goes while it is read: a string or a memory file, both bounded.
//
//   sink.open_memory(content_length, bytes_max);
//   recv(fd, sink.space().data(), …); sink.commit(n);   // straight into place
//   sink.move_to(request);
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/error.h"
#include "http/server.h"

namespace fettle::http {

class BodySink {
 public:
  enum class Failure { kNone, kTooLarge, kNoRoom };

  // A string; with a known length its whole space is taken at once.
  void open_memory(std::uint64_t length_known, std::uint64_t bytes_max);
  Result<void> open_file(std::uint64_t bytes_max);
  void reset();

  bool is_file() const { return file_.is_open(); }
  std::uint64_t bytes() const { return bytes_; }
  std::uint64_t bytes_left() const { return bytes_max_ - bytes_; }
  Failure failure() const { return failure_; }

  // False when the bytes do not fit or cannot be stored; failure() then says why.
  bool append(std::string_view bytes);
  void refuse_too_large() { failure_ = Failure::kTooLarge; }
  // The rest of the space taken by open_memory(), to be filled in place and then committed.
  std::span<char> space() { return {memory_.data() + bytes_, memory_.size() - bytes_}; }
  void commit(std::size_t count) { bytes_ += count; }

  // Hands the body over; the sink is empty again.
  void move_to(Request& request);

 private:
  std::string memory_;  // its size is the space taken, of which bytes_ are filled
  BodyFile file_;
  std::uint64_t bytes_ = 0;
  std::uint64_t bytes_max_ = 0;
  Failure failure_ = Failure::kNone;
};

}  // namespace fettle::http
