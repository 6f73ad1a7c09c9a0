// MiniMax-Text-01 and M1: Lightning Attention on most layers, softmax attention on the others, experts on
// all. The residual stream is the normalised one, and both halves of a layer are weighed (DeepNorm). In the
// original names and in those of transformers. Source: MiniMaxAI/MiniMax-M1-80k modeling_minimax_m1.py;
// transformers models/minimax/modular_minimax.py.
#include "model/spec.h"

namespace heed {
namespace {

// Later layers forget less.
LinearAttentionSpec lightning(const Config& c, int layer, bool native) {
  LinearAttentionSpec a = {.heads = head_count(c), .silu = true, .by_head = true};
  a.head_dim = gqa(c).head_dim;
  const double last = layer_count(c) - 1 + (native ? 1e-5 : 0);
  const double factor = 1 - (last > 0 ? layer / last : 0) + 1e-5;
  for (const float slope : head_slopes(a.heads)) a.slopes.push_back(slope * static_cast<float>(factor));
  return a;
}

// In the original form: 0 and 1 for linear and full attention.
std::vector<std::string> original_types(const Config& c) {
  std::vector<int> list = c.ids("attn_type_list");
  if (list.empty()) list = c.ids("decoder_attention_types");
  std::vector<std::string> types;
  for (const int type : list) types.emplace_back(type == 0 ? "linear_attention" : "full_attention");
  if (types.empty()) types.assign(layer_count(c), "full_attention");
  return types;
}

Residual residual(const Config& c, const std::string& original, const std::string& native) {
  const auto read = [&](const char* of, const char* factor) {
    return c.number("layernorm_" + original + of, c.number(native + of + factor, 1));
  };
  return {.keep = read("_alpha", "_factor"), .scale = read("_beta", "_factor")};
}

MoeSpec moe(const Config& c, int layer) {
  MoeSpec s = experts(c, c.has("num_experts") ? "num_experts" : "num_local_experts", "intermediate_size");
  s.renormalise = true;
  const std::vector<int> shared =
      c.ids("shared_intermediate_size");  // one for all layers, or a list by layer
  const size_t place = c.is_list("shared_intermediate_size") ? layer : 0;
  if (place < shared.size()) s.shared_inner = shared[place];
  const std::string mode = c.text("shared_moe_mode", "softmax");
  if (mode != "softmax" && mode != "sigmoid")
    c.fail("shared_moe_mode is \"" + mode + "\"; softmax or sigmoid is expected");
  // The softmax over one number is 1: then only the shared expert is left, which no released model means.
  if (s.shared_inner > 0 && mode == "softmax") c.fail("shared_moe_mode softmax is not supported; sigmoid is");
  s.shared = MoeSpec::Shared::kBlend;
  return s;
}

ModelSpec minimax(const Config& c, bool native) {
  ModelSpec m = decoder(c, /*tied_by_default=*/false);
  m.norm_eps = c.positive("rms_norm_eps", 1e-5F);
  AttentionSpec full = gqa(c);
  full.rope = rope(c, full);
  if (!native) full.rope.dims = c.size("rotary_dim", full.head_dim);
  if (full.rope.dims % 2 != 0 || full.rope.dims > full.head_dim)
    c.fail("rotary_dim is " + std::to_string(full.rope.dims) + "; an even number up to head_dim is expected");
  if (c.has("sliding_window")) full.mask = causal() & window(c.size("sliding_window"));
  const auto types = layer_types(c, {"linear_attention", "full_attention"}, original_types(c));
  for (int i = 0; i < static_cast<int>(types.size()); ++i) {
    const bool linear = types[i] == "linear_attention";
    LayerSpec layer{.mixer = full};
    if (linear) layer.mixer = lightning(c, i, native);
    layer.moe = moe(c, i);
    layer.norms = native || c.flag("postnorm", false) ? Norms::kNormed : Norms::kPre;
    layer.mixer_residual =
        linear ? residual(c, "linear_attention", "linear_attn") : residual(c, "full_attention", "full_attn");
    layer.ffn_residual = residual(c, "mlp", "mlp");
    m.layers.push_back(layer);
  }
  m.names = {{"router", "model.layers.{}.block_sparse_moe.gate"},
             {"expert_gate", "model.layers.{}.block_sparse_moe.experts.{}.w1"},
             {"expert_up", "model.layers.{}.block_sparse_moe.experts.{}.w3"},
             {"expert_down", "model.layers.{}.block_sparse_moe.experts.{}.w2"},
             {"shared_gate", "model.layers.{}.shared_mlp.gate_proj"},
             {"shared_up", "model.layers.{}.shared_mlp.up_proj"},
             {"shared_down", "model.layers.{}.shared_mlp.down_proj"},
             {"shared_weight", "model.layers.{}.coefficient"}};
  for (const char* buffer : {"slope_rate", "query_decay", "key_decay", "diagonal_decay"})
    m.ignored.push_back(std::string("*.self_attn.") + buffer);
  return m;
}

ModelSpec native(const Config& c) { return minimax(c, /*native=*/true); }
ModelSpec original(const Config& c) { return minimax(c, /*native=*/false); }

const Registration native_registration({"MiniMaxForCausalLM"}, native);
const Registration original_registration({"MiniMaxText01ForCausalLM", "MiniMaxM1ForCausalLM"}, original);

}  // namespace
}  // namespace heed
