// config.json of drafters, in all published forms; and of models that have heads to guess with.
#include <gmock/gmock.h>

#include "base/file.h"
#include "model/checkpoint.h"
#include "model/draft.h"

namespace heed {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

Result<ModelSpec> drafter_spec(const Json& config) { return read_spec(config, "config.json"); }

Json eagle_layer() {
  return {{"model_type", "llama"},    {"hidden_size", 64},      {"vocab_size", 100},
          {"intermediate_size", 96},  {"num_hidden_layers", 1}, {"num_attention_heads", 4},
          {"num_key_value_heads", 2}, {"rope_theta", 500000.0}, {"max_position_embeddings", 512}};
}

Json eagle() {
  Json c = eagle_layer();
  c["architectures"] = {"LlamaForCausalLMEagle3"};
  c["draft_vocab_size"] = 40;
  return c;
}

TEST(EagleConfig, reads_the_same_in_both_published_forms) {
  Json authors = eagle();
  authors["eagle_config"]["eagle_aux_hidden_state_layer_ids"] = {1, 9, 20};
  Json speculators = {{"architectures", {"Eagle3Speculator"}},
                      {"transformer_layer_config", eagle_layer()},
                      {"draft_vocab_size", 40},
                      {"norm_before_residual", false},
                      {"eagle_aux_hidden_state_layer_ids", {1, 9, 20}}};
  for (const Json& config : {authors, speculators}) {
    const ModelSpec spec = drafter_spec(config).value();
    EXPECT_EQ(spec.draft->kind, DraftSpec::Kind::kEagle);
    EXPECT_THAT(spec.draft->taps, ElementsAre(1, 9, 20));
    EXPECT_EQ(spec.draft->head_vocab, 40);
    EXPECT_EQ(spec.draft->target_hidden, 64);
    EXPECT_FALSE(spec.draft->norm_first || spec.draft->norm_taps);
    const auto& attention = std::get<AttentionSpec>(spec.layers.front().mixer);
    EXPECT_EQ(attention.input, 128);
    EXPECT_EQ(attention.rope.theta, 500000.0F);
    EXPECT_FALSE(attention.qk_norm);
  }
}

TEST(EagleConfig, usual_taps_are_placed_by_the_targets_layers) {
  ModelSpec spec = drafter_spec(eagle()).value();
  ModelSpec target;
  target.layers.resize(36);
  settle_taps(target, *spec.draft);
  EXPECT_THAT(spec.draft->taps, ElementsAre(2, 18, 33));
}

TEST(EagleConfig, what_would_change_the_result_is_refused) {
  const auto refusal = [](const std::string& key, const Json& value) {
    Json config = eagle();
    config[key] = value;
    const auto spec = drafter_spec(config);
    return spec.ok() ? "accepted" : spec.error().message;
  };
  EXPECT_THAT(refusal("fc_norm", true), HasSubstr("fc_norm is not supported"));
  EXPECT_THAT(refusal("norm_output", true), HasSubstr("norm_output is not supported"));
  EXPECT_THAT(refusal("logit_scale", 2), HasSubstr("logit_scale is not 1"));
  EXPECT_THAT(refusal("model_type", "gpt_oss"), HasSubstr("\"gpt_oss\"; llama or qwen3 is expected"));
  EXPECT_THAT(refusal("layer_types", {"sliding_attention"}), HasSubstr("full_attention is expected"));
  EXPECT_THAT(refusal("eagle_config", {{"use_aux_hidden_state", false}}), HasSubstr("true is expected"));
  EXPECT_THAT(refusal("eagle_aux_hidden_state_layer_ids", std::vector<int>(65, 1)), HasSubstr("at most 64"));
  EXPECT_EQ(refusal("norm_before_fc", true), "accepted");
}

TEST(MtpConfig, heads_are_one_layer_like_the_models_attention) {
  const auto read = [](const std::string& name, const std::string& key, const Json& value) {
    Json config = read_json(std::string(HEED_SOURCE_DIR) + "/tests/golden/" + name + "/config.json").value();
    (config.contains("text_config") ? config["text_config"] : config)[key] = value;
    return drafter_spec(config).value();
  };
  for (const char* name : {"qwen3_next", "qwen3_5", "qwen3_5_moe", "qwen3_5_vl", "qwen3_5_moe_vl"}) {
    SCOPED_TRACE(name);
    const ModelSpec spec = read(name, "unused", 1);
    ASSERT_NE(spec.heads, nullptr);
    ASSERT_EQ(spec.heads->layers.size(), 1U);
    const auto last = std::find_if(spec.layers.rbegin(), spec.layers.rend(), [](const LayerSpec& layer) {
      return std::holds_alternative<AttentionSpec>(layer.mixer);
    });
    ASSERT_NE(last, spec.layers.rend());
    EXPECT_EQ(spec.heads->layers.front(), *last);
    EXPECT_THAT(spec.heads->draft->taps, ElementsAre(static_cast<int>(spec.layers.size())));
    EXPECT_TRUE(spec.heads->norm_plus_one);
    EXPECT_EQ(read(name, "mtp_num_hidden_layers", 2).heads, nullptr);
    EXPECT_EQ(read(name, "mtp_num_hidden_layers", 0).heads, nullptr);
    EXPECT_EQ(read(name, "mtp_use_dedicated_embeddings", true).heads, nullptr);
  }
}

}  // namespace
}  // namespace heed
