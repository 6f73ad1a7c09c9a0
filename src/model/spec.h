// A model as data: all that a file under models/ may include, and all that it has to fill.
//
// A model file turns a config.json into a ModelSpec and registers itself under its architecture names.
// Weights, cache groups, masks, kernels and memory follow from the spec; forward.cpp runs any spec and knows
// no model.
#pragma once
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "attention/spec.h"
#include "kernels/kernels.h"
#include "model/config.h"
#include "model/vision_spec.h"

namespace heed {

// A mixer of somebody else's, by the name it is registered under (model/mixer.h), with its own data.
struct CustomMixerSpec {
  std::string name;
  std::shared_ptr<const void> data;
  bool operator==(const CustomMixerSpec&) const = default;
};

using MixerSpec =
    std::variant<AttentionSpec, LatentAttentionSpec, LinearAttentionSpec, GatedDeltaSpec, CustomMixerSpec>;

struct MlpSpec {  // down(act(gate(x)) * up(x))
  int inner = 0;
  Act act = Act::kSilu;
  bool bias = false;
  bool operator==(const MlpSpec&) const = default;
};

// A mixture of experts: each token goes through its top_k experts, which are MLPs of `inner`, and through the
// shared one where there is one. kernels.h (MoeRouteArgs) says how experts are chosen and weighed.
struct MoeSpec {
  int experts = 0, top_k = 0, inner = 0;
  Act act = Act::kSilu;
  bool expert_bias = false;
  MoeRouteArgs::Score score = MoeRouteArgs::Score::kSoftmax;
  bool router_bias = false;   // of the router's linear layer
  bool choice_bias = false;   // added to the scores for the choice only
  bool expert_scale = false;  // a learned factor of each expert's weight
  bool renormalise = false;
  float scale = 1;
  int groups = 1, top_groups = 1;
  bool weigh_input = false;  // the weight multiplies the expert's input, not its output
  // The router reads the residual stream through a norm of its own, whose output it scales by hidden^-1/2.
  bool router_norm = false;

  int shared_inner = 0;  // of the shared expert; 0: none
  // kGate: its output is multiplied by sigmoid(linear(x)). kBlend: and what the others give by one minus
  // that.
  enum class Shared : uint8_t { kPlain, kGate, kBlend } shared = Shared::kPlain;

  // How checkpoints of this model fuse the experts' tensors, besides one tensor for each: not; gate over up
  // ([experts, 2 inner, hidden]); transposed ([experts, hidden, 2 inner]), gates before ups or taking turns;
  // gates, ups and downs each in one tensor ([experts, inner, hidden]).
  enum class Fused : uint8_t { kNone, kRows, kColumns, kColumnsByTurns, kStacked } fused = Fused::kNone;
  bool operator==(const MoeSpec&) const = default;
};

// Norms around each half of a block, n() being the first one:
// kPre: x = keep * x + scale * f(n(x)); kSandwich: x += norm(f(n(x))); kNormed: x = keep * n(x) + scale *
// f(n(x)).
enum class Norms : uint8_t { kPre, kSandwich, kNormed };

struct Residual {
  float keep = 1, scale = 1;
  bool operator==(const Residual&) const = default;
};

struct LayerSpec {
  MixerSpec mixer;
  // The second half: an MLP, or experts, or both side by side (then each has norms of its own around it:
  // norm(mlp(n(x))) + norm(experts(n2(x)))).
  std::optional<MlpSpec> mlp = std::nullopt;
  std::optional<MoeSpec> moe = std::nullopt;
  Norms norms = Norms::kPre;
  Residual mixer_residual = {}, ffn_residual = {};
  bool scaled = false;  // a learned factor of all that leaves the layer
  bool operator==(const LayerSpec&) const = default;
};

// What makes a model a drafter: it guesses for another model, its target, whose hidden states it reads.
//
// kBlock (DFlash, arXiv 2602.06036) guesses all tokens of a block at once. From the hidden states at the taps
// its layers make keys and values of every token that the target has run; a block's rows read those and each
// other. The first row is the newest token, the others hold mask_token, and each row's logits are of the
// token at its own place.
//
// The others guess token by token. A row takes its token and a feature of the one before it, which is made of
// the target's hidden states where that has run, and else is the drafter's own.
//   kMtp (arXiv 2412.19437): hidden states behind the last norm, the target's and then its own, are features;
//     the first layer gets linear([norm(embedding) | norm(feature)]).
//   kEagle (EAGLE-3, arXiv 2503.01840): linear(taps), and then its own hidden state before the last norm; the
//     first layer gets the feature, and its attention reads [norm(embedding) | norm(feature)].
struct DraftSpec {
  enum class Kind : uint8_t { kBlock, kMtp, kEagle } kind = Kind::kBlock;
  int target_hidden = 0;
  std::vector<int> taps;  // after how many of the target's layers; joined in this order
  int head_vocab = 0;  // of its own head, whose rows stand for other ids than their number; 0: the vocabulary

  // kBlock:
  int block = 0;  // tokens, the known first one included
  int mask_token = 0;
  // Per layer, what a row of the block sees. The layer's own mask says what is kept of the target's tokens.
  std::vector<Mask> block_masks;
  // kEagle:
  bool usual_taps = false;  // three, placed by the target's number of layers: settle_taps() (model/draft.h)
  bool norm_taps = false;   // all together, before they are joined
  bool norm_first = false;  // the first layer gets norm(feature)

  bool is_block() const { return kind == Kind::kBlock; }
  int64_t tap_width() const { return static_cast<int64_t>(taps.size()) * target_hidden; }
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
  // Every layer also takes in a vector of so many elements for each token (Gemma's per-layer embeddings):
  // looked up in a table of its own, mixed with a projection of the embedding. 0: none.
  int layer_input = 0;
  int layer_input_vocab = 0;
  Act layer_input_act = Act::kGeluTanh;
  std::vector<LayerSpec> layers;
  std::optional<VisionSpec> vision = std::nullopt;   // prompts may hold pictures
  std::optional<DraftSpec> draft = std::nullopt;     // guesses for another model, and runs beside it only
  std::shared_ptr<const ModelSpec> heads = nullptr;  // a drafter for this model in the same checkpoint (MTP)

  int logit_width() const { return draft && draft->head_vocab > 0 ? draft->head_vocab : vocab; }

  // Where this model's tensors are named otherwise than tensor_names() says, by the same keys.
  std::map<std::string, std::string, std::less<>> names;
  // Stands in every name where tensor_names() says "model."; the older one where the checkpoint has that.
  std::string prefix = "model.";
  std::string old_prefix = {};
  // Stands in names for "layers.0." where the checkpoint has it so.
  std::string first_layer = {};
  // Tensors that may be in the checkpoint and are not used; '*' stands for any text.
  std::vector<std::string> ignored;
};

// key -> tensor name, the first "{}" standing for the layer number and the second for the expert's: what most
// Hugging Face decoders use.
const std::map<std::string, std::string, std::less<>>& tensor_names();

// ---- What Hugging Face decoders share; each reads the newest form of config.json and the older ones. ----

// hidden_size, vocab_size, max_position_embeddings, rms_norm_eps, tie_word_embeddings.
ModelSpec decoder(const Config& c, bool tied_by_default);
// num_attention_heads, at most 16384.
int head_count(const Config& c);
// num_attention_heads, num_key_value_heads, head_dim; scale 1/sqrt(head_dim); causal; rope not set.
AttentionSpec gqa(const Config& c);
// The activation under `key`; silu where it is absent.
Act activation(const Config& c, std::string_view key = "hidden_act");
// intermediate_size and the activation under `act_key`.
MlpSpec gated_mlp(const Config& c, std::string_view act_key = "hidden_act");
// num_hidden_layers, at most 4096.
int layer_count(const Config& c);
// rope_parameters (flat, or nested per layer type), or rope_theta with rope_scaling, for heads of which
// `dims` elements could turn.
RopeSpec rope(const Config& c, int dims, std::string_view layer_type = "");
inline RopeSpec rope(const Config& c, const AttentionSpec& attention, std::string_view layer_type = "") {
  return rope(c, attention.head_dim, layer_type);
}
// layer_types (or the singular layer_type), one per layer; `fallback` fills it where absent. Names that are
// not in `accepted` are errors.
std::vector<std::string> layer_types(const Config& c, std::initializer_list<std::string_view> accepted,
                                     const std::vector<std::string>& fallback);
// Experts: their number, size and how many a token has, under these keys, and the activation.
MoeSpec experts(const Config& c, std::string_view count_key, std::string_view inner_key,
                std::string_view top_key = "num_experts_per_tok");

// n_group and topk_group: experts are chosen within groups. An error where they do not fit the number of
// experts.
void read_groups(const Config& c, MoeSpec& moe);
// decoder_sparse_step and mlp_only_layers: whether a layer has experts where the model has any.
bool has_experts(const Config& c, int layer);
// num_nextn_predict_layers: layers behind the last one that drafts are made with; their tensors are ignored.
void ignore_draft_layers(const Config& c, int fallback, ModelSpec& m);
// How fast each head of linear attention forgets: powers of two from 2^(-8/heads) down to 2^-8; where the
// number of heads is no power of two, the rest takes every second one of twice as many. Source: arXiv
// 2108.12409.
std::vector<float> head_slopes(int heads);

// vision_config of a tower: hidden_size, num_hidden_layers, num_attention_heads, intermediate_size,
// patch_size.
VisionSpec vision_tower(const Config& c);

using Describe = ModelSpec (*)(const Config& config);

// Makes a model known by its architecture names, before main.
struct Registration {
  Registration(std::initializer_list<std::string_view> architectures, Describe describe);
};

}  // namespace heed
