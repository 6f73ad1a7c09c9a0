#include "client/http_client.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <charconv>
#include <chrono>
#include <map>
#include <optional>

namespace heed {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using PlainStream = beast::tcp_stream;
using TlsStream = beast::ssl_stream<beast::tcp_stream>;
using Parser = http::response_parser<http::buffer_body>;

constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr int kMaxInterim = 8;  // answers 1xx before the real one

std::chrono::steady_clock::duration seconds_of(double seconds) {
  return std::chrono::duration_cast<std::chrono::steady_clock::duration>(
      std::chrono::duration<double>(seconds));
}

// A connection with what has been read of it and not yet been used. One of the streams exists.
struct Connection {
  explicit Connection(const HttpClientOptions& options)
      : buffer(static_cast<size_t>(options.max_header_bytes) + (64 << 10)) {}
  std::optional<PlainStream> plain;
  std::optional<TlsStream> tls;
  beast::flat_buffer buffer;
  bool used = false;  // has carried an exchange

  PlainStream& transport() { return tls ? beast::get_lowest_layer(*tls) : *plain; }
  void close() {
    beast::error_code ignored;
    transport().socket().close(ignored);
  }
};

// A request under way.
struct Exchange {
  HttpRequest request;
  std::unique_ptr<HttpListener> listener;
  std::unique_ptr<Connection> connection;
  std::optional<asio::steady_timer> end;  // of the time that it has in all
  bool hung_up = false;
  bool is_late = false;
  bool answered = false;  // something of the answer has come
};

bool has_control(std::string_view text) {
  return std::any_of(text.begin(), text.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
}

Status check(const HttpRequest& request) {
  if (has_control(request.method) || has_control(request.path) ||
      request.path.find(' ') != std::string::npos) {
    return invalid("a request's method or path has a space or a control character");
  }
  for (const auto& [name, value] : request.fields) {
    if (has_control(name) || has_control(value)) {
      return invalid("a header field has a control character");
    }
  }
  return {};
}

http::request<http::string_body> message_of(const Url& url, HttpRequest& request, bool keep_alive) {
  http::request<http::string_body> message;
  message.version(11);
  message.method_string(request.method);
  message.target(url.prefix + request.path);
  message.set(http::field::host, authority(url));
  message.set(http::field::user_agent, "heed");
  for (const auto& [name, value] : request.fields) message.set(name, value);
  message.keep_alive(keep_alive);
  message.body() = request.body;
  if (!request.body.empty()) message.prepare_payload();
  return message;
}

HttpFields fields_of(const Parser& parser) {
  HttpFields fields;
  for (const auto& field : parser.get()) {
    std::string name(field.name_string());
    for (char& c : name) c = static_cast<char>(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    fields.emplace_back(std::move(name), std::string(field.value()));
  }
  return fields;
}

}  // namespace

struct HttpClient::Parts {
  Parts(Url where, HttpClientOptions how) : url(std::move(where)), options(std::move(how)) {}

  asio::awaitable<void> carry_out(Exchange& exchange);
  asio::awaitable<Status> attempt(Exchange& exchange);
  asio::awaitable<Status> connect(Connection& connection);
  Status find_endpoints();
  void end_in_time(uint64_t number);
  template <class Stream>
  asio::awaitable<Status> converse(Stream& stream, Exchange& exchange);
  template <class Stream>
  asio::awaitable<beast::error_code> write(Stream& stream, Exchange& exchange);
  template <class Stream>
  asio::awaitable<Status> read_body(Stream& stream, Exchange& exchange, Parser& parser);
  Error failure(const Exchange& exchange, const std::string& what, beast::error_code error) const;

  Url url;
  HttpClientOptions options;
  std::vector<tcp::endpoint> endpoints;
  std::optional<asio::ssl::context> tls;
  asio::io_context io{1};  // outlives the connections
  std::vector<std::unique_ptr<Connection>> idle;
  std::map<uint64_t, Exchange> under_way;
  uint64_t next = 1;
};

Error HttpClient::Parts::failure(const Exchange& exchange, const std::string& what,
                                 beast::error_code error) const {
  if (exchange.hung_up) return stopped("hung up");
  const std::string place = authority(url) + ": " + what + ": ";
  if (error == beast::error::timeout) return limit_reached(place + "timed out");
  if (error == http::error::body_limit || error == http::error::header_limit ||
      error == http::error::buffer_overflow) {
    return limit_reached(place + "the answer is too large");
  }
  return invalid(place + error.message());
}

asio::awaitable<Status> HttpClient::Parts::connect(Connection& connection) {
  const Exchange nobody;
  if (tls) {
    connection.tls.emplace(io, *tls);
    // Not for addresses (RFC 6066).
    if (!is_address(url.host)) SSL_set_tlsext_host_name(connection.tls->native_handle(), url.host.c_str());
    if (options.verify) connection.tls->set_verify_callback(asio::ssl::host_name_verification(url.host));
  } else {
    connection.plain.emplace(io);
  }
  PlainStream& transport = connection.transport();
  transport.expires_after(seconds_of(options.connect_seconds));
  const auto [error, endpoint] = co_await transport.async_connect(endpoints, kAwait);
  if (error) co_return failure(nobody, "cannot connect", error);
  beast::error_code ignored;
  transport.socket().set_option(tcp::no_delay(true), ignored);
  if (!tls) co_return Status();
  const auto [refused] = co_await connection.tls->async_handshake(asio::ssl::stream_base::client, kAwait);
  if (refused) co_return failure(nobody, "TLS handshake", refused);
  co_return Status();
}

asio::awaitable<void> HttpClient::Parts::carry_out(Exchange& exchange) {
  Status status = check(exchange.request);
  if (status.ok()) {
    status = co_await attempt(exchange);
    // The server may have closed an idle connection just as it was to be used again.
    const bool stale = exchange.connection && exchange.connection->used && !exchange.answered;
    if (!status.ok() && stale && !exchange.hung_up && !exchange.is_late) {
      idle.clear();
      status = co_await attempt(exchange);
    }
  }
  if (exchange.hung_up) status = stopped("hung up");
  if (exchange.is_late && !status.ok()) status = limit_reached(authority(url) + ": timed out");
  exchange.connection.reset();
  exchange.listener->on_end(std::move(status));
}

asio::awaitable<Status> HttpClient::Parts::attempt(Exchange& exchange) {
  if (exchange.hung_up || exchange.is_late) co_return stopped("hung up");
  if (idle.empty()) {
    exchange.connection = std::make_unique<Connection>(options);
    Status connected = co_await connect(*exchange.connection);
    if (!connected.ok()) co_return connected;
    if (exchange.hung_up || exchange.is_late) co_return stopped("hung up");
  } else {
    exchange.connection = std::move(idle.back());
    idle.pop_back();
  }
  Connection& connection = *exchange.connection;
  if (connection.tls) co_return co_await converse(*connection.tls, exchange);
  co_return co_await converse(*connection.plain, exchange);
}

template <class Stream>
asio::awaitable<beast::error_code> HttpClient::Parts::write(Stream& stream, Exchange& exchange) {
  HttpRequest& request = exchange.request;
  if (!request.raw.empty()) {
    const auto [error, count] = co_await asio::async_write(stream, asio::buffer(request.raw), kAwait);
    co_return error;
  }
  auto message = message_of(url, request, options.keep_alive);
  const auto [error, count] = co_await http::async_write(stream, message, kAwait);
  co_return error;
}

template <class Stream>
asio::awaitable<Status> HttpClient::Parts::converse(Stream& stream, Exchange& exchange) {
  PlainStream& transport = beast::get_lowest_layer(stream);
  transport.expires_after(seconds_of(options.idle_seconds));
  // A server may refuse before it has read everything: its answer counts even when the write failed.
  const beast::error_code unwritten = co_await write(stream, exchange);
  if (exchange.hung_up) co_return stopped("hung up");

  std::optional<Parser> parser;
  for (int interim = 0; interim < kMaxInterim; ++interim) {
    parser.emplace();
    parser->header_limit(static_cast<uint32_t>(options.max_header_bytes));
    parser->body_limit(static_cast<uint64_t>(options.max_body_bytes));
    parser->skip(exchange.request.method == "HEAD");
    const auto [error, count] =
        co_await http::async_read_header(stream, exchange.connection->buffer, *parser, kAwait);
    exchange.answered = exchange.answered || count > 0;
    if (error) co_return failure(exchange, "no answer", unwritten ? unwritten : error);
    if (parser->get().result_int() / 100 != 1) break;
  }
  if (!exchange.listener->on_response(static_cast<int>(parser->get().result_int()), fields_of(*parser))) {
    exchange.hung_up = true;
  }
  Status status = co_await read_body(stream, exchange, *parser);
  const bool again =
      options.keep_alive && status.ok() && !unwritten && parser->keep_alive() && exchange.request.raw.empty();
  if (again) {
    exchange.connection->used = true;
    idle.push_back(std::move(exchange.connection));
  }
  co_return status;
}

template <class Stream>
asio::awaitable<Status> HttpClient::Parts::read_body(Stream& stream, Exchange& exchange, Parser& parser) {
  std::array<char, 8192> bytes;
  while (!exchange.hung_up && !parser.is_done()) {
    parser.get().body().data = bytes.data();
    parser.get().body().size = bytes.size();
    beast::get_lowest_layer(stream).expires_after(seconds_of(options.idle_seconds));
    auto [error, count] = co_await http::async_read_some(stream, exchange.connection->buffer, parser, kAwait);
    if (error == http::error::need_buffer) error = {};
    const std::string_view part(bytes.data(), bytes.size() - parser.get().body().size);
    if (!exchange.hung_up && !part.empty() && !exchange.listener->on_body(part)) exchange.hung_up = true;
    if (error) co_return failure(exchange, "the answer broke off", error);
  }
  if (exchange.hung_up) co_return stopped("hung up");
  co_return Status();
}

HttpClient::HttpClient(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
HttpClient::~HttpClient() = default;

Status HttpClient::Parts::find_endpoints() {
  beast::error_code error;
  if (options.addresses.empty()) {
    tcp::resolver resolver(io);
    for (const auto& entry : resolver.resolve(url.host, url.port, error)) {
      endpoints.push_back(entry.endpoint());
    }
  }
  int port = 0;
  std::from_chars(url.port.data(), url.port.data() + url.port.size(), port);
  for (const std::string& text : options.addresses) {
    const auto address = asio::ip::make_address(text, error);
    if (error) return invalid(text + ": an address is expected");
    endpoints.emplace_back(address, static_cast<asio::ip::port_type>(port));
  }
  if (error || endpoints.empty()) return not_found(url.host + ": " + error.message());
  return {};
}

Result<std::unique_ptr<HttpClient>> HttpClient::open(const Url& url, const HttpClientOptions& options) {
  auto parts = std::make_unique<Parts>(url, options);
  TRY(parts->find_endpoints());
  beast::error_code error;
  if (url.tls) {
    asio::ssl::context& tls = parts->tls.emplace(asio::ssl::context::tls_client);
    tls.set_verify_mode(options.verify ? asio::ssl::verify_peer : asio::ssl::verify_none);
    if (options.ca_file.empty()) {
      tls.set_default_verify_paths(error);
    } else {
      tls.load_verify_file(options.ca_file, error);
    }
    if (error) return invalid(options.ca_file + ": " + error.message());
  }
  return std::unique_ptr<HttpClient>(new HttpClient(std::move(parts)));
}

void HttpClient::Parts::end_in_time(uint64_t number) {
  asio::steady_timer& timer = under_way[number].end.emplace(io, seconds_of(options.total_seconds));
  timer.async_wait([this, number](beast::error_code error) {
    const auto found = under_way.find(number);
    if (error || found == under_way.end()) return;
    found->second.is_late = true;
    if (found->second.connection) found->second.connection->close();
  });
}

uint64_t HttpClient::send(HttpRequest request, std::unique_ptr<HttpListener> listener) {
  Parts& parts = *parts_;
  const uint64_t number = parts.next++;
  Exchange& exchange = parts.under_way[number];
  exchange.request = std::move(request);
  exchange.listener = std::move(listener);
  if (parts.options.total_seconds > 0) parts.end_in_time(number);
  asio::co_spawn(parts.io, parts.carry_out(exchange), [&parts, number](const std::exception_ptr& thrown) {
    // Only what a library could throw, such as bad_alloc: it ends this exchange alone.
    if (thrown) parts.under_way[number].listener->on_end(invalid("the request failed inside the client"));
    parts.under_way.erase(number);
  });
  return number;
}

void HttpClient::hang_up(uint64_t request) {
  const auto found = parts_->under_way.find(request);
  if (found == parts_->under_way.end()) return;
  found->second.hung_up = true;
  if (found->second.connection) found->second.connection->close();
}

void HttpClient::after(double seconds, std::function<void()> then) {
  auto timer = std::make_unique<asio::steady_timer>(parts_->io, seconds_of(seconds));
  asio::steady_timer& waiting = *timer;
  waiting.async_wait([timer = std::move(timer), then = std::move(then)](beast::error_code error) {
    if (!error) then();
  });
}

void HttpClient::run() {
  parts_->io.restart();
  parts_->io.run();
}

int HttpClient::num_under_way() const { return static_cast<int>(parts_->under_way.size()); }

namespace {

class Collector : public HttpListener {
 public:
  Collector(HttpResponse& response, Status& status) : response_(response), status_(status) {}
  bool on_response(int status, const HttpFields& fields) override {
    response_.status = status;
    response_.fields = fields;
    return true;
  }
  bool on_body(std::string_view bytes) override {
    response_.body += bytes;
    return true;
  }
  void on_end(Status status) override { status_ = std::move(status); }

 private:
  HttpResponse& response_;
  Status& status_;
};

}  // namespace

Result<HttpResponse> fetch(HttpClient& client, HttpRequest request) {
  HttpResponse response;
  Status status;
  client.send(std::move(request), std::make_unique<Collector>(response, status));
  client.run();
  if (!status.ok()) return std::move(status).error();
  return response;
}

}  // namespace heed
