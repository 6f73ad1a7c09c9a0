// A request that generations are answering: their tickets, and the one place where its answer leaves.
//
// A handler submits one or more generations, whose listeners may speak before the last is submitted, on the
// service's text thread. Until submitted(), what they say is held back, so that a refusal of a later one can
// still be a plain error.
//
//   handler:    ongoing->add(ticket)...  then submitted(), or fail(error)
//   listeners:  reply(...) once;  or, streaming: write(...)..., end()
//   transport:  cancel()
//
// Exactly one answer leaves, whatever comes in which order. Safe from any thread.
#pragma once
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "api/errors.h"
#include "api/exchange.h"
#include "serving/service.h"

namespace heed {

class Ongoing : public Exchange {
 public:
  // `streams`: answers by server-sent events instead of one reply. The service must outlive this until the
  // answer has ended.
  Ongoing(Service& service, std::shared_ptr<Responder> responder, bool streams,
          ErrorForm error_form = openai_error_form);

  void cancel() override;

  void add(const Ticket& ticket);
  void submitted();
  // Before submitted(): the answer is this error, and what was submitted is cancelled.
  void fail(const ApiError& error);

  // The whole answer of one that does not stream. Later calls of any kind have no effect.
  void reply(int status, std::string body);
  void reply_error(const ApiError& error);
  // Events of one that streams. A reader that is gone or too slow cancels the generations.
  void write(std::string bytes);
  void end();

 private:
  enum class Phase { kSubmitting, kOpen, kOver };
  using Step = std::function<bool(Responder&)>;  // false: the reader is gone
  void leave(Step step, bool is_last);
  // Under the lock. What is to be cancelled then, without it.
  [[nodiscard]] std::vector<Ticket> run(const Step& step, bool is_last);
  void cancel_all(const std::vector<Ticket>& tickets);

  Service& service_;
  const std::shared_ptr<Responder> responder_;
  const bool streams_;
  const ErrorForm error_form_;

  std::mutex mutex_;  // guards all below, and keeps calls of the responder apart
  Phase phase_ = Phase::kSubmitting;
  std::vector<Ticket> tickets_;
  bool cancelled_ = false;
  bool ended_ = false;      // the last step was given
  std::vector<Step> held_;  // steps given before submitted()
};

}  // namespace heed
