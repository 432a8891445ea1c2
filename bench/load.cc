#include "load.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <random>
#include <thread>

#include "core/ids.h"
#include "grpc_load.h"

namespace fettle::bench {
namespace {

using protozero::pbf_reader;
using protozero::pbf_writer;

// Text that differs from one use of a template to the next: what stands behind the mark is written anew.
constexpr std::string_view kRequestIdMark = "req_";
constexpr std::size_t kRequestIdDigits = 16;
constexpr std::string_view kJobIdMark = "job-";
constexpr std::size_t kJobIdDigits = 6;
constexpr std::string_view kCustomerMark = "customer ";
constexpr std::size_t kCustomerDigits = 6;
constexpr std::uint64_t kCustomers = 1'000'000;

std::atomic<std::uint64_t> next_id{0};

// Distinct for distinct numbers, and without the order that would flatter an index.
std::uint64_t scramble(std::uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

void text_attribute(pbf_writer& parent, int tag, std::string_view key, std::string_view value) {
  pbf_writer attribute(parent, static_cast<protozero::pbf_tag_type>(tag));
  attribute.add_string(1, key.data(), key.size());
  pbf_writer any(attribute, 2);
  any.add_string(1, value.data(), value.size());
}

void int_attribute(pbf_writer& parent, int tag, std::string_view key, std::int64_t value) {
  pbf_writer attribute(parent, static_cast<protozero::pbf_tag_type>(tag));
  attribute.add_string(1, key.data(), key.size());
  pbf_writer any(attribute, 2);
  any.add_int64(3, value);
}

void double_attribute(pbf_writer& parent, int tag, std::string_view key, double value) {
  pbf_writer attribute(parent, static_cast<protozero::pbf_tag_type>(tag));
  attribute.add_string(1, key.data(), key.size());
  pbf_writer any(attribute, 2);
  any.add_double(4, value);
}

template <class T, std::size_t N, class Random>
T pick(const T (&list)[N], Random& random) {
  return list[random() % N];
}

}  // namespace

Template::Template(Shape shape, std::uint64_t seed) : shape_(shape) {
  static constexpr const char* kPlatforms[] = {"instagram", "tiktok", "youtube"};
  static constexpr const char* kLanes[] = {"planning", "publishing", "engagement"};
  static constexpr const char* kMethods[] = {"GET", "POST"};
  std::mt19937_64 random(seed);
  const std::string zero_trace(16, '\1');
  const std::string zero_span(8, '\1');
  const int service = static_cast<int>(random() % 12);
  std::uint64_t episode = 0, client = 0;
  {
    pbf_writer request(body_);
    pbf_writer resource_items(request, 1);
    {
      pbf_writer resource(resource_items, 1);
      text_attribute(resource, 1, "service.name", fmt::format("svc-{}", service));
      text_attribute(resource, 1, "service.version", fmt::format("1.4.{}", service));
      text_attribute(resource, 1, "host.name", fmt::format("worker-{}", service % 4));
      text_attribute(resource, 1, "deployment.environment.name", "production");
      text_attribute(resource, 1, "telemetry.sdk.language", "nodejs");
    }
    pbf_writer scope_items(resource_items, 2);
    {
      pbf_writer scope(scope_items, 1);
      scope.add_string(1, "fettle.bench");
      scope.add_string(2, "1.0.0");
    }
    for (int i = 0; i < shape.items; ++i) {
      const bool is_root = i % shape.spans_per_trace == 0;
      if (is_root) {
        episode = random() % 20'000;
        client = random() % 200;
      }
      const bool is_error = random() % 50 == 0;
      pbf_writer item(scope_items, 2);
      const int attributes = shape.logs ? 6 : 9;
      if (shape.logs) {
        item.add_fixed64(1, 1);
        item.add_fixed64(11, 1);
        item.add_int32(2, is_error ? 17 : 9);
        item.add_string(3, is_error ? "ERROR" : "INFO");
        {
          pbf_writer body(item, 5);
          const std::string text = fmt::format("completed step {} for {}{:06} with result {}", random() % 40,
                                               kCustomerMark, 0, is_error ? "timeout" : "ok");
          body.add_string(1, text);
        }
        item.add_bytes(9, zero_trace);
        item.add_bytes(10, zero_span);
      } else {
        item.add_bytes(1, zero_trace);
        item.add_bytes(2, zero_span);
        if (!is_root) item.add_bytes(4, zero_span);
        item.add_string(5, fmt::format("agent.step.{}", random() % 50));
        item.add_int32(6, is_root ? 2 : 3);
        item.add_fixed64(7, 1);
        item.add_fixed64(8, 1);
        if (is_error) {
          pbf_writer status(item, 15);
          status.add_string(2, "upstream returned 503");
          status.add_int32(3, 2);
        }
      }
      text_attribute(item, attributes, "request_id", fmt::format("{}{:016x}", kRequestIdMark, 0));
      text_attribute(item, attributes, "client_id", fmt::format("client-{}", client));
      text_attribute(item, attributes, "platform", pick(kPlatforms, random));
      text_attribute(item, attributes, "lane", pick(kLanes, random));
      text_attribute(item, attributes, "job_id", fmt::format("{}{:06x}", kJobIdMark, 0));
      text_attribute(item, attributes, "episode_id", fmt::format("ep_{}", episode));
      if (!shape.logs) {
        text_attribute(item, attributes, "http.request.method", pick(kMethods, random));
        text_attribute(item, attributes, "http.route", fmt::format("/api/v1/things/{}", random() % 100));
        int_attribute(item, attributes, "http.response.status_code", is_error ? 503 : 200);
        double_attribute(item, attributes, "queue.wait_ms", static_cast<double>(random() % 1'000'000) / 1000);
        text_attribute(item, attributes, "message",
                       fmt::format("completed step for {}{:06} with result ok", kCustomerMark, 0));
      }
      int_attribute(item, attributes, "worker.attempt", static_cast<std::int64_t>(random() % 4));
    }
  }
  find_fields();
  renew();
}

void Template::find_fields() {
  const auto offset = [&](const char* at) { return static_cast<std::uint32_t>(at - body_.data()); };
  pbf_reader request(body_);
  request.next(1);
  pbf_reader resource_items = request.get_message();
  resource_items.next(2);
  pbf_reader scope_items = resource_items.get_message();
  while (scope_items.next(2)) {
    pbf_reader item = scope_items.get_message();
    std::uint32_t parent = 0;
    while (item.next()) {
      const auto tag = item.tag();
      if (tag == (shape_.logs ? 9U : 1U) && item.wire_type() == protozero::pbf_wire_type::length_delimited) {
        trace_ids_.push_back(offset(item.get_view().data()));
      } else if (tag == (shape_.logs ? 10U : 2U) && item.wire_type() == protozero::pbf_wire_type::length_delimited) {
        span_ids_.push_back(offset(item.get_view().data()));
      } else if (!shape_.logs && tag == 4) {
        parent = offset(item.get_view().data());
      } else if (item.wire_type() == protozero::pbf_wire_type::fixed64) {
        item.get_fixed64();
        times_.push_back(offset(item.data().data()) - 8);
      } else {
        item.skip();
      }
    }
    parent_ids_.push_back(parent);
  }
  const auto find_all = [&](std::string_view mark, std::vector<std::uint32_t>& places) {
    for (std::size_t at = body_.find(mark); at != std::string::npos; at = body_.find(mark, at + 1)) {
      places.push_back(static_cast<std::uint32_t>(at + mark.size()));
    }
  };
  find_all(kRequestIdMark, request_ids_);
  find_all(kJobIdMark, job_ids_);
  find_all(kCustomerMark, customers_);
}

void Template::renew() {
  const auto now = static_cast<std::uint64_t>(
      std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch())
          .count());
  const auto put = [&](std::uint32_t at, std::uint64_t value) { std::memcpy(body_.data() + at, &value, sizeof value); };
  const std::uint64_t first =
      next_id.fetch_add(static_cast<std::uint64_t>(shape_.items) * 2, std::memory_order_relaxed);
  const std::uint64_t salt = scramble(static_cast<std::uint64_t>(getpid()) << 32 ^ now >> 40);
  std::uint64_t root = 0, trace = 0;
  // Written by hand: this runs for every item, and its time is the load generator's own.
  const auto put_digits = [&](std::uint32_t at, std::uint64_t value, std::size_t count, std::uint64_t base) {
    for (char* digit = body_.data() + at + count; count > 0; --count, value /= base)
      *--digit = "0123456789abcdef"[value % base];
  };
  for (std::size_t i = 0; i < span_ids_.size(); ++i) {
    const std::uint64_t span = scramble(first + 2 * i + 1 + salt) | 1;
    if (i % static_cast<std::size_t>(shape_.spans_per_trace) == 0) {
      trace = scramble(first + 2 * i + salt) | 1;
      root = span;
    }
    put(trace_ids_[i], trace);
    put(trace_ids_[i] + 8, scramble(trace));
    put(span_ids_[i], span);
    if (parent_ids_[i] != 0) put(parent_ids_[i], root);
    // One request and one job for a trace, as real senders have them.
    put_digits(request_ids_[i], trace, kRequestIdDigits, 16);
    put_digits(job_ids_[i], trace >> 20, kJobIdDigits, 16);
    put_digits(customers_[i], (span >> 8) % kCustomers, kCustomerDigits, 10);
    put(times_[2 * i], now - 1'000'000'000 + i * 3'000'000 % 900'000'000);
    put(times_[2 * i + 1], now - 1'000'000'000 + i * 3'000'000 % 900'000'000 + 5'000'000 + span % 900'000'000);
  }
}

std::string Template::trace_id() const { return to_hex(std::string_view(body_).substr(trace_ids_.front(), 16)); }

namespace {

double thread_cpu_seconds() {
  timespec spent{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &spent);
  return static_cast<double>(spent.tv_sec) + static_cast<double>(spent.tv_nsec) / 1e9;
}

int connect_to(const std::string& address) {
  const std::size_t colon = address.rfind(':');
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(std::stoi(address.substr(colon + 1))));
  inet_pton(AF_INET, address.substr(0, colon).c_str(), &to.sin_addr);
  const int socket_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int one = 1;
  setsockopt(socket_fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  if (connect(socket_fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) {
    close(socket_fd);
    return -1;
  }
  return socket_fd;
}

// Sends one request and reads its answer. Returns the status, 0 when the connection broke.
int exchange(int socket_fd, std::string_view head, std::string_view body, std::string& answer) {
  iovec pieces[2] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(body.data()), body.size()}};
  std::size_t left = head.size() + body.size();
  int first = 0;
  while (left > 0) {
    const ssize_t sent = writev(socket_fd, pieces + first, 2 - first);
    if (sent <= 0) return 0;
    left -= static_cast<std::size_t>(sent);
    for (std::size_t taken = static_cast<std::size_t>(sent); taken > 0 && first < 2;) {
      const std::size_t step = std::min(taken, pieces[first].iov_len);
      pieces[first].iov_base = static_cast<char*>(pieces[first].iov_base) + step;
      pieces[first].iov_len -= step;
      taken -= step;
      if (pieces[first].iov_len == 0) ++first;
    }
  }
  answer.clear();
  char buffer[4096];
  std::size_t head_end = std::string::npos, length = 0;
  while (head_end == std::string::npos || answer.size() < head_end + 4 + length) {
    const ssize_t got = read(socket_fd, buffer, sizeof buffer);
    if (got <= 0) return 0;
    answer.append(buffer, static_cast<std::size_t>(got));
    if (head_end == std::string::npos && (head_end = answer.find("\r\n\r\n")) != std::string::npos) {
      const std::size_t field = answer.find("Content-Length: ");
      length = field < head_end ? std::stoul(answer.substr(field + 16)) : 0;
    }
  }
  return std::stoi(answer.substr(9, 3));
}

}  // namespace

LoadResult run_load(const LoadOptions& options) {
  using Clock = std::chrono::steady_clock;
  LoadResult result;
  std::mutex mutex;
  std::atomic<std::uint64_t> started{0};
  std::vector<std::vector<Template>> templates(static_cast<std::size_t>(options.connections));
  for (std::size_t i = 0; i < templates.size(); ++i) {
    for (std::uint64_t k = 0; k < kTemplatesPerConnection; ++k) {
      templates[i].emplace_back(options.shape, i * kTemplatesPerConnection + k);
    }
  }
  const auto begin = Clock::now();
  const auto end = begin + std::chrono::duration_cast<Clock::duration>(options.duration);
  {
    std::vector<std::jthread> threads;
    for (std::size_t i = 0; i < templates.size(); ++i) {
      threads.emplace_back([&, i] {
        std::unique_ptr<GrpcSender> grpc;
        if (options.grpc) grpc = std::make_unique<GrpcSender>(options.address, options.shape.logs);
        const int socket_fd = options.grpc ? -1 : connect_to(options.address);
        const std::string path = options.shape.logs ? "/v1/logs" : "/v1/traces";
        std::string answer, error;
        std::vector<double> latencies;
        std::uint64_t failed = 0;
        for (std::uint64_t n = 0;; ++n) {
          const std::uint64_t number = started.fetch_add(1);
          if (options.requests != 0 ? number >= options.requests : Clock::now() >= end) break;
          if (options.items_per_second > 0) {
            // Open loop: requests leave on schedule, whatever the earlier ones took.
            const auto due = begin + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                                         static_cast<double>(number) * options.shape.items / options.items_per_second));
            if (due >= end && options.requests == 0) break;
            std::this_thread::sleep_until(due);
          }
          Template& request = templates[i][n % templates[i].size()];
          request.renew();
          const auto sent_at = Clock::now();
          int status = 0;
          if (grpc) {
            status = grpc->send(request.body(), error) ? 200 : 0;
          } else {
            const std::string head = fmt::format(
                "POST {} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\nContent-Length: "
                "{}\r\n\r\n",
                path, request.body().size());
            status = exchange(socket_fd, head, request.body(), answer);
            if (status != 200 && error.empty()) error = answer.substr(0, 300);
          }
          latencies.push_back(std::chrono::duration<double, std::milli>(Clock::now() - sent_at).count());
          if (status != 200) ++failed;
          if (status == 0) break;
        }
        if (socket_fd >= 0) close(socket_fd);
        std::lock_guard lock(mutex);
        result.requests += latencies.size();
        result.failed += failed;
        result.generator_cpu_seconds += thread_cpu_seconds();
        result.latencies_ms.insert(result.latencies_ms.end(), latencies.begin(), latencies.end());
        if (result.error.empty()) result.error = error;
      });
    }
  }
  result.seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  result.items = (result.requests - result.failed) * static_cast<std::uint64_t>(options.shape.items);
  std::ranges::sort(result.latencies_ms);
  return result;
}

double percentile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return 0;
  return sorted[std::min(sorted.size() - 1, static_cast<std::size_t>(p * static_cast<double>(sorted.size())))];
}

}  // namespace fettle::bench
