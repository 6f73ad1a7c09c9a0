#include "model/synthetic.h"

#include <algorithm>
#include <map>
#include <random>

#include "base/checked.h"
#include "tensor/blocks.h"

namespace heed {
namespace {

// Sources: config.json of Qwen/Qwen3-0.6B, Qwen/Qwen3-1.7B, google/gemma-3-1b-it and meta-llama/Llama-3.1-8B.
const std::map<std::string, std::string>& shapes() {
  static const std::map<std::string, std::string> all = {
      {"qwen3-0.5b",  // 24 layers of the next one
       R"({"architectures": ["Qwen3ForCausalLM"], "hidden_size": 1024, "intermediate_size": 3072,
           "num_hidden_layers": 24, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
           "vocab_size": 151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
           "rope_theta": 1000000, "tie_word_embeddings": true, "dtype": "bfloat16"})"},
      {"qwen3-0.6b",
       R"({"architectures": ["Qwen3ForCausalLM"], "hidden_size": 1024, "intermediate_size": 3072,
           "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
           "vocab_size": 151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
           "rope_theta": 1000000, "tie_word_embeddings": true, "dtype": "bfloat16"})"},
      {"qwen3-1.7b",
       R"({"architectures": ["Qwen3ForCausalLM"], "hidden_size": 2048, "intermediate_size": 6144,
           "num_hidden_layers": 28, "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 128,
           "vocab_size": 151936, "max_position_embeddings": 40960, "rms_norm_eps": 1e-6,
           "rope_theta": 1000000, "tie_word_embeddings": true, "dtype": "bfloat16"})"},
      {"gemma-3-1b",
       R"({"architectures": ["Gemma3ForCausalLM"], "hidden_size": 1152, "intermediate_size": 6912,
           "num_hidden_layers": 26, "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 256,
           "query_pre_attn_scalar": 256, "hidden_activation": "gelu_pytorch_tanh", "sliding_window": 512,
           "sliding_window_pattern": 6, "rope_local_base_freq": 10000, "rope_theta": 1000000,
           "vocab_size": 262144, "max_position_embeddings": 32768, "rms_norm_eps": 1e-6, "dtype": "bfloat16"})"},
      {"llama-3.1-8b",
       R"({"architectures": ["LlamaForCausalLM"], "hidden_size": 4096, "intermediate_size": 14336,
           "num_hidden_layers": 32, "num_attention_heads": 32, "num_key_value_heads": 8,
           "vocab_size": 128256, "max_position_embeddings": 131072, "rms_norm_eps": 1e-5,
           "rope_theta": 500000, "tie_word_embeddings": false, "dtype": "bfloat16",
           "rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}})"}};
  return all;
}

constexpr int64_t kDrawn = int64_t{1} << 22;

template <class T>
std::vector<T> normal_numbers() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 0.02F);
  std::vector<T> all(kDrawn);
  for (T& x : all) x = from_float<T>(normal(random));
  return all;
}

// Fills tensors in the device's memory.
class Filler {
 public:
  Filler(const WeightOptions& options, Device& device) : device_(device), ones_(kDrawn, 1.0F) {
    const bool blocks = options.narrow != DType::kF32;
    if (options.compute == DType::kBF16) halves_ = normal_numbers<bf16>();
    if (options.compute == DType::kF32 || blocks) floats_ = normal_numbers<float>();
    if (!blocks) return;
    blocks_.resize(bytes_of(options.narrow, kDrawn));
    narrow_blocks(options.narrow, floats_.data(), kDrawn, blocks_.data());
  }
  void fill(const Tensor& t, bool random) {
    const char* from = reinterpret_cast<const char*>(ones_.data());
    if (random) {
      from = is_blocks(t.dtype)        ? blocks_.data()
             : t.dtype == DType::kBF16 ? reinterpret_cast<const char*>(halves_.data())
                                       : reinterpret_cast<const char*>(floats_.data());
    }
    const int64_t most = bytes_of(t.dtype, kDrawn);
    for (int64_t at = 0; at < t.bytes(); at += most)
      device_.upload(t.as<char>() + at, from, std::min(most, t.bytes() - at));
  }

 private:
  Device& device_;
  std::vector<float> ones_, floats_;
  std::vector<bf16> halves_;
  std::vector<char> blocks_;
};

int64_t elements_of(const TensorNeed::Part& part) {
  int64_t elements = 1;
  for (const int64_t size : part.shape) elements *= size;
  return elements;
}

}  // namespace

std::vector<std::string> synthetic_shapes() {
  std::vector<std::string> names;
  for (const auto& [name, config] : shapes()) names.push_back(name);
  return names;
}

Result<Checkpoint> synthetic_checkpoint(const std::string& shape) {
  const auto found = shapes().find(shape);
  if (found == shapes().end()) {
    std::string accepted;
    for (const std::string& name : synthetic_shapes()) accepted += (accepted.empty() ? "" : ", ") + name;
    return invalid("shape \"" + shape + "\" is unknown; one of " + accepted + " is expected");
  }
  Checkpoint checkpoint{.folder = shape, .dtype = "bfloat16", .synthetic = true};
  checkpoint.spec = TRY(read_spec(Json::parse(found->second), shape, &checkpoint.architecture));
  return checkpoint;
}

Weights synthetic_weights(const ModelSpec& spec, const WeightOptions& options, const Progress& progress,
                          Device& device) {
  Weights weights;
  const std::vector<TensorNeed> needs = needed_tensors(spec, weights);
  constexpr int64_t kAlign = 256;
  const auto dtype_of = [&](const TensorNeed& need, const TensorNeed::Part& part) {
    if (need.kind != TensorNeed::kMatrix) return DType::kF32;
    return narrows(need, part, options) ? options.narrow : options.compute;
  };
  int64_t total = 0;
  for (const TensorNeed& need : needs) {
    for (const TensorNeed::Part& part : need.parts)
      total += round_up(bytes_of(dtype_of(need, part), elements_of(part)), kAlign);
  }
  weights.on_device = device.take(total);
  weights.owned_bytes = total;
  Filler filler(options, device);
  int64_t done = 0;
  for (const TensorNeed& need : needs) {
    for (const TensorNeed::Part& part : need.parts) {
      Tensor t(static_cast<char*>(weights.on_device.data()) + done, dtype_of(need, part), {1});
      t.rank = static_cast<int>(part.shape.size());
      int64_t step = 1;
      for (int i = t.rank - 1; i >= 0; --i) {
        t.size[i] = part.shape[i];
        t.stride[i] = step;
        step *= t.size[i];
      }
      filler.fill(t, need.kind == TensorNeed::kMatrix);
      part.target() = t;
      done += round_up(t.bytes(), kAlign);
    }
    if (progress) progress(done, total);
  }
  device.wait();
  return weights;
}

}  // namespace heed
