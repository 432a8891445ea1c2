#include "engine/host/chdb_engine.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <system_error>
#include <utility>
#include <vector>

#include "engine/host/chdb_abi.h"

namespace fettle::engine_host {
namespace {

using ResultPtr = std::shared_ptr<chdb_result>;

// Made on a fresh data folder; see open_chdb().
constexpr std::string_view kFirstDatabase = "fettle";
// What the library answers when asked for more after the last piece of a stream that had no rows.
constexpr std::string_view kStreamOver = "No active streaming query";

bool has_database(const std::filesystem::path& metadata) {
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(metadata, error)) {
    if (entry.path().extension() == ".sql") return true;
  }
  return false;
}

ResultPtr own(chdb_result* result) {
  return ResultPtr(result, [](chdb_result* held) {
    if (held != nullptr) chdb_destroy_query_result(held);
  });
}

int code_of(std::string_view message) {
  constexpr std::string_view kMark = "Code: ";
  const std::size_t at = message.find(kMark);
  int code = 0;
  if (at != std::string_view::npos) {
    std::from_chars(message.data() + at + kMark.size(), message.data() + message.size(), code);
  }
  return code;
}

Failure failure_of(std::string_view message) { return {code_of(message), std::string(message)}; }

// The arrays of pointers and sizes that the C functions take.
struct BoundParams {
  explicit BoundParams(std::span<const std::pair<std::string, std::string>> params) {
    for (const auto& [name, value] : params) {
      names.push_back(name.data());
      name_sizes.push_back(name.size());
      values.push_back(value.data());
      value_sizes.push_back(value.size());
    }
  }
  std::vector<const char*> names;
  std::vector<std::size_t> name_sizes;
  std::vector<const char*> values;
  std::vector<std::size_t> value_sizes;
};

class ChdbSession final : public Session {
 public:
  explicit ChdbSession(chdb_connection* connection) : connection_(connection) {}
  ~ChdbSession() override {
    if (stream_) chdb_stream_cancel_query(*connection_, stream_.get());
    stream_.reset();
    chdb_close_conn(connection_);
  }
  ChdbSession(const ChdbSession&) = delete;
  ChdbSession& operator=(const ChdbSession&) = delete;

  Outcome<Piece> run(const Call& call) override {
    const BoundParams bound(call.params);
    return piece_of(own(chdb_query_with_params_n(*connection_, call.sql.data(), call.sql.size(), call.format.data(),
                                                 call.format.size(), bound.names.data(), bound.name_sizes.data(),
                                                 bound.values.data(), bound.value_sizes.data(), call.params.size())));
  }

  Outcome<void> open_stream(const Call& call) override {
    const BoundParams bound(call.params);
    ResultPtr stream = own(chdb_stream_query_with_params_n(
        *connection_, call.sql.data(), call.sql.size(), call.format.data(), call.format.size(), bound.names.data(),
        bound.name_sizes.data(), bound.values.data(), bound.value_sizes.data(), call.params.size()));
    if (!stream) return std::unexpected(Failure{0, "the engine gave no result"});
    if (const char* error = chdb_result_error(stream.get())) return std::unexpected(failure_of(error));
    stream_ = std::move(stream);
    return {};
  }

  Outcome<Piece> next() override {
    if (!stream_) return Piece{};
    ResultPtr result = own(chdb_stream_fetch_result(*connection_, stream_.get()));
    const char* error = result ? chdb_result_error(result.get()) : nullptr;
    if (error != nullptr && is_last_ && kStreamOver == error) {
      stream_.reset();
      return Piece{};
    }
    auto piece = piece_of(std::move(result));
    if (!piece || piece->bytes.empty()) {
      stream_.reset();
    } else {
      // The piece of an empty result (a JSON document without rows) is the last one.
      is_last_ = chdb_result_rows_read(static_cast<chdb_result*>(piece->owner.get())) == 0;
    }
    return piece;
  }

 private:
  static Outcome<Piece> piece_of(ResultPtr result) {
    if (!result) return std::unexpected(Failure{0, "the engine gave no result"});
    // Of a failed result nothing but the error may be read: its counts are uninitialised memory.
    if (const char* error = chdb_result_error(result.get())) return std::unexpected(failure_of(error));
    Piece piece;
    const std::size_t length = chdb_result_length(result.get());
    if (length != 0) piece.bytes = {chdb_result_buffer(result.get()), length};
    piece.counts = {.rows_read = chdb_result_storage_rows_read(result.get()),
                    .bytes_read = chdb_result_storage_bytes_read(result.get()),
                    .rows_written = chdb_result_rows_written(result.get()),
                    .bytes_written = chdb_result_bytes_written(result.get())};
    piece.owner = std::move(result);
    return piece;
  }

  chdb_connection* connection_;
  ResultPtr stream_;
  bool is_last_ = false;
};

// While it lives, standard error goes to memory: the library tells why it cannot open a folder nowhere else.
class CapturedStderr {
 public:
  CapturedStderr() : memory_(memfd_create("stderr", MFD_CLOEXEC)), kept_(fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 0)) {
    if (memory_ >= 0 && kept_ >= 0) dup2(memory_, STDERR_FILENO);
  }
  ~CapturedStderr() {
    restore();
    if (memory_ >= 0) close(memory_);
  }
  CapturedStderr(const CapturedStderr&) = delete;
  CapturedStderr& operator=(const CapturedStderr&) = delete;

  // Ends the capture and gives the last line that was written.
  std::string last_line() {
    restore();
    std::string text(kCapturedBytesMax, '\0');
    const off_t size = lseek(memory_, 0, SEEK_END);
    const off_t from = std::max<off_t>(0, size - static_cast<off_t>(text.size()));
    const ssize_t got = pread(memory_, text.data(), text.size(), from);
    text.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
    while (text.ends_with('\n')) text.pop_back();
    return text.substr(text.rfind('\n') + 1);
  }

 private:
  static constexpr std::size_t kCapturedBytesMax = 16 * 1024;

  void restore() {
    if (kept_ < 0) return;
    dup2(kept_, STDERR_FILENO);
    close(std::exchange(kept_, -1));
  }

  int memory_;
  int kept_;
};

class ChdbEngine final : public Engine {
 public:
  ChdbEngine(std::string data_dir, const std::string& config_file)
      : path_argument_("--path=" + data_dir), config_argument_("--config-file=" + config_file) {}
  ~ChdbEngine() override { anchor_.reset(); }

  Outcome<std::unique_ptr<Session>> connect() override {
    std::string program = "fettle-engine";
    std::string path = path_argument_;
    std::string config = config_argument_;
    char* arguments[] = {program.data(), path.data(), config.data()};
    chdb_connection* connection = chdb_connect(3, arguments);
    if (connection == nullptr || *connection == nullptr) {
      return std::unexpected(Failure{0, "the engine refused a connection"});
    }
    return std::make_unique<ChdbSession>(connection);
  }

  // The engine lives as long as one connection is open; this one keeps it.
  void hold(std::unique_ptr<Session> anchor) { anchor_ = std::move(anchor); }

 private:
  std::string path_argument_;
  std::string config_argument_;
  std::unique_ptr<Session> anchor_;
};

}  // namespace

Result<std::unique_ptr<Engine>> open_chdb(const std::string& data_dir, const std::string& config_file) {
  std::error_code error;
  const std::filesystem::path data = std::filesystem::absolute(data_dir, error);
  const std::filesystem::path config = std::filesystem::absolute(config_file, error);
  std::filesystem::create_directories(data, error);
  if (error) {
    return fail(ErrorCode::kUnavailable,
                fmt::format("cannot make the data folder {}: {}", data.string(), error.message()));
  }
  // The library takes a file that is not there for an empty one.
  if (!std::ifstream(config)) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("the configuration {} cannot be read", config.string()));
  }
  // Before anything else: the library would otherwise replace the process's handlers with a crash handler of its own.
  chdb_set_signal_handlers_enabled(0);

  auto engine = std::make_unique<ChdbEngine>(data.string(), config.string());
  const bool is_fresh = !has_database(data / "metadata");
  CapturedStderr captured;
  auto session = engine->connect();
  if (!session) {
    const std::string why = captured.last_line();
    return fail(ErrorCode::kUnavailable,
                fmt::format("opening {}: {}", data.string(), why.empty() ? session.error().message : why));
  }
  if (is_fresh) {
    // On a folder that held no database when it was opened, DROP … SYNC waits for ever: make one, and open again.
    const std::string sql = fmt::format("CREATE DATABASE IF NOT EXISTS {}", kFirstDatabase);
    auto made = (*session)->run({.sql = sql, .format = "Null", .params = {}});
    if (!made)
      return fail(ErrorCode::kUnavailable, fmt::format("preparing {}: {}", data.string(), made.error().message));
    session->reset();
    session = engine->connect();
    if (!session) {
      return fail(ErrorCode::kUnavailable, fmt::format("opening {} again: {}", data.string(), session.error().message));
    }
  }
  engine->hold(std::move(*session));
  return engine;
}

}  // namespace fettle::engine_host
