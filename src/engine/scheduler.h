// Who runs in the next step, and how many tokens of each.
//
// One rule for prefill, chunked prefill and decode: a sequence has tokens.size() - computed tokens to run.
// Every running sequence gets one token of the budget first, so that no prompt stalls the answers under way;
// what is left goes to the running ones in order of arrival, then to waiting ones. If pages are lacking, the
// last in order gives all of its up and waits to be computed again.
#pragma once
#include <cstdint>
#include <deque>
#include <vector>

#include "engine/batch.h"
#include "engine/cache.h"

namespace heed {

// A sequence in the scheduler's hands. Owned by the engine.
struct Job {
  uint64_t id = 0;
  uint64_t arrival = 0;
  int priority = 0;  // smaller first
  Sequence sequence;
  int prompt = 0;               // tokens of the prompt
  int prompt_logits_done = -1;  // positions of the prompt whose logits were read; -1: none are wanted
  int cached_tokens = 0;
  int preemptions = 0;
  bool running = false;
};

struct SchedulerLimits {
  int step_tokens = 2048;         // --max-num-batched-tokens
  int sequences = 256;            // --max-num-seqs; at most step_tokens
  int prompt_logit_tokens = 128;  // most tokens of a step whose prompt logits are wanted
};

class Scheduler {
 public:
  Scheduler(Cache& cache, SchedulerLimits limits) : cache_(cache), limits_(limits) {}

  void add(Job* job);
  // Gives back all its pages. The job is not the scheduler's any more.
  void remove(Job* job);

  struct Item {
    Job* job;
    int count;
  };
  // The next step, with pages taken for it; empty if nothing can run.
  const std::vector<Item>& next();

  bool idle() const { return running_.empty() && waiting_.empty(); }
  int running() const { return static_cast<int>(running_.size()); }
  int waiting() const { return static_cast<int>(waiting_.size()); }
  uint64_t preemptions() const { return preemptions_; }
  const std::vector<Job*>& running_jobs() const { return running_; }

 private:
  bool wants_prompt_logits(const Job& job) const {
    return job.prompt_logits_done >= 0 && job.prompt_logits_done < job.prompt - 1;
  }
  bool place(Job* job, int budget);
  void preempt(Job* job);
  void admit(int budget);
  int cut(const Job& job, int budget) const;

  Cache& cache_;
  SchedulerLimits limits_;
  std::vector<Job*> running_;  // in order of admission rank: (priority, arrival)
  std::vector<Job*> waiting_;  // sorted by (priority, arrival), the first at the back
  std::vector<Item> plan_;
  uint64_t preemptions_ = 0;
};

}  // namespace heed
