// Engine: guesses for the next step.
#include <algorithm>
#include <cstdio>

#include "engine/engine.h"
#include "engine/live_request.h"

namespace heed {

int Engine::room_for_guesses(const LiveRequest& live) const {
  if (!live.request.speculate) return 0;
  return live.job.most_tokens - static_cast<int>(live.job.sequence.tokens.size()) - 1;
}

// For each of guessing_, what the next step may confirm besides the token that it makes anyway.
void Engine::guess() {
  wants_.clear();
  for (const LiveRequest* live : guessing_)
    wants_.push_back({.record = &live->record, .room = room_for_guesses(*live)});
  policy_.plan(wants_, scheduler_.running());
  size_t count = 0;
  for (size_t i = 0; i < wants_.size(); ++i) {
    if (wants_[i].guesses == 0) continue;
    wants_[count] = wants_[i];
    guessing_[count++] = guessing_[i];
  }
  guessing_.resize(count);
  if (count == 0) return;
  const Clock::time_point start = Clock::now();
  if (proposer_) {
    guess_by_proposer();
  } else {
    guess_by_drafter();
  }
  policy_.took_guesses(static_cast<int>(count), seconds_between(start, Clock::now()));
}

void Engine::guess_by_proposer() {
  for (size_t i = 0; i < guessing_.size(); ++i) {
    guesses_.clear();
    proposer_->propose(text_so_far(*guessing_[i]), wants_[i].guesses, guesses_);
    drop_unsound_guesses(wants_[i].guesses);
    take_guesses(*guessing_[i], guesses_);
  }
}

// Somebody else's proposer may answer anything: what is no token, and what follows it, goes.
void Engine::drop_unsound_guesses(int most) {
  const auto is_token = [this](int id) { return id >= 0 && id < spec().vocab; };
  const auto end = std::find_if_not(guesses_.begin(), guesses_.end(), is_token);
  const auto sound = std::min<int64_t>(end - guesses_.begin(), most);
  if (sound == std::ssize(guesses_)) return;
  if (counters_.dropped_guesses == 0) {
    std::fprintf(stderr, "heed: proposer %s guesses %s; such guesses are dropped, this is said once\n",
                 std::string(proposer_->name()).c_str(),
                 end != guesses_.end() ? ("token " + std::to_string(*end) + " of a vocabulary of " +
                                          std::to_string(spec().vocab))
                                             .c_str()
                                       : "more tokens than it is asked for");
  }
  counters_.dropped_guesses += static_cast<uint64_t>(std::ssize(guesses_) - sound);
  guesses_.resize(static_cast<size_t>(sound));
}

// As the target will draw, from the same random numbers: alike distributions then give equal tokens.
void Engine::guess_by_drafter() {
  draft_asks_.clear();
  for (size_t i = 0; i < guessing_.size(); ++i) {
    const Sampling& sampling = guessing_[i]->request.sampling;
    draft_asks_.push_back({.sequence = &guessing_[i]->job.sequence,
                           .guesses = wants_[i].guesses,
                           .sampling = sampling.takes_logits() ? &sampling : nullptr});
  }
  runner_->propose(draft_asks_, [&](int i, std::span<float> logits) {
    const LiveRequest& live = *guessing_[i];
    return sample({.logits = logits,
                   .sampling = live.request.sampling,
                   .tokens = live.job.sequence.tokens,
                   .counts = &live.counts,
                   .ahead = draft_asks_[i].drafts.size()});
  });
  for (size_t i = 0; i < guessing_.size(); ++i) take_guesses(*guessing_[i], draft_asks_[i].drafts);
}

void Engine::take_guesses(LiveRequest& live, std::span<const int> guesses) {
  Sequence& sequence = live.job.sequence;
  const int count = runner_->cache().hold_drafts(sequence, static_cast<int>(guesses.size()));
  sequence.tokens.insert(sequence.tokens.end(), guesses.begin(), guesses.begin() + count);
  sequence.drafted = count;
}

}  // namespace heed
