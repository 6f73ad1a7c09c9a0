#include "engine/scheduler.h"

#include <algorithm>

namespace heed {
namespace {

bool before(const Job* a, const Job* b) {
  return a->priority != b->priority ? a->priority < b->priority : a->arrival < b->arrival;
}

// Tokens to run. A last token that is not known yet ends the sequence: nothing comes behind it.
int left(const Job& job) {
  const Sequence& sequence = job.sequence;
  const auto tokens = static_cast<int>(sequence.tokens.size());
  return tokens - sequence.computed - (sequence.unknown > 0 && tokens == job.most_tokens ? 1 : 0);
}

}  // namespace

void Scheduler::add(Job* job) {
  job->running = false;
  // The first to go is at the back.
  const auto place = std::lower_bound(waiting_.begin(), waiting_.end(), job,
                                      [](const Job* a, const Job* b) { return before(b, a); });
  waiting_.insert(place, job);
}

void Scheduler::drop_from_plan(const Job* job) {
  for (const Item& item : plan_) planned_ -= item.job == job ? item.count : 0;
  std::erase_if(plan_, [&](const Item& item) { return item.job == job; });
}

void Scheduler::remove(Job* job) {
  std::erase(job->running ? running_ : waiting_, job);
  drop_from_plan(job);
  cache_.release(job->sequence);
  job->running = false;
}

void Scheduler::preempt(Job* job) {
  ++preemptions_;
  ++job->preemptions;
  std::erase(running_, job);
  drop_from_plan(job);
  cache_.release(job->sequence);
  add(job);
}

// The position to run to: within the budget, and where every mask allows a cut. 0: not at all in this step.
int Scheduler::cut(const Job& job, int budget) const {
  const Sequence& sequence = job.sequence;
  if (wants_prompt_logits(job)) {
    budget = std::min(budget, limits_.prompt_logit_tokens - prompt_logits_);
    if (budget <= 0) return sequence.computed;
  }
  const int end = static_cast<int>(sequence.tokens.size());
  const auto legal = [&](int position) {
    const auto& groups = cache_.layout().groups;
    return position == end || std::all_of(groups.begin(), groups.end(), [&](const CacheGroup& group) {
             return can_cut(group.kv.mask, sequence.facts(), position);
           });
  };
  // A picture that is not encoded yet is waited for.
  const int ready = std::min(sequence.ready(), end);
  const int furthest = std::min(sequence.computed + budget, ready);
  for (int position = furthest; position > sequence.computed; --position) {
    if (legal(position)) return position;
  }
  if (furthest == ready) return sequence.computed;
  // A picture longer than what is left of the step runs whole, where all the step then takes has room.
  int position = furthest + 1;
  while (position < ready && !legal(position)) ++position;
  const bool fits =
      planned_ + position - sequence.computed <= std::max(limits_.most_step_tokens, limits_.step_tokens);
  return fits && legal(position) ? position : sequence.computed;
}

// Takes pages for up to `budget` tokens of a running job, from those after it in order if there are none
// free. False if the job itself had to go.
bool Scheduler::place(Job* job, int budget) {
  const int upto = cut(*job, budget);
  if (upto == job->sequence.computed) return true;
  while (!cache_.extend(job->sequence, upto)) {
    Job* last = running_.back();
    preempt(last);
    if (last == job) return false;
  }
  schedule(job, upto);
  return true;
}

// Logits are wanted of every prompt position not read yet, or of the last token and the guesses behind it.
void Scheduler::schedule(Job* job, int upto) {
  const Sequence& sequence = job->sequence;
  const int sure = static_cast<int>(sequence.tokens.size()) - sequence.drafted;
  Item item = {job, upto - sequence.computed, std::max(upto - sure + 1, 0), std::max(upto - sure, 0)};
  if (wants_prompt_logits(*job) && upto > job->prompt_logits_done) {
    item.logit_count = upto - std::max(job->prompt_logits_done, sequence.computed);
    prompt_logits_ += item.logit_count;
  }
  planned_ += item.count;
  plan_.push_back(item);
}

const std::vector<Scheduler::Item>& Scheduler::next() {
  plan_.clear();
  prompt_logits_ = 0;
  planned_ = 0;
  const uint64_t preemptions = preemptions_;
  // One token is set aside for each running sequence that comes later.
  int budget = limits_.step_tokens;
  for (size_t i = 0; i < running_.size(); ++i) {
    Job* job = running_[i];
    if (left(*job) == 0) continue;
    const int later = static_cast<int>(running_.size() - i) - 1;
    if (!place(job, std::min(left(*job), std::max(budget - later, 1)))) break;
    if (!plan_.empty() && plan_.back().job == job) budget -= plan_.back().count;
  }
  if (preemptions_ == preemptions) admit(budget);  // who just made room must not take it back
  return plan_;
}

void Scheduler::admit(int budget) {
  while (!waiting_.empty() && budget > 0 && static_cast<int>(running_.size()) < limits_.sequences) {
    Job* job = waiting_.back();
    Sequence& sequence = job->sequence;
    if (!wants_prompt_logits(*job)) {
      const int found = cache_.take_prefix(sequence);
      if (job->preemptions == 0) job->cached_tokens = found;
    }
    const int upto = cut(*job, std::min(budget, left(*job)));
    const bool waits = upto == sequence.computed && sequence.ready() == upto;  // for a picture
    if ((upto == sequence.computed && !waits) || !cache_.extend(sequence, upto)) {
      cache_.release(sequence);
      return;
    }
    cache_.reserve(sequence, job->most_tokens);
    waiting_.pop_back();
    job->running = true;
    running_.insert(std::upper_bound(running_.begin(), running_.end(), job, before), job);
    if (waits) continue;
    schedule(job, upto);
    budget -= plan_.back().count;
  }
}

void Scheduler::check() const {
  std::vector<const Sequence*> all;
  for (const Job* job : running_) all.push_back(&job->sequence);
  for (const Job* job : waiting_) all.push_back(&job->sequence);
  cache_.check(all);
}

}  // namespace heed
