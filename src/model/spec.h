// A model as data: all that a file under models/ may include, and all that it has to fill.
//
// A model file turns a config.json into a ModelSpec and registers itself under its architecture names.
// Weights, cache groups, masks, kernels and memory follow from the spec; forward.cpp runs any spec and knows
// no model.
#pragma once
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "attention/spec.h"
#include "kernels/kernels.h"
#include "model/config.h"

namespace heed {

struct MlpSpec {  // down(act(gate(x)) * up(x))
  int inner = 0;
  Act act = Act::kSilu;
  bool bias = false;
  bool operator==(const MlpSpec&) const = default;
};

// Norms around each half of a block. kPre: x += f(norm(x)); kSandwich: x += norm(f(norm(x))).
enum class Norms : uint8_t { kPre, kSandwich };

struct LayerSpec {
  AttentionSpec mixer;
  MlpSpec ffn;
  Norms norms = Norms::kPre;
};

struct ModelSpec {
  int hidden = 0;
  int vocab = 0;
  int max_positions = 0;  // longest context the checkpoint is meant for
  float norm_eps = 1e-6F;
  float embed_scale = 1;
  bool norm_plus_one = false;  // norm weights are stored as offsets from 1; folded in when loaded
  bool tied_embeddings = false;
  float logit_softcap = 0;  // 0: none
  std::vector<LayerSpec> layers;

  // Where this model's tensors are named otherwise than tensor_names() says, by the same keys.
  std::map<std::string, std::string, std::less<>> names;
  // Tensors that may be in the checkpoint and are not used; '*' stands for any text.
  std::vector<std::string> ignored;
};

// key -> tensor name, "{}" standing for the layer number: what most Hugging Face decoders use.
const std::map<std::string, std::string, std::less<>>& tensor_names();

// ---- What Hugging Face decoders share; each reads the newest form of config.json and the older ones. ----

// hidden_size, vocab_size, max_position_embeddings, rms_norm_eps, tie_word_embeddings.
ModelSpec decoder(const Config& c, bool tied_by_default);
// num_attention_heads, num_key_value_heads, head_dim; scale 1/sqrt(head_dim); causal; rope not set.
AttentionSpec gqa(const Config& c);
// intermediate_size and the activation under `act_key`.
MlpSpec gated_mlp(const Config& c, std::string_view act_key = "hidden_act");
// num_hidden_layers, at most 4096.
int layer_count(const Config& c);
// rope_parameters (flat, or nested per layer type), or rope_theta with rope_scaling.
RopeSpec rope(const Config& c, const AttentionSpec& attention, std::string_view layer_type = "");
// layer_types (or the singular layer_type), one per layer; `fallback` fills it where absent. Names that are
// not in `accepted` are errors.
std::vector<std::string> layer_types(const Config& c, std::initializer_list<std::string_view> accepted,
                                     const std::vector<std::string>& fallback);

using Describe = ModelSpec (*)(const Config& config);

// Makes a model known by its architecture names, before main.
struct Registration {
  Registration(std::initializer_list<std::string_view> architectures, Describe describe);
};

}  // namespace heed
