// The vision tower: any VisionSpec, run on pictures by a table of kernels.
//
// Pictures are encoded a few at a time, layer by layer, so that steps of the text model can run in between.
// Patches of one picture see each other and no others.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

#include "attention/plan.h"
#include "attention/rows.h"
#include "kernels/kernels.h"
#include "media/image_prep.h"
#include "model/vision_spec.h"
#include "model/weights.h"
#include "tensor/arena.h"
#include "tensor/upload.h"

namespace heed {

struct Model;

// Bounds of what goes into a linear layer and comes out of it.
struct ClipBounds {
  float in_lowest, in_highest, out_lowest, out_highest;
};

// What follows from a tower's spec and weights once they are loaded.
struct Vision {
  std::vector<float> frequencies;              // of the rope along one axis
  std::vector<std::vector<ClipBounds>> clips;  // per layer, of each linear layer (VisionLinear); empty: none
};
Vision make_vision(const VisionSpec& spec, const VisionWeights& weights, Device& device);

// What an attention kernel is asked for; dtype and block as in the text model's cache.
AttentionNeeds vision_attention_needs(const VisionSpec& spec, DType kv_dtype, int block);

// Patches of the largest picture.
int64_t most_patches(const VisionSpec& spec);

// A picture's soft tokens in the text model's space: [soft tokens, hidden] f32.
struct EncodedImage {
  Buffer memory;
  Tensor rows;
};

// Pictures on their way through the tower. Owned by the caller between calls.
class ImageEncoding {
 public:
  // `block`: rows of the blocks that keys are kept in.
  ImageEncoding(const Model& model, std::vector<std::shared_ptr<const ImagePatches>> pictures, int block);

  int64_t patches() const { return patches_; }
  bool done() const { return next_ > layers_; }
  // Calls of run() for one layer each until done.
  int layers_left() const { return layers_ + 1 - next_; }

  struct Step {
    const Kernels& kernels;
    const AttentionKernel& attention;
    Stream& stream;
    Arena& arena;
    Device& device = host_device();
    Constants* constants = nullptr;  // where ops do not read the host's memory
  };
  // Goes on by at most so many layers; the projection behind the last one counts as one.
  void run(const Model& model, const Step& step, int layers);

  // Once done: one for each picture, in their order.
  std::vector<std::shared_ptr<const EncodedImage>> take_results();

 private:
  friend class TowerPass;
  std::vector<std::shared_ptr<const ImagePatches>> pictures_;
  int block_, layers_;
  int next_ = 0;  // layer
  bool started_ = false;
  int64_t patches_ = 0;
  Buffer memory_;
  Tensor hidden_;                        // [patches, hidden] f32, between calls
  std::vector<int32_t> columns_, rows_;  // [patches]: where in its picture each is
  std::vector<int32_t> ordinals_;        // [patches]: which of its picture's it is
  std::vector<int32_t> starts_;          // [pictures + 1], into the patches
  std::vector<int64_t> slots_;           // [patches]: where its key is kept
  std::vector<RowMask> masks_;           // [patches]
  std::vector<int32_t> tables_;          // [pictures, table_stride_]: blocks of each
  int64_t table_stride_ = 0, blocks_ = 0;
  // These arrays where ops read them, and the plan that the attention kernel may want.
  struct Arrays {
    const int32_t *columns = nullptr, *rows = nullptr, *ordinals = nullptr, *starts = nullptr,
                  *tables = nullptr;
    const int64_t* slots = nullptr;
    const RowMask* masks = nullptr;
  } arrays_;
  std::unique_ptr<Upload> upload_;
  AttentionPlan plan_;
  bool planned_ = false;
  std::vector<std::shared_ptr<const EncodedImage>> results_;
};

// Multiplications and additions for one patch in one layer, where a picture has so many.
double vision_layer_flops(const VisionSpec& spec, int64_t patches);

}  // namespace heed
