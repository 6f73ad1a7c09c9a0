// heed::Engine: serves many requests at once on one model. One thread of its own runs the loop
//
//   take in what was submitted and cancelled; plan a step; run it; sample; tell the callers
//
// and nothing above the kernels needs a lock. Greedy and seeded results do not depend on what runs beside a
// request, on how its prompt is cut, or on whether it was preempted: kernels sum in a fixed order, and a draw
// depends on (seed, position) only.
#pragma once
#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "engine/request.h"
#include "engine/runner.h"
#include "engine/scheduler.h"

namespace heed {

struct EngineOptions {
  RunnerOptions runner;
  int max_sequences = 256;  // --max-num-seqs: running at a time
  int max_queue = 4096;     // waiting at a time; more are refused
  bool prefix_caching = true;
  int64_t cache_bytes = 0;  // --kv-cache-memory; 0: see plan_engine
  // Hears of each step, on the engine's thread: tokens computed of prompts and tokens sampled, together.
  std::function<void(int64_t tokens)> on_step = nullptr;
};

// What the options come to for this checkpoint; binding: nothing grows beyond it later.
struct EnginePlan {
  RunPlan run;                 // pages and cache_bytes for all sequences together
  int sequences = 0;           // running at a time
  int64_t full_sequences = 0;  // of max_len that the cache holds at once
};
Result<EnginePlan> plan_engine(const Checkpoint& checkpoint, const EngineOptions& options);

struct EngineStats {
  int running = 0, waiting = 0;
  int pages = 0, held_pages = 0, cached_pages = 0;
  uint64_t steps = 0, preemptions = 0;
  uint64_t prompt_tokens = 0, generated_tokens = 0;  // computed; sampled
  uint64_t prefix_queries = 0, prefix_hits = 0;      // prompt tokens looked up; found
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> start(Checkpoint checkpoint, const EngineOptions& options,
                                               const Progress& progress = nullptr);
  ~Engine();  // cancels what is left
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // From any thread. The id, or why the request is refused: wrong ids or parameters, a prompt that the
  // context or the cache cannot hold, a full queue (ErrorCode::kBusy).
  Result<uint64_t> submit(Request request);
  // From any thread, callbacks included. The request's last event says kCancelled, unless it has ended
  // already.
  void cancel(uint64_t id);

  // From any thread: as of the last step.
  EngineStats stats() const;
  const EnginePlan& plan() const { return plan_; }
  const ModelSpec& spec() const { return runner_->spec(); }
  const Checkpoint& checkpoint() const { return runner_->checkpoint(); }
  // Waits until nothing is running or waiting.
  void drain();
  // No prefix computed so far is found again.
  void forget_prefixes();

 private:
  Engine(EnginePlan plan, std::unique_ptr<Runner> runner, const EngineOptions& options);

  void run();
  bool take_in();
  void admit(std::unique_ptr<LiveRequest> live);
  void step(const std::vector<Scheduler::Item>& items);
  void take_prompt_logits(LiveRequest& live, const Tensor& logits, int64_t row, int count) const;
  void sample_rows(const Tensor& logits);
  void take_sampled(LiveRequest& live);
  void finish(LiveRequest& live, Finish reason, Event event);
  void publish_stats();
  Status check(const Request& request) const;

  EnginePlan plan_;
  std::unique_ptr<Runner> runner_;
  Scheduler scheduler_;
  int max_queue_;
  std::function<void(int64_t tokens)> on_step_;

  std::unordered_map<uint64_t, std::unique_ptr<LiveRequest>> live_;  // the engine thread's
  uint64_t next_arrival_ = 0;
  // Of the step under way; kept for their memory.
  std::vector<Scheduled> scheduled_;
  std::vector<LiveRequest*> sampling_;
  std::vector<int64_t> sampling_rows_;  // of the logits, for each of sampling_

  mutable std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::vector<std::unique_ptr<LiveRequest>> submitted_;  // guarded by mutex_, as all below
  std::vector<uint64_t> cancelled_;
  uint64_t next_id_ = 1;
  int pending_ = 0;  // submitted and not yet ended
  bool stopping_ = false, forget_ = false;
  EngineStats stats_;

  EngineStats counters_;  // the engine thread's, as is
  int ended_ = 0;         // since stats_ was last brought up to date
  std::thread thread_;
};

}  // namespace heed
