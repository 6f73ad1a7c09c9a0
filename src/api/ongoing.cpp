#include "api/ongoing.h"

#include <utility>

#include "api/sse.h"

namespace heed {

Ongoing::Ongoing(Service& service, std::shared_ptr<Responder> responder, bool streams, ErrorForm error_form)
    : service_(service), responder_(std::move(responder)), streams_(streams), error_form_(error_form) {}

void Ongoing::cancel_all(const std::vector<Ticket>& tickets) {
  for (const Ticket& ticket : tickets) service_.cancel(ticket);
}

void Ongoing::cancel() {
  std::vector<Ticket> tickets;
  {
    const std::lock_guard lock(mutex_);
    if (phase_ == Phase::kOver || std::exchange(cancelled_, true)) return;
    tickets = tickets_;
  }
  cancel_all(tickets);
}

void Ongoing::add(const Ticket& ticket) {
  {
    const std::lock_guard lock(mutex_);
    tickets_.push_back(ticket);
    if (!cancelled_) return;
  }
  service_.cancel(ticket);
}

std::vector<Ticket> Ongoing::run(const Step& step, bool is_last) {
  const bool taken = step(*responder_);
  if (is_last) phase_ = Phase::kOver;
  if (taken || is_last || std::exchange(cancelled_, true)) return {};
  return tickets_;
}

void Ongoing::submitted() {
  std::vector<Ticket> unwanted;
  {
    const std::lock_guard lock(mutex_);
    phase_ = Phase::kOpen;
    if (streams_)
      responder_->start(200, kSseType, {{"Cache-Control", "no-cache"}, {"X-Accel-Buffering", "no"}});
    for (size_t i = 0; i < held_.size(); ++i) {
      std::vector<Ticket> more = run(held_[i], ended_ && i + 1 == held_.size());
      if (!more.empty()) unwanted = std::move(more);
    }
    held_.clear();
  }
  cancel_all(unwanted);
}

void Ongoing::fail(const ApiError& error) {
  std::vector<Ticket> unwanted;
  {
    const std::lock_guard lock(mutex_);
    phase_ = Phase::kOver;
    held_.clear();
    unwanted = std::move(tickets_);
    heed::reply_error(*responder_, error, error_form_);
  }
  cancel_all(unwanted);
}

void Ongoing::leave(Step step, bool is_last) {
  std::vector<Ticket> unwanted;
  {
    const std::lock_guard lock(mutex_);
    if (phase_ == Phase::kOver || ended_) return;
    ended_ = is_last;
    if (phase_ == Phase::kSubmitting) {
      held_.push_back(std::move(step));
    } else {
      unwanted = run(step, is_last);
    }
  }
  cancel_all(unwanted);
}

void Ongoing::reply(int status, std::string body) {
  leave(
      [status, text = std::move(body)](Responder& responder) {
        responder.reply(status, "application/json", text);
        return true;
      },
      true);
}

void Ongoing::reply_error(const ApiError& error) {
  leave(
      [this, error](Responder& responder) {
        heed::reply_error(responder, error, error_form_);
        return true;
      },
      true);
}

void Ongoing::write(std::string bytes) {
  leave([text = std::move(bytes)](Responder& responder) { return responder.write(text); }, false);
}

void Ongoing::end() {
  leave(
      [](Responder& responder) {
        responder.end();
        return true;
      },
      true);
}

}  // namespace heed
