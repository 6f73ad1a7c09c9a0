// Boost.Beast's request parser with a body that grows as bytes come, never by what a header announces.
#pragma once
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/optional.hpp>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "server/refusal.h"
#include "server/request_head.h"
#include "server/server.h"

namespace heed::http {

struct GrowingBody {
  using value_type = std::string;
  static uint64_t size(const value_type& body) { return body.size(); }

  class reader {  // NOLINT(readability-identifier-naming): Beast asks for this name
   public:
    template <bool IsRequest, class Fields>
    reader(boost::beast::http::header<IsRequest, Fields>& /*header*/, value_type& body) : body_(body) {}
    void init(const boost::optional<uint64_t>& /*length*/, boost::system::error_code& error) { error = {}; }
    template <class Buffers>
    size_t put(const Buffers& buffers, boost::system::error_code& error) {
      size_t bytes = 0;
      for (auto part = boost::asio::buffer_sequence_begin(buffers);
           part != boost::asio::buffer_sequence_end(buffers); ++part) {
        const boost::asio::const_buffer buffer = *part;
        body_.append(static_cast<const char*>(buffer.data()), buffer.size());
        bytes += buffer.size();
      }
      error = {};
      return bytes;
    }
    void finish(boost::system::error_code& error) { error = {}; }

   private:
    value_type& body_;
  };
};

// Reads one request. Bytes are fed to it as they come; it takes from the front of `input` what it has used.
class RequestParser {
 public:
  explicit RequestParser(const ServerLimits& limits);

  // Both: a refusal where the bytes cannot become a request; else the state below says how far it is.
  std::optional<Refusal> read_head(std::string& input);
  std::optional<Refusal> read_body(std::string& input);  // once has_head()

  bool has_head() const { return parser_.is_header_done(); }
  bool has_all() const { return parser_.is_done(); }
  bool wants_keep_alive() const { return parser_.keep_alive(); }
  int64_t body_bytes() const { return std::ssize(parser_.get().body()); }
  std::string take_body() { return std::move(parser_.get().body()); }

  RequestHead head() const;         // once has_head()
  std::string_view target() const;  // as sent; once has_head()

 private:
  std::optional<Refusal> check_sizes(int64_t waiting_bytes) const;
  Refusal too_long(std::string_view input) const;

  const ServerLimits& limits_;
  boost::beast::http::request_parser<GrowingBody> parser_;
  int64_t head_bytes_ = 0;
};

}  // namespace heed::http
