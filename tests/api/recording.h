// Requests to an Api and what comes back.
#pragma once
#include <gtest/gtest.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "api/exchange.h"
#include "base/json.h"

namespace heed {

// Records one answer, and that there is exactly one.
class Recorder : public Responder {
 public:
  // `takes_writes`: how many writes are taken before the reader is gone.
  explicit Recorder(int takes_writes = INT32_MAX) : takes_writes_(takes_writes) {}

  void reply(int code, std::string type, std::string text, HeaderFields more) override {
    const std::lock_guard lock(mutex_);
    begin(code, std::move(type), more);
    body_ = std::move(text);
    finish();
  }
  void start(int code, std::string type, HeaderFields more) override {
    const std::lock_guard lock(mutex_);
    begin(code, std::move(type), more);
    streams_ = true;
  }
  bool write(std::string bytes) override {
    const std::lock_guard lock(mutex_);
    EXPECT_TRUE(streams_ && !ended_);
    if (takes_writes_-- <= 0) return false;
    body_ += bytes;
    return true;
  }
  void end() override {
    const std::lock_guard lock(mutex_);
    EXPECT_TRUE(streams_);
    finish();
  }

  // Until the answer is whole.
  void wait() {
    std::unique_lock lock(mutex_);
    done_.wait(lock, [&] { return ended_; });
  }
  bool has_ended() {
    const std::lock_guard lock(mutex_);
    return ended_;
  }

  int status = 0;
  std::string content_type;
  std::map<std::string, std::string> fields;
  const std::string& body() const { return body_; }
  bool streams() const { return streams_; }
  OrderedJson json() const { return parse_ordered_json(body_, "answer").value(); }

 private:
  void begin(int code, std::string type, const HeaderFields& more) {
    EXPECT_EQ(status, 0) << "a second answer";
    status = code;
    content_type = std::move(type);
    fields.insert(more.begin(), more.end());
  }
  void finish() {
    EXPECT_FALSE(ended_) << "a second end";
    ended_ = true;
    done_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable done_;
  std::string body_;
  bool streams_ = false, ended_ = false;
  int takes_writes_;
};

inline ApiRequest request_of(const std::string& method, const std::string& path,
                             const std::string& body = "") {
  ApiRequest request{.method = method, .path = path, .body = body};
  if (!body.empty()) request.headers["content-type"] = "application/json";
  return request;
}

// The whole answer to a request.
inline std::shared_ptr<Recorder> ask(ApiHandler& api, ApiRequest request) {
  auto recorder = std::make_shared<Recorder>();
  const std::shared_ptr<Exchange> exchange = api.handle(std::move(request), recorder);
  recorder->wait();
  return recorder;
}
inline std::shared_ptr<Recorder> get(ApiHandler& api, const std::string& path) {
  return ask(api, request_of("GET", path));
}
inline std::shared_ptr<Recorder> post(ApiHandler& api, const std::string& path, const OrderedJson& body) {
  return ask(api, request_of("POST", path, to_text(body)));
}

// The JSON of each "data:" line; a last "[DONE]" is required and left out.
inline std::vector<OrderedJson> events_of(const std::string& body) {
  std::vector<OrderedJson> events;
  bool done = false;
  for (size_t at = 0; at < body.size();) {
    const size_t end = body.find("\n\n", at);
    EXPECT_NE(end, std::string::npos) << "an event without its end: " << body.substr(at);
    if (end == std::string::npos) break;
    const std::string event = body.substr(at, end - at);
    at = end + 2;
    EXPECT_TRUE(event.starts_with("data: ")) << event;
    EXPECT_FALSE(done) << "an event behind [DONE]";
    done = event == "data: [DONE]";
    if (!done) events.push_back(parse_ordered_json(event.substr(6), "event").value());
  }
  EXPECT_TRUE(done) << "no [DONE]";
  return events;
}

}  // namespace heed
