#include "server/wire.h"

#include <netinet/tcp.h>

#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <utility>

namespace heed::http {
namespace {

namespace asio = boost::asio;

// A client that vanished without a word is found out after a minute and a half.
void set_options(Wire::Socket& socket) {
  Wire::ErrorCode ignored;
  socket.set_option(asio::ip::tcp::no_delay(true), ignored);
  socket.set_option(asio::socket_base::keep_alive(true), ignored);
  using Option = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPIDLE>;
  using Interval = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPINTVL>;
  using Count = asio::detail::socket_option::integer<IPPROTO_TCP, TCP_KEEPCNT>;
  socket.set_option(Option(60), ignored);
  socket.set_option(Interval(10), ignored);
  socket.set_option(Count(3), ignored);
}

}  // namespace

Wire::Wire(Socket socket, asio::ssl::context* tls) : socket_(std::move(socket)) {
  set_options(socket_);
  ErrorCode error;
  const auto endpoint = socket_.remote_endpoint(error);
  peer_ = error ? std::string("-") : endpoint.address().to_string();
  if (tls) tls_.emplace(socket_, *tls);
}

asio::awaitable<Wire::ErrorCode> Wire::handshake() {
  ErrorCode error;
  co_await tls_->async_handshake(asio::ssl::stream_base::server,
                                 asio::redirect_error(asio::use_awaitable, error));
  co_return error;
}

void Wire::read_some(asio::mutable_buffer into, OnRead on_read) {
  if (tls_) {
    tls_->async_read_some(into, std::move(on_read));
  } else {
    socket_.async_read_some(into, std::move(on_read));
  }
}

asio::awaitable<size_t> Wire::write_some(std::array<asio::const_buffer, 2> bytes, ErrorCode& error) {
  size_t sent = 0;
  if (tls_) {
    const asio::const_buffer first = bytes[0].size() > 0 ? bytes[0] : bytes[1];
    sent = co_await tls_->async_write_some(first, asio::redirect_error(asio::use_awaitable, error));
  } else {
    sent = co_await socket_.async_write_some(bytes, asio::redirect_error(asio::use_awaitable, error));
  }
  co_return sent;
}

void Wire::finish_sending(std::shared_ptr<void> keep) {
  if (tls_) {
    tls_->async_shutdown([keep = std::move(keep)](const ErrorCode& /*error*/) {});
    return;
  }
  ErrorCode ignored;
  socket_.shutdown(Socket::shutdown_send, ignored);
}

void Wire::close() {
  ErrorCode ignored;
  socket_.close(ignored);
}

}  // namespace heed::http
