// How a model sees: how pictures are prepared, what the tower computes, which tokens stand for it. As data.
#pragma once
#include <string>

#include "kernels/kernels.h"
#include "media/image_prep.h"

namespace heed {

// In a prompt a picture is `begin`, as many `image` as it has soft tokens, `end`. Chat templates and people
// write `placeholder` for all that, which is put in its place.
struct ImageTokens {
  int placeholder = -1;  // may be `image`
  int image = -1, begin = -1, end = -1;
  int pad = 0;  // what is looked up in embedding tables in place of `image`
  std::string
      around;  // text that belongs on both sides of a placeholder, put there before the text is tokenized
  bool operator==(const ImageTokens&) const = default;
};

// A transformer over the patches of one picture, each of which sees all others; then the average of every
// pool x pool patches, and a projection into the text model's width.
struct VisionSpec {
  ImagePrep prep;
  ImageTokens tokens;
  int hidden = 0, layers = 0, heads = 0, head_dim = 0, inner = 0;
  float norm_eps = 1e-6F;
  Act act = Act::kGeluTanh;
  // kGemma4: sandwich norms, gated MLP, 2-D rope and normalised q, k, v, positions looked up by column and
  // row. kSiglip: layer norms with bias, a plain MLP, biases everywhere, one learned position for each patch.
  enum class Kind : uint8_t { kGemma4, kSiglip } kind = Kind::kGemma4;
  int positions = 0;         // kGemma4: of the table, each way
  float rope_theta = 100;    // kGemma4
  bool clipped = false;      // kGemma4: linear layers have bounds of their in- and outputs
  bool standardise = false;  // kGemma4: (v - std_bias) * std_scale behind the pool
  // Of tensors' names; those of kSiglip come in several forms, of which this is the longest.
  std::string prefix = "model.vision_tower.";
  std::string projector = "model.embed_vision.";
  bool operator==(const VisionSpec&) const = default;
};

}  // namespace heed
