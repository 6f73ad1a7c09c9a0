#include "server/outbox.h"

#include <utility>

#include "server/refusal.h"

namespace heed::http {

void Doorbell::ring(std::shared_ptr<Outbox> outbox) {
  const std::lock_guard lock(mutex_);
  if (!wake_) return;
  rung_.push_back(std::move(outbox));
  if (rung_.size() == 1) wake_();
}

std::vector<std::shared_ptr<Outbox>> Doorbell::who_rang() {
  const std::lock_guard lock(mutex_);
  return std::exchange(rung_, {});
}

void Doorbell::close() {
  std::vector<std::shared_ptr<Outbox>> dropped;
  const std::lock_guard lock(mutex_);
  wake_ = nullptr;
  dropped.swap(rung_);
}

void Outbox::changed(std::unique_lock<std::mutex> lock) {
  const bool ring = !std::exchange(rung_, true);
  lock.unlock();
  if (ring) doorbell_->ring(shared_from_this());
}

void Outbox::reply(Head head, std::string body) {
  std::unique_lock lock(mutex_);
  if (started_ || ended_) return;
  head.is_stream = false;
  head_ = std::move(head);
  pending_ = std::move(body);
  started_ = ended_ = true;
  changed(std::move(lock));
}

void Outbox::start(Head head) {
  std::unique_lock lock(mutex_);
  if (started_ || ended_) return;
  head.is_stream = true;
  head_ = std::move(head);
  started_ = true;
  changed(std::move(lock));
}

bool Outbox::write(std::string bytes) {
  std::unique_lock lock(mutex_);
  if (!started_ || ended_ || cancelled_ || too_slow_) return false;
  if (std::ssize(pending_) + in_flight_ >= unsent_limit_) {
    too_slow_ = true;
    std::string().swap(pending_);
    // The connection may have heard the ring for what waits here, and be sending: it takes nothing before
    // that ends, which is what this has to end.
    rung_ = false;
    changed(std::move(lock));
    return false;
  }
  if (bytes.empty()) return true;
  if (pending_.empty()) {
    pending_ = std::move(bytes);
  } else {
    pending_ += bytes;
  }
  changed(std::move(lock));
  return true;
}

void Outbox::end() {
  std::unique_lock lock(mutex_);
  if (ended_) return;
  if (!started_) {
    lock.unlock();
    return fail();
  }
  ended_ = true;
  changed(std::move(lock));
}

void Outbox::fail() {
  std::unique_lock lock(mutex_);
  if (ended_) return;
  ended_ = broken_ = true;
  if (!started_) {
    broken_ = false;
    head_ = Head{.status = 500, .content_type = "application/json"};
    pending_ = error_object(failed());
  }
  started_ = true;
  changed(std::move(lock));
}

void Outbox::attach(const std::shared_ptr<Exchange>& exchange) {
  std::unique_lock lock(mutex_);
  if (!detached_) exchange_ = exchange;
  const bool cancel_now = cancelled_;
  lock.unlock();
  if (cancel_now) exchange->cancel();
}

bool Outbox::is_unwanted() const {
  const std::lock_guard lock(mutex_);
  return unwanted_;
}

Outbox::Output Outbox::take() {
  const std::lock_guard lock(mutex_);
  rung_ = false;
  Output output;
  output.head = std::exchange(head_, std::nullopt);
  output.bytes = std::exchange(pending_, {});
  output.ended = ended_;
  output.broken = broken_ || too_slow_;
  in_flight_ += std::ssize(output.bytes);
  return output;
}

void Outbox::sent(int64_t bytes) {
  const std::lock_guard lock(mutex_);
  in_flight_ -= bytes;
}

bool Outbox::is_too_slow() const {
  const std::lock_guard lock(mutex_);
  return too_slow_;
}

void Outbox::cancel(bool unwanted) {
  std::unique_lock lock(mutex_);
  unwanted_ = unwanted_ || unwanted;
  if (std::exchange(cancelled_, true)) return;
  const std::shared_ptr<Exchange> exchange = exchange_;
  lock.unlock();
  if (exchange) exchange->cancel();
}

void Outbox::detach() {
  std::shared_ptr<Exchange> dropped;  // destroyed after the lock is released
  const std::lock_guard lock(mutex_);
  detached_ = true;
  dropped.swap(exchange_);
}

void Outbox::tell_listener() {
  if (const auto listener = listener_.lock()) listener->output_ready();
}

namespace {

class OutboxResponder : public Responder {
 public:
  explicit OutboxResponder(std::shared_ptr<Outbox> outbox) : outbox_(std::move(outbox)) {}
  OutboxResponder(const OutboxResponder&) = delete;
  OutboxResponder& operator=(const OutboxResponder&) = delete;
  ~OutboxResponder() override { outbox_->fail(); }

  void reply(int status, std::string content_type, std::string body, HeaderFields fields) override {
    outbox_->reply({status, std::move(content_type), std::move(fields)}, std::move(body));
  }
  void start(int status, std::string content_type, HeaderFields fields) override {
    outbox_->start({status, std::move(content_type), std::move(fields)});
  }
  bool write(std::string bytes) override { return outbox_->write(std::move(bytes)); }
  void end() override { outbox_->end(); }

 private:
  std::shared_ptr<Outbox> outbox_;
};

}  // namespace

std::shared_ptr<Responder> make_responder(std::shared_ptr<Outbox> outbox) {
  return std::make_shared<OutboxResponder>(std::move(outbox));
}

}  // namespace heed::http
