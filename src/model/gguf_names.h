// GGUF's names of tensors and of architectures: the one table of each.
//
// Sources: github.com/ggml-org/llama.cpp, gguf-py/gguf/constants.py (names), docs/gguf.md of ggml (keys).
#pragma once
#include <map>
#include <span>
#include <string>
#include <string_view>

namespace heed {

// What the tensors are called that weights.h asks for by these keys (tensor_names(), spec.h).
const std::map<std::string, std::string, std::less<>>& gguf_tensor_names();

// A model that can be read from a GGUF file: general.architecture, the model file's architecture that
// describes it, and in what its file differs from what the configuration would say.
struct GgufArchitecture {
  std::string_view name;               // general.architecture
  std::string_view description;        // the architecture that spec.h registers
  bool interleaved_rope = false;       // q and k are stored for pairs of neighbours
  bool post_norm_is_ffn_norm = false;  // the second norm of a block is called post_attention_norm
  bool tiled_value_heads = false;      // delta nets' value heads take turns with the key heads
};
const GgufArchitecture* find_gguf_architecture(std::string_view name, bool has_experts);
std::string known_gguf_architectures();

}  // namespace heed
