#include "batches/batch_runner.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <memory>
#include <utility>

#include "batches/inbox.h"
#include "batches/result_file.h"

namespace heed {
namespace {

using Clock = Inbox::Clock;
using Seconds = std::chrono::duration<double>;

constexpr Seconds kFirstPause{0.05};
constexpr Seconds kLongestPause{5};
// What a result line holds beside its body, generously.
constexpr int64_t kEnvelopeBytes = 64 << 10;

struct Pending {
  int64_t line = 0;
  RequestLine request;
  std::shared_ptr<Exchange> exchange;
};

Clock::time_point after(Seconds seconds) {
  return Clock::now() + std::chrono::duration_cast<Clock::duration>(seconds);
}

class BatchRun {
 public:
  BatchRun(const BatchJob& job, ApiHandler& handler, std::stop_token stop, RequestReader reader)
      : job_(job), handler_(handler), stop_(std::move(stop)), reader_(std::move(reader)) {}

  Status open();
  Result<BatchOutcome> run();

 private:
  Status read_back(ResultFile& file);
  bool interrupted();
  Status work();
  Status submit();
  bool has_room() const;
  Result<std::optional<Pending>> next();
  void start(Pending pending);
  Status take(BatchAnswer answer);
  bool try_again(Pending& pending, const BatchAnswer& answer);
  Status write(ResultFile& file, std::string line, bool succeeded);
  Status write_error(int64_t line, LineKind kind, const std::string& custom_id, const LineError& error);
  Status sync();
  Clock::time_point wake_time() const;
  void drain();

  ResultFile& errors() { return errors_ ? *errors_ : *output_; }

  const BatchJob& job_;
  ApiHandler& handler_;
  std::stop_token stop_;
  RequestReader reader_;
  std::optional<ResultFile> output_;
  std::optional<ResultFile> errors_;
  std::shared_ptr<Inbox> inbox_ = std::make_shared<Inbox>();
  std::map<int64_t, Pending> under_way_;  // by line
  std::deque<Pending> again_;             // found the handler busy
  int64_t bytes_under_way_ = 0;
  bool input_ended_ = false;
  BatchOutcome outcome_;
  Clock::time_point next_sync_ = after(Seconds(job_.sync_seconds));
  Clock::time_point not_before_ = Clock::now();  // no request starts until then
  std::optional<Clock::time_point> busy_since_;  // nothing but busy answers
  Seconds pause_ = kFirstPause;
};

Status BatchRun::open() {
  output_ = TRY(ResultFile::open(job_.output));
  TRY(read_back(*output_));
  if (job_.errors.empty()) return {};
  errors_ = TRY(ResultFile::open(job_.errors));
  return read_back(*errors_);
}

Status BatchRun::read_back(ResultFile& file) {
  return file.recover(kResultStart, job_.max_result_bytes + kEnvelopeBytes,
                      [&](std::string_view text) -> Status {
                        const ResultLine result = TRY(read_result_line(text));
                        ++(result.succeeded ? outcome_.counts.completed : outcome_.counts.failed);
                        ++outcome_.read_back;
                        return reader_.add_done(result);
                      });
}

bool BatchRun::interrupted() {
  if (outcome_.end != BatchEnd::kDone) return true;
  if (stop_.stop_requested()) outcome_.end = BatchEnd::kStopped;
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  if (job_.deadline && now >= std::chrono::seconds(*job_.deadline)) outcome_.end = BatchEnd::kDeadline;
  return outcome_.end != BatchEnd::kDone;
}

Result<BatchOutcome> BatchRun::run() {
  const std::stop_callback waker(stop_, [this] { inbox_->wake(); });
  const Status worked = work();
  drain();
  // Also after an error: what has been written so far need not be done again.
  const Status synced = sync();
  TRY(worked);
  TRY(synced);
  return outcome_;
}

Status BatchRun::work() {
  for (;;) {
    if (!interrupted()) TRY(submit());
    if (input_ended_ && under_way_.empty() && again_.empty()) {
      outcome_.end = BatchEnd::kDone;
      return {};
    }
    if (interrupted()) return {};
    Status status;
    for (BatchAnswer& answer : inbox_->take(wake_time())) {
      if (status.ok()) {
        status = take(std::move(answer));
      } else {
        under_way_.erase(answer.line);  // it has ended, though nobody can write it down
      }
    }
    TRY(status);
    if (Clock::now() >= next_sync_) TRY(sync());
  }
}

// The next time at which there is something to do though no answer comes in.
Clock::time_point BatchRun::wake_time() const {
  Clock::time_point wake = next_sync_;
  if (has_room() && (!again_.empty() || !input_ended_)) wake = std::min(wake, not_before_);
  if (job_.deadline) {
    const auto now = std::chrono::system_clock::now().time_since_epoch();
    const Seconds left = std::chrono::seconds(*job_.deadline) - now;
    wake = std::min(wake, after(std::clamp(left, Seconds(0), kLongestPause)));
  }
  return wake;
}

bool BatchRun::has_room() const {
  return std::ssize(under_way_) < job_.concurrency &&
         (under_way_.empty() || bytes_under_way_ < job_.max_bytes_under_way);
}

Status BatchRun::submit() {
  while (has_room() && Clock::now() >= not_before_) {
    if (!again_.empty()) {
      Pending pending = std::move(again_.front());
      again_.pop_front();
      start(std::move(pending));
      continue;
    }
    if (input_ended_) return {};
    auto pending = TRY(next());
    if (!pending) return {};
    start(*std::move(pending));
  }
  return {};
}

// The next line of the input to be run; on the way there, lines that are not get their results.
Result<std::optional<Pending>> BatchRun::next() {
  while (!interrupted()) {
    auto item = TRY(reader_.next());
    if (!item) {
      input_ended_ = true;
      break;
    }
    ++outcome_.counts.total;
    if (item->done) continue;
    RequestLine& request = item->request;
    if (request.error) {
      TRY(write_error(item->line, LineKind::kRefused, request.custom_id, *request.error));
    } else if (job_.refuse) {
      TRY(write_error(item->line, LineKind::kRequest, request.custom_id, *job_.refuse));
    } else {
      return std::optional(Pending{item->line, std::move(request), nullptr});
    }
  }
  return std::optional<Pending>();
}

void BatchRun::start(Pending pending) {
  ApiRequest request{.method = "POST", .path = pending.request.url, .headers = job_.headers};
  request.body = pending.request.body;  // a copy: it may be tried again
  const int64_t line = pending.line;
  bytes_under_way_ += std::ssize(pending.request.body);
  Pending& place = under_way_[line] = std::move(pending);
  place.exchange = handler_.handle(std::move(request), std::make_shared<InboxResponder>(inbox_, line));
}

// Whether the handler was too busy for a request, which then is kept for later.
bool BatchRun::try_again(Pending& pending, const BatchAnswer& answer) {
  const bool was_busy = answer.status == 429 || answer.status == 503;
  if (!was_busy) {
    busy_since_.reset();
    pause_ = kFirstPause;
    return false;
  }
  if (!busy_since_) busy_since_ = Clock::now();
  if (Clock::now() >= not_before_) {  // once for all that were turned away together
    not_before_ = after(pause_);
    pause_ = std::min(pause_ * 2, kLongestPause);
  }
  pending.exchange.reset();
  again_.push_back(std::move(pending));
  return true;
}

Status BatchRun::take(BatchAnswer answer) {
  auto node = under_way_.extract(answer.line);
  CHECK(!node.empty(), answer.line);
  Pending& pending = node.mapped();
  bytes_under_way_ -= std::ssize(pending.request.body);
  const std::string custom_id = pending.request.custom_id;
  if (try_again(pending, answer)) {
    if (Clock::now() - *busy_since_ < Seconds(job_.busy_seconds)) return {};
    return busy("the server has been too busy for any request of the batch for " +
                std::to_string(static_cast<int64_t>(job_.busy_seconds)) + " s; it can be taken up later");
  }
  if (answer.streamed) {
    const LineError error{"streamed_answer", "the answer was a stream, which a batch cannot hold", ""};
    return write_error(answer.line, LineKind::kRequest, custom_id, error);
  }
  if (std::ssize(answer.body) > job_.max_result_bytes) {
    const LineError error{"answer_too_long",
                          "the answer is longer than " + std::to_string(job_.max_result_bytes) + " bytes",
                          ""};
    return write_error(answer.line, LineKind::kRequest, custom_id, error);
  }
  const bool succeeded = answer.status / 100 == 2;
  return write(succeeded ? *output_ : errors(),
               response_line(line_id(LineKind::kRequest, job_.id_tag, answer.line), custom_id, answer.status,
                             answer.request_id, std::move(answer.body)),
               succeeded);
}

Status BatchRun::write_error(int64_t line, LineKind kind, const std::string& custom_id,
                             const LineError& error) {
  return write(errors(), error_line(line_id(kind, job_.id_tag, line), custom_id, error), false);
}

Status BatchRun::write(ResultFile& file, std::string line, bool succeeded) {
  TRY(file.append(std::move(line)));
  ++(succeeded ? outcome_.counts.completed : outcome_.counts.failed);
  if (job_.on_progress) job_.on_progress(outcome_.counts);
  if (Clock::now() < next_sync_) return {};
  return sync();
}

Status BatchRun::sync() {
  next_sync_ = after(Seconds(job_.sync_seconds));
  TRY(output_->sync());
  if (errors_) TRY(errors_->sync());
  return {};
}

// Cancels what is under way and waits until nothing is. Its answers, perhaps cut short, are not results.
void BatchRun::drain() {
  for (const auto& [line, pending] : under_way_) {
    if (pending.exchange) pending.exchange->cancel();
  }
  while (!under_way_.empty()) {
    for (const BatchAnswer& answer : inbox_->take(after(kLongestPause))) under_way_.erase(answer.line);
  }
}

}  // namespace

Result<BatchOutcome> run_batch(const BatchJob& job, ApiHandler& handler, std::stop_token stop) {
  RequestReader reader = TRY(RequestReader::open(job.input, job.rules, job.limits));
  BatchRun run(job, handler, std::move(stop), std::move(reader));
  TRY(run.open());
  return run.run();
}

Result<BatchCheck> check_batch(const BatchJob& job, int max_problems, const std::stop_token& stop) {
  RequestReader reader = TRY(RequestReader::open(job.input, job.rules, job.limits));
  BatchCheck check;
  while (std::ssize(check.problems) < max_problems) {
    if (stop.stop_requested()) return stopped("stopped while the input was checked");
    const auto item = TRY(reader.next());
    if (!item) break;
    ++check.requests;
    if (item->request.error) check.problems.push_back({item->line, *item->request.error});
  }
  return check;
}

}  // namespace heed
