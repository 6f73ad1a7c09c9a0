// heed::Engine: serves many requests at once on one model. One thread of its own runs the loop
//
//   take in what was submitted and cancelled; plan a step; run it; sample; tell the callers
//
// and nothing above the kernels needs a lock. Where an accelerator draws the tokens, it runs a step while the
// host takes in, plans and sends the next one, which goes on from tokens that the host does not know yet.
// Greedy and seeded results do not depend on what runs beside a
// request, on how its prompt is cut, or on whether it was preempted: kernels sum in a fixed order, and a draw
// depends on (seed, position) only.
#pragma once
#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "engine/draft_policy.h"
#include "engine/image_encoder.h"
#include "engine/memory_plan.h"
#include "engine/proposer.h"
#include "engine/request.h"
#include "engine/runner.h"
#include "engine/scheduler.h"

namespace heed {

struct EngineOptions {
  RunnerOptions runner;
  int max_sequences = 256;  // --max-num-seqs: running at a time
  int max_queue = 4096;     // waiting at a time; more are refused
  bool prefix_caching = true;
  int64_t cache_bytes = 0;   // --kv-cache-memory; 0: what all sequences could hold, up to a quarter of memory
  int64_t memory_bytes = 0;  // to plan for; 0: what there is
  int64_t snapshot_bytes = -1;     // --state-snapshot-memory, of recurrent layers; -1: see plan_engine
  int64_t request_bytes = 0;       // what all requests together may hold besides pages; 0: see plan_engine
  SpeculativeOptions speculative;  // --speculative-config
  // A proposer of somebody else's in place of the method's own; speculative.tokens still holds.
  std::function<std::unique_ptr<Proposer>()> make_proposer = nullptr;
  int64_t image_bytes = -1;      // --image-cache-memory, of encoded pictures; -1: see plan_engine
  int max_logprobs = 20;         // most that a request may ask for
  bool async_scheduling = true;  // an accelerator may run a step while the host prepares the next
  // Takes the planned memory from the start on, in a thread of its own, as a server should: see
  // wait_for_memory(). Else it is taken when it is first used.
  bool touch_memory = false;
  // Note when each step of an accelerator runs: take_traced().
  bool trace_steps = false;
  // Hears of each step, on the engine's thread: tokens computed of prompts and tokens sampled, together.
  std::function<void(int64_t tokens)> on_step = nullptr;
};

// What the options come to for this checkpoint; binding: nothing grows beyond it later.
struct EnginePlan {
  RunPlan run;                 // pages and cache_bytes for all sequences together
  int sequences = 0;           // running at a time
  int drafts = 0;              // most guesses at a time, where anybody guesses
  int snapshots = 0;           // of recurrent states, at most
  int64_t sequence_pages = 0;  // that one sequence of max_len holds at most
  int64_t full_sequences = 0;  // of max_len that the cache holds at once
  int64_t cache_tokens = 0;    // that the cache holds of sequences of max_len
  MemoryNeeds needs;
  MemoryPlan memory;
};
// An error says what is lacking, what would fit and which flag to change.
Result<EnginePlan> plan_engine(const Checkpoint& checkpoint, const EngineOptions& options);
// For this proposer, or none.
Result<EnginePlan> plan_engine(const Checkpoint& checkpoint, const EngineOptions& options,
                               const Proposer* proposer);
// That the options ask for; null: none.
Result<std::unique_ptr<Proposer>> make_proposer(const EngineOptions& options);

// What a request may come to hold at most besides its running sequence's state.
struct RequestSize {
  int prompt = 0, tokens = 0;  // of the prompt; with the answer
  int prompt_logprobs = -1;
  bool penalises = false, masks = false;
  int vocab = 0;
};
int64_t request_bytes(const RequestSize& size);
// Most tokens of a step whose prompt logits are wanted.
int prompt_logit_tokens(const RunPlan& run);

struct EngineStats {
  int running = 0, waiting = 0;
  int pages = 0, held_pages = 0, cached_pages = 0;
  int held_states = 0, snapshots = 0;  // of recurrent layers
  uint64_t steps = 0, preemptions = 0;
  uint64_t steps_ahead = 0;  // after which the next could be begun before they were finished
  uint64_t prompt_tokens = 0, generated_tokens = 0;  // computed; sampled
  uint64_t images_encoded = 0, images_found = 0;     // by the vision tower; encoded before
  uint64_t drafts = 0, draft_tokens = 0,
           accepted_tokens = 0;               // times that tokens were guessed; how many; right
  std::array<uint64_t, 64> accepted_at = {};  // by place within the guesses
  uint64_t dropped_guesses = 0;  // that were no tokens, or too many, or behind such; not in draft_tokens
  uint64_t prefix_queries = 0, prefix_hits = 0;  // prompt tokens looked up; found
  DeviceTimes device;                            // of an accelerator
};

class Engine {
 public:
  static Result<std::unique_ptr<Engine>> start(Checkpoint checkpoint, const EngineOptions& options,
                                               const Progress& progress = nullptr);
  ~Engine();  // stops
  // Cancels what is left; no event comes after this returns, and new requests are refused. Not from a
  // callback.
  void stop();
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
  const Narrowed& narrowed() const { return runner_->narrowed(); }
  const Runner& runner() const { return *runner_; }  // what never changes of it
  // Why the host never prepares a step while the one before it runs; "": it does where it can.
  const std::string& why_in_step() const { return why_in_step_; }
  const ModelSpec& spec() const { return runner_->spec(); }
  const Checkpoint& checkpoint() const { return runner_->checkpoint(); }
  // Waits until nothing is running or waiting.
  void drain();
  // Waits until the planned memory has been taken; at once without touch_memory.
  void wait_for_memory();
  // No prefix computed so far is found again.
  void forget_prefixes();
  // The steps since the last call, where the options asked for it. From any thread.
  std::vector<TracedStep> take_traced() { return runner_->take_traced(); }

 private:
  Engine(EnginePlan plan, std::unique_ptr<Runner> runner, std::unique_ptr<Proposer> proposer,
         const EngineOptions& options);

  // A step that was begun, and who is to hear of it.
  struct StepUnderWay {
    struct Row {
      LiveRequest* live;
      int first, count;  // rows of logits
      int guesses;       // the last so many of them are behind guesses
      bool samples;      // a token comes of the last
    };
    SentStep sent;
    std::vector<Row> rows;
    bool under_way = false;
    bool is_ahead = false;  // the next may be begun before it is finished
    bool is_decode = false;
    int tokens = 0;
    uint64_t prompt_tokens = 0;
    std::chrono::steady_clock::time_point begun;
  };

  std::string why_in_step(const EngineOptions& options) const;
  void run();
  bool take_in();
  void admit(std::unique_ptr<LiveRequest> live);
  void step();
  void begin_step(const std::vector<Scheduler::Item>& items);
  void note_rows(const std::vector<Scheduler::Item>& items, StepUnderWay& step);
  void finish_step(StepUnderWay& step);
  void drop_rows(const LiveRequest& live);
  void plan_draws(const std::vector<Scheduler::Item>& items);
  void encode_images();
  void take_prompt_logits(LiveRequest& live, const Tensor& logits, int64_t row, int count) const;
  void sample_rows(const Tensor& logits);
  void take_drawn();
  void draw_again(LiveRequest& live);
  void pick_rows(const StepUnderWay::Row& logit_rows, const Tensor& logits);
  void settle(LiveRequest& live);
  bool take_picked(LiveRequest& live);
  void take_sampled(LiveRequest& live, Event event);
  int room_for_guesses(const LiveRequest& live) const;
  void guess();
  void guess_by_proposer();
  void drop_unsound_guesses(int most);
  void guess_by_drafter();
  void take_guesses(LiveRequest& live, std::span<const int> guesses);
  void finish(LiveRequest& live, Finish reason, Event event);
  void publish_stats();
  Status check(const Request& request) const;
  Status check_images(const Request& request) const;
  int64_t bytes_of(const Request& request) const;

  EnginePlan plan_;
  std::unique_ptr<Runner> runner_;
  Scheduler scheduler_;
  std::unique_ptr<ImageEncoder> images_;  // where the model sees
  std::unique_ptr<Proposer> proposer_;    // or none
  DraftPolicy policy_;
  // Kept for their memory.
  std::vector<LiveRequest*> guessing_;
  std::vector<DraftPolicy::Want> wants_;  // of each
  std::vector<DraftAsk> draft_asks_;
  std::vector<int> guesses_;
  std::vector<Sequence*> seeing_;  // running; kept for its memory
  int max_queue_;
  int max_logprobs_;
  std::function<void(int64_t tokens)> on_step_;
  std::string why_in_step_;

  std::unordered_map<uint64_t, std::unique_ptr<LiveRequest>> live_;  // the engine thread's
  uint64_t next_arrival_ = 0;
  StepUnderWay newest_, before_;  // before_: only while the newest is begun and it is finished
  // Of a step that is begun or finished; kept for their memory.
  std::vector<Scheduled> scheduled_;
  std::vector<DrawRow> draws_;
  std::vector<StepUnderWay::Row> sampling_;

  mutable std::mutex mutex_;
  std::condition_variable wake_, idle_;
  std::vector<std::unique_ptr<LiveRequest>> submitted_;  // guarded by mutex_, as all below
  std::vector<uint64_t> cancelled_;
  uint64_t next_id_ = 1;
  int pending_ = 0;            // submitted and not yet ended
  int64_t pending_bytes_ = 0;  // of them
  bool stopping_ = false, forget_ = false;
  EngineStats stats_;

  EngineStats counters_;  // the engine thread's, as is
  int ended_ = 0;         // since stats_ was last brought up to date
  int64_t ended_bytes_ = 0;
  std::thread thread_;

  std::atomic<bool> untouched_{false};  // the rest of the memory need not be taken any more
  std::mutex toucher_mutex_;
  std::thread toucher_;  // guarded by toucher_mutex_
};

}  // namespace heed
