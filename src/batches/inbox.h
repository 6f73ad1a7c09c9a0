// Where the answers to a batch's requests wait for the thread that writes them down.
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/exchange.h"

namespace heed {

struct BatchAnswer {
  int64_t line = 0;  // of the request in the input
  int status = 0;
  std::string body;
  std::string request_id;  // the answer's x-request-id, else a random one
  bool streamed = false;   // against the request: there is no body
};

class Inbox {
 public:
  using Clock = std::chrono::steady_clock;

  void put(BatchAnswer answer);
  // Wakes the waiting thread, now or when it waits next.
  void wake();
  // What has come in; waits for something until `until`, or a wake().
  std::vector<BatchAnswer> take(Clock::time_point until);

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<BatchAnswer> answers_;
  bool woken_ = false;
};

// Puts the one answer of a request into the inbox: also if the handler streams against the request, or drops
// the responder without a word.
class InboxResponder : public Responder {
 public:
  InboxResponder(std::shared_ptr<Inbox> inbox, int64_t line) : inbox_(std::move(inbox)), line_(line) {}
  ~InboxResponder() override;
  InboxResponder(const InboxResponder&) = delete;
  InboxResponder& operator=(const InboxResponder&) = delete;

  void reply(int status, std::string content_type, std::string body, HeaderFields fields) override;
  void start(int status, std::string content_type, HeaderFields fields) override;
  bool write(std::string bytes) override;
  void end() override;

 private:
  void put(BatchAnswer answer);

  std::shared_ptr<Inbox> inbox_;
  int64_t line_;
  std::atomic<int> streamed_status_ = 0;
  std::atomic<bool> answered_ = false;
};

}  // namespace heed
