// One forward pass, as the parts of a layer see it: the model, the batch, scratch memory and the ops.
#pragma once
#include <initializer_list>

#include "model/forward.h"

namespace heed {

struct RopeTable {
  Tensor cos, sin;  // [tokens, pairs]; undefined for a rope without rotation
};

struct Attend {
  Tensor q;     // [tokens, heads, head_dim] f32
  Tensor k, v;  // [tokens, kv_heads, ...] f32, to be cached; undefined: another layer has, or v lies in k
  float scale = 1, softcap = 0;
  const float* sink_logits = nullptr;
  Tensor out;  // [tokens, heads, v_dim] f32 or bf16
};

// The rows that linear layers read: as they are multiplied, or before the norm that makes them so.
struct InputRows {
  Tensor x;  // [tokens, hidden] in what linear layers read; to be normalised: f32
  bool normalise = false;
  Tensor norm = {};  // [hidden] f32, or undefined: ones
};

class Pass {
 public:
  Pass(const Model& model, const Batch& batch, const Step& step);

  const Model& model() const { return model_; }
  const Batch& batch() const { return batch_; }
  const Kernels& kernels() const { return step_.kernels; }
  Stream& stream() const { return step_.stream; }
  Arena& arena() const { return step_.arena; }
  int64_t tokens() const { return static_cast<int64_t>(batch_.tokens.size()); }

  const int32_t* positions() const { return batch_.arrays.positions; }  // [tokens], where ops read them
  // Numbers of a spec or model, where ops read them. They must stay where they are.
  const float* constant(const std::vector<float>& values) const;

  // Scratch memory, valid until the arena's scope around the call ends.
  Tensor take(DType dtype, std::initializer_list<int64_t> sizes) const { return arena().take(dtype, sizes); }
  Tensor f32(std::initializer_list<int64_t> sizes) const { return take(DType::kF32, sizes); }
  // What a linear layer reads.
  Tensor input(std::initializer_list<int64_t> sizes) const { return take(model_.compute, sizes); }

  void linear(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& out) const {
    kernels().linear(stream(), {.x = x, .weight = weight, .bias = bias, .out = out});
  }
  // One linear layer, or several that read the same rows. accumulate: they add to what is there. Where
  // outputs lie side by side, as columns of one tensor, and weights one behind the other, it may be one
  // product.
  void linears(const InputRows& rows, const std::vector<LinearsArgs::Part>& parts,
               bool accumulate = false) const;
  // inner = act(gate's) * up's; these two need no `out`.
  void gated_linears(const InputRows& rows, Act act, LinearsArgs::Part gate, LinearsArgs::Part up,
                     const Tensor& inner) const;
  void rms_norm(const Tensor& x, const Tensor& weight, const Tensor& out) const {
    kernels().rms_norm(stream(), {.x = x, .weight = weight, .eps = model_.spec.norm_eps, .out = out});
  }
  // Turns [tokens, heads, head_dim] by the layer's rope.
  void rotate(int layer, const Tensor& x) const;
  // finish_heads with the layer's rope and cache.
  void finish_heads(int layer, FinishHeadsArgs args) const;
  // Puts k and v, [tokens, kv_heads, ...] f32, into the cache.
  void keep(int layer, const Tensor& k, const Tensor& v) const;
  // Keeps k and v, and attends to all that the layer's rows see.
  void attend(int layer, const Attend& args) const;
  // A recurrent layer's state, and which slots this batch uses.
  StateArgs state(int layer, int number) const;

 private:
  void make_rope_tables();
  LinearsArgs linears_of(const InputRows& rows) const;

  const Model& model_;
  const Batch& batch_;
  const Step& step_;
  std::vector<RopeTable> tables_;
};

}  // namespace heed
