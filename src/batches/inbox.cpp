#include "batches/inbox.h"

#include <utility>

#include "batches/random_id.h"

namespace heed {
namespace {

constexpr int kNoAnswer = 500;

std::string request_id(const HeaderFields& fields) {
  for (const auto& [name, value] : fields) {
    if (name == "x-request-id" || name == "X-Request-Id") return value;
  }
  return random_id("req_");
}

}  // namespace

void Inbox::put(BatchAnswer answer) {
  const std::lock_guard lock(mutex_);
  answers_.push_back(std::move(answer));
  changed_.notify_one();
}

void Inbox::wake() {
  const std::lock_guard lock(mutex_);
  woken_ = true;
  changed_.notify_one();
}

std::vector<BatchAnswer> Inbox::take(Clock::time_point until) {
  std::unique_lock lock(mutex_);
  changed_.wait_until(lock, until, [&] { return woken_ || !answers_.empty(); });
  woken_ = false;
  return std::exchange(answers_, {});
}

InboxResponder::~InboxResponder() {
  put({.status = kNoAnswer, .body = R"({"error":{"message":"no answer was given"}})"});
}

void InboxResponder::put(BatchAnswer answer) {
  if (answered_.exchange(true)) return;
  answer.line = line_;
  if (answer.request_id.empty()) answer.request_id = random_id("req_");
  inbox_->put(std::move(answer));
}

void InboxResponder::reply(int status, std::string /*content_type*/, std::string body, HeaderFields fields) {
  put({.status = status, .body = std::move(body), .request_id = request_id(fields)});
}

void InboxResponder::start(int status, std::string /*content_type*/, HeaderFields /*fields*/) {
  streamed_status_ = status;
}

bool InboxResponder::write(std::string /*bytes*/) { return false; }

void InboxResponder::end() { put({.status = streamed_status_, .streamed = true}); }

}  // namespace heed
