// A batch as it stands on disk and as clients see it.
//
//   validating ──► in_progress ──► finalizing ──► completed
//       │   │          │  └── the window is over ──► (refuse the rest) ──► expired
//       │   └── cancel ┴──► cancelling ──► (refuse the rest) ──► cancelled
//       └──► failed: the input is not a batch's
//
// Source: OpenAI's API reference ("The batch object").
#pragma once
#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "batches/batch_runner.h"

namespace heed {

inline constexpr std::string_view kBatchPrefix = "batch_";

enum class BatchStatus {
  kValidating,
  kInProgress,
  kFinalizing,
  kCompleted,
  kFailed,
  kExpired,
  kCancelling,
  kCancelled
};
inline constexpr int kNumBatchStatuses = 8;
const char* status_name(BatchStatus status);
// Nothing more happens to it.
bool is_final(BatchStatus status);

struct BatchRecord {
  std::string id;
  int64_t made_ns = 0;  // since 1970
  std::string endpoint;
  std::string input_file_id;
  // Reserved when it is made, and emptied at the end where nothing was written.
  std::string output_file_id;
  std::string error_file_id;
  OrderedJson metadata = nullptr;
  int64_t window_seconds = 86'400;
  BatchStatus status = BatchStatus::kValidating;
  bool expiring = false;                              // of kFinalizing: will be kExpired
  std::array<int64_t, kNumBatchStatuses> since = {};  // seconds since 1970, when it got a status; 0: never
  BatchCounts counts;
  std::vector<LineProblem> problems;  // of kFailed: why; else: what holds it up

  int64_t expires_at() const;
  void set(BatchStatus next);  // now
};

OrderedJson batch_object(const BatchRecord& batch);  // OpenAI's "batch"

std::string record_text(const BatchRecord& batch);
// `what` names the document in errors.
Result<BatchRecord> read_record(const std::string& text, const std::string& what);

}  // namespace heed
