#include "server/server.h"

#include <sys/resource.h>

#include <algorithm>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <future>
#include <thread>
#include <utility>

#include "server/connection.h"
#include "server/hub.h"
#include "server/tls.h"

namespace heed {

namespace asio = boost::asio;
using asio::ip::tcp;
using http::Clock;
using http::Connection;
using http::Hub;

namespace {

constexpr int kTurnedAway =
    256;  // so many more connections than allowed are told so; others are closed at once
constexpr auto kAcceptPause = std::chrono::milliseconds(50);

// Every connection is a file: as many as the system lets this process have.
void raise_file_limit(int max_connections) {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t wanted = static_cast<rlim_t>(max_connections) + 1024;
  if (limit.rlim_cur >= wanted) return;
  limit.rlim_cur = std::min(wanted, limit.rlim_max);
  setrlimit(RLIMIT_NOFILE, &limit);
}

Status check_options(const ServerOptions& options) {
  const ServerLimits& limits = options.limits;
  if (options.port < 0 || options.port > 65535) return invalid("port: 0 (any free one) to 65535");
  if (options.worker_threads < 1 || options.worker_threads > 256) return invalid("worker_threads: 1 to 256");
  if (limits.max_connections < 1) return invalid("max_connections: 1 and up");
  for (const std::string& key : options.api_keys) {
    if (key.empty()) return invalid("api_keys: a key is empty");
  }
  const int64_t sizes[] = {limits.url_bytes,      limits.header_bytes, limits.body_bytes,
                           limits.all_body_bytes, limits.unsent_bytes, limits.body_bytes_per_second};
  for (const int64_t size : sizes) {
    if (size < 1 || size > int64_t{1} << 40) return invalid("server limits in bytes: 1 to 2^40");
  }
  if (limits.url_bytes + limits.header_bytes > int64_t{1} << 30) {
    return invalid("url_bytes and header_bytes: at most 2^30 together");
  }
  const double times[] = {limits.idle_seconds, limits.handshake_seconds, limits.header_seconds,
                          limits.body_seconds, limits.send_seconds,      limits.linger_seconds};
  for (const double seconds : times) {
    if (!(seconds > 0 && seconds <= 1e6))
      return invalid("server limits in seconds: above 0, at most 1000000");
  }
  return {};
}

// How often deadlines are looked at: a fraction of the shortest, so that none passes long unnoticed.
Clock::duration sweep_interval(const ServerLimits& limits) {
  const double shortest = std::min({limits.idle_seconds, limits.handshake_seconds, limits.header_seconds,
                                    limits.body_seconds, limits.send_seconds, limits.linger_seconds});
  const double seconds = std::clamp(shortest / 8, 0.01, 0.25);
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

}  // namespace

struct Server::Parts {
  Parts(ServerOptions options, ApiHandler& handler, std::unique_ptr<asio::ssl::context> tls)
      : hub(std::move(options), handler, std::move(tls)), acceptor(hub.io), sweep_timer(hub.io) {}

  Status listen();
  void run();
  asio::awaitable<void> accept();
  void welcome(tcp::socket socket);
  void sweep();
  void close_acceptor() {
    boost::system::error_code ignored;
    acceptor.close(ignored);
  }
  // Runs `task` on the IO thread and waits for it.
  void on_io_thread(const std::function<void()>& task) {
    std::promise<void> done;
    asio::post(hub.io, [&] {
      task();
      done.set_value();
    });
    done.get_future().wait();
  }

  Hub hub;
  tcp::acceptor acceptor;
  asio::steady_timer sweep_timer;
  asio::executor_work_guard<asio::io_context::executor_type> work = asio::make_work_guard(hub.io);
  std::thread io_thread;
  int port = 0;
};

Status Server::Parts::listen() {
  const ServerOptions& options = hub.options;
  boost::system::error_code error;
  tcp::resolver resolver(hub.io);
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
  if (error) return invalid("host " + options.host + ": " + error.message());
  for (const auto& entry : found) {
    const tcp::endpoint endpoint = entry.endpoint();
    error = {};
    acceptor.open(endpoint.protocol(), error);
    if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
    if (!error) acceptor.bind(endpoint, error);
    if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
    if (!error) break;
    close_acceptor();
  }
  if (error) {
    return invalid("cannot listen on " + options.host + ":" + std::to_string(options.port) + ": " +
                   error.message());
  }
  port = acceptor.local_endpoint().port();
  return {};
}

void Server::Parts::run() {
  while (!hub.io.stopped()) {
    try {
      hub.io.run();
    } catch (const std::exception& error) {
      hub.log("error: the IO thread caught: " + http::escaped_for_log(error.what()));
    }
  }
}

// Out of files or memory: waits a little for connections to go, and tries again.
asio::awaitable<void> Server::Parts::accept() {
  asio::steady_timer pause(hub.io);
  bool failing = false;
  while (acceptor.is_open()) {
    boost::system::error_code error;
    tcp::socket socket = co_await acceptor.async_accept(asio::redirect_error(asio::use_awaitable, error));
    if (!acceptor.is_open()) co_return;
    if (!error) {
      failing = false;
      welcome(std::move(socket));
      continue;
    }
    if (error == asio::error::connection_aborted) continue;
    if (!std::exchange(failing, true)) hub.log("error: cannot accept connections: " + error.message());
    pause.expires_after(kAcceptPause);
    co_await pause.async_wait(asio::redirect_error(asio::use_awaitable, error));
  }
}

void Server::Parts::welcome(tcp::socket socket) try {
  const int64_t others = std::ssize(hub.connections);
  const int max_connections = hub.options.limits.max_connections;
  if (others >= max_connections + kTurnedAway) return;  // closes the socket
  auto connection = std::make_shared<Connection>(hub, std::move(socket));
  auto session = others < max_connections ? connection->serve() : connection->turn_away();
  asio::co_spawn(hub.io, std::move(session), [this, connection](const std::exception_ptr& thrown) {
    if (!thrown) return;
    connection->abort();
    try {
      std::rethrow_exception(thrown);
    } catch (const std::exception& error) {
      hub.log("error: a connection ended by: " + http::escaped_for_log(error.what()));
    }
  });
} catch (const std::exception& error) {  // out of memory: this connection's loss
  hub.log("error: cannot serve a connection: " + http::escaped_for_log(error.what()));
}

void Server::Parts::sweep() {
  sweep_timer.expires_after(sweep_interval(hub.options.limits));
  sweep_timer.async_wait([this](const boost::system::error_code& error) {
    if (error) return;
    const Clock::time_point now = Clock::now();
    for (Connection* connection : hub.connections) connection->expire(now);
    sweep();
  });
}

Result<std::unique_ptr<Server>> Server::start(ServerOptions options, ApiHandler& handler) {
  TRY(check_options(options));
  std::unique_ptr<asio::ssl::context> tls;
  try {
    tls = TRY(http::tls_context(options.ssl_certfile, options.ssl_keyfile));
    raise_file_limit(options.limits.max_connections);
    auto parts = std::make_unique<Parts>(std::move(options), handler, std::move(tls));
    TRY(parts->listen());
    Parts* raw = parts.get();
    Hub& hub = raw->hub;
    hub.doorbell = std::make_shared<http::Doorbell>([&hub] {
      asio::post(hub.io, [&hub] {
        for (const auto& outbox : hub.doorbell->who_rang()) outbox->tell_listener();
      });
    });
    asio::co_spawn(hub.io, raw->accept(), asio::detached);
    raw->sweep();
    raw->io_thread = std::thread([raw] { raw->run(); });
    return std::unique_ptr<Server>(new Server(std::move(parts)));
  } catch (const std::exception& error) {
    return invalid(std::string("the server cannot start: ") + error.what());
  }
}

Server::Server(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

Server::~Server() {
  abort();
  parts_->hub.workers.stop();
  parts_->hub.workers.join();
  parts_->hub.doorbell->close();
  parts_->hub.io.stop();
  parts_->io_thread.join();
}

int Server::port() const { return parts_->port; }

int Server::connections() const { return parts_->hub.count.value(); }

void Server::stop_accepting() {
  parts_->on_io_thread([this] { parts_->close_acceptor(); });
}

bool Server::drain(double seconds) {
  parts_->on_io_thread([this] {
    parts_->close_acceptor();
    parts_->hub.draining = true;
    for (Connection* connection : parts_->hub.connections) connection->drain();
  });
  return parts_->hub.count.wait_for_none(std::chrono::duration<double>(seconds));
}

void Server::abort() {
  parts_->on_io_thread([this] {
    parts_->close_acceptor();
    parts_->hub.draining = parts_->hub.aborting = true;
    for (Connection* connection : parts_->hub.connections) connection->abort();
  });
}

}  // namespace heed
