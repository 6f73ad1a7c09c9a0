#include "server/connection.h"

#include <array>
#include <boost/asio/post.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <cstdio>
#include <exception>
#include <utility>

#include "server/request_target.h"

namespace heed::http {
namespace {

namespace asio = boost::asio;

constexpr size_t kReadBytes = size_t{16} << 10;
constexpr int64_t kReadAhead = int64_t{64} << 10;  // pipelined requests beyond this wait in the kernel
constexpr size_t kCopiedBody = size_t{16} << 10;   // smaller ones are sent in one piece with the header
constexpr size_t kKeptInput = size_t{4} << 10;     // an idle connection's buffer is not larger

Clock::duration seconds_of(double seconds) {
  return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

std::string chunk_of(std::string_view bytes) {
  std::array<char, 24> size{};
  std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
  std::string chunk(size.data());
  chunk.reserve(chunk.size() + bytes.size() + 2);
  return chunk.append(bytes).append("\r\n");
}

// On a worker thread. What the handler throws must not take the server along.
void run_handler(const Hub& hub, ApiRequest request, const std::shared_ptr<Outbox>& outbox) {
  if (outbox->is_unwanted()) return outbox->fail();
  try {
    const std::shared_ptr<Responder> responder = make_responder(outbox);
    const std::shared_ptr<Exchange> exchange = hub.handler.handle(std::move(request), responder);
    if (exchange) outbox->attach(exchange);
    return;
  } catch (const std::exception& error) {
    hub.log("error: a handler threw: " + escaped_for_log(error.what()));
  } catch (...) {
    hub.log("error: a handler threw");
  }
  outbox->fail();
}

}  // namespace

struct Connection::Request {
  explicit Request(Hub& hub) : parser(hub.options.limits), share(hub.body_bytes), begun(Clock::now()) {}

  RequestParser parser;
  ApiRequest api;
  BodyShare share;
  std::optional<Refusal> refusal;
  std::string id;
  std::string line = "-";  // method and path, for the log
  bool expects_continue = false;
  bool is_head = false;
  bool is_http_10 = false;
  bool keep_alive = false;

  Clock::time_point begun;
  int status = 0;
  bool is_stream = false;
  bool is_cut_off = false;  // the answer did not arrive whole
  BodyFraming framing = BodyFraming::kLength;
  int64_t sent_bytes = 0;  // of the answer's body
};

Connection::Connection(Hub& hub, Wire::Socket socket)
    : hub_(hub),
      wire_(std::move(socket), hub.tls.get()),
      alarm_(hub.io, Clock::time_point::max()),
      area_(new char[kReadBytes]) {
  hub_.connections.insert(this);
  hub_.count.add(1);
}

Connection::~Connection() {
  if (outbox_) {
    outbox_->cancel(true);
    outbox_->detach();
  }
  hub_.connections.erase(this);
  hub_.count.add(-1);
}

Connection::Awaitable<void> Connection::serve() {
  if (wire_.is_tls()) {
    enter(Stage::kHandshake, hub_.options.limits.handshake_seconds);
    const Wire::ErrorCode error = co_await wire_.handshake();
    if (error) {
      close();
      co_return;
    }
  }
  bool more = true;
  while (more) more = co_await serve_one();
  close();
}

Connection::Awaitable<void> Connection::turn_away() {
  if (wire_.is_tls()) {
    close();
    co_return;
  }
  Request request(hub_);
  request.id = new_request_id();
  request.line = "(not read)";
  co_await refuse(request,
                  overloaded("the server has " + std::to_string(hub_.options.limits.max_connections) +
                             " connections already; try again later"));
  close();
}

Connection::Awaitable<bool> Connection::serve_one() {
  Request request(hub_);
  request.id = new_request_id();
  Read read = co_await read_head(request);
  if (read == Read::kDone) read = co_await read_body(request);
  if (read == Read::kClosed) co_return false;
  if (read == Read::kRefused) {
    const Refusal refusal = *std::move(request.refusal);
    co_await refuse(request, refusal);
    co_return false;
  }
  const bool keep_alive = co_await answer(request);
  log_request(request);
  co_return keep_alive;
}

Connection::Awaitable<Connection::Read> Connection::read_head(Request& request) {
  enter(Stage::kIdle, hub_.options.limits.idle_seconds);
  if (input_.empty() && input_.capacity() > kKeptInput) std::string().swap(input_);
  while (!request.parser.has_head()) {
    if (stage_ == Stage::kIdle && !input_.empty()) {
      enter(Stage::kHeader, hub_.options.limits.header_seconds);
      request.begun = Clock::now();
    }
    request.refusal = request.parser.read_head(input_);
    if (request.refusal) co_return Read::kRefused;
    if (request.parser.has_head()) break;
    const bool is_idle = stage_ == Stage::kIdle;
    if (closed_ || at_end_ || (is_idle && (timed_out_ || hub_.draining))) {
      co_return Read::kClosed;
    }
    if (timed_out_) {
      request.refusal = timed_out("the request's header did not arrive in time");
      co_return Read::kRefused;
    }
    co_await wake_up_call();
  }
  request.refusal = admit(request);
  co_return request.refusal ? Read::kRefused : Read::kDone;
}

// The checks between header and body, the cheap and decisive ones first.
std::optional<Refusal> Connection::admit(Request& request) {
  const RequestHead head = request.parser.head();
  request.is_http_10 = head.is_http_10;
  request.keep_alive = request.parser.wants_keep_alive();
  request.is_head = head.method == "HEAD";
  request.line = escaped_for_log(head.method, 32) + " " + escaped_for_log(head.target);
  request.api.headers = joined_fields(head.fields);
  std::map<std::string, std::string>& headers = request.api.headers;
  const auto given_id = headers.find("x-request-id");
  if (given_id != headers.end() && is_sane_request_id(given_id->second)) request.id = given_id->second;
  headers["x-request-id"] = request.id;
  request.expects_continue = headers.contains("expect") && !head.is_http_10;

  if (auto refusal = check_head(head)) return refusal;
  Result<RequestTarget> target = read_target(head.target);
  if (!target.ok()) return bad_request(target.error().message);
  request.line = escaped_for_log(head.method, 32) + " " + escaped_for_log(target->path);
  if (auto refusal = hub_.keys.check(head.method, target->path, headers)) return refusal;
  request.api.method = request.is_head ? "GET" : head.method;
  request.api.path = std::move(target->path);
  request.api.query = std::move(target->query);
  return std::nullopt;
}

// Uses what has been read; the deadline moves with what has arrived.
std::optional<Refusal> Connection::use_body_bytes(Request& request, Clock::time_point begun) {
  const ServerLimits& limits = hub_.options.limits;
  if (auto refusal = request.parser.read_body(input_)) return refusal;
  const int64_t bytes = request.parser.body_bytes();
  const double earned = static_cast<double>(bytes) / static_cast<double>(limits.body_bytes_per_second);
  deadline_ = begun + seconds_of(limits.body_seconds + earned);
  if (request.share.grow_to(bytes, limits.all_body_bytes)) return std::nullopt;
  return overloaded("the bodies of all requests together exceed " + std::to_string(limits.all_body_bytes) +
                    " bytes; try again later");
}

Connection::Awaitable<Connection::Read> Connection::read_body(Request& request) {
  const ServerLimits& limits = hub_.options.limits;
  const Clock::time_point begun = Clock::now();
  enter(Stage::kBody, limits.body_seconds);
  request.refusal = use_body_bytes(request, begun);
  const bool is_awaited = !request.refusal && !request.parser.has_all() && request.parser.body_bytes() == 0;
  if (is_awaited && request.expects_continue) {
    co_await send("HTTP/1.1 100 Continue\r\n\r\n", "");
    enter(Stage::kBody, limits.body_seconds);
  }
  while (!request.refusal && !request.parser.has_all()) {
    if (closed_ || at_end_) co_return Read::kClosed;
    if (timed_out_) {
      request.refusal = timed_out("the body arrived at less than " +
                                  std::to_string(limits.body_bytes_per_second) + " bytes per second");
      break;
    }
    co_await wake_up_call();
    request.refusal = use_body_bytes(request, begun);
  }
  if (request.refusal) co_return Read::kRefused;
  request.api.body = request.parser.take_body();
  co_return Read::kDone;
}

Connection::Awaitable<void> Connection::refuse(Request& request, const Refusal& refusal) {
  Outbox::Head head{.status = refusal.status, .content_type = "application/json"};
  if (refusal.status == 401)
    head.fields = {{"WWW-Authenticate", R"(Basic realm="heed", charset="UTF-8")"},
                   {"WWW-Authenticate", "Bearer"}};
  if (refusal.status == 503) head.fields = {{"Retry-After", "1"}};
  if (refusal.status == 405) head.fields = {{"Allow", "GET, HEAD, POST, DELETE"}};
  request.keep_alive = false;
  request.parser.take_body();  // others may need the memory while this client is read dry
  request.share.give_back();
  std::string body = error_object(refusal);
  std::string head_text = head_bytes(request, head, std::ssize(body));
  if (request.is_head) body.clear();
  request.sent_bytes = std::ssize(body);
  const bool sent = co_await send(std::move(head_text), std::move(body));
  request.is_cut_off = !sent;
  log_request(request);
  if (sent) co_await linger();
}

std::shared_ptr<Outbox> Connection::dispatch(Request& request) {
  auto outbox = std::make_shared<Outbox>(hub_.doorbell, weak_from_this(), hub_.options.limits.unsent_bytes);
  asio::post(hub_.workers, [&hub = hub_, api = std::move(request.api), share = std::move(request.share),
                            outbox]() mutable { run_handler(hub, std::move(api), outbox); });
  return outbox;
}

Connection::Awaitable<bool> Connection::answer(Request& request) {
  enter(Stage::kAnswer, 0);
  outbox_ = dispatch(request);
  bool ended = false;
  while (!ended && !hub_.aborting) {
    if (at_end_ || closed_) outbox_->cancel(closed_);
    Outbox::Output output = outbox_->take();
    ended = output.ended;
    const bool has_output = output.head || !output.bytes.empty() || output.ended;
    if (has_output) co_await forward(request, std::move(output));
    if (!has_output) co_await wake_up_call();
  }
  if (!ended) outbox_->cancel(true);
  outbox_->detach();
  outbox_.reset();
  if (request.is_cut_off) close();
  const bool keep_alive = request.keep_alive && !closed_ && !hub_.aborting;
  if (!keep_alive && !closed_ && (wire_.is_tls() || !input_.empty())) co_await linger();
  co_return keep_alive;
}

// Sends what the API has produced since the last time.
Connection::Awaitable<void> Connection::forward(Request& request, Outbox::Output output) {
  const int64_t taken = std::ssize(output.bytes);
  std::string head;
  if (output.head) head = head_bytes(request, *output.head, taken);
  // A stream's client that has gone, or an answer that broke off: the connection's end is what tells.
  if (output.broken || (at_end_ && request.is_stream)) {
    request.is_cut_off = true;
    outbox_->cancel(true);
    close();
  }
  if (request.is_head && request.is_stream) outbox_->cancel(true);
  std::string body = std::move(output.bytes);
  if (request.is_head || request.framing == BodyFraming::kNone) body.clear();
  if (request.framing == BodyFraming::kChunked && !request.is_head) {
    request.sent_bytes += std::ssize(body);
    if (!body.empty()) body = chunk_of(body);
    if (output.ended) body += "0\r\n\r\n";
  } else {
    request.sent_bytes += std::ssize(body);
  }
  if (!closed_) co_await send(std::move(head), std::move(body));
  outbox_->sent(taken);
  if (closed_) {
    request.is_cut_off = true;
    outbox_->cancel(true);
  }
  enter(Stage::kAnswer, 0);
}

std::string Connection::head_bytes(Request& request, const Outbox::Head& head, int64_t body_bytes) {
  request.status = head.status;
  request.is_stream = head.is_stream;
  if (head.is_stream) request.framing = request.is_http_10 ? BodyFraming::kToEnd : BodyFraming::kChunked;
  if (head.status == 204 || head.status == 304) request.framing = BodyFraming::kNone;
  if (request.framing == BodyFraming::kToEnd || hub_.draining) request.keep_alive = false;
  ResponseHead response{.status = head.status, .content_type = head.content_type, .fields = head.fields};
  response.framing = request.framing;
  response.body_bytes = body_bytes;
  response.request_id = request.id;
  response.is_http_10 = request.is_http_10;
  response.keep_alive = request.keep_alive;
  return to_bytes(response, std::chrono::system_clock::to_time_t(std::chrono::system_clock::now()));
}

Connection::Awaitable<bool> Connection::send(std::string head, std::string body) {
  if (head.empty() || body.size() <= kCopiedBody) {
    body.insert(0, head);
    head.clear();
  }
  std::array<asio::const_buffer, 2> left = {asio::buffer(head), asio::buffer(body)};
  while (!closed_ && left[0].size() + left[1].size() > 0) {
    enter(Stage::kSend, hub_.options.limits.send_seconds);
    Wire::ErrorCode error;
    const size_t sent = co_await wire_.write_some(left, error);
    if (error) close();
    const size_t of_head = std::min(sent, left[0].size());
    left[0] += of_head;
    left[1] += sent - of_head;
  }
  co_return !closed_;
}

// A refused client may still be sending, and would lose our answer to a reset if we closed now: it is read
// dry first.
Connection::Awaitable<void> Connection::linger() {
  wire_.finish_sending(shared_from_this());
  enter(Stage::kLinger, hub_.options.limits.linger_seconds);
  while (!closed_ && !at_end_ && !timed_out_) {
    input_.clear();
    co_await wake_up_call();
  }
}

Connection::Awaitable<void> Connection::wake_up_call() {
  read_more();
  if (!awake_) {
    Wire::ErrorCode ignored;
    alarm_.expires_at(Clock::time_point::max());
    co_await alarm_.async_wait(asio::redirect_error(asio::use_awaitable, ignored));
  }
  awake_ = false;
}

void Connection::wake() {
  awake_ = true;
  alarm_.cancel();
}

void Connection::read_more() {
  if (reading_ || at_end_ || closed_ || std::ssize(input_) >= kReadAhead) return;
  reading_ = true;
  wire_.read_some(asio::buffer(area_.get(), kReadBytes),
                  [self = shared_from_this()](const Wire::ErrorCode& error, size_t bytes) {
                    self->on_read(error, bytes);
                  });
}

void Connection::on_read(const Wire::ErrorCode& error, size_t bytes) {
  reading_ = false;
  input_.append(area_.get(), bytes);
  if (error) {
    at_end_ = true;
    if (error != asio::error::eof) close();  // reset, or what TLS calls a truncation
    if (outbox_) outbox_->cancel(closed_);
  } else if (stage_ == Stage::kAnswer || stage_ == Stage::kSend) {
    read_more();
  }
  wake();
}

void Connection::output_ready() {
  if (outbox_ && outbox_->is_too_slow()) {
    close();
    outbox_->cancel(true);
  }
  wake();
}

void Connection::enter(Stage stage, double seconds) {
  stage_ = stage;
  timed_out_ = false;
  deadline_ = seconds > 0 ? Clock::now() + seconds_of(seconds) : Clock::time_point::max();
}

void Connection::expire(Clock::time_point now) {
  if (now < deadline_) return;
  deadline_ = Clock::time_point::max();
  timed_out_ = true;
  if (stage_ == Stage::kHandshake || stage_ == Stage::kSend) close();
  wake();
}

void Connection::drain() { wake(); }

void Connection::abort() {
  close();
  if (outbox_) outbox_->cancel(true);
  wake();
}

void Connection::close() {
  if (std::exchange(closed_, true)) return;
  wire_.close();
  wake();
}

std::string Connection::new_request_id() {
  std::array<char, 24> text{};
  std::snprintf(text.data(), text.size(), "req-%016llx", static_cast<unsigned long long>(hub_.random()));
  return text.data();
}

void Connection::log_request(const Request& request) {
  if (!hub_.options.log) return;
  const double milliseconds = std::chrono::duration<double, std::milli>(Clock::now() - request.begun).count();
  std::array<char, 96> figures{};
  std::snprintf(figures.data(), figures.size(), "%d, %lld bytes, %.1f ms%s, ", request.status,
                static_cast<long long>(request.sent_bytes), milliseconds,
                request.is_cut_off ? ", cut off" : "");
  hub_.log(wire_.peer() + " \"" + request.line + "\" " + figures.data() + request.id);
}

}  // namespace heed::http
