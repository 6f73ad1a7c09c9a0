// Runs a file of requests through an ApiHandler and writes a file of results, such that a run that was killed
// at any point can be taken up by the same call: in the end every line of the input has exactly one result.
//
// Why that holds:
//   - a result is appended as one line, and only whole lines count (result_file.h cuts the rest);
//   - a run first reads back what the result files hold and passes over those lines of the input;
//   - one process at a time has the result files open.
// So a result lies in a file or its request is run again; what is lost in a crash is work, never a result,
// and a power failure loses at most what was written since the last sync.
//
// Results come in the order in which they are done. Results with a status of 2xx go to `output`, all others
// and the lines that are no requests to `errors`, where it is given.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "api/exchange.h"
#include "base/result.h"
#include "batches/batch_line.h"
#include "batches/request_reader.h"

namespace heed {

struct BatchCounts {
  int64_t total = 0;      // lines of the input met or read back, empty ones aside
  int64_t completed = 0;  // with a status of 2xx
  int64_t failed = 0;
};

struct BatchJob {
  std::string input;
  std::string output;
  std::string errors;  // empty: everything goes to `output`
  std::string id_tag;  // in the results' ids (batch_line.h)
  LineRules rules;
  InputLimits limits;
  std::map<std::string, std::string> headers = {{"content-type", "application/json"}};  // of every request
  int concurrency = 64;                                                                 // requests under way
  int64_t max_bytes_under_way = 256 << 20;       // of their bodies together, but one runs whatever its size
  int64_t max_result_bytes = int64_t{64} << 20;  // a longer answer becomes an error
  double sync_seconds = 1;                       // between syncs of the result files
  double busy_seconds = 600;                     // statuses 429 and 503 are tried again; so long without any
                                                 // other ends the job
  std::optional<int64_t> deadline;               // seconds since 1970
  std::optional<LineError> refuse;  // runs nothing: what has no result yet gets this as its error
  // Hears of progress, on the calling thread, at most once a result.
  std::function<void(const BatchCounts&)> on_progress;
};

enum class BatchEnd { kDone, kStopped, kDeadline };
struct BatchOutcome {
  BatchEnd end = BatchEnd::kDone;
  BatchCounts counts;
  int64_t read_back = 0;  // of the results: from earlier runs
};

// Blocks until everything has a result, `stop` is requested, or the deadline is there; in the latter cases
// what is under way is cancelled and waited for, and has no result. Errors leave the files whole, to be taken
// up again: kLimit where the disk is full, kBusy where another process writes the files or the handler
// is busy for busy_seconds, kInvalid or kNotFound where files cannot be read or are not a batch's.
Result<BatchOutcome> run_batch(const BatchJob& job, ApiHandler& handler, std::stop_token stop = {});

// What is wrong with the input, without running it.
struct LineProblem {
  int64_t line = 0;  // 0: the input as a whole
  LineError error;
};
struct BatchCheck {
  int64_t requests = 0;
  std::vector<LineProblem> problems;  // the first max_problems
};
Result<BatchCheck> check_batch(const BatchJob& job, int max_problems, const std::stop_token& stop = {});

}  // namespace heed
