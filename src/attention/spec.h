// What a token mixer computes, as data. A model file fills these; kernels, cache and loader follow from them.
#pragma once
#include <vector>

#include "attention/mask.h"
#include "attention/rope.h"

namespace heed {

// Softmax attention over a paged KV cache:
//   q, k, v = linear(x); q, k normalised per head and rotated;
//   out = linear(softmax(softcap(scale * q k^T), over visible keys and the sink logit) v)
struct AttentionSpec {
  int heads = 0;
  int kv_heads = 0;  // divides heads
  int head_dim = 0;  // of q and k
  int v_dim = 0;     // of v and the output
  int input = 0;     // elements of what q, k and v are made of; 0: of a hidden state
  Mask mask = causal();
  RopeSpec rope;
  float scale = 0;               // of the scores
  float softcap = 0;             // cap * tanh(score / cap); 0: none
  bool qk_norm = false;          // q and k normalised per head, with weights, before the rotation
  bool norm_after_rope = false;  // q and k normalised per head, without weights, after it
  bool v_norm = false;           // v normalised per head, without weights
  bool v_is_k = false;           // no v projection: v is what the k projection makes
  bool gated = false;            // q's projection makes [q | gate] for each head; out *= sigmoid(gate)
  bool sink_logits = false;      // a learned logit for each head in the softmax's denominator
  bool qkv_bias = false;
  bool output_bias = false;
  // q *= 1 + temperature * ln(1 + floor((position + 1) / temperature_floor)); 0: none
  float temperature = 0, temperature_floor = 1;
  int kv_source = -1;  // the earlier layer whose keys and values are read; then this one makes none
  bool operator==(const AttentionSpec&) const = default;
};

// Multi-head latent attention (MLA): keys and values of all heads are made from one latent vector a token,
// and one rotated key part that all heads share. What is cached is [latent | rotated part]: the projections
// from the latent are folded into the query and the output. Source: arXiv 2405.04434.
struct LatentAttentionSpec {
  int heads = 0;
  int q_rank = 0;                             // of the query's latent; 0: q is projected from x at once
  int kv_rank = 0;                            // of the cached latent
  int nope_dim = 0, rope_dim = 0, v_dim = 0;  // of a head: q and k without and with rotation, v
  Mask mask = causal();
  RopeSpec rope;
  float scale = 0;
  float norm_eps = 1e-6F;  // of the latents' norms
  bool bias = false;       // of the projections to the latents
  bool output_bias = false;
  bool operator==(const LatentAttentionSpec&) const = default;
};

// Linear attention with a fixed decay for each head (Lightning Attention):
//   q, k, v = act(linear(x)); S = exp(-slope) S + k (x) v; o = scale * q^T S;
//   out = linear(sigmoid(gate(x)) * norm(o)), the norm over `norm_groups` groups of all heads' elements
struct LinearAttentionSpec {
  int heads = 0, head_dim = 0;
  std::vector<float> slopes;  // [heads]
  float scale = 1;
  bool silu = false;  // act
  bool by_head =
      false;  // rows of the projection: q, k, v of head 0, then of head 1 ...; else all q, all k, all v
  bool qk_norm = false;  // q and k normalised per head
  RopeSpec rope;
  int norm_groups = 1;
  float norm_eps = 1e-6F;
  bool qkv_bias = false, output_bias = false;
  bool operator==(const LinearAttentionSpec&) const = default;
};

// Gated delta net: a short convolution over [q | k | v], then the gated delta rule on normalised q and k, and
// a gated norm for each head. Source: arXiv 2412.06464; kernels.h has the recurrence.
struct GatedDeltaSpec {
  int k_heads = 0, v_heads = 0;  // k_heads divides v_heads
  int k_dim = 0, v_dim = 0;
  int conv = 4;          // tokens that the convolution sees
  bool by_head = false;  // one projection, rows grouped by key head: [q | k | v | z], and [b | a]; else apart
  bool qkv_apart =
      false;  // by_head, but for [q | k | v] and z, which have projections of their own in plain order
  bool sigmoid = false;       // gate of the norm: sigmoid, else silu
  bool decay_stored = false;  // the checkpoint holds -exp(a_log) for a_log
  bool tiled = false;         // value heads take turns with the key heads, else each key head's lie together
  bool operator==(const GatedDeltaSpec&) const = default;
};

}  // namespace heed
