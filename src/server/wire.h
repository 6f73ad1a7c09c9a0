// One client's socket, plain or under TLS, with the same few calls for both. IO thread only.
#pragma once
#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/ssl/stream.hpp>
#include <functional>
#include <optional>
#include <string>

namespace heed::http {

class Wire {
 public:
  using ErrorCode = boost::system::error_code;
  using OnRead = std::function<void(const ErrorCode&, size_t)>;
  using Socket = boost::asio::ip::tcp::socket;

  Wire(Socket socket, boost::asio::ssl::context* tls);  // tls: null for plain text

  bool is_tls() const { return tls_.has_value(); }
  std::string peer() const { return peer_; }  // its address, without the port

  boost::asio::awaitable<ErrorCode> handshake();
  // One read and one write may be under way at once.
  void read_some(boost::asio::mutable_buffer into, OnRead on_read);
  boost::asio::awaitable<size_t> write_some(std::array<boost::asio::const_buffer, 2> bytes, ErrorCode& error);
  // Tells the client that nothing more will come; `keep` lives until that is done.
  void finish_sending(std::shared_ptr<void> keep);
  void close();  // at once; what is under way fails

 private:
  Socket socket_;
  std::optional<boost::asio::ssl::stream<Socket&>> tls_;
  std::string peer_;
};

}  // namespace heed::http
