// The transformer: any ModelSpec, run on a batch by a table of kernels.
#pragma once
#include <span>
#include <vector>

#include "attention/cache_spec.h"
#include "kernels/kernels.h"
#include "model/batch.h"
#include "model/spec.h"
#include "model/vision.h"
#include "model/weights.h"
#include "tensor/arena.h"
#include "tensor/upload.h"

namespace heed {

// The key/value memory of every layer, as views into pages; null tables, the batch brings those.
struct LayerCache {
  PagedKv kv;
  int group = 0;  // index into Batch::groups
};

struct Model {
  ModelSpec spec;
  Weights weights;
  DType compute =
      DType::kF32;  // what linear layers read: kF32, or kBF16 (activations are rounded before them)
  std::vector<RopeSpec> ropes;                  // distinct ones
  std::vector<std::vector<float>> frequencies;  // of each
  std::vector<int> rope_of_layer;               // -1: none
  Vision vision;                                // where the spec has a tower
  float embed_scale = 1;                        // rounded to the model's dtype, as transformers does
};

// `device`: whose memory the weights lie in.
Model make_model(ModelSpec spec, Weights weights, DType compute, Device& device = host_device());

// Hidden states that a forward pass puts out on its way.
struct Taps {
  std::span<const int> after;  // so many layers; 0: what enters the first
  bool normed = false;         // what leaves the last layer, by the last norm
  Tensor rows = {};            // [tokens, taps * hidden] in what linear layers read; in the arena
};

// Everything a step needs besides the model and the batch.
struct Step {
  const Kernels& kernels;
  const std::vector<const AttentionKernel*>& attention;  // per layer; null where it needs none
  const std::vector<LayerCache>& cache;                  // per layer
  const std::vector<Tensors>& states;  // per layer, each [slots, ...], as the mixer numbers them
  Stream& stream;
  Arena& arena;
  Taps* taps = nullptr;  // filled, where there is one
  // Of a drafter that guesses token by token: [tokens, hidden] f32, the feature before each token.
  Tensor features = {};
  Constants* constants = nullptr;                    // where ops do not read the host's memory
  std::span<const AttentionPlan* const> plans = {};  // per layer; empty: no kernel wants any
};

// The logits of batch.logit_rows: [logit_rows, vocab] f32 in the arena; undefined if no logits are wanted.
// Writes the keys, values and states of all tokens.
Tensor forward(const Model& model, const Batch& batch, const Step& step);

}  // namespace heed
