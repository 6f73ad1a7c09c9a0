// The requests of a batch's input, line by line, each checked, and known if it was done in an earlier run.
#pragma once
#include <cstdint>
#include <optional>
#include <string>

#include "base/result.h"
#include "batches/batch_line.h"
#include "batches/key_set.h"
#include "batches/line_reader.h"

namespace heed {

struct BatchItem {
  int64_t line = 0;     // in the input, from 1
  RequestLine request;  // with an error also where its custom_id stood in a line before
  bool done = false;    // its result was read back by add_done()
};

struct InputLimits {
  int64_t max_line_bytes = 16 << 20;
  int64_t max_requests = 10'000'000;  // 16 to 43 bytes of memory each (key_set.h)
};

class RequestReader {
 public:
  static Result<RequestReader> open(const std::string& path, LineRules rules, const InputLimits& limits);

  // Before the first next().
  Status add_done(const ResultLine& result);
  // Empty lines are passed over; nothing at the end. An error ends the job, unlike one of the item's.
  Result<std::optional<BatchItem>> next();

 private:
  RequestReader(std::string path, LineReader lines, LineRules rules, const InputLimits& limits);
  Error too_many() const;

  std::string path_;
  LineReader lines_;
  LineRules rules_;
  InputLimits limits_;
  KeySet keys_;  // of two kinds: 'c' a custom_id, 'l' the number of a line that was refused
  int64_t line_ = 0;
  int64_t requests_ = 0;
};

}  // namespace heed
