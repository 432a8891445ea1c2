// The real server as a child process, on ports of its own and a folder of its own, for tests that speak HTTP to it.
//
//   auto server = e2e::ServerProcess::start({});
//   auto answer = server->get("/api/v1/spans");
//   EXPECT_EQ(server->terminate(), 0);
//
// The destructor kills what still runs and removes the folder, unless it was given one to keep.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "http/client.h"
#include "http/message.h"

namespace fettle::e2e {

// A scratch folder, removed at the end.
class ScratchFolder {
 public:
  ScratchFolder();
  ~ScratchFolder();
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  const std::filesystem::path& path() const { return path_; }
  // Writes a file in it and returns its path.
  std::filesystem::path write(std::string_view name, std::string_view text) const;

 private:
  std::filesystem::path path_;
};

// What a program that ran to its end has left.
struct Ended {
  int exit_code = -1;  // 128 + n when signal n ended it
  std::string out;
  std::string err;
};
// Runs `fettle` with these arguments to its end.
Ended run_fettle(const std::vector<std::string>& arguments, std::string_view input = {});

// `fettle-engine` by itself, with the tables' row filters of this version and a TCP port: the store of a server that
// has it as its telemetry.url.
class EngineProcess {
 public:
  // `tokens` is the text of its token file. Null, with a test failure that shows its log, if it does not start.
  static std::unique_ptr<EngineProcess> start(std::string_view tokens);
  ~EngineProcess();
  std::string url() const { return "http://" + address_; }
  std::filesystem::path write(std::string_view name, std::string_view text) const { return scratch_.write(name, text); }

 private:
  EngineProcess() = default;
  ScratchFolder scratch_;
  pid_t pid_ = -1;
  std::string address_;
};

class ServerProcess {
 public:
  struct Options {
    bool dev = true;
    std::string config;                  // text of a configuration file; empty: none
    std::filesystem::path data;          // empty: a scratch folder
    std::vector<std::string> arguments;  // further ones
    bool until_ready = true;             // false: start() returns once it listens
  };
  // Returns once it is ready; null, with a test failure that shows its log, if it ends instead.
  static std::unique_ptr<ServerProcess> start(Options options);
  ~ServerProcess();

  using HeaderList = std::vector<std::pair<std::string, std::string>>;
  http::Response get(const std::string& target, const HeaderList& headers = {});
  http::Response post(const std::string& target, std::string_view content_type, std::string_view body,
                      const HeaderList& headers = {});
  // The same to the OTLP/HTTP listener.
  http::Response post_otlp(const std::string& target, std::string_view content_type, std::string_view body,
                           const HeaderList& headers = {});

  std::string url() const { return "http://127.0.0.1:" + std::to_string(http_port_); }
  int http_port() const { return http_port_; }
  int otlp_http_port() const { return otlp_http_port_; }
  int otlp_grpc_port() const { return otlp_grpc_port_; }
  const std::filesystem::path& data() const { return data_; }
  pid_t pid() const { return pid_; }
  std::string log() const;  // what it wrote to standard error

  // Blocks until it says that it is ready; false if it ends instead. For a start with until_ready = false.
  bool await_ready();
  // The engine's process, 0 when there is none.
  pid_t engine_pid() const;

  // SIGTERM and the exit code; how long it took is in `took`.
  int terminate(std::chrono::milliseconds* took = nullptr);
  // SIGKILL.
  void kill();

 private:
  ServerProcess() = default;
  int wait();
  http::Response send(http::Client& client, http::ClientRequest request, const HeaderList& headers);

  std::unique_ptr<ScratchFolder> scratch_;
  std::filesystem::path data_;
  std::filesystem::path log_;
  pid_t pid_ = -1;
  int out_ = -1;  // what it prints
  int http_port_ = 0;
  int otlp_http_port_ = 0;
  int otlp_grpc_port_ = 0;
  std::unique_ptr<http::Client> client_;
  std::unique_ptr<http::Client> otlp_client_;
};

// Asks again and again until `probe` says true; false after `time_max`. For what is readable a moment after it is sent.
bool eventually(const std::function<bool()>& probe, std::chrono::milliseconds time_max = std::chrono::seconds(20));

}  // namespace fettle::e2e
