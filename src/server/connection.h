// One client's connection: a coroutine that reads a request, has it answered and reads the next.
//
//   handshake ─► idle ─► header ─► body ─► answer ─► idle ...
//                  │       │        │        └─ client leaves: the exchange is cancelled at once, its end
//                  awaited │       └────────┴─ refused: error object, then the client is read dry for a
//                  while, and closed └─ closed
//
// A read is pending at all times (while no more than kReadAhead bytes wait), so a client that leaves is
// noticed in any state, and the coroutine never has to interrupt one. IO thread only.
#pragma once
#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "server/hub.h"
#include "server/outbox.h"
#include "server/request_parser.h"
#include "server/response_head.h"
#include "server/wire.h"

namespace heed::http {

using Clock = std::chrono::steady_clock;

class Connection final : public OutputListener, public std::enable_shared_from_this<Connection> {
 public:
  Connection(Hub& hub, Wire::Socket socket);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;
  ~Connection() override;

  boost::asio::awaitable<void> serve();
  // Where there are too many connections: says so, and closes.
  boost::asio::awaitable<void> turn_away();

  void output_ready() override;
  void expire(Clock::time_point now);  // acts on a deadline that has passed
  void drain();                        // closes an idle connection; others close after their answer
  void abort();

 private:
  enum class Stage { kHandshake, kIdle, kHeader, kBody, kAnswer, kSend, kLinger };
  struct Request;  // the one being read or answered

  template <class T>
  using Awaitable = boost::asio::awaitable<T>;
  enum class Read { kDone, kClosed, kRefused };

  Awaitable<bool> serve_one();
  Awaitable<Read> read_head(Request& request);
  std::optional<Refusal> admit(Request& request);
  Awaitable<Read> read_body(Request& request);
  std::optional<Refusal> use_body_bytes(Request& request, Clock::time_point begun);
  Awaitable<void> refuse(Request& request, const Refusal& refusal);
  Awaitable<bool> answer(Request& request);
  Awaitable<void> forward(Request& request, Outbox::Output output);
  std::string head_bytes(Request& request, const Outbox::Head& head, int64_t body_bytes);
  std::shared_ptr<Outbox> dispatch(Request& request);

  Awaitable<bool> send(std::string head, std::string body);
  Awaitable<void> linger();
  Awaitable<void> wake_up_call();  // returns once wake() has been called since the last time
  void wake();
  void read_more();
  void on_read(const Wire::ErrorCode& error, size_t bytes);
  void enter(Stage stage, double seconds);  // seconds: until its deadline; 0: none
  void close();
  std::string new_request_id();
  void log_request(const Request& request);

  Hub& hub_;
  Wire wire_;
  boost::asio::steady_timer alarm_;
  bool awake_ = false;

  std::unique_ptr<char[]> area_;  // where the pending read puts its bytes
  std::string input_;             // read, not yet used
  bool reading_ = false;
  bool at_end_ = false;  // the client sends no more
  bool closed_ = false;

  Stage stage_ = Stage::kIdle;
  Clock::time_point deadline_ = Clock::time_point::max();
  bool timed_out_ = false;

  std::shared_ptr<Outbox> outbox_;  // of the request being answered
};

}  // namespace heed::http
