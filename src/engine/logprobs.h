// One row of logits: its likeliest tokens, and the next token of a request.
#pragma once
#include <span>
#include <vector>

#include "engine/request.h"
#include "engine/scheduler.h"
#include "tensor/tensor.h"

namespace heed {

inline std::span<float> logits_row(const Tensor& logits, int64_t row) {
  return {logits.mutable_f32() + row * logits.size[1], static_cast<size_t>(logits.size[1])};
}

// The token itself first, then the `top` likeliest in order, with log-probabilities of the logits as they
// are.
std::vector<Logprob> likeliest(std::span<const float> logits, int top, int token);

// Samples the next token of a request from a row of logits (which it changes); -1 if nothing is allowed.
// Fills the event's log-probabilities, which are those of the model, before penalties and temperature.
int pick(const Request& request, const Job& job, TokenCounts& counts, std::vector<uint32_t>& allowed,
         std::span<float> logits, Event& event);

}  // namespace heed
