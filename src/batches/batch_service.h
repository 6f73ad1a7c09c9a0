// Files and batches of requests that clients leave with the server: OpenAI's /v1/files and /v1/batches, kept
// in a folder, and worked off one batch after the other beside interactive requests.
//
//   <folder>/lock        held while a server uses the folder
//   <folder>/files/      contents and records (file_store.h), results as they are written
//   <folder>/batches/    a record a batch (batch_record.h), replaced in one step
//
// A server that was killed goes on where it was: each status says what is to be done next, that can be begun
// again at any point (batch_runner.h), and a new status is on disk before anything is done in it. When the
// disk is full a batch waits, says so in its `errors`, and goes on when there is room.
//
// Threads: one runs batches, one checks the input of new ones, one runs what is post()ed. All methods may be
// called from any thread, and all but post() may wait for the disk.
#pragma once
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "api/errors.h"
#include "api/exchange.h"
#include "base/json.h"
#include "base/result.h"
#include "batches/multipart.h"

namespace heed {

struct BatchLimits {
  int64_t max_file_bytes = int64_t{512} << 20;
  int64_t max_download_bytes = int64_t{2} << 30;  // a content is sent from memory
  int64_t max_total_bytes = int64_t{64} << 30;    // of all files, for uploads
  int max_files = 10'000;
  int max_filename_bytes = 255;
  int max_open_batches = 100;     // not yet ended
  int max_batches = 10'000;       // beyond, the oldest that have ended are forgotten, but not their files
  int max_problems = 100;         // told of an input that is not a batch's
  int64_t max_requests = 50'000;  // of a batch
  int64_t max_line_bytes = 16 << 20;
  int concurrency = 32;         // requests under way
  std::optional<int> priority;  // of requests that say none; needs scheduling by priority
  int64_t window_seconds = 86'400;
  double retry_seconds = 10;                     // after a full disk, or a server too busy for too long
  double busy_seconds = 600;                     // how long that is
  int max_waiting = 256;                         // requests to these routes, waiting for the disk
  int64_t max_waiting_bytes = int64_t{1} << 30;  // of their bodies
};

class BatchService {
 public:
  using Answer = std::variant<OrderedJson, ApiError>;
  using Parameters = std::map<std::string, std::string>;  // of the query

  // Creates the folder where it is missing, and takes up what was under way. `api` must outlive this, and
  // take the requests of batches. kBusy: another server uses the folder.
  // `log` gets a line a change of a batch's status, and the reasons of trouble; from several threads.
  using Log = std::function<void(const std::string& line)>;
  static Result<std::unique_ptr<BatchService>> open(const std::string& folder, ApiHandler& api,
                                                    const BatchLimits& limits = {}, Log log = nullptr);
  ~BatchService();  // stop()s

  // Stops working: requests under way are cancelled, and run again after the next start. To be done before
  // the model's service ends requests by itself, as answers cut short must not be taken for results.
  void stop();

  Answer upload(const std::vector<FormPart>& form);
  Answer list_files(const Parameters& query);
  Answer file(const std::string& id);
  Answer remove_file(const std::string& id);
  std::variant<std::string, ApiError> content(const std::string& id);

  Answer create_batch(const OrderedJson& body);
  Answer list_batches(const Parameters& query);
  Answer batch(const std::string& id);
  Answer cancel_batch(const std::string& id);

  // Runs it on a thread that may wait for the disk, after what was posted before. `bytes`: the memory it
  // holds. False: too much is waiting already.
  bool post(int64_t bytes, std::function<void()> task);
  const BatchLimits& limits() const;

 private:
  struct Parts;
  explicit BatchService(std::unique_ptr<Parts> parts);
  std::unique_ptr<Parts> parts_;
};

}  // namespace heed
