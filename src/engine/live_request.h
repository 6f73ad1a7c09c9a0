// A request in the engine's hands: for the engine's own sources.
#pragma once
#include <chrono>
#include <span>
#include <vector>

#include "engine/draft_policy.h"
#include "engine/proposer.h"
#include "engine/request.h"
#include "engine/scheduler.h"

namespace heed {

using Clock = std::chrono::steady_clock;

struct LiveRequest {
  Job job;
  uint64_t id = 0;
  Request request;
  int64_t bytes = 0;  // that it may come to hold, as counted at submit()
  TokenCounts counts;
  std::vector<uint32_t> allowed;
  std::vector<std::vector<Logprob>> prompt_logprobs;
  bool reported = false;    // an event has been sent
  bool draws_here = false;  // its next token: a device was not sure of it
  // Of this step: guesses that ran, and what was sampled in their places and behind them; an id of -1 where
  // nothing may come.
  int guesses_run = 0;
  std::vector<int> guesses;
  std::vector<Event> picked;
  int made = 0;  // tokens of the answer told so far
  DraftRecord record;
  int draft_tokens = 0, accepted_tokens = 0;
  Clock::time_point submitted, scheduled, first_token;  // the epoch: not yet
};

inline double seconds_between(Clock::time_point from, Clock::time_point to) {
  return std::chrono::duration<double>(to - from).count();
}

inline TextSoFar text_so_far(const LiveRequest& live) {
  const Sequence& sequence = live.job.sequence;
  const std::span<const int> tokens(sequence.tokens);
  return {.tokens = tokens.first(tokens.size() - static_cast<size_t>(sequence.drafted)),
          .prompt = live.job.prompt,
          .request = live.id,
          .is_private = !live.request.cache_salt.empty()};
}

}  // namespace heed
