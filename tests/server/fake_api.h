// An ApiHandler for tests of the transport: some routes answer at once, /hold leaves the answer to the test.
#pragma once
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "api/exchange.h"

namespace heed::test {

// An exchange in the test's hands. Cancelled, it ends its responder, as the API does.
class Held : public Exchange {
 public:
  Held(ApiRequest request, std::shared_ptr<Responder> responder)
      : request_(std::move(request)), responder_(std::move(responder)) {}

  const ApiRequest& request() const { return request_; }
  void reply(const std::string& body) { take()->reply(200, "text/plain", body); }
  void start(const std::string& type = "text/event-stream") { responder_->start(200, type); }
  bool write(const std::string& bytes) {
    const std::lock_guard lock(mutex_);
    return responder_ && responder_->write(bytes);
  }
  void end() {
    if (const auto responder = take()) responder->end();
  }
  void drop() { take(); }

  void cancel() override {
    {
      const std::lock_guard lock(mutex_);
      cancelled_ = true;
      changed_.notify_all();
    }
    end();
  }
  // False only where nothing happened for a very long time.
  bool wait_for_cancel() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(20), [this] { return cancelled_; });
  }
  bool is_cancelled() {
    const std::lock_guard lock(mutex_);
    return cancelled_;
  }

 private:
  std::shared_ptr<Responder> take() {
    const std::lock_guard lock(mutex_);
    return std::exchange(responder_, nullptr);
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  bool cancelled_ = false;
  ApiRequest request_;
  std::shared_ptr<Responder> responder_;
};

class FakeApi : public ApiHandler {
 public:
  std::shared_ptr<Exchange> handle(ApiRequest request, std::shared_ptr<Responder> responder) override {
    {
      const std::lock_guard lock(mutex_);
      ++handled_;
      last_ = request;
    }
    if (request.path == "/hold" || request.path == "/hold-slowly")
      return hold(std::move(request), std::move(responder));
    if (request.path == "/throw") throw std::runtime_error("at 0x7fffdeadbeef\nin a handler");
    if (request.path == "/drop") return nullptr;
    if (request.path == "/stream") return stream(*responder);
    if (request.path == "/break") return break_off(*responder);
    if (request.path == "/big") {
      responder->reply(200, "text/plain", std::string(size_t{8} << 20, 'b'));
      return nullptr;
    }
    if (request.path == "/empty") {
      responder->reply(204, "", "");
      return nullptr;
    }
    const std::string text = request.method + " " + request.path + "?" + request.query + " " + request.body;
    responder->reply(200, "text/plain", text,
                     {{"X-Fake", "yes"}, {"X-Split", "a\r\nSet-Cookie: b"}, {"Content-Length", "1"}});
    return nullptr;
  }

  // The next request to /hold; null only where none came for a very long time.
  std::shared_ptr<Held> held() {
    std::unique_lock lock(mutex_);
    if (!changed_.wait_for(lock, std::chrono::seconds(20), [this] { return !held_.empty(); })) return nullptr;
    auto first = held_.front();
    held_.pop_front();
    return first;
  }
  int handled() {
    const std::lock_guard lock(mutex_);
    return handled_;
  }
  ApiRequest last() {
    const std::lock_guard lock(mutex_);
    return last_;
  }
  // Keeps handle() of /hold-slowly from returning until it is let go.
  void let_go() {
    const std::lock_guard lock(mutex_);
    may_return_ = true;
    changed_.notify_all();
  }

 private:
  std::shared_ptr<Exchange> hold(ApiRequest request, std::shared_ptr<Responder> responder) {
    const bool slowly = request.path == "/hold-slowly";
    auto exchange = std::make_shared<Held>(std::move(request), std::move(responder));
    std::unique_lock lock(mutex_);
    held_.push_back(exchange);
    changed_.notify_all();
    if (slowly) changed_.wait_for(lock, std::chrono::seconds(20), [this] { return may_return_; });
    return exchange;
  }
  static std::shared_ptr<Exchange> stream(Responder& responder) {
    responder.start(200, "text/event-stream");
    for (int i = 0; i < 5; ++i) responder.write("data: " + std::to_string(i) + "\n\n");
    responder.end();
    return nullptr;
  }
  static std::shared_ptr<Exchange> break_off(Responder& responder) {
    responder.start(200, "text/event-stream");
    responder.write("data: 1\n\n");
    throw std::runtime_error("midway");
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Held>> held_;
  bool may_return_ = false;
  int handled_ = 0;
  ApiRequest last_;
};

}  // namespace heed::test
