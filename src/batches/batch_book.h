// What a batch service knows: its files and batches, in memory as on disk.
#pragma once
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stop_token>
#include <string>

#include "base/result.h"
#include "batches/batch_record.h"
#include "batches/batch_service.h"
#include "batches/descriptor.h"
#include "batches/file_store.h"
#include "batches/shelf.h"

namespace heed {

struct LiveBatch {
  std::string id;
  int64_t made_ns = 0;
  BatchRecord record;     // as on disk, but for counts and, until the end, problems
  std::stop_source stop;  // of what is being done for it
  std::chrono::steady_clock::time_point not_before = {};
};

// Everything is guarded by `mutex`; `changed` follows every change of a status.
class BatchBook {
 public:
  // Takes the folder's lock, reads everything, removes what a crash has left.
  static Result<std::unique_ptr<BatchBook>> open(const std::string& folder, BatchService::Log log);

  std::mutex mutex;
  std::condition_variable changed;
  bool stopping = false;
  Shelf<LiveBatch>& batches() { return batches_; }
  FileStore& files() { return *files_; }

  // On disk first, then here. An error has changed nothing.
  Status save(LiveBatch& batch, const BatchRecord& next);
  Status add(const BatchRecord& record);
  Status forget(const std::string& id);
  void log(const std::string& line) const;

 private:
  BatchBook(std::string folder, BatchService::Log log) : folder_(std::move(folder)), log_(std::move(log)) {}
  Status load();
  std::string path(const std::string& id) const;

  std::string folder_;
  BatchService::Log log_;
  Descriptor lock_;
  Shelf<LiveBatch> batches_;
  std::optional<FileStore> files_;
};

}  // namespace heed
