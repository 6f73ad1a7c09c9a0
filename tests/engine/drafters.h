// Drafters of random weights for any target, and how they are made to guess.
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
  int layers = 2;
  int block = 8;
  std::vector<int> taps = {1, 0};  // numbers of layers, as z-lab counts
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
    std::filesystem::create_directories(folder_);
    Json config = {{"architectures", {"DFlashDraftModel"}},
                   {"dflash_config", {{"mask_token_id", 0}, {"target_layer_ids", shape.taps}}},
                   {"block_size", shape.block},
                   {"hidden_size", hidden},
                   {"intermediate_size", kInner},
                   {"num_hidden_layers", shape.layers},
                   {"num_attention_heads", kHeads},
                   {"num_key_value_heads", kKvHeads},
                   {"head_dim", kHead},
                   {"vocab_size", target.vocab},
                   {"max_position_embeddings", 4096}};
    if (shape.window > 0) {
      std::vector<std::string> types(shape.layers, "full_attention");
      types[0] = "sliding_attention";
      config["layer_types"] = types;
      config["sliding_window"] = shape.window;
    }
    std::ofstream(folder_ + "/config.json") << config;
    add("fc.weight", {hidden, static_cast<int>(shape.taps.size()) * hidden});
    add("hidden_norm.weight", {hidden});
    add("norm.weight", {hidden});
    for (int i = 0; i < shape.layers; ++i) {
      const std::string at = "layers." + std::to_string(i) + ".";
      add(at + "input_layernorm.weight", {hidden});
      add(at + "post_attention_layernorm.weight", {hidden});
      add(at + "self_attn.q_proj.weight", {kHeads * kHead, hidden});
      add(at + "self_attn.k_proj.weight", {kKvHeads * kHead, hidden});
      add(at + "self_attn.v_proj.weight", {kKvHeads * kHead, hidden});
      add(at + "self_attn.o_proj.weight", {hidden, kHeads * kHead});
      add(at + "self_attn.q_norm.weight", {kHead});
      add(at + "self_attn.k_norm.weight", {kHead});
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

}  // namespace heed
