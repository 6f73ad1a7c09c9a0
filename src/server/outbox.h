// The answer to one request on its way from the API's threads to the connection's.
//
//   Responder (any thread) ──► Outbox ──ring──► Doorbell ──one post for all──► IO thread: connection.take()
//
// What was written since the last take() leaves in one piece. An Outbox outlives its connection and its
// server if the API holds on to a Responder: it then swallows what it gets.
#pragma once
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "api/exchange.h"

namespace heed::http {

class Outbox;

// The connection's side; called on the IO thread.
class OutputListener {
 public:
  virtual ~OutputListener() = default;
  virtual void output_ready() = 0;
};

// Collects the outboxes that have something to say, and wakes the IO thread once for all of them: at one
// token per stream and step, a wake-up each would cost more than the tokens.
class Doorbell {
 public:
  explicit Doorbell(std::function<void()> wake) : wake_(std::move(wake)) {}
  void ring(std::shared_ptr<Outbox> outbox);        // any thread
  std::vector<std::shared_ptr<Outbox>> who_rang();  // IO thread
  void close();                                     // from here on ring() does nothing

 private:
  std::mutex mutex_;
  std::function<void()> wake_;
  std::vector<std::shared_ptr<Outbox>> rung_;
};

class Outbox : public std::enable_shared_from_this<Outbox> {
 public:
  struct Head {
    int status = 200;
    std::string content_type;
    HeaderFields fields;
    bool is_stream = false;
  };
  struct Output {
    std::optional<Head> head;  // once, with the first output
    std::string bytes;         // of the body
    bool ended = false;        // nothing comes after `bytes`
    bool broken = false;       // and what came is not all that should have
  };

  Outbox(std::shared_ptr<Doorbell> doorbell, std::weak_ptr<OutputListener> listener, int64_t unsent_limit)
      : doorbell_(std::move(doorbell)), listener_(std::move(listener)), unsent_limit_(unsent_limit) {}

  // The API's side, any thread. Calls out of order are ignored: the first answer stands.
  void reply(Head head, std::string body);
  void start(Head head);
  bool write(std::string bytes);
  void end();
  void fail();  // no answer will come: a 500, or a stream that breaks off; nothing where it has ended

  // The worker's side: what handle() returned. Cancelled on the spot if the client has left meanwhile.
  void attach(const std::shared_ptr<Exchange>& exchange);
  bool is_unwanted() const;  // the connection is closed: not worth handling

  // The connection's side, IO thread.
  Output take();
  void sent(int64_t bytes);  // of those taken, so many have left
  bool is_too_slow() const;  // a write was refused since the reader is too far behind
  // The client is gone: cancels the exchange, and write() is false from now on. Where it has only stopped
  // sending it can still get a whole answer, such as one that is there at once; `unwanted`: not even that.
  void cancel(bool unwanted);
  void detach();  // lets go of the exchange; the connection is done with this answer
  void tell_listener();

 private:
  void changed(std::unique_lock<std::mutex> lock);

  mutable std::mutex mutex_;
  const std::shared_ptr<Doorbell> doorbell_;
  const std::weak_ptr<OutputListener> listener_;
  const int64_t unsent_limit_;
  std::shared_ptr<Exchange> exchange_;
  std::optional<Head> head_;
  std::string pending_;
  int64_t in_flight_ = 0;  // taken, not yet sent
  bool started_ = false, ended_ = false, broken_ = false;
  bool too_slow_ = false, cancelled_ = false, unwanted_ = false, detached_ = false;
  bool rung_ = false;
};

// The Responder that writes to an Outbox; one that is dropped without an end fails it.
std::shared_ptr<Responder> make_responder(std::shared_ptr<Outbox> outbox);

}  // namespace heed::http
