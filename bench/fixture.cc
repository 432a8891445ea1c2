#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <chrono>
#include <fstream>
#include <iostream>
#include <thread>

#include "core/json.h"

extern char** environ;

namespace fettle::bench {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point begin) { return std::chrono::duration<double>(Clock::now() - begin).count(); }

[[noreturn]] void give_up(const std::string& why) {
  std::cerr << "benchmark: " << why << '\n';
  std::exit(2);
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream in(path);
  return {std::istreambuf_iterator<char>(in), {}};
}

struct ProcessUsage {
  double cpu_seconds = 0;
  std::uint64_t rss_bytes = 0;
};

ProcessUsage usage_of(pid_t pid) {
  ProcessUsage usage;
  std::string stat = read_file(fmt::format("/proc/{}/stat", pid));
  const std::size_t end_of_name = stat.rfind(')');
  if (end_of_name == std::string::npos) return usage;
  std::istringstream fields(stat.substr(end_of_name + 2));
  std::string field;
  std::vector<std::string> all;
  while (fields >> field) all.push_back(field);
  // Fields 14, 15 (utime, stime) and 24 (rss in pages) of proc(5), counted from the state.
  usage.cpu_seconds =
      static_cast<double>(std::stoul(all[11]) + std::stoul(all[12])) / static_cast<double>(sysconf(_SC_CLK_TCK));
  usage.rss_bytes = std::stoul(all[21]) * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return usage;
}

std::vector<pid_t> children_of(pid_t pid) {
  std::vector<pid_t> children;
  const auto tasks = fmt::format("/proc/{}/task", pid);
  if (!std::filesystem::exists(tasks)) return children;
  for (const auto& task : std::filesystem::directory_iterator(tasks)) {
    std::istringstream list(read_file(task.path() / "children"));
    for (pid_t child = 0; list >> child;) children.push_back(child);
  }
  return children;
}

struct Figure {
  std::string name, unit, verdict;
  double value, target;
};
std::vector<Figure> figures;
std::vector<std::string> notes;

}  // namespace

ServerFixture::ServerFixture(std::filesystem::path data, bool keep, std::vector<std::string> arguments)
    : data_(std::move(data)), keep_(keep) {
  if (data_.empty()) data_ = std::filesystem::temp_directory_path() / fmt::format("fettle-bench-{}", getpid());
  std::filesystem::create_directories(data_);
  std::filesystem::remove(data_ / "ports.json");
  std::vector<std::string> words = {"build/release/bin/fettle",
                                    "serve",
                                    "--dev",
                                    "--data",
                                    data_.string(),
                                    "--http",
                                    "127.0.0.1:0",
                                    "--otlp-http",
                                    "127.0.0.1:0",
                                    "--otlp-grpc",
                                    "127.0.0.1:0"};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (std::string& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
  posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, (data_ / "server.log").c_str(),
                                   O_WRONLY | O_CREAT | O_APPEND, 0600);
  const auto begin = Clock::now();
  if (posix_spawn(&pid_, argv[0], &actions, nullptr, argv.data(), environ) != 0)
    give_up("build/release/bin/fettle would not start");
  posix_spawn_file_actions_destroy(&actions);
  for (bool ready = false; !ready;) {
    if (seconds_since(begin) > 60 || waitpid(pid_, nullptr, WNOHANG) == pid_)
      give_up("the server did not come up: see " + (data_ / "server.log").string());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    if (!std::filesystem::exists(data_ / "ports.json")) continue;
    if (http_.empty()) {
      const auto ports = boost::json::parse(read_file(data_ / "ports.json")).as_object();
      const auto at = [&](const char* name) { return fmt::format("127.0.0.1:{}", ports.at(name).to_number<int>()); };
      http_ = at("http");
      otlp_http_ = at("otlp_http");
      otlp_grpc_ = at("otlp_grpc");
      client_ = std::make_unique<http::Client>("http://" + http_, http::ClientOptions{});
    }
    http::ClientRequest request;
    request.target = "/health/ready";
    const auto answer = client_->send(request);
    ready = answer && answer->status == 200;
  }
  seconds_to_ready_ = seconds_since(begin);
}

ServerFixture::~ServerFixture() {
  stop();
  if (!keep_) std::filesystem::remove_all(data_);
}

double ServerFixture::stop() {
  if (pid_ < 0) return 0;
  const auto begin = Clock::now();
  kill(pid_, SIGTERM);
  waitpid(pid_, nullptr, 0);
  pid_ = -1;
  return seconds_since(begin);
}

std::string ServerFixture::address(const char* listener) const {
  const std::string_view name = listener;
  return name == "http" ? http_ : name == "otlp_http" ? otlp_http_ : otlp_grpc_;
}

http::Response ServerFixture::get(const std::string& target) {
  http::ClientRequest request;
  request.target = target;
  auto answer = client_->send(request);
  if (!answer) give_up("GET " + target + ": " + answer.error().message());
  return *std::move(answer);
}

std::vector<std::string> ServerFixture::sql(const std::string& query) {
  std::string body = "{\"query\":";
  append_json_string(body, query);
  body += "}";
  http::ClientRequest request;
  request.method = "POST";
  request.target = "/api/v1/sql";
  request.headers.add("Content-Type", "application/json");
  request.body = {body};
  auto answer = client_->send(request);
  if (!answer || answer->status != 200)
    give_up(fmt::format("{}: {}", query, answer ? answer->body : answer.error().message()));
  std::vector<std::string> cells;
  const auto document = boost::json::parse(answer->body);
  const auto& rows = document.at("rows").as_array();
  if (rows.empty()) return cells;
  for (const auto& cell : rows[0].as_array())
    cells.push_back(cell.is_string() ? std::string(cell.as_string()) : boost::json::serialize(cell));
  return cells;
}

std::uint64_t ServerFixture::count(const std::string& query) {
  const auto cells = sql(query);
  return cells.empty() ? 0 : std::stoull(cells[0]);
}

double ServerFixture::wait_for_count(const std::string& query, std::uint64_t wanted, double seconds_max) {
  const auto begin = Clock::now();
  while (count(query) < wanted) {
    if (seconds_since(begin) > seconds_max) return -1;
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  return seconds_since(begin);
}

ServerFixture::Usage ServerFixture::usage() const {
  Usage usage;
  const ProcessUsage server = usage_of(pid_);
  usage.cpu_seconds = server.cpu_seconds;
  usage.rss_bytes = server.rss_bytes;
  for (const pid_t child : children_of(pid_)) {
    const ProcessUsage engine = usage_of(child);
    usage.engine_cpu_seconds += engine.cpu_seconds;
    usage.engine_rss_bytes += engine.rss_bytes;
  }
  usage.cpu_seconds += usage.engine_cpu_seconds;
  usage.rss_bytes += usage.engine_rss_bytes;
  return usage;
}

void report(const std::string& name, double value, const std::string& unit, Want want, double target) {
  std::string verdict = "-";
  if (want == Want::kAtLeast) verdict = value >= target ? "ok" : "short";
  if (want == Want::kAtMost) verdict = value <= target ? "ok" : "short";
  fmt::print("{} {:.6g} {} {} {}\n", name, value, unit,
             want == Want::kNothing ? "-" : fmt::format("{}{:g}", want == Want::kAtLeast ? ">=" : "<=", target),
             verdict);
  std::fflush(stdout);
  figures.push_back({name, unit, verdict, value, target});
}

void note(const std::string& text) {
  fmt::print("# {}\n", text);
  std::fflush(stdout);
  notes.push_back(text);
}

int finish(const std::string& name) {
  std::string out = "{\"benchmark\":";
  append_json_string(out, name);
  out += ",\"notes\":[";
  for (const std::string& text : notes) {
    if (out.back() != '[') out += ',';
    append_json_string(out, text);
  }
  out += "],\"figures\":[";
  int exit_code = 0;
  for (const Figure& figure : figures) {
    if (out.back() != '[') out += ',';
    out += fmt::format("\n{{\"name\":\"{}\",\"value\":{:.6g},\"unit\":\"{}\",\"target\":{:g},\"verdict\":\"{}\"}}",
                       figure.name, figure.value, figure.unit, figure.target, figure.verdict);
    if (figure.verdict == "short") exit_code = 1;
  }
  out += "\n]}\n";
  std::filesystem::create_directories("bench/results");
  std::ofstream("bench/results/" + name + ".json") << out;
  figures.clear();
  notes.clear();
  return exit_code;
}

}  // namespace fettle::bench
