// Drafters of random weights for any target, how they are made to guess, and what must not matter to answers.
#pragma once
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "base/json.h"
#include "tests/engine/asks.h"

namespace heed {

struct DrafterShape {
  enum Kind { kDflash, kEagle, kPlain } kind = kDflash;  // kPlain: a model like any other
  int layers = 2;
  int block = 8;
  std::vector<int> taps = {1, 0};  // numbers of layers, as z-lab counts; as EAGLE-3 does: one less
  int window = 0;                  // of the first layer; 0: none slides
};

// A folder with one, gone with the object.
class RandomDrafter {
 public:
  RandomDrafter(const ModelSpec& target, const DrafterShape& shape)
      : folder_(testing::TempDir() + "heed_drafter_" + std::to_string(::getpid()) + "_" +
                std::to_string(counter()++)) {
    constexpr int kHeads = 4, kKvHeads = 2, kHead = 16, kInner = 40;
    const int hidden = target.hidden;
    const bool eagle = shape.kind == DrafterShape::kEagle;
    const bool plain = shape.kind == DrafterShape::kPlain;
    const std::string top = plain ? "model." : "";
    std::filesystem::create_directories(folder_);
    Json config = {{"hidden_size", hidden},
                   {"intermediate_size", kInner},
                   {"num_hidden_layers", shape.layers},
                   {"num_attention_heads", kHeads},
                   {"num_key_value_heads", kKvHeads},
                   {"head_dim", kHead},
                   {"vocab_size", target.vocab},
                   {"max_position_embeddings", 4096}};
    if (eagle) {
      config["architectures"] = {"LlamaForCausalLMEagle3"};
      config["eagle_config"]["eagle_aux_hidden_state_layer_ids"] = shape.taps;
    } else if (plain) {
      config["architectures"] = {"Qwen3ForCausalLM"};
      add("model.embed_tokens.weight", {target.vocab, hidden});
      add("lm_head.weight", {target.vocab, hidden});
    } else {
      config["architectures"] = {"DFlashDraftModel"};
      config["dflash_config"] = {{"mask_token_id", 0}, {"target_layer_ids", shape.taps}};
      config["block_size"] = shape.block;
    }
    if (shape.window > 0) {
      std::vector<std::string> types(shape.layers, "full_attention");
      types[0] = "sliding_attention";
      config["layer_types"] = types;
      config["sliding_window"] = shape.window;
    }
    std::ofstream(folder_ + "/config.json") << config;
    if (!plain) add("fc.weight", {hidden, static_cast<int>(shape.taps.size()) * hidden});
    if (!plain) add(eagle ? "midlayer.hidden_norm.weight" : "hidden_norm.weight", {hidden});
    add(top + "norm.weight", {hidden});
    for (int i = 0; i < shape.layers; ++i) {
      const std::string at = eagle && i == 0 ? "midlayer." : top + "layers." + std::to_string(i) + ".";
      const int read = eagle && i == 0 ? 2 * hidden : hidden;
      add(at + "input_layernorm.weight", {hidden});
      add(at + "post_attention_layernorm.weight", {hidden});
      add(at + "self_attn.q_proj.weight", {kHeads * kHead, read});
      add(at + "self_attn.k_proj.weight", {kKvHeads * kHead, read});
      add(at + "self_attn.v_proj.weight", {kKvHeads * kHead, read});
      add(at + "self_attn.o_proj.weight", {hidden, kHeads * kHead});
      if (!eagle) add(at + "self_attn.q_norm.weight", {kHead});
      if (!eagle) add(at + "self_attn.k_norm.weight", {kHead});
      add(at + "mlp.gate_proj.weight", {kInner, hidden});
      add(at + "mlp.up_proj.weight", {kInner, hidden});
      add(at + "mlp.down_proj.weight", {hidden, kInner});
    }
    std::vector<NamedTensor> tensors;
    for (size_t i = 0; i < names_.size(); ++i) {
      Tensor t(values_[i].data(), DType::kF32, {1});
      t.rank = static_cast<int>(shapes_[i].size());
      int64_t step = 1;
      for (int d = t.rank - 1; d >= 0; --d) {
        t.size[d] = shapes_[i][d];
        t.stride[d] = step;
        step *= t.size[d];
      }
      tensors.push_back({names_[i], t});
    }
    EXPECT_TRUE(write_safetensors(folder_ + "/model.safetensors", tensors).ok());
    values_.clear();
  }
  ~RandomDrafter() { std::filesystem::remove_all(folder_); }
  RandomDrafter(const RandomDrafter&) = delete;
  RandomDrafter& operator=(const RandomDrafter&) = delete;

  const std::string& folder() const { return folder_; }

 private:
  static int& counter() {
    static int count = 0;
    return count;
  }
  void add(const std::string& name, const std::vector<int>& shape) {
    size_t elements = 1;
    for (const int size : shape) elements *= static_cast<size_t>(size);
    const bool norm = shape.size() == 1;
    std::normal_distribution<float> noise(norm ? 1.0F : 0.0F,
                                          norm ? 0.2F : 1.6F / std::sqrt(static_cast<float>(shape.back())));
    std::vector<float>& values = values_.emplace_back(elements);
    for (float& value : values) value = noise(random_);
    names_.push_back(name);
    shapes_.push_back(shape);
  }

  std::string folder_;
  std::mt19937 random_{11};
  std::vector<std::string> names_;
  std::vector<std::vector<int>> shapes_;
  std::vector<std::vector<float>> values_;
};

// Options under which the model in `folder` guesses.
inline EngineOptions with_drafter(const std::string& folder, int tokens = 0) {
  EngineOptions options;
  options.speculative = {.method = "draft_model", .tokens = tokens, .model = folder, .adaptive = false};
  return options;
}
// Options under which the heads in `folder` guess; "": those of the model's own folder.
inline EngineOptions with_heads(const std::string& folder, int tokens = 0) {
  EngineOptions options;
  options.speculative = {.method = "mtp", .tokens = tokens, .model = folder, .adaptive = false};
  return options;
}

inline std::vector<Ask> draft_asks(const std::string& model, int tokens = 40) {
  const Golden golden = read_golden(model);
  const auto& input = golden.input;
  std::vector<Ask> asks;
  for (const int from : {0, 40, 90})
    asks.push_back({.prompt = {input.begin() + from, input.end()}, .max_tokens = tokens});
  asks.push_back({.prompt = asks[1].prompt, .max_tokens = 30, .temperature = 0.9F, .seed = 11});
  asks.push_back({.prompt = {input.begin(), input.begin() + 3}, .max_tokens = 5});
  asks.push_back({.prompt = {input.begin(), input.begin() + 1}, .max_tokens = 1});
  return asks;
}

inline void expect_clean(Engine& engine) {
  engine.drain();
  EXPECT_EQ(engine.stats().held_pages, 0);
  EXPECT_EQ(engine.stats().held_states, 0);
}

// What an engine said, and how often it was guessed right.
struct Guessed {
  std::vector<std::vector<int>> answers;
  uint64_t drafts = 0, right = 0;
  bool operator==(const Guessed&) const = default;
};

inline Guessed guessed_by(const std::string& target, EngineOptions options, const std::vector<Ask>& asks) {
  options.runner.max_len = 420;
  options.max_sequences = 8;
  options.prefix_caching = false;  // whose snapshots of states bound guesses, by what happens to be cached
  const auto engine = Engine::start(open_checkpoint(target).value(), options).value();
  Guessed said = {.answers = run_all(*engine, asks)};
  expect_clean(*engine);
  said.drafts = engine->stats().draft_tokens;
  said.right = engine->stats().accepted_tokens;
  return said;
}

inline std::string bards(const std::string& drafter) {
  return std::string(HEED_SOURCE_DIR) + "/models/" + drafter;
}

// Of bard's golden prompts, one after the other.
inline Guessed guessed_of_bard(const EngineOptions& options, float temperature) {
  Guessed all;
  const Json goldens = read_json(kBard + "/golden.json").value();
  for (const Json& golden : goldens) {
    if (!golden.contains("greedy") || golden["prompt_ids"].size() > 100) continue;
    const Ask ask = {.prompt = golden["prompt_ids"].get<std::vector<int>>(),
                     .max_tokens = 16,
                     .temperature = temperature,
                     .seed = 5};
    const Guessed one = guessed_by(kBard, options, {ask});
    all.answers.push_back(one.answers.front());
    all.drafts += one.drafts;
    all.right += one.right;
  }
  return all;
}

// Little more than one sequence of max_len fits the cache.
inline void make_tight(const std::string& folder, EngineOptions& options) {
  const EnginePlan plan = plan_engine(open_checkpoint(folder).value(), options).value();
  options.cache_bytes = plan.sequence_pages * plan.run.layout.page_bytes * 9 / 8;
}

// Whoever guesses: neither blocks nor budgets nor preemption matter.
inline void expect_same_however_run(const std::string& folder, const EngineOptions& guessing,
                                    const std::vector<Ask>& asks, const std::vector<std::vector<int>>& want) {
  struct DraftVariant {
    int block, step_tokens, sequences;
    bool prefix_caching, tight;
  };
  for (const DraftVariant& v : {DraftVariant{1, 7, 8, true, false},
                                {64, 16, 2, true, false},
                                {16, 64, 8, false, true},
                                {4, 33, 5, true, true}}) {
    SCOPED_TRACE("blocks of " + std::to_string(v.block) + ", steps of " + std::to_string(v.step_tokens));
    EngineOptions options = guessing;
    options.runner.block_size = v.block;
    options.runner.step_tokens = v.step_tokens;
    options.runner.max_len = 420;
    options.max_sequences = v.sequences;
    options.prefix_caching = v.prefix_caching;
    if (v.tight) make_tight(folder, options);
    const auto engine = start(folder, options);
    EXPECT_EQ(run_all(*engine, asks), want);
    expect_clean(*engine);
    EXPECT_TRUE(!v.tight || engine->stats().preemptions > 0);
  }
}

}  // namespace heed
