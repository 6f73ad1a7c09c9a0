// A server for tests of the client, on plain sockets: it says whatever a test wants said, right or wrong.
#pragma once
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "base/check.h"

namespace heed {

// One accepted connection, on a thread of its own.
class FakeConnection {
 public:
  explicit FakeConnection(int socket) : socket_(socket) {}
  ~FakeConnection() { ::close(socket_); }
  FakeConnection(const FakeConnection&) = delete;
  FakeConnection& operator=(const FakeConnection&) = delete;

  // The next request: its head, a blank line and the body that Content-Length tells of. Empty: the client
  // left.
  std::string read_request() {
    size_t head = std::string::npos;
    while ((head = received_.find("\r\n\r\n")) == std::string::npos) {
      if (!receive()) return {};
    }
    size_t whole = head + 4;
    const size_t field = received_.substr(0, head).find("Content-Length: ");
    if (field != std::string::npos) whole += std::stoul(received_.substr(field + 16));
    while (received_.size() < whole) {
      if (!receive()) return {};
    }
    const std::string request = received_.substr(0, whole);
    received_.erase(0, whole);
    return request;
  }

  bool send(const std::string& text) {
    size_t sent = 0;
    while (sent < text.size()) {
      const ssize_t count = ::send(socket_, text.data() + sent, text.size() - sent, MSG_NOSIGNAL);
      if (count <= 0) return false;
      sent += static_cast<size_t>(count);
    }
    return true;
  }
  bool send_chunk(const std::string& text) {
    char size[32];
    std::snprintf(size, sizeof size, "%zx\r\n", text.size());
    return send(size + text + "\r\n");
  }
  void reply(int status, const std::string& body, const std::string& fields = "") {
    send("HTTP/1.1 " + std::to_string(status) + " X\r\nContent-Length: " + std::to_string(body.size()) +
         "\r\n" + fields + "\r\n" + body);
  }

  // Returns when the client has closed the connection.
  void wait_for_close() {
    while (receive()) {
    }
  }

 private:
  bool receive() {
    char bytes[4096];
    const ssize_t count = ::recv(socket_, bytes, sizeof bytes, 0);
    if (count <= 0) return false;
    received_.append(bytes, static_cast<size_t>(count));
    return true;
  }
  int socket_;
  std::string received_;
};

class FakeServer {
 public:
  // `serve` is called for each connection, at many at once.
  explicit FakeServer(std::function<void(FakeConnection&)> serve) : serve_(std::move(serve)) {
    listening_ = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    CHECK(::bind(listening_, reinterpret_cast<sockaddr*>(&address), size) == 0);
    CHECK(::listen(listening_, 1024) == 0);
    CHECK(::getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size) == 0);
    port_ = ntohs(address.sin_port);
    acceptor_ = std::thread([this] { accept(); });
  }
  // Clients must have closed, or their connections been served.
  ~FakeServer() {
    ::shutdown(listening_, SHUT_RDWR);
    acceptor_.join();
    for (std::thread& thread : threads_) thread.join();
    ::close(listening_);
  }
  FakeServer(const FakeServer&) = delete;
  FakeServer& operator=(const FakeServer&) = delete;

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  int num_connections() const { return num_connections_; }

 private:
  void accept() {
    for (;;) {
      const int socket = ::accept(listening_, nullptr, nullptr);
      if (socket < 0) return;
      ++num_connections_;
      threads_.emplace_back([this, socket] {
        FakeConnection connection(socket);
        serve_(connection);
      });
    }
  }
  std::function<void(FakeConnection&)> serve_;
  int listening_ = -1;
  int port_ = 0;
  std::atomic<int> num_connections_{0};
  std::thread acceptor_;
  std::vector<std::thread> threads_;  // grown by the acceptor only
};

}  // namespace heed
