// config.json in today's form and in the forms of published checkpoints, read to the same spec; and wrong
// ones refused.
#include <gtest/gtest.h>

#include "attention/rows.h"
#include "model/checkpoint.h"

namespace heed {
namespace {

const AttentionSpec& attention_of(const ModelSpec& spec, int layer) {
  return std::get<AttentionSpec>(spec.layers[layer].mixer);
}

ModelSpec spec_of(const Json& config) {
  Result<ModelSpec> spec = read_spec(config, "config.json");
  EXPECT_TRUE(spec.ok()) << (spec.ok() ? "" : spec.error().message);
  return spec.ok() ? *spec : ModelSpec{};
}

std::string error_of(const Json& config) {
  const Result<ModelSpec> spec = read_spec(config, "config.json");
  return spec.ok() ? "accepted" : spec.error().message;
}

Json llama() {
  return {{"architectures", {"LlamaForCausalLM"}},
          {"hidden_size", 64},
          {"vocab_size", 100},
          {"intermediate_size", 96},
          {"num_hidden_layers", 2},
          {"num_attention_heads", 4},
          {"num_key_value_heads", 2},
          {"max_position_embeddings", 512}};
}

Json gemma() {
  Json c = llama();
  c.update({{"architectures", {"Gemma3ForCausalLM"}},
            {"head_dim", 16},
            {"query_pre_attn_scalar", 16},
            {"sliding_window", 32},
            {"num_hidden_layers", 12},
            {"hidden_activation", "gelu_pytorch_tanh"}});
  return c;
}

TEST(Config, llama3_rope_reads_the_same_from_both_forms) {
  Json today = llama(), older = llama();
  const Json values = {{"factor", 8.0},
                       {"low_freq_factor", 1.0},
                       {"high_freq_factor", 4.0},
                       {"original_max_position_embeddings", 64}};
  today["rope_parameters"] = values;
  today["rope_parameters"].update({{"rope_type", "llama3"}, {"rope_theta", 500000.0}});
  older["rope_theta"] = 500000.0;
  older["rope_scaling"] = values;
  older["rope_scaling"]["rope_type"] = "llama3";
  EXPECT_EQ(spec_of(today).layers[0].mixer, spec_of(older).layers[0].mixer);
  EXPECT_EQ(attention_of(spec_of(today), 0).rope.scaling, RopeSpec::kLlama3);
  older["rope_scaling"].erase("rope_type");
  older["rope_scaling"]["type"] = "llama3";
  EXPECT_EQ(spec_of(today).layers[0].mixer, spec_of(older).layers[0].mixer);
}

TEST(Config, gemma3_reads_the_same_from_both_forms) {
  Json today = gemma(), older = gemma();
  today["rope_parameters"] = {
      {"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 1e6}}},
      {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 10000.0}}}};
  for (int i = 0; i < 12; ++i)
    today["layer_types"].push_back((i + 1) % 6 == 0 ? "full_attention" : "sliding_attention");
  older.update({{"rope_theta", 1e6},
                {"rope_local_base_freq", 10000.0},
                {"sliding_window_pattern", 6},
                {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}}});
  const ModelSpec a = spec_of(today), b = spec_of(older);
  ASSERT_EQ(a.layers.size(), b.layers.size());
  for (size_t i = 0; i < a.layers.size(); ++i)
    EXPECT_EQ(a.layers[i].mixer, b.layers[i].mixer) << "layer " << i;
  EXPECT_EQ(attention_of(a, 0).mask, causal() & window(32));
  EXPECT_EQ(attention_of(a, 5).mask, Mask(causal()));
  EXPECT_EQ(attention_of(a, 5).rope.factor, 8.0F);
}

TEST(Config, rnj1_as_released_is_global_on_every_layer_with_yarn) {
  Json c = gemma();
  for (int i = 0; i < 12; ++i) c["layer_type"].push_back("full_attention");  // the singular key, as published
  c.update({{"final_logit_softcapping", 30.0},
            {"rope_theta", 10000.0},
            {"rope_scaling",
             {{"rope_type", "yarn"},
              {"factor", 4.0},
              {"attn_factor", 1.0},
              {"beta_fast", 64.0},
              {"beta_slow", 1.0},
              {"extrapolation_factor", 1.0},
              {"original_max_position_embeddings", 128}}}});
  const ModelSpec spec = spec_of(c);
  EXPECT_EQ(spec.logit_softcap, 30.0F);
  for (const LayerSpec& layer : spec.layers) {
    EXPECT_EQ(std::get<AttentionSpec>(layer.mixer).mask, Mask(causal()));
    EXPECT_EQ(std::get<AttentionSpec>(layer.mixer).rope.scaling, RopeSpec::kYarn);
    EXPECT_EQ(std::get<AttentionSpec>(layer.mixer).rope.beta_fast, 64.0F);
    EXPECT_NEAR(std::get<AttentionSpec>(layer.mixer).rope.attention_factor, 1.138629, 1e-6);
  }
}

TEST(Config, rnj1_chunks_are_half_of_the_sliding_window_with_one_of_lookback) {
  Json c = gemma();
  c["architectures"] = {"Rnj1ForCausalLM"};
  c["sliding_window"] = 49;
  for (int i = 0; i < 12; ++i)
    c["layer_types"].push_back(i % 2 == 0 ? "chunked_attention" : "full_attention");
  const Json yarn = {{"rope_type", "yarn"},
                     {"rope_theta", 10000.0},
                     {"factor", 4.0},
                     {"original_max_position_embeddings", 128}};
  c["rope_parameters"] = yarn;  // flat: for every layer
  const ModelSpec flat = spec_of(c);
  EXPECT_EQ(attention_of(flat, 0).mask, causal() & chunk(24, 1));
  EXPECT_EQ(attention_of(flat, 0).rope.scaling, RopeSpec::kYarn);
  c["rope_parameters"] = {{"full_attention", yarn}, {"chunked_attention", yarn}};
  EXPECT_EQ(spec_of(c).layers[0].mixer, flat.layers[0].mixer);
  c["layer_types"][3] = "sliding_attention";
  EXPECT_NE(error_of(c).find("\"sliding_attention\"; chunked_attention or full_attention"),
            std::string::npos);
}

TEST(Config, the_attention_factor_of_yarn_follows_the_three_way_rule) {
  Json c = llama();
  c["rope_parameters"] = {{"rope_type", "yarn"},
                          {"rope_theta", 10000.0},
                          {"factor", 8.0},
                          {"original_max_position_embeddings", 64}};
  Json& r = c["rope_parameters"];
  const auto factor = [&] { return attention_of(spec_of(c), 0).rope.attention_factor; };
  EXPECT_NEAR(factor(), 1.207944, 1e-6);
  r.update({{"mscale", 1.0}, {"mscale_all_dim", 0.5}});
  EXPECT_NEAR(factor(), 1.207944 / 1.103972, 1e-6);
  r["attention_factor"] = 1.5;
  EXPECT_EQ(factor(), 1.5F);
}

TEST(Config, qwen2_slides_from_max_window_layers_on_only_when_asked_to) {
  Json c = llama();
  c.update({{"architectures", {"Qwen2ForCausalLM"}}, {"sliding_window", 16}, {"max_window_layers", 1}});
  EXPECT_EQ(attention_of(spec_of(c), 1).mask, Mask(causal()));
  c["use_sliding_window"] = true;
  EXPECT_EQ(attention_of(spec_of(c), 0).mask, Mask(causal()));
  EXPECT_EQ(attention_of(spec_of(c), 1).mask, causal() & window(16));
}

TEST(Config, mistral_windows_by_default_and_not_when_null) {
  Json c = llama();
  c["architectures"] = {"MistralForCausalLM"};
  EXPECT_EQ(attention_of(spec_of(c), 0).mask, causal() & window(4096));
  c["sliding_window"] = nullptr;
  EXPECT_EQ(attention_of(spec_of(c), 0).mask, Mask(causal()));
}

TEST(Config, partial_rotation_rotates_that_share_of_a_head) {
  Json c = llama();
  c["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 10000.0}, {"partial_rotary_factor", 0.5}};
  EXPECT_EQ(attention_of(spec_of(c), 0).rope.dims, 8);
}

struct Wrong {
  const char* field;
  Json value;
  const char* names;  // what the error must say
};

TEST(Config, wrong_fields_are_named_with_what_is_accepted) {
  const Wrong cases[] = {
      {"architectures", {"NoSuchModel"}, "NoSuchModel"},
      {"architectures", nullptr, "architectures is missing"},
      {"architectures", 7, "architectures is 7"},
      {"hidden_size", nullptr, "hidden_size is missing"},
      {"hidden_size", -64, "hidden_size is -64"},
      {"hidden_size", 0, "hidden_size is 0"},
      {"hidden_size", 1e300, "hidden_size is 1e+300"},
      {"hidden_size", 18446744073709551615ULL, "hidden_size"},
      {"hidden_size", "64", "hidden_size is \"64\""},
      {"hidden_size", 63, "not a multiple"},
      {"num_attention_heads", 0, "num_attention_heads is 0"},
      {"num_attention_heads", 3, "not a multiple"},
      {"num_hidden_layers", 1000000000, "num_hidden_layers"},
      {"num_hidden_layers", 5000, "at most 4096"},
      {"vocab_size", 2.5, "vocab_size is 2.5"},
      {"head_dim", 15, "even number"},
      {"rms_norm_eps", -1, "rms_norm_eps is -1"},
      {"rms_norm_eps", "tiny", "rms_norm_eps"},
      {"tie_word_embeddings", "yes", "tie_word_embeddings"},
      {"hidden_act", "mish", "\"mish\""},
      {"rope_theta", 0, "rope_theta is 0"},
      {"rope_scaling", "yarn", "rope_scaling is \"yarn\""},
      {"rope_scaling", {{"rope_type", "longrope"}}, "longrope"},
      {"rope_scaling", {{"rope_type", "linear"}, {"factor", -2}}, "factor is -2"},
      {"rope_scaling", {{"rope_type", "llama3"}}, "original_max_position_embeddings is missing"},
      {"rope_parameters", {{"sliding_attention", {{"rope_theta", 1.0}}}}, "no entry for layers"},
  };
  for (const Wrong& wrong : cases) {
    Json c = llama();
    c[wrong.field] = wrong.value;
    const std::string error = error_of(c);
    EXPECT_NE(error.find(wrong.names), std::string::npos)
        << wrong.field << " = " << wrong.value << ": " << error;
    EXPECT_EQ(error.find('\n'), std::string::npos);
  }
  EXPECT_NE(error_of(Json::array({1})).find("a JSON object is expected"), std::string::npos);
}

TEST(Config, wrong_gemma_and_rnj_fields_are_named) {
  Json c = gemma();
  c["sliding_window"] = -5;
  EXPECT_NE(error_of(c).find("sliding_window is -5"), std::string::npos);
  c = gemma();
  c["layer_types"] = {"full_attention"};
  EXPECT_NE(error_of(c).find("layer_types has 1 entries for 12 layers"), std::string::npos);
  c = gemma();
  c["architectures"] = {"Rnj1ForCausalLM"};
  EXPECT_NE(error_of(c).find("layer_types has 0 entries"), std::string::npos);
}

}  // namespace
}  // namespace heed
