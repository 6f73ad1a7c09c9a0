// Configurations of hybrids and mixtures of experts: what is wrong in them is named, and older forms are
// read.
#include <gtest/gtest.h>

#include "base/file.h"
#include "model/checkpoint.h"
#include "model/weights.h"

namespace heed {
namespace {

Json config_of(const std::string& golden) {
  return read_json(std::string(HEED_SOURCE_DIR) + "/tests/golden/" + golden + "/config.json").value();
}

struct WrongField {
  const char* golden;
  const char* field;
  Json value;
  const char* names;  // that the error must name
};

TEST(Architectures, wrong_fields_are_named) {
  const WrongField cases[] = {
      {"qwen3_moe", "num_experts_per_tok", 9, "num_experts_per_tok"},
      {"qwen3_moe", "num_local_experts", 100000, "num_local_experts"},
      {"qwen3_moe", "num_local_experts", 0, "num_local_experts"},
      {"qwen3_moe", "decoder_sparse_step", 0, "decoder_sparse_step"},
      {"qwen3_next", "linear_num_value_heads", 3, "linear_num_value_heads"},
      {"qwen3_next", "linear_conv_kernel_dim", 1, "linear_conv_kernel_dim"},
      {"qwen3_next", "layer_types", Json::array({"linear_attention"}), "layer_types"},
      {"qwen3_5", "output_gate_type", "tanh", "output_gate_type"},
      {"minimax", "num_attention_heads", 1 << 20, "num_attention_heads"},
      {"minimax_m1", "rotary_dim", 5, "rotary_dim"},
      {"minimax_text01", "shared_moe_mode", "other", "shared_moe_mode"},
      {"minimax_m1", "attn_type_list", Json::array({0}), "layer_types"},
      {"bailing", "group_norm_size", 7, "group_norm_size"},
      {"bailing", "n_group", 3, "n_group"},
      {"bailing", "score_function", "relu", "score_function"},
      {"bailing", "rope_interleave", false, "rope_interleave"},
      {"deepseek_v3", "kv_lora_rank", nullptr, "kv_lora_rank"},
      {"deepseek_v3", "topk_group", 99, "topk_group"},
      {"deepseek_v3", "num_nextn_predict_layers", INT32_MAX, "num_nextn_predict_layers"},
      {"bailing", "num_nextn_predict_layers", INT32_MAX, "num_nextn_predict_layers"},
      {"gemma4_text", "num_kv_shared_layers", 8, "num_kv_shared_layers"},
      {"gemma4_text", "vocab_size_per_layer_input", 10, "vocab_size_per_layer_input"},
      {"gemma4_text", "use_bidirectional_attention", "all", "use_bidirectional_attention"},
      {"llama4_text", "num_experts_per_tok", 2, "num_experts_per_tok"},
      {"llama4_text", "no_rope_layers", Json::array({1}), "no_rope_layers"},
      {"gpt_oss", "sliding_window", -1, "sliding_window"},
  };
  for (const WrongField& wrong : cases) {
    Json config = config_of(wrong.golden);
    config[wrong.field] = wrong.value;
    const Result<ModelSpec> spec = read_spec(config, "config.json");
    ASSERT_FALSE(spec.ok()) << wrong.golden << " " << wrong.field;
    EXPECT_NE(spec.error().message.find(wrong.names), std::string::npos) << spec.error().message;
    EXPECT_EQ(spec.error().message.find('\n'), std::string::npos);
  }
}

TEST(Architectures, more_experts_than_any_model_has_are_refused) {
  Json config = config_of("qwen3_moe");
  config["num_local_experts"] = 65536;
  config["num_hidden_layers"] = 4096;
  const Result<ModelSpec> spec = read_spec(config, "config.json");
  ASSERT_FALSE(spec.ok());
  EXPECT_NE(spec.error().message.find("experts"), std::string::npos);
}

TEST(Architectures, layer_kinds_follow_from_intervals_where_there_is_no_list) {
  Json config = config_of("qwen3_next");
  config.erase("layer_types");
  config["full_attention_interval"] = 4;
  const ModelSpec spec = read_spec(config, "config.json").value();
  EXPECT_EQ(spec.layers, read_spec(config_of("qwen3_next"), "config.json").value().layers);
}

TEST(Architectures, stored_tensors_of_either_form_are_asked_for) {
  const ModelSpec spec = read_spec(config_of("gpt_oss"), "config.json").value();
  const auto names = [&](bool plain) {
    Weights weights;
    std::string all;
    const auto has = [&](std::string_view name) {
      return plain == (name.find("_blocks") == std::string_view::npos &&
                       name.find("_scales") == std::string_view::npos);
    };
    for (const TensorNeed& need : needed_tensors(spec, weights, has)) all += need.name + " ";
    return all;
  };
  EXPECT_NE(names(true).find("experts.gate_up_proj "), std::string::npos);
  EXPECT_EQ(names(true).find("_blocks"), std::string::npos);
  EXPECT_NE(names(false).find("experts.gate_up_proj_blocks "), std::string::npos);
  EXPECT_NE(names(false).find("experts.down_proj_scales "), std::string::npos);
}

}  // namespace
}  // namespace heed
