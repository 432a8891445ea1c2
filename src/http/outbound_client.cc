#include "http/outbound_client.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>

#include "core/mutex.h"
#include "http/curl_parts.h"

namespace fettle::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr std::size_t kUrlBytesMax = 2'048;
constexpr std::size_t kAddressesMax = 32;  // of a name
constexpr std::size_t kHeadBytesMax = 64 << 10;
constexpr int kLookUpsMax = 32;

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};

std::string part_of(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  if (curl_url_get(url, part, &text, flags) != CURLUE_OK) return {};
  std::string out(text);
  curl_free(text);
  return out;
}

std::optional<IpAddress> address_of(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in v4{};
    std::memcpy(&v4, &address, sizeof(v4));
    std::array<std::uint8_t, 4> bytes{};
    std::memcpy(bytes.data(), &v4.sin_addr, bytes.size());
    return IpAddress::of_v4(bytes);
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 v6{};
    std::memcpy(&v6, &address, sizeof(v6));
    std::array<std::uint8_t, 16> bytes{};
    std::memcpy(bytes.data(), &v6.sin6_addr, bytes.size());
    return IpAddress::of_v6(bytes);
  }
  return std::nullopt;
}

Result<std::vector<IpAddress>> look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found); error != 0) {
    return fail(ErrorCode::kUnavailable, fmt::format("looking up '{}': {}", host, ::gai_strerror(error)));
  }
  std::vector<IpAddress> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    const auto address = address_of(*one->ai_addr);
    if (address && std::ranges::find(addresses, *address) == addresses.end()) addresses.push_back(*address);
  }
  ::freeaddrinfo(found);
  if (addresses.empty()) return fail(ErrorCode::kUnavailable, fmt::format("'{}' has no address", host));
  return addresses;
}

// What the callbacks of one request share.
struct Exchange {
  const OutboundRequest& request;
  const std::vector<IpAddress>& addresses;

  OutboundAnswer answer{.response = Response{.status = 0}, .is_cut = false, .address = {}, .latency = {}};
  std::size_t head_bytes = 0;
  bool strayed = false;  // curl wanted to go where nobody looked
};

// The net under everything: whatever curl makes of URL, cache and name, it gets a socket for the checked addresses
// alone.
curl_socket_t on_open_socket(void* user, curlsocktype purpose, curl_sockaddr* where) {
  auto& exchange = *static_cast<Exchange*>(user);
  const auto address = address_of(where->addr);
  if (purpose != CURLSOCKTYPE_IPCXN || !address ||
      std::ranges::find(exchange.addresses, *address) == exchange.addresses.end()) {
    exchange.strayed = true;
    return CURL_SOCKET_BAD;
  }
  return ::socket(where->family, where->socktype | SOCK_CLOEXEC, where->protocol);
}

std::size_t on_header(char* data, std::size_t size, std::size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  exchange.head_bytes += size * count;
  if (exchange.head_bytes > kHeadBytesMax) return 0;
  curl::take_header_line(exchange.answer.response, std::string_view(data, size * count));
  return size * count;
}

std::size_t on_body(char* data, std::size_t size, std::size_t count, void* user) {
  auto& exchange = *static_cast<Exchange*>(user);
  std::string& body = exchange.answer.response.body;
  const std::size_t bytes = size * count;
  const std::size_t taken = std::min(bytes, exchange.request.response_bytes_max - body.size());
  body.append(data, taken);
  exchange.answer.is_cut = taken < bytes;
  return taken;  // less than offered ends the exchange
}

int on_progress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Exchange*>(user)->request.stop.stop_requested() ? 1 : 0;
}

CURLcode perform(const curl::Handle& handle, const std::stop_token& stop) {
  const std::stop_callback wake_on_stop(stop, [&] { curl_multi_wakeup(handle.multi); });
  curl_multi_add_handle(handle.multi, handle.easy);
  CURLcode code = CURLE_FAILED_INIT;
  for (int running = 0; curl_multi_perform(handle.multi, &running) == CURLM_OK;) {
    int queued = 0;
    if (const CURLMsg* message = curl_multi_info_read(handle.multi, &queued);
        message != nullptr && message->msg == CURLMSG_DONE) {
      code = message->data.result;
      break;
    }
    if (stop.stop_requested()) {
      code = CURLE_ABORTED_BY_CALLBACK;
      break;
    }
    curl_multi_poll(handle.multi, nullptr, 0, curl::kPollMillis, nullptr);
  }
  curl_multi_remove_handle(handle.multi, handle.easy);
  return code;
}

milliseconds since(steady_clock::time_point begun) {
  return std::chrono::duration_cast<milliseconds>(steady_clock::now() - begun);
}

}  // namespace

struct SystemResolver::LookUps {
  Mutex mutex;
  int running FETTLE_GUARDED_BY(mutex) = 0;
};

SystemResolver::SystemResolver() : look_ups_(std::make_shared<LookUps>()) {}

Result<std::vector<IpAddress>> SystemResolver::resolve(const std::string& host, milliseconds time_max,
                                                       const std::stop_token& stop) {
  // getaddrinfo() can be neither bounded nor ended, so it runs where nobody has to wait for it.
  struct LookUp {
    Mutex mutex;
    Condition changed;
    std::optional<Result<std::vector<IpAddress>>> result FETTLE_GUARDED_BY(mutex);
  };
  {
    MutexLock lock(look_ups_->mutex);
    if (look_ups_->running >= kLookUpsMax) {
      return fail(ErrorCode::kUnavailable,
                  fmt::format("looking up '{}': {} names are being looked up already", host, kLookUpsMax));
    }
    ++look_ups_->running;
  }
  const auto until = steady_clock::now() + time_max;
  auto own = std::make_shared<LookUp>();
  try {
    std::thread([own, all = look_ups_, host] {
      auto found = look_up(host);
      {
        MutexLock lock(all->mutex);
        --all->running;
      }
      MutexLock lock(own->mutex);
      own->result = std::move(found);
      own->changed.notify_all();
    }).detach();
  } catch (const std::system_error& error) {
    MutexLock lock(look_ups_->mutex);
    --look_ups_->running;
    return fail(ErrorCode::kUnavailable, fmt::format("looking up '{}': {}", host, error.what()));
  }
  const std::stop_callback wake_on_stop(stop, [&] {
    MutexLock lock(own->mutex);
    own->changed.notify_all();
  });
  MutexLock lock(own->mutex);
  while (!own->result) {
    if (stop.stop_requested()) return fail(ErrorCode::kCancelled, fmt::format("looking up '{}': stopped", host));
    const auto now = steady_clock::now();
    if (now >= until) {
      return fail(ErrorCode::kDeadlineExceeded,
                  fmt::format("looking up '{}' took longer than {} ms", host, time_max.count()));
    }
    own->changed.wait_for(lock, until - now);
  }
  return std::move(*own->result);
}

// A URL, taken apart by the parser that will also send it: two parsers would disagree about somebody's trick.
struct OutboundClient::Target {
  std::unique_ptr<CURLU, UrlDeleter> url;
  std::string host;  // a name, or the text of an address without brackets
  std::string port;
  std::optional<IpAddress> literal;
  std::string shown;  // for messages
};

OutboundClient::OutboundClient(Options options)
    : options_(std::move(options)), own_resolver_(std::make_unique<SystemResolver>()), resolver_(*own_resolver_) {
  curl::prepare_library();
}

OutboundClient::OutboundClient(Options options, Resolver& resolver)
    : options_(std::move(options)), resolver_(resolver) {
  curl::prepare_library();
}

OutboundClient::~OutboundClient() = default;

bool OutboundClient::may_reach(const IpAddress& address) const {
  return reach_of(address) == AddressReach::kPublic ||
         std::ranges::any_of(options_.allow, [&](const Cidr& range) { return range.contains(address); });
}

Result<void> OutboundClient::check(const std::string& host, const std::vector<IpAddress>& addresses) const {
  for (const IpAddress& address : addresses) {
    if (may_reach(address)) continue;
    const std::string which = address.text() == host ? host : fmt::format("{} ({})", host, address.text());
    return fail(ErrorCode::kPermissionDenied,
                fmt::format("{} is a {} address: outbound.allow in the server's own configuration does not name it",
                            which, to_string(reach_of(address))));
  }
  return {};
}

Result<OutboundClient::Target> OutboundClient::target_of(std::string_view url) const {
  const auto refuse = [](std::string_view why) {
    return fail(ErrorCode::kInvalidArgument, fmt::format("the URL {}", why));
  };
  if (url.empty() || url.size() > kUrlBytesMax) return refuse(fmt::format("must have 1 to {} bytes", kUrlBytesMax));
  if (std::ranges::any_of(url, [](char c) { return static_cast<unsigned char>(c) <= 0x20 || c == 0x7f; })) {
    return refuse("holds a blank or control character");
  }
  Target target{
      .url = std::unique_ptr<CURLU, UrlDeleter>(curl_url()), .host = {}, .port = {}, .literal = {}, .shown = {}};
  if (!target.url) return fail(ErrorCode::kResourceExhausted, "curl could not make a URL");
  if (curl_url_set(target.url.get(), CURLUPART_URL, std::string(url).c_str(), CURLU_NON_SUPPORT_SCHEME) != CURLUE_OK) {
    return refuse("is malformed");
  }
  const std::string scheme = part_of(target.url.get(), CURLUPART_SCHEME);
  if (scheme != "http" && scheme != "https") return refuse("must begin with http:// or https://");
  if (!part_of(target.url.get(), CURLUPART_USER).empty() || !part_of(target.url.get(), CURLUPART_PASSWORD).empty()) {
    return refuse("must not hold a user or password");
  }
  if (!part_of(target.url.get(), CURLUPART_FRAGMENT).empty()) return refuse("must not hold a fragment");
  if (!part_of(target.url.get(), CURLUPART_ZONEID).empty()) return refuse("must not hold a zone");
  target.host = part_of(target.url.get(), CURLUPART_HOST);
  target.port = part_of(target.url.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  if (target.host.empty() || target.port == "0") return refuse("names no host");
  target.shown = fmt::format("{}://{}:{}", scheme, target.host, target.port);
  if (target.host.starts_with('[') && target.host.ends_with(']')) {
    target.host = target.host.substr(1, target.host.size() - 2);
  }
  target.literal = IpAddress::parse(target.host);
  return target;
}

Result<void> OutboundClient::check(std::string_view url) const {
  auto target = target_of(url);
  if (!target) return std::unexpected(std::move(target).error());
  if (target->literal) return check(target->host, {*target->literal});
  return {};
}

Result<OutboundAnswer> OutboundClient::send(const OutboundRequest& request) const {
  const auto begun = steady_clock::now();
  auto target = target_of(request.url);
  if (!target) return std::unexpected(std::move(target).error());
  if (!curl::is_method(request.method)) return fail(ErrorCode::kInvalidArgument, "a method is made of letters");

  std::vector<IpAddress> addresses;
  if (target->literal) {
    addresses.push_back(*target->literal);
  } else {
    auto found = resolver_.resolve(target->host, request.time_max, request.stop);
    if (!found) return std::unexpected(std::move(found).error());
    addresses = std::move(*found);
    if (addresses.size() > kAddressesMax) addresses.resize(kAddressesMax);
  }
  // All of them: a name that has both kinds of address is somebody's attempt to get in.
  if (auto allowed = check(target->host, addresses); !allowed) return std::unexpected(std::move(allowed).error());

  curl::List headers;
  curl::append(headers, "Expect:");
  if (!request.headers.has("Content-Type")) curl::append(headers, "Content-Type:");
  for (const auto& [name, value] : request.headers) {
    if (auto done = curl::append_field(headers, name, value); !done) return std::unexpected(std::move(done).error());
  }
  curl::List known;
  if (!target->literal) {
    std::string line = fmt::format("{}:{}:", target->host, target->port);
    for (const IpAddress& address : addresses) {
      line += fmt::format("{}{}", line.ends_with(':') ? "" : ",",
                          address.is_v4() ? address.text() : "[" + address.text() + "]");
    }
    curl::append(known, line);
  }

  const auto left = request.time_max - since(begun);
  if (left <= milliseconds(0)) {
    return fail(ErrorCode::kDeadlineExceeded, fmt::format("{}: the look-up used up the time", target->shown));
  }
  const curl::Handle handle;
  CURL* const easy = handle.easy;
  if (easy == nullptr || handle.multi == nullptr) {
    return fail(ErrorCode::kResourceExhausted, "curl could not make a handle");
  }
  Exchange state{.request = request, .addresses = addresses};
  char detail[CURL_ERROR_SIZE] = {};
  curl_easy_setopt(easy, CURLOPT_CURLU, target->url.get());
  curl_easy_setopt(easy, CURLOPT_RESOLVE, known.get());
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, &on_open_socket);
  curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, &state);
  curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
  curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, static_cast<long>(CURL_HTTP_VERSION_1_1));
  curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(easy, CURLOPT_PROXY, "");
  curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
  curl_easy_setopt(easy, CURLOPT_NETRC, static_cast<long>(CURL_NETRC_IGNORED));
  curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
  curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
  curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(std::max<std::int64_t>(1, options_.connect_time_max.count())));
  curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, static_cast<long>(left.count()));
  curl_easy_setopt(easy, CURLOPT_SSLVERSION, static_cast<long>(CURL_SSLVERSION_TLSv1_2));
  if (!options_.ca_file.empty()) curl_easy_setopt(easy, CURLOPT_CAINFO, options_.ca_file.c_str());
  if (request.method == "HEAD") {
    curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
  } else if (!request.body.empty() || request.method == "POST" || request.method == "PUT" ||
             request.method == "PATCH") {
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, request.body.empty() ? "" : request.body.data());
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  } else {
    curl_easy_setopt(easy, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers.get());
  curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, &on_header);
  curl_easy_setopt(easy, CURLOPT_HEADERDATA, &state);
  curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, &on_body);
  curl_easy_setopt(easy, CURLOPT_WRITEDATA, &state);
  curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, &on_progress);
  curl_easy_setopt(easy, CURLOPT_XFERINFODATA, &state);
  curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, detail);

  const CURLcode code = perform(handle, request.stop);
  state.answer.latency = since(begun);
  if (const char* peer = nullptr; curl_easy_getinfo(easy, CURLINFO_PRIMARY_IP, &peer) == CURLE_OK && peer != nullptr) {
    state.answer.address = peer;
  }
  // An answer whose body is cut, by us or by a peer that hangs behind its head, has its status all the same; only the
  // first is an answer, for the second may not have taken the request to its end.
  if (code == CURLE_OK || (code == CURLE_WRITE_ERROR && state.answer.is_cut)) return std::move(state.answer);
  const std::string cause = *detail != '\0' ? detail : curl_easy_strerror(code);
  const std::string what = fmt::format("{} {}", request.method, target->shown);
  if (request.stop.stop_requested()) return fail(ErrorCode::kCancelled, what + ": stopped");
  if (state.strayed) return fail(ErrorCode::kPermissionDenied, what + ": the address changed under the request");
  if (code == CURLE_OPERATION_TIMEDOUT) return fail(ErrorCode::kDeadlineExceeded, fmt::format("{}: {}", what, cause));
  return fail(ErrorCode::kUnavailable, fmt::format("{}: {}", what, cause));
}

}  // namespace fettle::http
