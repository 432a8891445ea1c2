#include "e2e/server_process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json/parse.hpp>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <iterator>

namespace fettle::e2e {
namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

int exit_code_of(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status); }

// Starts `fettle`, or another program, with its three streams; the parent keeps no end of the child's.
pid_t spawn(const std::vector<std::string>& arguments, int in, int out, int err, std::string program = FETTLE_PROGRAM) {
  std::vector<char*> argv;
  argv.push_back(program.data());
  std::vector<std::string> copies = arguments;
  for (std::string& argument : copies) argv.push_back(argument.data());
  argv.push_back(nullptr);
  const pid_t pid = ::fork();
  if (pid != 0) return pid;
  ::dup2(in, STDIN_FILENO);
  ::dup2(out, STDOUT_FILENO);
  ::dup2(err, STDERR_FILENO);
  for (int fd = STDERR_FILENO + 1; fd < 256; ++fd) ::close(fd);
  ::execv(argv[0], argv.data());
  ::_exit(127);
}

// Reads a pipe until `enough` is in it or it ends.
std::string read_until(int fd, std::string_view enough) {
  std::string text;
  char buffer[4096];
  while (enough.empty() || text.find(enough) == std::string::npos) {
    const ssize_t got = ::read(fd, buffer, sizeof buffer);
    if (got <= 0) break;
    text.append(buffer, static_cast<std::size_t>(got));
  }
  return text;
}

}  // namespace

ScratchFolder::ScratchFolder() {
  std::string name = testing::TempDir() + "fettle-e2e-XXXXXX";
  path_ = ::mkdtemp(name.data());
}

ScratchFolder::~ScratchFolder() {
  std::error_code ignored;  // a child that was killed may leave what it was writing
  std::filesystem::remove_all(path_, ignored);
}

std::filesystem::path ScratchFolder::write(std::string_view name, std::string_view text) const {
  const std::filesystem::path file = path_ / name;
  std::ofstream(file, std::ios::binary) << text;
  return file;
}

Ended run_fettle(const std::vector<std::string>& arguments, std::string_view input) {
  const ScratchFolder scratch;
  const std::filesystem::path in_file = scratch.write("in", input);
  const int in = ::open(in_file.c_str(), O_RDONLY | O_CLOEXEC);
  const int out = ::open((scratch.path() / "out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const int err = ::open((scratch.path() / "err").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  const pid_t pid = spawn(arguments, in, out, err);
  int status = 0;
  ::waitpid(pid, &status, 0);
  for (const int fd : {in, out, err}) ::close(fd);
  return {.exit_code = exit_code_of(status),
          .out = read_file(scratch.path() / "out"),
          .err = read_file(scratch.path() / "err")};
}

std::unique_ptr<EngineProcess> EngineProcess::start(std::string_view tokens) {
  std::unique_ptr<EngineProcess> engine(new EngineProcess);
  const std::filesystem::path folder = engine->scratch_.path();
  // A server writes the engine's configuration: one starts for that alone.
  {
    const auto server = ServerProcess::start({.data = folder / "written"});
    if (server == nullptr) return nullptr;
    server->terminate();
  }
  std::string config = read_file(folder / "written/engine/config.xml");
  const std::string users = (folder / "written/engine/users.xml").string();
  engine->scratch_.write("users.xml", read_file(users));
  if (const std::size_t at = config.find(users); at != std::string::npos) {
    config.replace(at, users.size(), (folder / "users.xml").string());
  }
  const std::filesystem::path log = folder / "engine.log";
  const int null = ::open("/dev/null", O_RDWR | O_CLOEXEC);
  const int err = ::open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  engine->pid_ =
      spawn({"--data", (folder / "data").string(), "--socket", (folder / "engine.sock").string(), "--config",
             engine->scratch_.write("config.xml", config).string(), "--tcp", "127.0.0.1:0", "--tcp-tokens",
             engine->scratch_.write("tokens.json", tokens).string()},
            null, null, err, (std::filesystem::path(FETTLE_PROGRAM).parent_path() / "fettle-engine").string());
  for (const int fd : {null, err}) ::close(fd);
  constexpr std::string_view kSaid = R"("tcp":")";
  const bool is_up = eventually([&] {
    const std::string text = read_file(log);
    const std::size_t at = text.find(kSaid);
    if (at == std::string::npos || text.find("engine_started") == std::string::npos) return false;
    engine->address_ = text.substr(at + kSaid.size(), text.find('"', at + kSaid.size()) - at - kSaid.size());
    return true;
  });
  if (is_up) return engine;
  ADD_FAILURE() << "the engine does not start:\n" << read_file(log);
  return nullptr;
}

EngineProcess::~EngineProcess() {
  if (pid_ <= 0) return;
  ::kill(pid_, SIGKILL);
  ::waitpid(pid_, nullptr, 0);
}

std::unique_ptr<ServerProcess> ServerProcess::start(Options options) {
  std::unique_ptr<ServerProcess> server(new ServerProcess);
  server->scratch_ = std::make_unique<ScratchFolder>();
  server->data_ = options.data.empty() ? server->scratch_->path() / "data" : options.data;
  server->log_ = server->scratch_->path() / "server.log";
  std::vector<std::string> arguments = {"serve",       "--data",      server->data_.string(),
                                        "--http",      "127.0.0.1:0", "--otlp-http",
                                        "127.0.0.1:0", "--otlp-grpc", "127.0.0.1:0"};
  if (options.dev) arguments.emplace_back("--dev");
  if (!options.config.empty()) {
    arguments.emplace_back("--config");
    arguments.push_back(server->scratch_->write("fettle.yaml", options.config).string());
  }
  arguments.insert(arguments.end(), options.arguments.begin(), options.arguments.end());

  int out[2];
  if (::pipe2(out, O_CLOEXEC) != 0) return nullptr;
  const int in = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int err = ::open(server->log_.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  server->pid_ = spawn(arguments, in, out[1], err);
  for (const int fd : {in, out[1], err}) ::close(fd);
  server->out_ = out[0];
  const auto listens = [&] { return std::filesystem::exists(server->data_ / "ports.json"); };
  if (options.until_ready ? !server->await_ready() : !eventually(listens)) {
    if (!options.until_ready) ::kill(server->pid_, SIGKILL);
    ADD_FAILURE() << "the server ended with " << server->wait() << ":\n" << server->log();
    return nullptr;
  }
  const auto ports = boost::json::parse(read_file(server->data_ / "ports.json"));
  server->http_port_ = static_cast<int>(ports.at("http").as_int64());
  server->otlp_http_port_ = static_cast<int>(ports.at("otlp_http").as_int64());
  server->otlp_grpc_port_ = static_cast<int>(ports.at("otlp_grpc").as_int64());
  server->client_ = std::make_unique<http::Client>(server->url(), http::ClientOptions{});
  server->otlp_client_ = std::make_unique<http::Client>(fmt::format("http://127.0.0.1:{}", server->otlp_http_port_),
                                                        http::ClientOptions{});
  return server;
}

ServerProcess::~ServerProcess() {
  kill();
  if (out_ >= 0) ::close(out_);
}

bool ServerProcess::await_ready() {
  // The last line of what it prints once everything can be read.
  return read_until(out_, "OTLP/gRPC").find("OTLP/gRPC") != std::string::npos;
}

pid_t ServerProcess::engine_pid() const {
  // It is the child of one of the threads.
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator(fmt::format("/proc/{}/task", pid_), error)) {
    if (const int pid = std::atoi(read_file(thread.path() / "children").c_str()); pid > 0) return pid;
  }
  return 0;
}

http::Response ServerProcess::send(http::Client& client, http::ClientRequest request, const HeaderList& headers) {
  for (const auto& [name, value] : headers) request.headers.add(name, value);
  auto answer = client.send(request);
  if (!answer) {
    ADD_FAILURE() << request.method << ' ' << request.target << ": " << answer.error().message();
    return {.status = 0, .headers = {}, .body = {}};
  }
  return std::move(*answer);
}

http::Response ServerProcess::get(const std::string& target, const HeaderList& headers) {
  http::ClientRequest request;
  request.target = target;
  return send(*client_, std::move(request), headers);
}

http::Response ServerProcess::post(const std::string& target, std::string_view content_type, std::string_view body,
                                   const HeaderList& headers) {
  http::ClientRequest request;
  request.method = "POST";
  request.target = target;
  request.headers.add("Content-Type", std::string(content_type));
  request.body = {body};
  return send(*client_, std::move(request), headers);
}

http::Response ServerProcess::post_otlp(const std::string& target, std::string_view content_type, std::string_view body,
                                        const HeaderList& headers) {
  http::ClientRequest request;
  request.method = "POST";
  request.target = target;
  request.headers.add("Content-Type", std::string(content_type));
  request.body = {body};
  return send(*otlp_client_, std::move(request), headers);
}

std::string ServerProcess::log() const { return read_file(log_); }

int ServerProcess::wait() {
  if (pid_ < 0) return -1;
  int status = 0;
  ::waitpid(pid_, &status, 0);
  pid_ = -1;
  return exit_code_of(status);
}

int ServerProcess::terminate(std::chrono::milliseconds* took) {
  const auto begun = std::chrono::steady_clock::now();
  if (pid_ > 0) ::kill(pid_, SIGTERM);
  const int code = wait();
  if (took != nullptr) {
    *took = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun);
  }
  return code;
}

void ServerProcess::kill() {
  if (pid_ > 0) ::kill(pid_, SIGKILL);
  wait();
}

bool eventually(const std::function<bool()>& probe, std::chrono::milliseconds time_max) {
  const auto end = std::chrono::steady_clock::now() + time_max;
  while (!probe()) {
    if (std::chrono::steady_clock::now() > end) return false;
    ::poll(nullptr, 0, 20);
  }
  return true;
}

}  // namespace fettle::e2e
