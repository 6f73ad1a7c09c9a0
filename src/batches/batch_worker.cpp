#include "batches/batch_worker.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

namespace heed {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kLongestWait = std::chrono::hours(1);

bool is_to_be_checked(BatchStatus status) { return status == BatchStatus::kValidating; }
bool is_to_be_run(BatchStatus status) {
  return status == BatchStatus::kInProgress || status == BatchStatus::kFinalizing ||
         status == BatchStatus::kCancelling;
}

// The total was counted when the input was checked; a run that was stopped has not met every line.
BatchCounts with_total(BatchCounts counts, const BatchCounts& before) {
  counts.total = std::max(counts.total, before.total);
  return counts;
}

// What the client is told; the operator's line has the whole.
LineError problem_of(const Error& error) {
  if (error.code == ErrorCode::kLimit) {
    return {"storage_full", "the server's disk is full; the batch goes on when there is room", ""};
  }
  if (error.code == ErrorCode::kBusy) {
    return {"server_busy", "the server has no time for the batch; it goes on later", ""};
  }
  return {"storage_error", "the server cannot read or write the batch's files", ""};
}

std::vector<LineProblem> problems_of(const Result<BatchCheck>& check) {
  if (!check.ok() && check.error().code == ErrorCode::kLimit) {
    const std::string& message = check.error().message;  // with the path in front
    return {{0, {"too_many_requests", message.substr(message.find(": ") + 2), "input_file_id"}}};
  }
  if (!check.ok()) return {{0, problem_of(check.error())}};
  if (check->requests == 0) return {{0, {"empty_file", "the input has no requests", "input_file_id"}}};
  return check->problems;
}

}  // namespace

BatchWorker::BatchWorker(BatchBook& book, ApiHandler& api, const BatchLimits& limits)
    : book_(book),
      api_(api),
      limits_(limits),
      checker_([this] { loop(is_to_be_checked, &BatchWorker::check); }),
      runner_([this] { loop(is_to_be_run, &BatchWorker::run); }) {}

BatchWorker::~BatchWorker() {
  {
    const std::lock_guard lock(book_.mutex);
    book_.stopping = true;
    for (auto& [made_ns, batch] : book_.batches().by_age()) batch.stop.request_stop();
  }
  book_.changed.notify_all();
  checker_.join();
  runner_.join();
}

void BatchWorker::loop(bool (*wanted)(BatchStatus), Step step) {
  std::unique_lock lock(book_.mutex);
  while (!book_.stopping) {
    const auto now = Clock::now();
    auto wake = now + kLongestWait;
    LiveBatch* next = nullptr;
    for (auto& [made_ns, batch] : book_.batches().by_age()) {
      if (!wanted(batch.record.status)) continue;
      if (batch.not_before <= now) {
        next = &batch;
        break;
      }
      wake = std::min(wake, batch.not_before);
    }
    if (next == nullptr) {
      book_.changed.wait_until(lock, wake);
      continue;
    }
    next->stop = std::stop_source();
    next->record.problems.clear();
    const BatchRecord record = next->record;
    const std::stop_token stop = next->stop.get_token();
    lock.unlock();
    (this->*step)(record, stop);
    lock.lock();
  }
}

BatchJob BatchWorker::job_of(const BatchRecord& record) {
  BatchJob job;
  {
    const std::lock_guard lock(book_.mutex);
    job.input = book_.files().path(record.input_file_id);
    job.output = book_.files().path(record.output_file_id);
    job.errors = book_.files().path(record.error_file_id);
  }
  job.id_tag = record.id.substr(kBatchPrefix.size());
  job.rules = {.endpoints = {record.endpoint}, .priority = limits_.priority};
  job.limits = {.max_line_bytes = limits_.max_line_bytes, .max_requests = limits_.max_requests};
  job.concurrency = limits_.concurrency;
  job.busy_seconds = limits_.busy_seconds;
  job.on_progress = [this, id = record.id, total = record.counts](const BatchCounts& counts) {
    const std::lock_guard lock(book_.mutex);
    book_.batches().find(id)->record.counts = with_total(counts, total);
  };
  return job;
}

void BatchWorker::commit(LiveBatch& batch, const BatchRecord& next) {
  const Status saved = book_.save(batch, next);
  if (!saved.ok()) on_error(batch, saved.error());
}

// A full disk and a busy server hold a batch up; other trouble does not go away, and ends it.
void BatchWorker::on_error(LiveBatch& batch, const Error& error) {
  book_.log(batch.id + ": " + error.message);
  const bool passes = error.code == ErrorCode::kLimit || error.code == ErrorCode::kBusy;
  batch.record.problems = {{0, problem_of(error)}};
  batch.not_before = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                        std::chrono::duration<double>(limits_.retry_seconds));
  if (passes) return;
  BatchRecord next = batch.record;
  Status ended = take_results(next);
  next.set(BatchStatus::kFailed);
  if (ended.ok()) ended = book_.save(batch, next);
  if (!ended.ok()) book_.log(batch.id + ": " + ended.error().message);  // it is tried again
}

void BatchWorker::check(const BatchRecord& record, const std::stop_token& stop) {
  const Result<BatchCheck> checked = check_batch(job_of(record), limits_.max_problems, stop);
  const std::lock_guard lock(book_.mutex);
  LiveBatch& batch = *book_.batches().find(record.id);
  if (stop.stop_requested() || batch.record.status != BatchStatus::kValidating) return;
  BatchRecord next = batch.record;
  next.problems = problems_of(checked);
  if (next.problems.empty()) {
    next.counts.total = checked->requests;
    next.set(BatchStatus::kInProgress);
  } else {
    next.output_file_id.clear();
    next.error_file_id.clear();
    next.set(BatchStatus::kFailed);
  }
  commit(batch, next);
}

void BatchWorker::run(const BatchRecord& record, const std::stop_token& stop) {
  if (record.status == BatchStatus::kInProgress) return run_requests(record, stop);
  finish(record, stop);
}

void BatchWorker::run_requests(const BatchRecord& record, const std::stop_token& stop) {
  BatchJob job = job_of(record);
  job.deadline = record.expires_at();
  const auto outcome = run_batch(job, api_, stop);
  const std::lock_guard lock(book_.mutex);
  LiveBatch& batch = *book_.batches().find(record.id);
  if (!outcome.ok()) {
    if (batch.record.status == BatchStatus::kInProgress) on_error(batch, outcome.error());
    return;
  }
  batch.record.counts = with_total(outcome->counts, record.counts);
  if (outcome->end == BatchEnd::kStopped || batch.record.status != BatchStatus::kInProgress) return;
  BatchRecord next = batch.record;
  next.expiring = outcome->end == BatchEnd::kDeadline;
  next.set(BatchStatus::kFinalizing);
  commit(batch, next);
}

void BatchWorker::finish(const BatchRecord& record, const std::stop_token& stop) {
  const bool cancelled = record.status == BatchStatus::kCancelling;
  if (cancelled || record.expiring) {
    BatchJob job = job_of(record);
    job.refuse = cancelled ? LineError{"batch_cancelled", "not run: the batch was cancelled", ""}
                           : LineError{"batch_expired", "not run before the batch's window was over", ""};
    const auto outcome = run_batch(job, api_, stop);
    const std::lock_guard lock(book_.mutex);
    LiveBatch& batch = *book_.batches().find(record.id);
    if (!outcome.ok()) return on_error(batch, outcome.error());
    if (outcome->end == BatchEnd::kStopped) return;
    batch.record.counts = with_total(outcome->counts, record.counts);
  }
  const std::lock_guard lock(book_.mutex);
  LiveBatch& batch = *book_.batches().find(record.id);
  BatchRecord next = batch.record;
  const Status taken = take_results(next);
  if (!taken.ok()) return on_error(batch, taken.error());
  next.set(cancelled         ? BatchStatus::kCancelled
           : record.expiring ? BatchStatus::kExpired
                             : BatchStatus::kCompleted);
  commit(batch, next);
}

// Makes files of the results. Its status is to change only then, so that after a crash both are done again.
Status BatchWorker::take_results(BatchRecord& next) {
  const std::pair<std::string*, const char*> results[] = {{&next.output_file_id, "_output.jsonl"},
                                                          {&next.error_file_id, "_error.jsonl"}};
  for (const auto& [id, suffix] : results) {
    std::error_code error;
    const auto bytes = std::filesystem::file_size(book_.files().path(*id), error);
    if (error || bytes == 0) {
      book_.files().discard(*id);
      id->clear();
      continue;
    }
    TRY(book_.files().adopt(*id, next.id + suffix, "batch_output"));
  }
  return {};
}

}  // namespace heed
