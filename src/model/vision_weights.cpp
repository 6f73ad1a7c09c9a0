// Which tensors a vision tower needs. Source of the names: transformers models/gemma4 and models/siglip.
#include "model/weights.h"

namespace heed {
namespace {

class VisionList {
 public:
  VisionList(std::string prefix, Tensors& list, std::vector<TensorNeed>& needs)
      : prefix_(std::move(prefix)), list_(list), needs_(needs) {}

  void add(int number, const std::string& name, std::vector<int64_t> shape, TensorNeed::Kind kind) {
    needs_.push_back({.name = prefix_ + name, .shape = shape, .kind = kind});
    if (shape.empty()) shape = {1};  // a scalar is stored without dimensions
    part(number, std::move(shape), nullptr);
  }
  void matrix(int number, const std::string& name, int64_t out, int64_t in) {
    add(number, name + ".weight", {out, in}, TensorNeed::kMatrix);
  }
  void vector(int number, const std::string& name, int64_t size) {
    add(number, name, {size}, TensorNeed::kVector);
  }
  void norm(int number, const std::string& name, int64_t size) {
    add(number, name + ".weight", {size}, TensorNeed::kNorm);
  }
  // A tensor that is used in parts or otherwise than it is stored.
  void stored(const std::string& name, std::vector<int64_t> shape) {
    needs_.push_back({.name = prefix_ + name, .shape = std::move(shape)});
  }
  void part(int number, std::vector<int64_t> shape, WeightList::View view) {
    if (static_cast<int>(list_.size()) <= number) list_.resize(number + 1);
    needs_.back().parts.push_back(
        {.list = &list_, .number = number, .view = std::move(view), .shape = std::move(shape)});
  }

 private:
  std::string prefix_;
  Tensors& list_;
  std::vector<TensorNeed>& needs_;
};

Tensor transposed(const Tensor& t) {
  Tensor view = t;
  std::swap(view.size[0], view.size[1]);
  std::swap(view.stride[0], view.stride[1]);
  return view;
}

// [a, b, c, d] as [a, b * c * d].
Tensor flattened(const Tensor& t) {
  return {t.data, t.dtype, {t.size[0], t.elements() / std::max<int64_t>(t.size[0], 1)}};
}

struct LinearName {
  VisionLinear number;
  const char* name;
  int64_t out, in;
};

void need_gemma4_layer(const VisionSpec& v, VisionList& list) {
  const int64_t heads = int64_t{v.heads} * v.head_dim;
  const LinearName linears[] = {
      {kVisionQ, "self_attn.q_proj", heads, v.hidden},   {kVisionK, "self_attn.k_proj", heads, v.hidden},
      {kVisionV, "self_attn.v_proj", heads, v.hidden},   {kVisionO, "self_attn.o_proj", v.hidden, heads},
      {kVisionGate, "mlp.gate_proj", v.inner, v.hidden}, {kVisionUp, "mlp.up_proj", v.inner, v.hidden},
      {kVisionDown, "mlp.down_proj", v.hidden, v.inner}};
  for (const LinearName& l : linears) {
    list.matrix(l.number, std::string(l.name) + ".linear", l.out, l.in);
    if (!v.clipped) continue;
    int bound = vision_clip(l.number);
    for (const char* name : {".input_min", ".input_max", ".output_min", ".output_max"}) {
      list.add(bound, std::string(l.name) + name, {}, TensorNeed::kVector);
      ++bound;
    }
  }
  list.norm(kVisionMixerNorm, "input_layernorm", v.hidden);
  list.norm(kVisionMixerPostNorm, "post_attention_layernorm", v.hidden);
  list.norm(kVisionFfnNorm, "pre_feedforward_layernorm", v.hidden);
  list.norm(kVisionFfnPostNorm, "post_feedforward_layernorm", v.hidden);
  list.norm(kVisionQNorm, "self_attn.q_norm", v.head_dim);
  list.norm(kVisionKNorm, "self_attn.k_norm", v.head_dim);
}

void need_siglip_layer(const VisionSpec& v, VisionList& list) {
  const int64_t heads = int64_t{v.heads} * v.head_dim;
  const LinearName linears[] = {
      {kVisionQ, "self_attn.q_proj", heads, v.hidden}, {kVisionK, "self_attn.k_proj", heads, v.hidden},
      {kVisionV, "self_attn.v_proj", heads, v.hidden}, {kVisionO, "self_attn.out_proj", v.hidden, heads},
      {kVisionUp, "mlp.fc1", v.inner, v.hidden},       {kVisionDown, "mlp.fc2", v.hidden, v.inner}};
  for (const LinearName& l : linears) {
    list.matrix(l.number, l.name, l.out, l.in);
    list.vector(vision_bias(l.number), std::string(l.name) + ".bias", l.out);
  }
  list.vector(kVisionMixerNorm, "layer_norm1.weight", v.hidden);
  list.vector(kVisionMixerNormBias, "layer_norm1.bias", v.hidden);
  list.vector(kVisionFfnNorm, "layer_norm2.weight", v.hidden);
  list.vector(kVisionFfnNormBias, "layer_norm2.bias", v.hidden);
}

void need_gemma4_tower(const VisionSpec& v, const ModelSpec& spec, const std::string& prefix,
                       const std::string& projector, VisionWeights& w, std::vector<TensorNeed>& all) {
  VisionList own(prefix, w.own, all);
  const int64_t patch = int64_t{3} * v.prep.patch * v.prep.patch;
  own.matrix(kPatch, "patch_embedder.input_proj", v.hidden, patch);
  own.stored("patch_embedder.position_embedding_table", {2, v.positions, v.hidden});
  for (const int axis : {0, 1}) {
    const auto table = [axis](const Tensor& t) {
      const Tensor half = t.slice(axis, axis + 1);
      return Tensor(half.data, half.dtype, {half.size[1], half.size[2]});
    };
    own.part(axis == 0 ? kColumnEmbed : kRowEmbed, {v.positions, v.hidden}, table);
  }
  if (v.standardise) {
    own.vector(kTowerShift, "std_bias", v.hidden);
    own.vector(kTowerScale, "std_scale", v.hidden);
  }
  for (int i = 0; i < v.layers; ++i) {
    VisionList layer(prefix + "encoder.layers." + std::to_string(i) + ".", w.layers[i], all);
    need_gemma4_layer(v, layer);
  }
  VisionList behind(projector, w.own, all);
  behind.matrix(kProjector, "embedding_projection", spec.hidden, v.hidden);
}

// Checkpoints differ in what stands in front: "model." or nothing, "vision_model." behind the tower or not.
// `tensor` is one that they all have.
std::string named_as(const std::string& prefix, const char* tensor,
                     const std::function<bool(std::string_view)>& has) {
  const std::string short_prefix = prefix.substr(0, prefix.rfind("vision_model."));
  for (const std::string& text : {prefix, short_prefix}) {
    for (const std::string& name : {text, text.substr(std::string_view("model.").size())}) {
      if (has(name + tensor)) return name;
    }
  }
  return prefix;
}

void need_siglip_tower(const VisionSpec& v, const ModelSpec& spec, const std::string& prefix,
                       const std::string& projector, VisionWeights& w, std::vector<TensorNeed>& all) {
  VisionList own(prefix, w.own, all);
  const int64_t side = v.prep.patch;
  own.stored("embeddings.patch_embedding.weight", {v.hidden, 3, side, side});
  own.part(kPatch, {v.hidden, 3 * side * side}, flattened);
  own.vector(kPatchBias, "embeddings.patch_embedding.bias", v.hidden);
  own.matrix(kPatchEmbed, "embeddings.position_embedding", v.positions, v.hidden);
  own.vector(kTowerNorm, "post_layernorm.weight", v.hidden);
  own.vector(kTowerNormBias, "post_layernorm.bias", v.hidden);
  for (int i = 0; i < v.layers; ++i) {
    VisionList layer(prefix + "encoder.layers." + std::to_string(i) + ".", w.layers[i], all);
    need_siglip_layer(v, layer);
  }
  VisionList behind(projector, w.own, all);
  behind.norm(kProjectorNorm, "mm_soft_emb_norm", v.hidden);
  behind.stored("mm_input_projection_weight", {v.hidden, spec.hidden});
  behind.part(kProjector, {spec.hidden, v.hidden}, transposed);
}

}  // namespace

void add_vision_needs(const ModelSpec& spec, VisionWeights& weights, std::vector<TensorNeed>& all,
                      const std::function<bool(std::string_view)>& has) {
  const VisionSpec& v = *spec.vision;
  weights.layers.resize(v.layers);
  if (v.kind == VisionSpec::Kind::kGemma4)
    return need_gemma4_tower(v, spec, v.prefix, v.projector, weights, all);
  need_siglip_tower(v, spec, named_as(v.prefix, "post_layernorm.weight", has),
                    named_as(v.projector, "mm_soft_emb_norm.weight", has), weights, all);
}

}  // namespace heed
