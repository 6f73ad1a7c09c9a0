#include "model/gguf_names.h"

namespace heed {
namespace {

constexpr GgufArchitecture kArchitectures[] = {
    {.name = "llama", .description = "LlamaForCausalLM", .interleaved_rope = true},
    {.name = "llama", .description = "MixtralForCausalLM", .interleaved_rope = true},
    {.name = "qwen2", .description = "Qwen2ForCausalLM"},
    {.name = "qwen3", .description = "Qwen3ForCausalLM"},
    {.name = "qwen3moe", .description = "Qwen3MoeForCausalLM"},
    {.name = "qwen3next", .description = "Qwen3NextForCausalLM", .post_norm_is_ffn_norm = true},
    {.name = "qwen35",
     .description = "Qwen3_5ForCausalLM",
     .post_norm_is_ffn_norm = true,
     .tiled_value_heads = true},
    {.name = "qwen35moe",
     .description = "Qwen3_5MoeForCausalLM",
     .post_norm_is_ffn_norm = true,
     .tiled_value_heads = true},
    {.name = "llama4", .description = "Llama4ForCausalLM", .interleaved_rope = true},
    {.name = "gemma3", .description = "Gemma3ForCausalLM"},
    {.name = "gemma4", .description = "Gemma4ForCausalLM"},
    {.name = "gpt-oss", .description = "GptOssForCausalLM", .post_norm_is_ffn_norm = true},
    {.name = "rnj1", .description = "Rnj1ForCausalLM"},
};

}  // namespace

const std::map<std::string, std::string, std::less<>>& gguf_tensor_names() {
  static const std::map<std::string, std::string, std::less<>> names = {
      {"embed", "token_embd.weight"},
      {"final_norm", "output_norm.weight"},
      {"head", "output.weight"},
      {"attn_norm", "blk.{}.attn_norm.weight"},
      {"attn_post_norm", "blk.{}.post_attention_norm.weight"},
      {"ffn_norm", "blk.{}.ffn_norm.weight"},
      {"ffn_post_norm", "blk.{}.post_ffw_norm.weight"},
      {"mlp_post_norm", "blk.{}.post_ffw_norm_1.weight"},
      {"moe_norm", "blk.{}.pre_ffw_norm_2.weight"},
      {"moe_post_norm", "blk.{}.post_ffw_norm_2.weight"},
      {"layer_scale", "blk.{}.layer_output_scale.weight"},
      {"layer_input_gate", "blk.{}.inp_gate"},
      {"layer_input_up", "blk.{}.proj"},
      {"layer_input_post_norm", "blk.{}.post_norm.weight"},
      {"layer_input_embed", "per_layer_token_embd"},
      {"layer_input_projection", "per_layer_model_proj"},
      {"layer_input_norm", "per_layer_proj_norm.weight"},
      {"q", "blk.{}.attn_q"},
      {"k", "blk.{}.attn_k"},
      {"v", "blk.{}.attn_v"},
      {"o", "blk.{}.attn_output"},
      {"sinks", "blk.{}.attn_sinks.weight"},
      {"q_norm", "blk.{}.attn_q_norm.weight"},
      {"k_norm", "blk.{}.attn_k_norm.weight"},
      {"delta_qkvz", "blk.{}.ssm_in"},
      {"delta_qkv", "blk.{}.attn_qkv"},
      {"delta_z", "blk.{}.attn_gate"},
      {"delta_ba", "blk.{}.ssm_ba"},
      {"delta_b", "blk.{}.ssm_beta"},
      {"delta_a", "blk.{}.ssm_alpha"},
      {"delta_conv", "blk.{}.ssm_conv1d.weight"},
      {"delta_a_log", "blk.{}.ssm_a"},
      {"delta_dt_bias", "blk.{}.ssm_dt.bias"},
      {"delta_norm", "blk.{}.ssm_norm.weight"},
      {"delta_out", "blk.{}.ssm_out"},
      {"gate", "blk.{}.ffn_gate"},
      {"up", "blk.{}.ffn_up"},
      {"down", "blk.{}.ffn_down"},
      {"router", "blk.{}.ffn_gate_inp"},
      {"router_scale", "blk.{}.ffn_gate_inp.scale"},
      {"expert_scale", "blk.{}.ffn_down_exps.scale"},
      {"experts_gate", "blk.{}.ffn_gate_exps.weight"},
      {"experts_gate_bias", "blk.{}.ffn_gate_exps.bias"},
      {"experts_up", "blk.{}.ffn_up_exps.weight"},
      {"experts_up_bias", "blk.{}.ffn_up_exps.bias"},
      {"experts_gate_up", "blk.{}.ffn_gate_up_exps.weight"},
      {"experts_down", "blk.{}.ffn_down_exps.weight"},
      {"experts_down_bias", "blk.{}.ffn_down_exps.bias"},
      {"shared_gate", "blk.{}.ffn_gate_shexp"},
      {"shared_up", "blk.{}.ffn_up_shexp"},
      {"shared_down", "blk.{}.ffn_down_shexp"},
      {"shared_weight", "blk.{}.ffn_gate_inp_shexp"},
  };
  return names;
}

const GgufArchitecture* find_gguf_architecture(std::string_view name, bool has_experts) {
  for (const GgufArchitecture& a : kArchitectures) {
    const bool mixtral = a.description == "MixtralForCausalLM";
    if (a.name == name && (name != "llama" || mixtral == has_experts)) return &a;
  }
  return nullptr;
}

std::string known_gguf_architectures() {
  std::string text;
  std::string_view last;
  for (const GgufArchitecture& a : kArchitectures) {
    if (a.name != last) text += (text.empty() ? "" : ", ") + std::string(a.name);
    last = a.name;
  }
  return text;
}

}  // namespace heed
