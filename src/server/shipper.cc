#include "server/shipper.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <fstream>
#include <iterator>

#include "core/log.h"

namespace fettle::server {
namespace {

constexpr std::chrono::hours kRetryAfterMax{1};

std::unexpected<Error> not_ours(const std::filesystem::path& file) {
  return fail(ErrorCode::kInvalidArgument,
              fmt::format("'{}' is not a state file of fettle ship: name another with --state", file.string()));
}

std::optional<std::chrono::milliseconds> retry_after_of(const http::Response& response) {
  const std::string_view text = response.headers.get("Retry-After");
  std::uint32_t seconds = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), seconds);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return std::min<std::chrono::milliseconds>(std::chrono::seconds(seconds), kRetryAfterMax);
}

bool is_worth_repeating(int status) {
  return status == 408 || status == 425 || status == 429 || (status >= 500 && status != 501);
}

std::uint64_t count_lines(std::string_view bytes) {
  const auto ends = static_cast<std::uint64_t>(std::ranges::count(bytes, '\n'));
  return bytes.ends_with('\n') || bytes.empty() ? ends : ends + 1;
}

}  // namespace

// ---- ShipState
// -------------------------------------------------------------------------------------------------------

Result<ShipState> ShipState::open(std::filesystem::path file) {
  ShipState state(std::move(file));
  std::ifstream in(state.file_, std::ios::binary);
  if (!in) {
    std::error_code error;
    if (!std::filesystem::exists(state.file_, error)) return state;
    return fail(ErrorCode::kUnavailable, fmt::format("cannot read '{}'", state.file_.string()));
  }
  const std::string text((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  boost::json::error_code error;
  const boost::json::value document = boost::json::parse(text, error);
  const boost::json::object* files = nullptr;
  if (!error && document.is_object()) {
    const auto* member = document.get_object().if_contains("files");
    if (member != nullptr && member->is_object()) files = &member->get_object();
  }
  if (files == nullptr) return not_ours(state.file_);
  for (const auto& item : *files) {
    const auto* object = item.value().if_object();
    if (object == nullptr) return not_ours(state.file_);
    const auto number = [&](const char* name) -> std::uint64_t {
      const auto* value = object->if_contains(name);
      return value != nullptr && value->is_number() ? value->to_number<std::uint64_t>() : 0;
    };
    Entry entry;
    entry.position = {.device = number("device"), .inode = number("inode"), .offset = number("offset"), .head = {}};
    if (const auto* head = object->if_contains("head"); head != nullptr && head->is_string()) {
      entry.position.head = std::string(head->get_string());
    }
    if (object->contains("sending_to")) entry.sending_to = number("sending_to");
    state.entries_[std::string(item.key())] = std::move(entry);
  }
  return state;
}

const ShipState::Entry* ShipState::find(const std::string& path) const {
  const auto found = entries_.find(path);
  return found == entries_.end() ? nullptr : &found->second;
}

Result<void> ShipState::set(const std::string& path, Entry entry) {
  entries_[path] = std::move(entry);
  boost::json::object files;
  for (const auto& [name, known] : entries_) {
    boost::json::object item{{"device", known.position.device},
                             {"inode", known.position.inode},
                             {"offset", known.position.offset},
                             {"head", known.position.head}};
    if (known.sending_to) item["sending_to"] = *known.sending_to;
    files[name] = std::move(item);
  }
  const std::string text = boost::json::serialize(boost::json::object{{"files", std::move(files)}}) + '\n';
  const std::filesystem::path temporary = file_.string() + ".tmp";
  const int fd = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  const bool is_written =
      fd >= 0 && ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size()) && ::fdatasync(fd) == 0;
  const std::string why = std::strerror(errno);
  if (fd >= 0) ::close(fd);
  if (!is_written || ::rename(temporary.c_str(), file_.c_str()) != 0) {
    return fail(ErrorCode::kUnavailable, fmt::format("cannot write '{}': {}", file_.string(), why));
  }
  return {};
}

// ---- Shipper
// ---------------------------------------------------------------------------------------------------------

Shipper::Shipper(http::Client& client, ShipState& state, Clock& clock, Rng& rng, Options options)
    : client_(client), state_(state), clock_(clock), rng_(rng), options_(std::move(options)) {}

void Shipper::add_source(const std::filesystem::path& file, std::string query) {
  std::error_code error;
  const std::string key = std::filesystem::absolute(file, error).string();
  if (std::ranges::find(sources_, key, &Source::key) != sources_.end()) return;
  std::optional<FilePosition> known;
  std::optional<std::uint64_t> sending_to;
  if (const ShipState::Entry* entry = state_.find(key)) {
    known = entry->position;
    sending_to = entry->sending_to;
  }
  sources_.push_back({.key = key,
                      .query = std::move(query),
                      .follower = std::make_unique<FileFollower>(file, std::move(known)),
                      .sending_to = sending_to});
}

void Shipper::add(const std::filesystem::path& file, const std::string& service) {
  std::string name = service;
  if (name.empty()) {
    name = file.filename().string();
    name.erase(std::min(name.size(), name.find('.')));
  }
  add_source(file, "service=" + http::percent_encode(name));
}

void Shipper::add_docker(const std::filesystem::path& folder) {
  docker_folders_.push_back(folder);
  scan_docker();
}

void Shipper::scan_docker() {
  for (const std::filesystem::path& folder : docker_folders_) {
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
      const std::string id = entry.path().filename().string();
      const std::filesystem::path file = entry.path() / (id + "-json.log");
      if (std::filesystem::is_regular_file(file, error)) add_source(file, "container=" + http::percent_encode(id));
    }
  }
}

Result<void> Shipper::deliver(Source& source, const LineBatch& batch, const std::stop_token& stop) {
  http::ClientRequest request{.method = "POST",
                              .target = {},
                              .headers = {},
                              .body = {batch.bytes},
                              .time_max = options_.request_time_max,
                              .stop = stop};
  // The place in the file names the batch: equal lines at two places are two batches, the same place twice is one.
  request.target = fmt::format("/api/v1/ingest/logs?{}&batch={:x}-{:x}-{}-{}", source.query, batch.from.device,
                               batch.from.inode, batch.from.offset, batch.end);
  request.headers.add("Content-Type", "application/x-ndjson");
  if (!options_.bearer.empty()) request.headers.add("Authorization", options_.bearer);
  auto backoff = options_.backoff_min;
  while (true) {
    auto answer = client_.send(request);
    if (answer && answer->status == 200) {
      totals_.lines += count_lines(batch.bytes);
      return {};
    }
    if (!answer && answer.error().code() == ErrorCode::kCancelled) return std::unexpected(std::move(answer).error());
    if (answer && (answer->status == 401 || answer->status == 403)) {
      return fail(answer->status == 401 ? ErrorCode::kUnauthenticated : ErrorCode::kPermissionDenied,
                  fmt::format("the server refused the token (status {})", answer->status));
    }
    if (answer && !is_worth_repeating(answer->status)) {
      // To stay here for ever would hold back every line behind it.
      ++totals_.refused;
      log::error("ship_batch_refused", {{"file", source.key},
                                        {"offset", batch.from.offset},
                                        {"end", batch.end},
                                        {"status", answer->status},
                                        {"answer", answer->body.substr(0, 512)}});
      return {};
    }
    auto wait = std::chrono::milliseconds(static_cast<std::int64_t>(rng_.next() % (backoff.count() + 1)));
    if (answer) wait = std::max(wait, retry_after_of(*answer).value_or(std::chrono::milliseconds(0)));
    log::warning("ship_waits", {{"file", source.key},
                                {"wait_ms", wait.count()},
                                {"why", answer ? fmt::format("status {}", answer->status) : answer.error().message()}});
    ++totals_.retries;
    backoff = std::min(backoff * 2, options_.backoff_max);
    if (!clock_.wait_for(wait, stop)) return fail(ErrorCode::kCancelled, "stopped while waiting to send again");
  }
}

Result<bool> Shipper::drain(Source& source, bool is_final, const std::stop_token& stop) {
  bool has_sent = false;
  while (!stop.stop_requested()) {
    auto batch = source.sending_to ? source.follower->again(*source.sending_to)
                                   : source.follower->next({.batch_bytes_max = options_.batch_bytes_max}, is_final);
    if (!batch) return std::unexpected(std::move(batch).error());
    if (!*batch && source.sending_to) {
      log::warning("ship_lost_its_place", {{"file", source.key}});
      source.sending_to.reset();
      continue;
    }
    if (!*batch) break;
    if (!source.sending_to) {
      auto noted = state_.set(source.key, {.position = (*batch)->from, .sending_to = (*batch)->end});
      if (!noted) return std::unexpected(std::move(noted).error());
    }
    auto sent = deliver(source, **batch, stop);
    if (!sent) return std::unexpected(std::move(sent).error());
    source.sending_to.reset();
    source.follower->advance(**batch);
    auto noted = state_.set(source.key, {.position = source.follower->position(), .sending_to = {}});
    if (!noted) return std::unexpected(std::move(noted).error());
    has_sent = true;
  }
  return has_sent;
}

Result<void> Shipper::run_once(const std::stop_token& stop) {
  for (Source& source : sources_) {
    auto done = drain(source, true, stop);
    if (!done) return std::unexpected(std::move(done).error());
  }
  return {};
}

Result<void> Shipper::run(const std::stop_token& stop) {
  auto next_scan = clock_.monotonic() + options_.scan_interval;
  while (!stop.stop_requested()) {
    bool has_sent = false;
    for (Source& source : sources_) {
      auto done = drain(source, false, stop);
      if (done) {
        has_sent |= *done;
        continue;
      }
      const ErrorCode code = done.error().code();
      if (code == ErrorCode::kCancelled && stop.stop_requested()) return {};
      if (code != ErrorCode::kUnavailable) return std::unexpected(std::move(done).error());
      log::warning("ship_cannot_read", {{"file", source.key}, {"error", done.error().message()}});
    }
    if (!has_sent && !clock_.wait_for(options_.poll_interval, stop)) break;
    if (clock_.monotonic() >= next_scan) {
      scan_docker();
      next_scan = clock_.monotonic() + options_.scan_interval;
    }
  }
  return {};
}

}  // namespace fettle::server
