// What a token mixer computes, as data. A model file fills these; kernels, cache and loader follow from them.
#pragma once
#include "attention/mask.h"
#include "attention/rope.h"

namespace heed {

// Softmax attention over a paged KV cache:
//   q, k, v = linear(x); q, k normalised per head (qk_norm) and rotated (rope);
//   out = linear(softmax(softcap(scale * q k^T), over visible keys and the sink logit) v)
struct AttentionSpec {
  int heads = 0;
  int kv_heads = 0;  // divides heads
  int head_dim = 0;  // of q and k
  int v_dim = 0;     // of v and the output
  Mask mask = causal();
  RopeSpec rope;
  float scale = 0;    // of the scores
  float softcap = 0;  // cap * tanh(score / cap); 0: none
  bool qk_norm = false;
  bool qkv_bias = false;
  bool output_bias = false;
  bool operator==(const AttentionSpec&) const = default;
};

}  // namespace heed
