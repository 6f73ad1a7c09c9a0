// The two threads that take batches from one status to the next: one checks inputs, one runs requests.
//
// Batches are taken in the order in which they were made; one that is held up (full disk) lets others pass.
#pragma once
#include <stop_token>
#include <thread>

#include "batches/batch_book.h"

namespace heed {

class BatchWorker {
 public:
  BatchWorker(BatchBook& book, ApiHandler& api, const BatchLimits& limits);
  ~BatchWorker();  // stops what is being done, which the next start takes up
  BatchWorker(const BatchWorker&) = delete;
  BatchWorker& operator=(const BatchWorker&) = delete;

 private:
  using Step = void (BatchWorker::*)(const BatchRecord&, const std::stop_token&);
  void loop(bool (*wanted)(BatchStatus), Step step);
  void check(const BatchRecord& record, const std::stop_token& stop);
  void run(const BatchRecord& record, const std::stop_token& stop);
  void run_requests(const BatchRecord& record, const std::stop_token& stop);
  void finish(const BatchRecord& record, const std::stop_token& stop);
  BatchJob job_of(const BatchRecord& record);

  // Under the book's lock.
  void commit(LiveBatch& batch, const BatchRecord& next);
  Status take_results(BatchRecord& next);
  void on_error(LiveBatch& batch, const Error& error);

  BatchBook& book_;
  ApiHandler& api_;
  const BatchLimits& limits_;
  std::thread checker_;
  std::thread runner_;
};

}  // namespace heed
