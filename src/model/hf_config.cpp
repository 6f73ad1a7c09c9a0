// The parts of config.json that Hugging Face decoders share, in today's form and in those of older
// checkpoints. Source of the rules: transformers configuration_utils.py and modeling_rope_utils.py.
#include <algorithm>
#include <bit>
#include <cmath>

#include "model/spec.h"

namespace heed {
namespace {

constexpr int kMostLayers = 4096;

// The factor that YaRN puts on cos and sin: given; or from mscale and mscale_all_dim; or from the factor
// alone.
float yarn_attention_factor(const Config& r, float factor) {
  if (r.has("attention_factor")) return r.positive("attention_factor", 1);
  const float mscale = r.number("mscale", 0);
  const float all_dim = r.number("mscale_all_dim", 0);
  if (mscale != 0 && all_dim != 0) {
    return static_cast<float>(yarn_mscale(factor, mscale) / yarn_mscale(factor, all_dim));
  }
  return static_cast<float>(yarn_mscale(factor, 1));
}

// 0, like null, means the default: transformers writes `or`.
float beta(const Config& r, std::string_view key, float fallback) {
  const float value = r.number(key, fallback);
  return value == 0 ? fallback : value;
}

void read_yarn(const Config& c, const Config& r, RopeSpec& spec) {
  spec.original_positions =
      r.size("original_max_position_embeddings", c.size("max_position_embeddings", 1 << 20));
  spec.factor =
      r.positive("factor", static_cast<float>(c.size("max_position_embeddings", spec.original_positions)) /
                               static_cast<float>(spec.original_positions));
  spec.attention_factor = yarn_attention_factor(r, spec.factor);
  spec.beta_fast = beta(r, "beta_fast", 32);
  spec.beta_slow = beta(r, "beta_slow", 1);
  spec.truncate = r.flag("truncate", true);
  if (!(spec.beta_fast > 0 && spec.beta_slow > 0)) c.fail("beta_fast and beta_slow of yarn must be above 0");
  if (!(spec.theta > 1)) c.fail("rope_theta must be above 1 for yarn");
}

void read_llama3(const Config& r, RopeSpec& spec) {
  spec.factor = r.positive("factor", 8);
  spec.low_freq = r.positive("low_freq_factor", 1);
  spec.high_freq = r.positive("high_freq_factor", 4);
  spec.original_positions = r.size("original_max_position_embeddings");
  if (!(spec.low_freq < spec.high_freq)) r.fail("low_freq_factor must be below high_freq_factor");
}

void read_scaling(const Config& c, const Config& r, RopeSpec& spec) {
  const std::string type = r.text("rope_type", r.text("type", "default"));
  if (type == "linear") {
    spec.scaling = RopeSpec::kLinear;
    spec.factor = r.positive("factor", 1);
  } else if (type == "llama3") {
    spec.scaling = RopeSpec::kLlama3;
    read_llama3(r, spec);
  } else if (type == "yarn") {
    spec.scaling = RopeSpec::kYarn;
    read_yarn(c, r, spec);
  } else if (type == "proportional") {
    spec.scaling = RopeSpec::kProportional;
    spec.factor = r.positive("factor", 1);
  } else if (type != "default") {
    c.fail("rope_type is \"" + type + "\"; default, linear, llama3, proportional or yarn is expected");
  }
}

}  // namespace

Act activation(const Config& c, std::string_view key) {
  const std::string name = c.text(key, "silu");
  if (name == "silu" || name == "swish") return Act::kSilu;
  if (name == "gelu") return Act::kGelu;
  if (name == "gelu_pytorch_tanh" || name == "gelu_new" || name == "gelu_fast") return Act::kGeluTanh;
  if (name == "relu") return Act::kRelu;
  c.fail(std::string(key) + " is \"" + name + "\"; silu, gelu, gelu_pytorch_tanh or relu is expected");
  return Act::kSilu;
}

const std::map<std::string, std::string, std::less<>>& tensor_names() {
  static const std::map<std::string, std::string, std::less<>> names = {
      {"embed", "model.embed_tokens.weight"},
      {"final_norm", "model.norm.weight"},
      {"head", "lm_head.weight"},
      {"draft_input", "model.fc.weight"},
      {"draft_norm", "model.hidden_norm.weight"},
      {"draft_token_norm", "model.pre_fc_norm_embedding.weight"},
      {"draft_tap_norm", "model.input_norm.weight"},
      {"draft_ids", "d2t"},
      {"attn_norm", "model.layers.{}.input_layernorm.weight"},
      {"attn_post_norm", "model.layers.{}.post_attention_layernorm.weight"},
      {"ffn_norm", "model.layers.{}.post_attention_layernorm.weight"},
      {"ffn_post_norm", "model.layers.{}.post_feedforward_layernorm.weight"},
      {"q", "model.layers.{}.self_attn.q_proj"},
      {"k", "model.layers.{}.self_attn.k_proj"},
      {"v", "model.layers.{}.self_attn.v_proj"},
      {"o", "model.layers.{}.self_attn.o_proj"},
      {"sinks", "model.layers.{}.self_attn.sinks"},
      {"q_down", "model.layers.{}.self_attn.q_a_proj"},
      {"q_latent_norm", "model.layers.{}.self_attn.q_a_layernorm.weight"},
      {"q_up", "model.layers.{}.self_attn.q_b_proj"},
      {"kv_down", "model.layers.{}.self_attn.kv_a_proj_with_mqa"},
      {"kv_latent_norm", "model.layers.{}.self_attn.kv_a_layernorm.weight"},
      {"kv_up", "model.layers.{}.self_attn.kv_b_proj.weight"},
      {"linear_qkv", "model.layers.{}.self_attn.qkv_proj"},
      {"linear_gate", "model.layers.{}.self_attn.output_gate"},
      {"linear_norm", "model.layers.{}.self_attn.norm.weight"},
      {"linear_out", "model.layers.{}.self_attn.out_proj"},
      {"delta_qkvz", "model.layers.{}.linear_attn.in_proj_qkvz"},
      {"delta_ba", "model.layers.{}.linear_attn.in_proj_ba"},
      {"delta_qkv", "model.layers.{}.linear_attn.in_proj_qkv"},
      {"delta_z", "model.layers.{}.linear_attn.in_proj_z"},
      {"delta_b", "model.layers.{}.linear_attn.in_proj_b"},
      {"delta_a", "model.layers.{}.linear_attn.in_proj_a"},
      {"delta_conv", "model.layers.{}.linear_attn.conv1d.weight"},
      {"delta_a_log", "model.layers.{}.linear_attn.A_log"},
      {"delta_dt_bias", "model.layers.{}.linear_attn.dt_bias"},
      {"delta_norm", "model.layers.{}.linear_attn.norm.weight"},
      {"delta_out", "model.layers.{}.linear_attn.out_proj"},
      {"q_norm", "model.layers.{}.self_attn.q_norm.weight"},
      {"k_norm", "model.layers.{}.self_attn.k_norm.weight"},
      {"gate", "model.layers.{}.mlp.gate_proj"},
      {"up", "model.layers.{}.mlp.up_proj"},
      {"down", "model.layers.{}.mlp.down_proj"},
      {"router", "model.layers.{}.mlp.gate"},
      {"choice_bias", "model.layers.{}.mlp.gate.e_score_correction_bias"},
      {"expert_gate", "model.layers.{}.mlp.experts.{}.gate_proj"},
      {"expert_up", "model.layers.{}.mlp.experts.{}.up_proj"},
      {"expert_down", "model.layers.{}.mlp.experts.{}.down_proj"},
      {"experts_gate_up", "model.layers.{}.mlp.experts.gate_up_proj"},
      {"experts_gate_up_bias", "model.layers.{}.mlp.experts.gate_up_proj_bias"},
      {"experts_gate_up_blocks", "model.layers.{}.mlp.experts.gate_up_proj_blocks"},
      {"experts_gate_up_scales", "model.layers.{}.mlp.experts.gate_up_proj_scales"},
      {"experts_down", "model.layers.{}.mlp.experts.down_proj"},
      {"experts_down_bias", "model.layers.{}.mlp.experts.down_proj_bias"},
      {"experts_down_blocks", "model.layers.{}.mlp.experts.down_proj_blocks"},
      {"experts_down_scales", "model.layers.{}.mlp.experts.down_proj_scales"},
      {"experts_gate", "model.layers.{}.mlp.experts.gate_proj"},
      {"experts_gate_bias", "model.layers.{}.mlp.experts.gate_proj_bias"},
      {"experts_up", "model.layers.{}.mlp.experts.up_proj"},
      {"experts_up_bias", "model.layers.{}.mlp.experts.up_proj_bias"},
      {"shared_gate", "model.layers.{}.mlp.shared_expert.gate_proj"},
      {"shared_up", "model.layers.{}.mlp.shared_expert.up_proj"},
      {"shared_down", "model.layers.{}.mlp.shared_expert.down_proj"},
      {"shared_weight", "model.layers.{}.mlp.shared_expert_gate"},
  };
  return names;
}

ModelSpec decoder(const Config& c, bool tied_by_default) {
  ModelSpec m;
  m.hidden = c.size("hidden_size");
  m.vocab = c.size("vocab_size");
  m.max_positions = c.size("max_position_embeddings", 2048);
  m.norm_eps = c.positive("rms_norm_eps", 1e-6F);
  m.tied_embeddings = c.flag("tie_word_embeddings", tied_by_default);
  m.ignored = {"*.rotary_emb.inv_freq"};
  if (m.tied_embeddings) m.ignored.emplace_back("lm_head.weight");
  return m;
}

int head_count(const Config& c) {
  constexpr int kMostHeads = 16384;
  const int heads = c.size("num_attention_heads");
  if (heads <= kMostHeads) return heads;
  c.fail("num_attention_heads is " + std::to_string(heads) + "; at most " + std::to_string(kMostHeads) +
         " are accepted");
  return 1;
}

AttentionSpec gqa(const Config& c) {
  AttentionSpec a;
  a.heads = head_count(c);
  a.kv_heads = c.size("num_key_value_heads", a.heads);
  if (a.heads % a.kv_heads != 0) {
    c.fail("num_attention_heads (" + std::to_string(a.heads) +
           ") is not a multiple of num_key_value_heads (" + std::to_string(a.kv_heads) + ")");
  }
  const int hidden = c.size("hidden_size");
  if (!c.has("head_dim") && hidden % a.heads != 0) {
    c.fail("hidden_size (" + std::to_string(hidden) + ") is not a multiple of num_attention_heads (" +
           std::to_string(a.heads) + ") and head_dim is missing");
  }
  a.head_dim = a.v_dim = c.size("head_dim", std::max(hidden / a.heads, 1));
  a.scale = 1.0F / std::sqrt(static_cast<float>(a.head_dim));
  return a;
}

MlpSpec gated_mlp(const Config& c, std::string_view act_key) {
  return {.inner = c.size("intermediate_size"), .act = activation(c, act_key)};
}

int layer_count(const Config& c) {
  const int layers = c.size("num_hidden_layers");
  if (layers <= kMostLayers) return layers;
  c.fail("num_hidden_layers is " + std::to_string(layers) + "; at most " + std::to_string(kMostLayers) +
         " are accepted");
  return 1;
}

RopeSpec rope(const Config& c, int dims, std::string_view layer_type) {
  RopeSpec spec;
  Config r = c.at(c.has("rope_parameters") ? "rope_parameters" : "rope_scaling");
  if (r.has_objects()) {  // nested: one entry for each layer type
    if (!r.is_object(layer_type)) {
      c.fail("rope_parameters has no entry for layers of type \"" + std::string(layer_type) + "\"");
    }
    r = r.at(layer_type);
  }
  spec.theta = r.positive("rope_theta", c.positive("rope_theta", 10000));
  const float partial = r.positive("partial_rotary_factor", c.positive("partial_rotary_factor", 1));
  spec.dims = static_cast<int>(static_cast<float>(dims) * std::min(partial, 1.0F));
  if (spec.dims % 2 != 0) {
    c.fail("the rotated part of a head has " + std::to_string(spec.dims) +
           " elements; an even number is expected");
    spec.dims = 0;
  }
  read_scaling(c, r, spec);
  if (spec.scaling == RopeSpec::kProportional) {  // the part that turns is spread over the whole head
    spec.turning = spec.dims / 2;
    spec.dims = dims;
  }
  return spec;
}

MoeSpec experts(const Config& c, std::string_view count_key, std::string_view inner_key,
                std::string_view top_key) {
  constexpr int kMostExperts = 65536;
  MoeSpec moe = {.experts = c.size(count_key), .top_k = c.size(top_key), .inner = c.size(inner_key)};
  moe.act = activation(c, c.has("hidden_activation") ? "hidden_activation" : "hidden_act");
  if (moe.experts > kMostExperts || moe.top_k > moe.experts) {
    c.fail(std::string(count_key) + " is " + std::to_string(moe.experts) + " and " + std::string(top_key) +
           " " + std::to_string(moe.top_k) + "; at most " + std::to_string(kMostExperts) +
           " experts are accepted, of which a token may have all");
    moe.experts = moe.top_k = 1;
  }
  return moe;
}

std::vector<std::string> layer_types(const Config& c, std::initializer_list<std::string_view> accepted,
                                     const std::vector<std::string>& fallback) {
  const auto layers = static_cast<size_t>(layer_count(c));
  std::vector<std::string> types = c.texts(c.has("layer_types") ? "layer_types" : "layer_type");
  if (types.empty()) types = fallback;
  if (types.size() != layers) {
    c.fail("layer_types has " + std::to_string(types.size()) + " entries for " + std::to_string(layers) +
           " layers");
    types.resize(layers);
  }
  for (const std::string& type : types) {
    if (std::find(accepted.begin(), accepted.end(), type) != accepted.end()) continue;
    std::string list;
    for (const std::string_view name : accepted) list += (list.empty() ? "" : " or ") + std::string(name);
    c.fail("layer_types holds \"" + type + "\"; " + list + " is expected");
  }
  return types;
}

void read_groups(const Config& c, MoeSpec& moe) {
  moe.groups = c.size("n_group", 8);
  moe.top_groups = c.size("topk_group", 4);
  if (moe.experts % moe.groups == 0 && moe.top_groups <= moe.groups &&
      moe.top_k <= moe.experts / moe.groups * moe.top_groups) {
    return;
  }
  c.fail("n_group (" + std::to_string(moe.groups) + "), topk_group (" + std::to_string(moe.top_groups) +
         ") and num_experts_per_tok (" + std::to_string(moe.top_k) + ") do not fit " +
         std::to_string(moe.experts) + " experts");
}

bool has_experts(const Config& c, int layer) {
  const std::vector<int> dense = c.ids("mlp_only_layers");
  if (std::find(dense.begin(), dense.end(), layer) != dense.end()) return false;
  return (layer + 1) % c.size("decoder_sparse_step", 1) == 0;
}

void ignore_draft_layers(const Config& c, int fallback, ModelSpec& m) {
  constexpr int kMost = 64;
  const int layers = c.count("num_nextn_predict_layers", fallback);
  if (layers > kMost) {
    c.fail("num_nextn_predict_layers is " + std::to_string(layers) + "; at most " + std::to_string(kMost) +
           " are accepted");
    return;
  }
  for (int i = 0; i < layers; ++i)
    m.ignored.push_back("model.layers." + std::to_string(layer_count(c) + i) + ".*");
}

std::vector<float> head_slopes(int heads) {
  const auto powers = [](int n) {
    std::vector<float> slopes;
    for (int h = 0; h < n; ++h) slopes.push_back(static_cast<float>(std::exp2(-8.0 * (h + 1) / n)));
    return slopes;
  };
  const auto whole = static_cast<int>(std::bit_floor(static_cast<unsigned>(heads)));
  std::vector<float> slopes = powers(whole);
  const std::vector<float> finer = powers(2 * whole);
  for (int i = 0; static_cast<int>(slopes.size()) < heads; i += 2) slopes.push_back(finer[i]);
  return slopes;
}

}  // namespace heed
