// What the host needs of an engine: sessions that run one statement at a time. chdb_engine.h is the real one; tests
// hand in one that misbehaves on command.
#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace fettle::engine_host {

// The engine's own error: its code ("Code: 60") and its text.
struct Failure {
  int code = 0;
  std::string message;
};
template <class T>
using Outcome = std::expected<T, Failure>;

struct Counts {
  std::uint64_t rows_read = 0;
  std::uint64_t bytes_read = 0;
  std::uint64_t rows_written = 0;
  std::uint64_t bytes_written = 0;
};

// Formatted rows. THE BYTES LIVE AS LONG AS `owner`.
struct Piece {
  std::string_view bytes;
  Counts counts;
  std::shared_ptr<void> owner;
};

struct Call {
  std::string_view sql;
  std::string_view format;                                      // used where the SQL names none
  std::span<const std::pair<std::string, std::string>> params;  // bound by the engine to {name:Type}
};

// A connection with settings of its own; used by one thread at a time. AFTER ANY FAILURE IT MUST BE DESTROYED, NOT
// USED AGAIN: the engine keeps the half-written output of a failed statement and puts it in front of the next result.
class Session {
 public:
  virtual ~Session() = default;
  virtual Outcome<Piece> run(const Call& call) = 0;
  // Starts a SELECT whose rows next() yields. Each piece is a whole document of the format.
  virtual Outcome<void> open_stream(const Call& call) = 0;
  // The next piece; empty bytes at the end.
  virtual Outcome<Piece> next() = 0;
};

// Thread-safe.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual Outcome<std::unique_ptr<Session>> connect() = 0;
};

}  // namespace fettle::engine_host
