// The weights of a model, bound strictly to a checkpoint in both directions: a missing, left-over, misshapen
// or mistyped tensor is an error that names it.
//
// Matrices are used in place from the mapped file wherever its dtype can be computed with and its layout is
// what kernels read; all else is converted into memory of our own. Norm weights hold their offset of 1
// already.
#pragma once
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/processors.h"
#include "base/result.h"
#include "model/checkpoint.h"
#include "tensor/device.h"
#include "tensor/tensor.h"

namespace heed {

// Numbers of the tensors of a layer besides those of its mixer, MLP and experts; all [hidden] f32.
enum LayerWeight : uint8_t {
  kMixerNorm,
  kMixerPostNorm,
  kFfnNorm,
  kFfnPostNorm,
  kMlpPostNorm,  // around an MLP beside experts, and around those
  kMoeNorm,
  kMoePostNorm,
  kLayerScale,      // [1]
  kLayerInputGate,  // [layer_input, hidden] matrix
  kLayerInputUp,    // [hidden, layer_input] matrix
  kLayerInputPostNorm,
  kKeyScale,    // [kv_heads]: of a cache of fp8 (PagedKv), where the checkpoint has any
  kValueScale,  // likewise
};
// And of the model as a whole.
enum ModelWeight : uint8_t {
  kEmbed,                 // [vocab, hidden]
  kHead,                  // [vocab, hidden]; kEmbed's view when tied
  kFinalNorm,             // [hidden] f32
  kLayerInputEmbed,       // [layer_input_vocab, layers * layer_input]
  kLayerInputProjection,  // [layers * layer_input, hidden]
  kLayerInputNorm,        // [layer_input] f32
  kDraftInput,            // of a drafter: [hidden, taps * target_hidden]; kMtp: [hidden, 2 hidden]
  kDraftNorm,             // [hidden] f32: of what that makes; kMtp, kEagle: of features
  kDraftTokenNorm,        // [hidden] f32: kMtp, of embeddings
  kDraftTapNorm,          // [taps * target_hidden] f32
  kDraftIds,              // [head_vocab] i32: added to a row's number it is the token's id
};

using Tensors = std::vector<Tensor>;  // by number; undefined where the spec has none of that number
inline Tensor weight_of(std::span<const Tensor> list, int number) {
  return number < static_cast<int>(list.size()) ? list[number] : Tensor();
}

struct LayerWeights {
  Tensors own, mixer, mlp, moe;
};

// Of a vision tower as a whole.
enum VisionWeight : uint8_t {
  kPatch,      // [hidden, patch * patch * 3]
  kPatchBias,  // [hidden] f32
  kColumnEmbed,
  kRowEmbed,    // [positions, hidden]: kGemma4
  kPatchEmbed,  // [patches, hidden]: kSiglip
  kTowerNorm,
  kTowerNormBias,  // [hidden] f32: kSiglip
  kTowerShift,
  kTowerScale,     // [hidden] f32: standardise
  kProjectorNorm,  // [hidden] f32, or none
  kProjector,      // [the text model's hidden, hidden]
};
// Its linear layers, by number in Tensors of a layer; kSiglip has kUp and kDown, and biases.
enum VisionLinear : uint8_t {
  kVisionQ,
  kVisionK,
  kVisionV,
  kVisionO,
  kVisionGate,
  kVisionUp,
  kVisionDown,
  kVisionLinears
};
enum VisionLayerWeight : uint8_t {
  kVisionBias = kVisionLinears,  // + VisionLinear: [out] f32
  kVisionClip =
      kVisionBias + kVisionLinears,  // + 4 * VisionLinear: bounds in the order of ClipBounds, [1] f32
  kVisionMixerNorm = kVisionClip + 4 * kVisionLinears,  // [hidden] f32, as those to come
  kVisionMixerNormBias,
  kVisionMixerPostNorm,
  kVisionFfnNorm,
  kVisionFfnNormBias,
  kVisionFfnPostNorm,
  kVisionQNorm,  // [head_dim] f32
  kVisionKNorm,
};
constexpr int vision_bias(int linear) { return kVisionBias + linear; }
constexpr int vision_clip(int linear) { return kVisionClip + 4 * linear; }
struct VisionWeights {
  Tensors own;
  std::vector<Tensors> layers;
};

// What rounding matrices to blocks at load did. Errors are relative: the root of the sum of squared errors
// over that of the squares.
struct Narrowed {
  int64_t tensors = 0, bytes_before = 0, bytes_after = 0;
  double error = 0;  // of all together
  double squares = 0;
  double largest_error = 0;
  std::string largest;  // the tensor that has it
};
std::string describe(const Narrowed& narrowed);

struct Weights {
  Narrowed narrowed;
  Tensors own;
  std::vector<LayerWeights> layers;
  VisionWeights vision;
  std::vector<Buffer> owned;  // converted tensors
  Buffer on_device;           // all of them, where that is not the host
  int64_t mapped_bytes = 0;   // used in place
  int64_t owned_bytes = 0;
};

// A tensor that the checkpoint must hold, and what is made of it.
struct TensorNeed {
  // Matrices are multiplied with; vectors become float32; norms too, with the model's offset of 1. kMx4:
  // bytes of pairs of FP4 numbers in blocks of 32, whose power-of-two scales are a tensor of its own; becomes
  // bfloat16. kDecay: a vector of -exp(x), of which x is wanted. kIds: I64, becomes int32. kScale: a vector
  // of numbers above 0, or one for all.
  enum Kind : uint8_t { kMatrix, kVector, kNorm, kMx4, kMx4Scales, kDecay, kIds, kScale };
  // One tensor made of it: all of it or, by `view`, strided parts; `shape` after that.
  struct Part {
    Tensors* list = nullptr;
    int number = 0;
    std::function<Tensor(const Tensor&)> view = nullptr;
    std::vector<int64_t> shape = {};
    Tensor& target() const { return (*list)[number]; }
  };
  std::string name;
  std::vector<int64_t> shape;
  Kind kind = kMatrix;
  std::vector<Part> parts = {};
  std::string scales = {};  // kMx4: the name of its scales
  bool exact = false;       // never rounded to blocks at load
};

// Collects the needs of one list of weights. Names are looked up in the model's own table and then in the
// common one; a name that ends in neither .weight nor .bias gets the one that fits.
class WeightList {
 public:
  using View = std::function<Tensor(const Tensor&)>;
  WeightList(const ModelSpec& spec, int layer, Tensors& list, std::vector<TensorNeed>& needs,
             const std::function<bool(std::string_view)>& has)
      : spec_(spec), layer_(layer), list_(list), needs_(needs), has_(has) {}

  void matrix(int number, std::string_view key, int64_t out, int64_t in, int expert = -1);
  void bias(int number, std::string_view key, int64_t size);  // "<key's name>.bias"
  void norm(int number, std::string_view key, int64_t size);
  void vector(int number, std::string_view key, const std::vector<int64_t>& shape);
  // Those of keys ("k") or values ("v") in the cache, by one of the names that they go by, if it is there.
  void cache_scale(int number, std::string_view which, int64_t kv_heads);
  // A stored tensor of which parts are made, added by part().
  void stored(std::string_view key, std::vector<int64_t> shape, TensorNeed::Kind kind,
              std::string_view scales = "");
  void part(int number, std::vector<int64_t> shape, View view);
  void keep_exact() { needs_.back().exact = true; }  // of the last one

  bool has(std::string_view key, int expert = -1) const { return has_(name(key, expert)); }
  std::string name(std::string_view key, int expert = -1) const;

 private:
  const std::string& prefix() const;
  void add(TensorNeed need) { needs_.push_back(std::move(need)); }
  TensorNeed::Part place(int number, std::vector<int64_t> shape, View view);
  const ModelSpec& spec_;
  int layer_;
  Tensors& list_;
  std::vector<TensorNeed>& needs_;
  const std::function<bool(std::string_view)>& has_;
};

// What a checkpoint must hold: from the spec alone, before anything is read. `has`: whether it holds a tensor
// of this name, asked where there is a choice; without it the first form is taken. Targets lie in `weights`.
std::vector<TensorNeed> needed_tensors(const ModelSpec& spec, Weights& weights,
                                       const std::function<bool(std::string_view)>& has = nullptr);

// Those of the vision tower, for needed_tensors().
void add_vision_needs(const ModelSpec& spec, VisionWeights& weights, std::vector<TensorNeed>& all,
                      const std::function<bool(std::string_view)>& has);

// How weights are wanted.
struct WeightOptions {
  DType compute = DType::kF32;  // kF32 or kBF16: what activations are multiplied in
  bool blocks = true;           // matrices in blocks may stay so; else they are widened to `compute`
  bool fp8 = false;             // those of FP8 as well
  DType narrow = DType::kF32;   // kQ80 or kQ40: other matrices are rounded to these; kF32: they are not
  Workers workers;              // that convert them
};

// Whether a part is rounded to options.narrow: matrices alone, what lookups and linear layers read.
bool narrows(const TensorNeed& need, const TensorNeed::Part& part, const WeightOptions& options);

// A need's tensor: a view of the file, or of memory that has yet to be made of others (quantised.h; then its
// data may not be read).
struct StoredView {
  Tensor tensor;
  bool is_made = false;
};
Result<StoredView> stored_view(const Checkpoint& checkpoint, const TensorNeed& need,
                               const WeightOptions& options);

// Bytes of a need's parts, used where their file is mapped and converted into memory of our own.
struct Footprint {
  int64_t mapped = 0, owned = 0;
};
Footprint footprint(const TensorNeed& need, const StoredView& stored, const WeightOptions& options);

// The weights' bytes where the checkpoint has no tensor files: matrices in `compute`, used where they are
// mapped.
Footprint expected_footprint(const ModelSpec& spec, DType compute);

// Checks names, shapes and dtypes against the files' headers; touches no tensor.
Status check_tensors(const Checkpoint& checkpoint);

// Fills weights from the checkpoint, which must outlive them. `progress`, if set, hears of bytes done and in
// all, now and then.
using Progress = std::function<void(int64_t done, int64_t total)>;
// `device`: where they are to lie; on another than the host all are copied, each once.
Result<Weights> load_weights(const Checkpoint& checkpoint, const WeightOptions& options,
                             const Progress& progress = nullptr, Device& device = host_device());

}  // namespace heed
