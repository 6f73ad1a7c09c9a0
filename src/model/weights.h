// The weights of a model, bound strictly to a checkpoint in both directions: a missing, left-over, misshapen
// or mistyped tensor is an error that names it.
//
// Matrices are used in place from the mapped file wherever its dtype can be computed with; norms, biases and
// matrices of another dtype are converted into memory of our own. Norm weights hold their offset of 1
// already.
#pragma once
#include <functional>
#include <string>
#include <vector>

#include "base/result.h"
#include "model/checkpoint.h"
#include "tensor/tensor.h"

namespace heed {

// Undefined where the spec has no such tensor. Matrices are [out, in].
struct LayerWeights {
  Tensor attn_norm, attn_post_norm, ffn_norm, ffn_post_norm;  // [hidden] f32
  Tensor q, k, v, o;                                          // [heads * head_dim, hidden] ...
  Tensor q_bias, k_bias, v_bias, o_bias;                      // f32
  Tensor q_norm, k_norm;                                      // [head_dim] f32
  Tensor gate, up, down;                 // [inner, hidden], [inner, hidden], [hidden, inner]
  Tensor gate_bias, up_bias, down_bias;  // f32
};

struct Weights {
  Tensor embed;       // [vocab, hidden]
  Tensor head;        // [vocab, hidden]; embed's view when tied
  Tensor final_norm;  // [hidden] f32
  std::vector<LayerWeights> layers;
  std::vector<Buffer> owned;  // converted tensors
  int64_t mapped_bytes = 0;   // used in place
  int64_t owned_bytes = 0;
};

// What a checkpoint must hold: computed from the spec alone, before anything is read.
struct TensorNeed {
  enum Kind { kMatrix, kNorm, kBias };
  std::string name;
  std::vector<int64_t> shape;
  Kind kind = kMatrix;
  Tensor* target = nullptr;  // in the Weights being filled
};
std::vector<TensorNeed> needed_tensors(const ModelSpec& spec, Weights& weights);

// Whether a stored tensor is used where it lies, or else converted into memory of the returned dtype.
struct Placement {
  bool in_place = false;
  DType dtype = DType::kF32;
};
Placement placement(TensorNeed::Kind kind, DType stored, DType compute);

// Checks names, shapes and dtypes against the files' headers; touches no tensor.
Status check_tensors(const Checkpoint& checkpoint);

// Fills weights from the checkpoint, which must outlive them. `compute`: kF32 or kBF16, what activations are
// multiplied in. `progress`, if set, hears of bytes done and in all, now and then.
using Progress = std::function<void(int64_t done, int64_t total)>;
Result<Weights> load_weights(const Checkpoint& checkpoint, DType compute, const Progress& progress = nullptr);

}  // namespace heed
