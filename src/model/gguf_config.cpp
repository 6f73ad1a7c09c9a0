#include "model/gguf_config.h"

#include <algorithm>

#include "formats/in_quotes.h"

namespace heed {
namespace {

constexpr int64_t kMostGgufLayers = 4096;

// "key of config.json" = "key of the metadata", where the latter is there.
struct Pair {
  const char* field;
  const char* key;
};
constexpr Pair kIntegers[] = {
    {"hidden_size", "embedding_length"},
    {"max_position_embeddings", "context_length"},
    {"num_attention_heads", "attention.head_count"},
    {"head_dim", "attention.key_length"},
    {"sliding_window", "attention.sliding_window"},
    {"num_experts_per_tok", "expert_used_count"},
    {"top_k_experts", "expert_used_count"},
    {"moe_intermediate_size", "expert_feed_forward_length"},
    {"shared_expert_intermediate_size", "expert_shared_feed_forward_length"},
    {"linear_conv_kernel_dim", "ssm.conv_kernel"},
    {"linear_num_key_heads", "ssm.group_count"},
    {"linear_num_value_heads", "ssm.time_step_rank"},
    {"linear_key_head_dim", "ssm.state_size"},
    {"full_attention_interval", "full_attention_interval"},
    {"interleave_moe_layer_step", "interleave_moe_layer_step"},
    {"num_kv_shared_layers", "attention.shared_kv_layers"},
    {"hidden_size_per_layer_input", "embedding_length_per_layer_input"},
};
constexpr Pair kNumbers[] = {
    {"rms_norm_eps", "attention.layer_norm_rms_epsilon"},
    {"final_logit_softcapping", "final_logit_softcapping"},
    {"attn_logit_softcapping", "attn_logit_softcapping"},
};

// rope.scaling.*, as an object of config.json's, for a base frequency.
Result<Json> rope_of(const GgufModel& m, double theta, bool scaled) {
  Json rope = {{"rope_theta", theta}, {"rope_type", "default"}};
  if (!scaled || !m.has_key("rope.scaling.type")) return rope;
  const std::string_view type = TRY(m.text("rope.scaling.type"));
  if (type == "none") return rope;
  if (type != "linear" && type != "yarn") {
    return unsupported(m.path() + ": " + m.full_key("rope.scaling.type") + " is " + in_quotes(type) +
                       "; none, linear or yarn is expected");
  }
  rope["rope_type"] = type;
  rope["factor"] = TRY(m.number("rope.scaling.factor"));
  if (type == "linear") return rope;
  const Pair keys[] = {{"beta_fast", "rope.scaling.yarn_beta_fast"},
                       {"beta_slow", "rope.scaling.yarn_beta_slow"}};
  for (const Pair& pair : keys) {
    if (m.has_key(pair.key)) rope[pair.field] = TRY(m.number(pair.key));
  }
  if (m.has_key("rope.scaling.original_context_length"))
    rope["original_max_position_embeddings"] = TRY(m.integer("rope.scaling.original_context_length"));
  // As the model has it, whose files have no key for it.
  if (m.architecture().name == "gpt-oss") rope["truncate"] = false;
  return rope;
}

// Which layers slide: by attention.sliding_window_pattern, an array of bools or the distance of those that do
// not.
Result<std::vector<bool>> sliding_layers(const GgufModel& m, int64_t otherwise_every) {
  std::vector<bool> slides(static_cast<size_t>(m.layers()), otherwise_every > 0);
  int64_t every = otherwise_every;
  constexpr std::string_view kPattern = "attention.sliding_window_pattern";
  const auto found = m.meta().values().find(m.full_key(kPattern));
  if (found != m.meta().values().end() && std::holds_alternative<GgufArray>(found->second.held)) {
    const std::vector<int64_t> given = TRY(m.for_layers(kPattern));
    std::transform(given.begin(), given.end(), slides.begin(), [](int64_t value) { return value != 0; });
    return slides;
  }
  if (found != m.meta().values().end()) {
    every = TRY(m.integer(kPattern));
    if (every < 1)
      return invalid(m.path() + ": " + m.full_key(kPattern) + " is " + std::to_string(every) +
                     ", not 1 or more");
    slides.assign(slides.size(), true);
  }
  for (int64_t i = every - 1; every > 0 && i < m.layers(); i += every) slides[static_cast<size_t>(i)] = false;
  return slides;
}

// Qwen3.5's, where they are not at equal distances.
Status add_recurrent_types(const GgufModel& m, Json& c) {
  constexpr std::string_view kRecurrent = "attention.recurrent_layers";
  if (!m.has_key(kRecurrent)) return {};
  const std::vector<int64_t> flags = TRY(m.for_layers(kRecurrent));
  Json types = Json::array();
  for (int64_t i = 0; i < m.layers() - m.draft_layers(); ++i)
    types.push_back(flags[static_cast<size_t>(i)] != 0 ? "linear_attention" : "full_attention");
  c["layer_types"] = std::move(types);
  return {};
}

// The layers' types, where they differ.
Status add_layer_types(const GgufModel& m, Json& c) {
  const std::string_view name = m.architecture().name;
  if (name.starts_with("qwen35")) return add_recurrent_types(m, c);
  const std::string sliding = name == "rnj1" ? "chunked_attention" : "sliding_attention";
  const bool has_none = name.starts_with("llama") || name == "qwen3moe" || name == "qwen3next";
  if (has_none || !m.has_key("attention.sliding_window")) return {};
  const bool optional = name == "qwen2" || name == "qwen3";
  if (optional && !m.has_key("attention.sliding_window_pattern")) return {};
  std::vector<bool> slides = TRY(sliding_layers(m, name == "gpt-oss" ? 2 : optional ? 0 : 6));
  Json types = Json::array();
  for (const bool layer : slides) types.push_back(layer ? sliding : "full_attention");
  c["layer_types"] = std::move(types);
  return {};
}

// Gemma's layers have ropes of their own by type; others one.
Status add_rope(const GgufModel& m, Json& c) {
  const std::string_view name = m.architecture().name;
  const double theta = m.has_key("rope.freq_base") ? TRY(m.number("rope.freq_base")) : 10000;
  if (name != "gemma3" && name != "gemma4" && name != "rnj1") {
    c["rope_parameters"] = TRY(rope_of(m, theta, true));
    return {};
  }
  const bool local_key = m.has_key("rope.freq_base_swa");
  const double local = local_key ? TRY(m.number("rope.freq_base_swa")) : name == "rnj1" ? theta : 10000;
  const char* type = name == "rnj1" ? "chunked_attention" : "sliding_attention";
  c["rope_parameters"] = {{"full_attention", TRY(rope_of(m, theta, true))},
                          {type, TRY(rope_of(m, local, name == "rnj1"))}};
  return {};
}

Status add_gemma(const GgufModel& m, Json& c) {
  const std::string_view name = m.architecture().name;
  c["hidden_activation"] = "gelu_pytorch_tanh";
  if (name == "gemma4") {
    c["global_head_dim"] = TRY(m.integer("attention.key_length"));
    if (m.has_key("attention.key_length_swa")) c["head_dim"] = TRY(m.integer("attention.key_length_swa"));
    c["enable_moe_block"] = m.has_key("expert_count");
    if (!m.has_key("embedding_length_per_layer_input")) c["hidden_size_per_layer_input"] = 0;
    if (const GgufTensor* table = m.find("per_layer_token_embd.weight");
        table != nullptr && table->sizes.size() == 2)
      c["vocab_size_per_layer_input"] = table->sizes[1];
    return {};
  }
  // 27B divides by another size; its files have no key for it.
  const int64_t heads = TRY(m.integer("attention.head_count"));
  const bool largest = name == "gemma3" && m.layers() == 62 && heads > 0;
  c["query_pre_attn_scalar"] =
      largest ? TRY(m.integer("embedding_length")) / heads : TRY(m.integer("attention.key_length"));
  return {};
}

Status add_experts(const GgufModel& m, Json& c) {
  if (!m.has_key("expert_count")) return {};
  const int64_t experts = TRY(m.integer("expert_count"));
  c["num_experts"] = c["num_local_experts"] = experts;
  c["norm_topk_prob"] = true;
  const std::string key = m.full_key("expert_weights_norm");
  if (m.meta().has(key)) c["norm_topk_prob"] = TRY(m.meta().boolean(key));
  // Where experts are all that there is, their size is the layer's.
  if (m.architecture().name == "gpt-oss") c["intermediate_size"] = c["moe_intermediate_size"];
  return {};
}

// What llama.cpp knows of the model instead of reading it (src/models/llama4.cpp): chunks of 8,192 tokens, on
// three layers of four, which are those with rope; temperature behind as many; norms of queries and keys but
// where there are 128 experts. A window of 0: no chunks, and rope on every layer. Where a file has the keys
// that other models have for these numbers, they hold.
Status add_llama4(const GgufModel& m, Json& c) {
  const bool has_window = m.has_key("attention.sliding_window");
  const int64_t window = has_window ? TRY(m.integer("attention.sliding_window")) : 8192;
  c.erase("sliding_window");
  c["attention_chunk_size"] = window == 0 ? Json(nullptr) : Json(window);
  const std::vector<bool> slides = TRY(sliding_layers(m, window == 0 ? 0 : 4));
  Json roped = Json::array();
  for (const bool layer : slides) roped.push_back(layer || window == 0 ? 1 : 0);
  c["no_rope_layers"] = std::move(roped);
  if (m.has_key("attention.temperature_scale"))
    c["attn_scale"] = TRY(m.number("attention.temperature_scale"));
  if (m.has_key("attention.temperature_length"))
    c["floor_scale"] = TRY(m.integer("attention.temperature_length"));
  constexpr int kUnnormedExperts = 128;
  c["use_qk_norm"] = !c.contains("num_local_experts") || c["num_local_experts"] != kUnnormedExperts;
  if (m.has_key("feed_forward_length")) c["intermediate_size_mlp"] = c["intermediate_size"];
  if (c.contains("moe_intermediate_size")) c["intermediate_size"] = c["moe_intermediate_size"];
  return {};
}

// Numbers that may differ from layer to layer become those of the first and, for Gemma 4, of its full layers.
Status add_by_layer(const GgufModel& m, Json& c) {
  constexpr std::string_view kHeads = "attention.head_count_kv";
  if (m.has_key(kHeads)) {
    const std::vector<int64_t> heads = TRY(m.for_layers(kHeads));
    std::vector<bool> slides(heads.size(), false);
    if (m.architecture().name == "gemma4") slides = TRY(sliding_layers(m, 6));
    std::optional<int64_t> of_type[2];
    for (size_t i = 0; i < heads.size(); ++i) {
      std::optional<int64_t>& own = of_type[slides[i] ? 1 : 0];
      if (own && *own != heads[i])
        return unsupported(m.path() + ": " + m.full_key(kHeads) + " differs between layers of one kind");
      own = heads[i];
    }
    c["num_key_value_heads"] = of_type[1] ? *of_type[1] : *of_type[0];
    if (of_type[0]) c["num_global_key_value_heads"] = *of_type[0];
  }
  if (m.has_key("feed_forward_length")) {
    const std::vector<int64_t> inner = TRY(m.for_layers("feed_forward_length"));
    c["intermediate_size"] = inner.front();
    c["use_double_wide_mlp"] = inner.back() == 2 * inner.front();
  }
  return {};
}

}  // namespace

Result<GgufModel> GgufModel::of(const std::vector<Gguf>& files) {
  CHECK(!files.empty());
  GgufModel m;
  m.files_ = &files;
  m.meta_ = &files.front();
  const std::string_view name = TRY(m.meta_->text("general.architecture"));
  const std::string experts = std::string(name) + ".expert_count";
  const bool has_experts = m.meta_->has(experts) && TRY(m.meta_->integer(experts)) > 0;
  m.architecture_ = find_gguf_architecture(name, has_experts);
  if (m.architecture_ == nullptr) {
    return unsupported(m.path() + ": architecture " + in_quotes(name) + " is not known; known are " +
                       known_gguf_architectures());
  }
  m.layers_ = TRY(m.integer("block_count"));
  if (m.layers_ < 1 || m.layers_ > kMostGgufLayers) {
    return invalid(m.path() + ": " + m.full_key("block_count") + " is " + std::to_string(m.layers_) +
                   "; 1 to " + std::to_string(kMostGgufLayers) + " are accepted");
  }
  constexpr std::string_view kDrafts = "nextn_predict_layers";
  if (m.has_key(kDrafts)) m.draft_layers_ = TRY(m.integer(kDrafts));
  if (m.draft_layers_ < 0 || m.draft_layers_ >= m.layers_) {
    return invalid(m.path() + ": " + m.full_key(kDrafts) + " is " + std::to_string(m.draft_layers_) + " of " +
                   std::to_string(m.layers_) + " layers; fewer than all are expected");
  }
  return m;
}

const GgufTensor* GgufModel::find(const std::string& tensor) const {
  for (const Gguf& file : *files_) {
    const auto found = file.tensors().find(tensor);
    if (found != file.tensors().end()) return &found->second;
  }
  return nullptr;
}

Result<Tensor> GgufModel::tensor(const std::string& name) const {
  for (const Gguf& file : *files_) {
    if (file.tensors().contains(name)) return file.tensor(name);
  }
  return not_found(path() + ": tensor " + in_quotes(name) + " is missing");
}

Result<std::vector<int64_t>> GgufModel::for_layers(std::string_view key) const {
  const std::string full = full_key(key);
  const auto found = meta_->values().find(full);
  const bool many = found != meta_->values().end() && std::holds_alternative<GgufArray>(found->second.held);
  if (!many) return std::vector<int64_t>(static_cast<size_t>(layers_), TRY(meta_->integer(full)));
  std::vector<int64_t> values = TRY(meta_->integers(full));
  if (static_cast<int64_t>(values.size()) == layers_) return values;
  return invalid(path() + ": key " + in_quotes(full) + " has " + std::to_string(values.size()) +
                 " elements for " + std::to_string(layers_) + " layers");
}

Result<Json> GgufModel::config() const {
  Json c = {{"architectures", {architecture_->description}}, {"hidden_act", "silu"}};
  for (const Pair& pair : kIntegers) {
    if (has_key(pair.key)) c[pair.field] = TRY(integer(pair.key));
  }
  for (const Pair& pair : kNumbers) {
    if (has_key(pair.key)) c[pair.field] = TRY(number(pair.key));
  }
  const GgufTensor* table = find("token_embd.weight");
  if (table == nullptr || table->sizes.size() != 2) {
    return invalid(path() + ": tensor \"token_embd.weight\" of two dimensions is missing");
  }
  c["vocab_size"] = table->sizes[1];
  c["num_hidden_layers"] = layers_ - draft_layers_;
  c["tie_word_embeddings"] = !has("output.weight");
  // Of these, one that is not null would be a window on every layer.
  if (architecture_->description == "MixtralForCausalLM") c.erase("sliding_window");
  TRY(add_by_layer(*this, c));
  TRY(add_layer_types(*this, c));
  TRY(add_rope(*this, c));
  if (architecture_->name.starts_with("gemma") || architecture_->name == "rnj1") TRY(add_gemma(*this, c));
  TRY(add_experts(*this, c));
  if (architecture_->name == "llama4") TRY(add_llama4(*this, c));
  if (has_key("ssm.inner_size") && has_key("ssm.time_step_rank")) {
    const int64_t heads = TRY(integer("ssm.time_step_rank"));
    c["linear_value_head_dim"] = heads > 0 ? TRY(integer("ssm.inner_size")) / heads : 0;
  }
  return c;
}

}  // namespace heed
