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

struct LiveRequest;

// A sequence in the scheduler's hands. Owned by the engine.
struct Job {
  Sequence sequence;
  LiveRequest* request = nullptr;  // the engine's, of which this is a part
  uint64_t arrival = 0;
  int priority = 0;             // smaller first
  int prompt = 0;               // tokens of the prompt
  int most_tokens = 0;          // that the sequence may grow to; 0: not known
  int prompt_logits_done = -1;  // positions of the prompt whose logits were read; -1: none are wanted
  int cached_tokens = 0;
  int preemptions = 0;
  bool running = false;
};

struct SchedulerLimits {
  int step_tokens = 2048;         // --max-num-batched-tokens
  int most_step_tokens = 0;       // where a picture is longer than that; 0: as step_tokens
  int sequences = 256;            // --max-num-seqs; at most step_tokens
  int prompt_logit_tokens = 128;  // most tokens of a step whose prompt logits are wanted, of all jobs
};

class Scheduler {
 public:
  Scheduler(Cache& cache, SchedulerLimits limits) : cache_(cache), limits_(limits) {}

  void add(Job* job);
  // Gives back all its pages. The job is not the scheduler's any more.
  void remove(Job* job);
  // A running job gives all its pages up and waits to be computed again.
  void preempt(Job* job);

  struct Item {
    Job* job;
    int count;        // tokens
    int logit_count;  // of the last so many of them the logits are wanted
    int guesses;      // among them, at the end
  };
  // The next step, with pages taken for it; empty if nothing can run.
  const std::vector<Item>& next();

  // Tokens of the last plan.
  int planned() const { return planned_; }
  // In order of priority and arrival.
  const std::vector<Job*>& running_jobs() const { return running_; }
  bool idle() const { return running_.empty() && waiting_.empty(); }
  int running() const { return static_cast<int>(running_.size()); }
  int waiting() const { return static_cast<int>(waiting_.size()); }
  uint64_t preemptions() const { return preemptions_; }
  // All pages are where they should be. Aborts if not.
  void check() const;

 private:
  bool wants_prompt_logits(const Job& job) const {
    return job.prompt_logits_done >= 0 && job.prompt_logits_done < job.prompt - 1;
  }
  bool place(Job* job, int budget);
  void drop_from_plan(const Job* job);
  void admit(int budget);
  void schedule(Job* job, int upto);
  int cut(const Job& job, int budget) const;

  Cache& cache_;
  SchedulerLimits limits_;
  std::vector<Job*> running_;  // in order of admission rank: (priority, arrival)
  std::vector<Job*> waiting_;  // sorted by (priority, arrival), the first at the back
  std::vector<Item> plan_;
  int prompt_logits_ = 0;  // in the plan, as all its tokens
  int planned_ = 0;
  uint64_t preemptions_ = 0;
};

}  // namespace heed
