// The transport over libcurl: one easy handle per connection, kept for the next request.
#include <curl/curl.h>

#include <condition_variable>
#include <ctime>
#include <memory>
#include <mutex>
#include <vector>

#include "fettle/sdk/transport.h"
#include "problem.h"

namespace fettle::sdk {

namespace {

// Above the largest answer of the API, a full batch of leases with payloads.
constexpr std::size_t kAnswerBytesMax = std::size_t{256} * 1024 * 1024;

struct EasyDeleter {
  void operator()(CURL* handle) const { curl_easy_cleanup(handle); }
};
using Easy = std::unique_ptr<CURL, EasyDeleter>;

class Headers {
 public:
  Headers() = default;
  ~Headers() { curl_slist_free_all(list_); }
  Headers(const Headers&) = delete;
  Headers& operator=(const Headers&) = delete;

  void add(const std::string& line) {
    curl_slist* longer = curl_slist_append(list_, line.c_str());
    if (longer != nullptr) list_ = longer;
  }
  curl_slist* get() const { return list_; }

 private:
  curl_slist* list_ = nullptr;
};

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto& body = *static_cast<std::string*>(user);
  if (body.size() + size * count > kAnswerBytesMax) return 0;
  body.append(data, size * count);
  return size * count;
}

// Called at least once a second while the request is under way; not 0 ends it.
int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<const std::stop_token*>(user)->stop_requested() ? 1 : 0;
}

std::string header_of(CURL* handle, const char* name) {
  curl_header* header = nullptr;
  return curl_easy_header(handle, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value : "";
}

// Retry-After as delay-seconds or as a date (RFC 9110, 10.2.3). A past date is 0; nonsense is as if absent.
std::optional<Milliseconds> retry_after_of(const std::string& value) {
  if (value.empty()) return std::nullopt;
  if (value.find_first_not_of("0123456789") == std::string::npos && value.size() <= 9) {
    return std::chrono::seconds(std::stol(value));
  }
  const std::time_t at = curl_getdate(value.c_str(), nullptr);
  if (at == -1) return std::nullopt;
  return std::chrono::seconds(std::max<std::int64_t>(0, at - std::time(nullptr)));
}

class HttpTransport final : public Transport {
 public:
  HttpTransport(std::string url, std::string token, int connections_max)
      : url_(std::move(url)), token_(std::move(token)), free_(connections_max) {
    while (url_.ends_with('/')) url_.pop_back();
  }

  Result<HttpAnswer> send(const HttpRequest& request) override {
    Easy handle = take(request);
    if (!handle) return unreachable(request, "no handle, or stopped");
    Result<HttpAnswer> answer = exchange(handle.get(), request);
    keep(std::move(handle), request);
    return answer;
  }

 private:
  Easy take(const HttpRequest& request) {
    std::unique_lock lock(mutex_);
    if (!request.long_poll) {
      if (!room_.wait(lock, request.stop, [this] { return free_ > 0; })) return nullptr;
      --free_;
    }
    if (idle_.empty()) return Easy(curl_easy_init());
    Easy handle = std::move(idle_.back());
    idle_.pop_back();
    return handle;
  }

  void keep(Easy handle, const HttpRequest& request) {
    const std::lock_guard lock(mutex_);
    curl_easy_reset(handle.get());  // its connection stays
    idle_.push_back(std::move(handle));
    if (!request.long_poll) {
      ++free_;
      room_.notify_one();
    }
  }

  Result<HttpAnswer> exchange(CURL* handle, const HttpRequest& request) {
    HttpAnswer answer;
    const std::string address = url_ + std::string(request.path);
    Headers headers;
    headers.add("accept: application/json");
    headers.add("expect:");  // no waiting for leave to send the body
    if (!token_.empty()) headers.add("authorization: Bearer " + token_);
    if (request.post) {
      headers.add("content-type: application/json");
      headers.add("idempotency-key: \"" + std::string(request.idempotency_key) + "\"");
      curl_easy_setopt(handle, CURLOPT_POST, 1L);
      curl_easy_setopt(handle, CURLOPT_POSTFIELDS, std::to_address(request.body.begin()));
      curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    }
    if (request.remove) {
      headers.add("idempotency-key: \"" + std::string(request.idempotency_key) + "\"");
      curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, "DELETE");
    }
    curl_easy_setopt(handle, CURLOPT_URL, address.c_str());
    curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.timeout.count()));
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_TCP_NODELAY, 1L);
    curl_easy_setopt(handle, CURLOPT_USERAGENT, "fettle-cpp");
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, &answer.body);
    curl_easy_setopt(handle, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(handle, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(handle, CURLOPT_XFERINFODATA, &request.stop);
    // A kept connection that the server has closed is opened anew by libcurl itself.
    const CURLcode code = curl_easy_perform(handle);
    if (code != CURLE_OK) return unreachable(request, curl_easy_strerror(code));
    long status = 0;
    curl_easy_getinfo(handle, CURLINFO_RESPONSE_CODE, &status);
    answer.status = static_cast<int>(status);
    answer.request_id = header_of(handle, "x-request-id");
    answer.retry_after = retry_after_of(header_of(handle, "retry-after"));
    return answer;
  }

  std::unexpected<Error> unreachable(const HttpRequest& request, std::string_view why) const {
    const char* method = request.remove ? "DELETE " : request.post ? "POST " : "GET ";
    std::string message = method + url_ + std::string(request.path) + ": ";
    message += why;
    return fail({.kind = ErrorKind::kUnreachable, .code = "unreachable", .message = std::move(message)});
  }

  // Constant after construction.
  std::string url_;
  const std::string token_;

  std::mutex mutex_;
  std::condition_variable_any room_;
  int free_;                // guarded by mutex_
  std::vector<Easy> idle_;  // guarded by mutex_
};

}  // namespace

Result<std::shared_ptr<Transport>> http_transport(std::string url, std::string token, int connections_max) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (ready != CURLE_OK) return fail(invalid_value("libcurl could not be set up"));
  CURLU* parsed = curl_url();
  const bool good = curl_url_set(parsed, CURLUPART_URL, url.c_str(), 0) == CURLUE_OK &&
                    (url.starts_with("http://") || url.starts_with("https://"));
  curl_url_cleanup(parsed);
  if (!good) return fail(invalid_value("'" + url + "': only http and https"));
  return std::make_shared<HttpTransport>(std::move(url), std::move(token), connections_max);
}

}  // namespace fettle::sdk
