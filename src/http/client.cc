#include "http/client.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>

#include "core/mutex.h"
#include "http/curl_parts.h"

namespace fettle::http {
namespace {

static_assert(LIBCURL_VERSION_NUM >= 0x075500, "CURLOPT_PROTOCOLS_STR came with curl 7.85");

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr long kBufferBytes = 256 * 1024;
// Younger than the 75 s after which our own servers close an idle connection.
constexpr long kIdleSecondsMax = 60;
// Space taken for a body in advance on the word of a Content-Length.
constexpr curl_off_t kReserveBytesMax = 64 * 1024 * 1024;

using curl::Handle;

// What the callbacks of one request share.
struct Exchange {
  const ClientRequest& request;
  const std::function<bool(std::string_view)>* sink;  // null: the body is collected
  CURL* easy;

  std::size_t piece = 0;  // of request.body: the next to send, from `offset` on
  std::size_t offset = 0;

  Response response{.status = 0};
  std::size_t body_bytes = 0;
  bool too_large = false;
  bool sink_stopped = false;
  std::string sink_failure;

  bool streams() const { return sink != nullptr && response.status == 200; }
};

bool is_repeatable(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "PUT" || method == "DELETE" || method == "OPTIONS";
}

// A path with no blank or control character, any of which could begin another header field or request.
bool is_target(std::string_view text) {
  return text.starts_with('/') && std::all_of(text.begin(), text.end(),
                                              [](char c) { return static_cast<unsigned char>(c) > 0x20 && c != 0x7f; });
}

std::size_t on_send(char* out, std::size_t size, std::size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::size_t room = size * count;
  std::size_t used = 0;
  while (used < room && exchange.piece < exchange.request.body.size()) {
    const std::string_view rest = exchange.request.body[exchange.piece].substr(exchange.offset);
    const std::size_t taken = std::min(rest.size(), room - used);
    if (taken != 0) std::memcpy(out + used, rest.data(), taken);
    used += taken;
    exchange.offset += taken;
    if (taken == rest.size()) {
      ++exchange.piece;
      exchange.offset = 0;
    }
  }
  return used;
}

// Called when a kept connection turned out dead after part of the body went out. Sending again could carry the request
// out twice, which is for the caller to decide.
int on_rewind(void* user, curl_off_t offset, int origin) {
  auto& exchange = *static_cast<Exchange*>(user);
  if (origin != SEEK_SET || offset != 0 || !is_repeatable(exchange.request.method)) return CURL_SEEKFUNC_FAIL;
  exchange.piece = exchange.offset = 0;
  return CURL_SEEKFUNC_OK;
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
  curl::take_header_line(static_cast<Exchange*>(user)->response, std::string_view(data, size * count));
  return size * count;
}

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  const std::string_view bytes(data, size * count);
  if (bytes.size() > exchange.request.response_bytes_max - exchange.body_bytes) {
    exchange.too_large = true;
    return 0;
  }
  try {
    if (exchange.streams()) {
      exchange.sink_stopped = !(*exchange.sink)(bytes);
      if (exchange.sink_stopped) return 0;
    } else {
      if (exchange.body_bytes == 0) {
        curl_off_t length = -1;
        curl_easy_getinfo(exchange.easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
        const auto bound = static_cast<curl_off_t>(
            std::min<std::uint64_t>(exchange.request.response_bytes_max, static_cast<std::uint64_t>(kReserveBytesMax)));
        if (length > 0) exchange.response.body.reserve(static_cast<std::size_t>(std::min(length, bound)));
      }
      exchange.response.body.append(bytes);
    }
  } catch (const std::exception& error) {  // must not pass through curl
    exchange.sink_failure = error.what();
    return 0;
  }
  exchange.body_bytes += bytes.size();
  return bytes.size();
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Exchange*>(user)->request.stop.stop_requested() ? 1 : 0;
}

}  // namespace

struct Client::Impl {
  Impl(std::string base_address, ClientOptions client_options)
      : base(std::move(base_address)), options(std::move(client_options)) {
    curl::prepare_library();
    if (base.starts_with("unix:")) {
      socket_path = base.substr(5);
      url_base = "http://localhost";
    } else {
      url_base = base;
      while (url_base.ends_with('/')) url_base.pop_back();
    }
  }

  Result<std::unique_ptr<Handle>> take(const ClientRequest& request, steady_clock::time_point until);
  void give_back(std::unique_ptr<Handle> handle);
  Result<Response> exchange(const ClientRequest& request, const std::function<bool(std::string_view)>* sink);
  void prepare(CURL* easy, Exchange& exchange, const std::string& url, curl_slist* headers,
               milliseconds time_left) const;
  Error explain(CURLcode code, const Exchange& exchange, const char* detail, const ClientRequest& request) const;

  // Constant after construction.
  std::string base;
  ClientOptions options;
  std::string socket_path;
  std::string url_base;

  Mutex mutex;
  Condition freed;
  std::vector<std::unique_ptr<Handle>> idle FETTLE_GUARDED_BY(mutex);  // the last used is taken first
  std::size_t taken FETTLE_GUARDED_BY(mutex) = 0;
};

Result<std::unique_ptr<Handle>> Client::Impl::take(const ClientRequest& request, steady_clock::time_point until) {
  const std::stop_callback wake_on_stop(request.stop, [this] {
    MutexLock lock(mutex);
    freed.notify_all();
  });
  MutexLock lock(mutex);
  while (taken >= options.connections_max) {
    if (request.stop.stop_requested()) return fail(ErrorCode::kCancelled, "stopped while waiting for a connection");
    const auto now = steady_clock::now();
    if (now >= until) {
      return fail(ErrorCode::kDeadlineExceeded,
                  fmt::format("all {} connections to {} were busy for too long", options.connections_max, base));
    }
    freed.wait_for(lock, until - now);
  }
  ++taken;
  if (idle.empty()) return std::make_unique<Handle>();
  auto handle = std::move(idle.back());
  idle.pop_back();
  return handle;
}

void Client::Impl::give_back(std::unique_ptr<Handle> handle) {
  MutexLock lock(mutex);
  --taken;
  if (handle) idle.push_back(std::move(handle));
  freed.notify_one();
}

void Client::Impl::prepare(CURL* easy, Exchange& exchange, const std::string& url, curl_slist* headers,
                           milliseconds time_left) const {
  const ClientRequest& request = exchange.request;
  curl_easy_setopt(easy, CURLOPT_URL, url.c_str());
  if (!socket_path.empty()) curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, socket_path.c_str());
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, kIdleSecondsMax);
  curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(easy, CURLOPT_UPLOAD_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(std::max<std::int64_t>(1, options.connect_time_max.count())));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(std::max<std::int64_t>(1, time_left.count())));
  if (!options.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options.ca_file.c_str());

  std::uint64_t body_bytes = 0;
  for (const std::string_view piece : request.body) body_bytes += piece.size();
  if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (body_bytes != 0 || request.method == "POST" || request.method == "PUT" || request.method == "PATCH") {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(body_bytes));
    curl_easy_setopt(easy, CURLOPT_READFUNCTION, &on_send);
    curl_easy_setopt(easy, CURLOPT_READDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_SEEKFUNCTION, &on_rewind);
    curl_easy_setopt(easy, CURLOPT_SEEKDATA, &exchange);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  } else {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &exchange);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, &on_progress);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &exchange);
}

Error Client::Impl::explain(CURLcode code, const Exchange& exchange, const char* detail,
                            const ClientRequest& request) const {
  // The target may carry a secret in its query; the path is enough to find the request.
  const std::string what =
      fmt::format("{} {}{}", request.method, base, request.target.substr(0, request.target.find('?')));
  const std::string cause = *detail != '\0' ? detail : curl_easy_strerror(code);
  if (exchange.too_large) {
    return {ErrorCode::kTooLarge,
            fmt::format("{}: the answer is larger than {} bytes", what, request.response_bytes_max)};
  }
  if (!exchange.sink_failure.empty()) {
    return {ErrorCode::kInternal, fmt::format("{}: taking the answer failed: {}", what, exchange.sink_failure)};
  }
  if (exchange.sink_stopped || request.stop.stop_requested()) {
    return {ErrorCode::kCancelled, fmt::format("{}: stopped", what)};
  }
  curl_off_t connected = 0;
  curl_easy_getinfo(exchange.easy, CURLINFO_PRETRANSFER_TIME_T, &connected);
  switch (code) {
    case CURLE_OPERATION_TIMEDOUT: {
      curl_off_t total = 0;
      curl_easy_getinfo(exchange.easy, CURLINFO_TOTAL_TIME_T, &total);
      const bool in_time = std::chrono::microseconds(total) < request.time_max;
      if (connected == 0 && in_time) return {ErrorCode::kUnavailable, fmt::format("{}: {}", what, cause)};
      return {ErrorCode::kDeadlineExceeded, fmt::format("{}: {}", what, cause)};
    }
    case CURLE_UNSUPPORTED_PROTOCOL:  // also said of an answer that is not HTTP
      if (connected != 0) return {ErrorCode::kUnavailable, fmt::format("{}: {}", what, cause)};
      [[fallthrough]];
    case CURLE_URL_MALFORMAT: return {ErrorCode::kInvalidArgument, fmt::format("{}: {}", what, cause)};
    case CURLE_OUT_OF_MEMORY: return {ErrorCode::kResourceExhausted, fmt::format("{}: {}", what, cause)};
    default: return {ErrorCode::kUnavailable, fmt::format("{}: {}", what, cause)};
  }
}

Result<Response> Client::Impl::exchange(const ClientRequest& request,
                                        const std::function<bool(std::string_view)>* sink) {
  curl::List headers;
  curl::append(headers, "Expect:");  // curl would wait for the server's leave before larger bodies
  if (!request.headers.has("Content-Type")) curl::append(headers, "Content-Type:");
  if (!curl::is_method(request.method) || !is_target(request.target)) {
    return fail(ErrorCode::kInvalidArgument, "a request needs a method of letters and a percent-encoded path");
  }
  for (const auto& [name, value] : request.headers) {
    if (auto done = curl::append_field(headers, name, value); !done) return std::unexpected(std::move(done).error());
  }

  const auto until = steady_clock::now() + request.time_max;
  auto handle = take(request, until);
  if (!handle) return std::unexpected(std::move(handle).error());
  CURL* const easy = (*handle)->easy;
  CURLM* const multi = (*handle)->multi;
  if (easy == nullptr || multi == nullptr) {
    give_back(nullptr);
    return fail(ErrorCode::kResourceExhausted, "curl could not make a handle");
  }

  Exchange state{.request = request, .sink = sink, .easy = easy};
  const std::string url = url_base + request.target;
  char detail[CURL_ERROR_SIZE] = {};
  prepare(easy, state, url, headers.get(), std::chrono::duration_cast<milliseconds>(until - steady_clock::now()));
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);

  CURLcode code = CURLE_OK;
  {
    const std::stop_callback wake_on_stop(request.stop, [multi] { curl_multi_wakeup(multi); });
    curl_multi_add_handle(multi, easy);
    bool done = false;
    while (!done) {
      int running = 0;
      if (curl_multi_perform(multi, &running) != CURLM_OK) {
        code = CURLE_FAILED_INIT;
        break;
      }
      int queued = 0;
      while (const CURLMsg* message = curl_multi_info_read(multi, &queued)) {
        if (message->msg == CURLMSG_DONE) {
          code = message->data.result;
          done = true;
        }
      }
      if (done) break;
      if (request.stop.stop_requested()) {
        code = CURLE_ABORTED_BY_CALLBACK;
        break;
      }
      curl_multi_poll(multi, nullptr, 0, curl::kPollMillis, nullptr);
    }
  }
  Result<Response> result;
  if (code == CURLE_OK) {
    result = std::move(state.response);
  } else {
    result = std::unexpected(explain(code, state, detail, request));
  }
  curl_multi_remove_handle(multi, easy);  // an unfinished exchange's connection is closed by this
  curl_easy_reset(easy);                  // keeps the connection
  give_back(std::move(*handle));
  return result;
}

Client::Client(std::string base, ClientOptions options)
    : impl_(std::make_unique<Impl>(std::move(base), std::move(options))) {}

Client::~Client() = default;

Result<Response> Client::send(const ClientRequest& request) { return impl_->exchange(request, nullptr); }

Result<Response> Client::stream(const ClientRequest& request, const std::function<bool(std::string_view)>& sink) {
  return impl_->exchange(request, &sink);
}

}  // namespace fettle::http
