#include "http/server.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sys/socket.h>

#include <algorithm>
#include <boost/asio/dispatch.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/posix/basic_stream_descriptor.hpp>
#include <boost/asio/post.hpp>
#include <cerrno>
#include <deque>
#include <thread>
#include <vector>

#include "core/log.h"
#include "core/mutex.h"
#include "http/connection.h"
#include "http/listen_socket.h"

namespace fettle::http {

namespace asio = boost::asio;
using std::chrono::steady_clock;

namespace {

// After so many the thread looks after its connections; the rest wait in the kernel.
constexpr int kAcceptsPerTurn = 64;
// When the process has no descriptors left, accepting again at once would only spin.
constexpr std::chrono::milliseconds kAcceptPause{100};

using Descriptor = asio::posix::basic_stream_descriptor<Context::executor_type>;

constexpr std::array<std::string_view, static_cast<std::size_t>(Refusal::kCount)> kRefusalNames = {
    "gate",         "malformed",   "header_too_large", "header_timeout", "body_too_large",
    "body_timeout", "unsupported", "no_room",          "write_timeout"};

// One address: the socket, and the operation that waits for connections on it. Touched on the first I/O thread once
// the server runs.
struct Listener {
  Listener(Context& context, ListenSocket bound, ListenerRoute connections_go_to)
      : route(std::move(connections_go_to)),
        socket(std::move(bound)),
        ready(context, ::dup(socket.fd())),  // the descriptor object closes what it is given
        pause(context) {}

  const ListenerRoute route;
  ListenSocket socket;
  Descriptor ready;
  Timer pause;
  bool waiting = false;
};

}  // namespace

struct Server::Impl final : ConnectionHost {
  Impl(ServerOptions server_options, metrics::Registry& registry) {
    options = server_options;
    options.threads = std::max(options.threads, 1);
    open_gauge = &registry.gauge("fettle_http_connections", "Open connections.");
    for (std::size_t i = 1; i < requests.size(); ++i) {
      requests[i] = &registry.counter("fettle_http_requests_total", "Answered requests by class of status.",
                                      {{"status_class", fmt::format("{}xx", i)}});
    }
    requests[0] = requests[5];
    for (std::size_t i = 0; i < refusals.size(); ++i) {
      refusals[i] = &registry.counter("fettle_http_refused_total", "Requests refused or cut by the transport.",
                                      {{"reason", std::string(kRefusalNames[i])}});
    }
    for (int i = 0; i < options.threads; ++i) io.push_back(std::make_unique<IoThread>());
  }

  Result<std::string> listen(std::string_view address, Gate gate, Handler handler);
  void start();
  void stop(std::chrono::milliseconds deadline);
  void connection_closed(IoThread& thread) override;

  // On the first I/O thread.
  void accept_more(Listener& listener);
  void accept_ready(Listener& listener);
  void adopt(Listener& listener, int fd);

  void run(IoThread& thread, int index);
  template <class Action>
  void on_every_connection(Action action);

  metrics::Gauge* open_gauge = nullptr;
  std::vector<std::unique_ptr<IoThread>> io;

  Mutex mutex;
  Condition closed;
  std::size_t open FETTLE_GUARDED_BY(mutex) = 0;
  bool accepting_paused FETTLE_GUARDED_BY(mutex) = false;
  bool running FETTLE_GUARDED_BY(mutex) = false;
  bool stopped FETTLE_GUARDED_BY(mutex) = false;

  std::deque<Listener> listeners;  // grows before start() alone
  std::vector<asio::executor_work_guard<Context::executor_type>> work;
  std::vector<std::jthread> threads;
};

Result<std::string> Server::Impl::listen(std::string_view address, Gate gate, Handler handler) {
  {
    MutexLock lock(mutex);
    if (running || stopped) return fail(ErrorCode::kInternal, "listen() must come before start()");
  }
  auto socket = ListenSocket::open(address);
  if (!socket) return std::unexpected(std::move(socket).error());
  std::string bound = socket->address();
  listeners.emplace_back(io.front()->context, std::move(*socket),
                         ListenerRoute{std::string(address), std::move(gate), std::move(handler)});
  return bound;
}

void Server::Impl::run(IoThread& thread, int index) {
  ::pthread_setname_np(::pthread_self(), fmt::format("http-io-{}", index).c_str());
  IoThread::current = &thread;
  while (true) {
    try {
      thread.context.run();
      return;
    } catch (const std::exception& error) {
      // Nothing here throws but memory running out; the connection that met it is left to its deadline.
      log::error("http_io_failed", {{"error", error.what()}});
    }
  }
}

void Server::Impl::start() {
  {
    MutexLock lock(mutex);
    if (running || stopped) return;
    running = true;
  }
  for (std::size_t i = 0; i < io.size(); ++i) {
    work.emplace_back(io[i]->context.get_executor());
    threads.emplace_back([this, i] { run(*io[i], static_cast<int>(i)); });
  }
  asio::post(io.front()->context, [this] {
    for (Listener& listener : listeners) accept_more(listener);
  });
}

void Server::Impl::accept_more(Listener& listener) {
  if (draining || listener.waiting) return;
  listener.waiting = true;
  listener.ready.async_wait(Descriptor::wait_read, [this, &listener](const boost::system::error_code& error) {
    listener.waiting = false;
    if (!error) accept_ready(listener);
  });
}

void Server::Impl::accept_ready(Listener& listener) {
  for (int i = 0; i < kAcceptsPerTurn; ++i) {
    if (draining) return;
    {
      MutexLock lock(mutex);
      if (open >= options.connections_max) {
        accepting_paused = true;  // connection_closed() goes on
        return;
      }
    }
    const int fd = ::accept4(listener.socket.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      adopt(listener, fd);
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      break;
    } else if (errno != ECONNABORTED && errno != EINTR) {
      log::warning("http_accept_failed", {{"listener", listener.socket.address()},
                                          {"error", std::error_code(errno, std::generic_category()).message()}});
      listener.pause.expires_after(kAcceptPause);
      listener.pause.async_wait([this, &listener](const boost::system::error_code& error) {
        if (!error) accept_more(listener);
      });
      return;
    }
  }
  accept_more(listener);
}

void Server::Impl::adopt(Listener& listener, int fd) {
  if (!listener.socket.is_unix()) {
    const int on = 1;
    ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    ::setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
  }
  {
    MutexLock lock(mutex);
    open_gauge->set(static_cast<double>(++open));
  }
  // A connection stays where it begins, and a few busy ones carry most of the load: the emptiest thread takes it.
  IoThread& thread = **std::min_element(io.begin(), io.end(), [](const auto& a, const auto& b) {
    return a->connections_count.load() < b->connections_count.load();
  });
  ++thread.connections_count;
  asio::dispatch(thread.context, [this, &thread, &listener, fd] {
    sockaddr_storage own{};
    socklen_t length = sizeof(own);
    ::getsockname(fd, reinterpret_cast<sockaddr*>(&own), &length);
    boost::system::error_code error;
    Socket socket(thread.context);
    socket.assign({own.ss_family, 0}, fd, error);
    if (error || draining) {
      if (error) ::close(fd);
      return connection_closed(thread);
    }
    auto connection = std::make_shared<Connection>(thread, *this, listener.route, std::move(socket), remote_of(fd));
    thread.connections.insert(connection);
    connection->start();
  });
}

void Server::Impl::connection_closed(IoThread& thread) {
  --thread.connections_count;
  MutexLock lock(mutex);
  open_gauge->set(static_cast<double>(--open));
  if (std::exchange(accepting_paused, false)) {
    asio::post(io.front()->context, [this] {
      for (Listener& listener : listeners) accept_more(listener);
    });
  }
  if (open == 0) closed.notify_all();
}

template <class Action>
void Server::Impl::on_every_connection(Action action) {
  for (auto& thread : io) {
    asio::post(thread->context, [&connections = thread->connections, action] {
      // A copy: the action may end connections, which takes them out of the set.
      const std::vector<std::shared_ptr<Connection>> present(connections.begin(), connections.end());
      for (const auto& connection : present) action(*connection);
    });
  }
}

void Server::Impl::stop(std::chrono::milliseconds deadline) {
  bool was_running = false;
  {
    MutexLock lock(mutex);
    if (std::exchange(stopped, true)) return;
    was_running = running;
  }
  draining = true;
  if (!was_running) return listeners.clear();

  asio::post(io.front()->context, [this] {
    for (Listener& listener : listeners) {
      boost::system::error_code ignored;
      listener.ready.close(ignored);
      listener.pause.cancel();
      listener.socket.close();
    }
  });
  on_every_connection([](Connection& connection) { connection.drain(); });
  {
    MutexLock lock(mutex);
    const auto until = steady_clock::now() + deadline;
    while (open != 0 && steady_clock::now() < until) closed.wait_for(lock, until - steady_clock::now());
  }
  std::atomic<std::size_t> cut = 0;
  on_every_connection([&cut](Connection& connection) {
    if (connection.is_busy()) ++cut;
    connection.close();
  });
  {
    MutexLock lock(mutex);
    while (open != 0) closed.wait(lock);
  }
  work.clear();
  for (auto& thread : io) thread->context.stop();
  threads.clear();
  listeners.clear();
  if (cut != 0) log::warning("http_requests_cut", {{"count", cut.load()}});
}

Server::Server(ServerOptions options, metrics::Registry& metrics) : impl_(std::make_unique<Impl>(options, metrics)) {}

Server::~Server() { stop(std::chrono::milliseconds(0)); }

Result<std::string> Server::listen(std::string_view address, Gate gate, Handler handler) {
  return impl_->listen(address, std::move(gate), std::move(handler));
}

void Server::start() { impl_->start(); }

void Server::stop(std::chrono::milliseconds deadline) { impl_->stop(deadline); }

}  // namespace fettle::http
