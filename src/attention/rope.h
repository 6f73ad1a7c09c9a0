// Rotary position embedding as data, and the frequencies that follow from it.
//
// A rotation turns the pair (x[i], x[i + dims/2]) by position * inverse_frequency[i], for i < dims/2;
// elements from `dims` on pass through. cos and sin are multiplied by the attention factor. Sources: arXiv
// 2104.09864 (RoPE), 2309.00071 (YaRN); transformers modeling_rope_utils.py, whose float32 order of
// operations is kept so that angles agree to the last bit.
#pragma once
#include <string>
#include <vector>

namespace heed {

struct RopeSpec {
  enum Scaling { kDefault, kLinear, kLlama3, kYarn };
  float theta = 10000;
  int dims = 0;  // rotated elements of a head, even; 0: no rotation
  Scaling scaling = kDefault;
  float factor = 1;
  float attention_factor = 1;           // yarn: resolved when the configuration is read
  int original_positions = 0;           // llama3, yarn: trained context
  float low_freq = 1, high_freq = 4;    // llama3
  float beta_fast = 32, beta_slow = 1;  // yarn
  bool truncate = true;                 // yarn: correction range rounded to whole dimensions
  bool operator==(const RopeSpec&) const = default;
};

// [dims / 2], angle per position of each pair.
std::vector<float> inverse_frequencies(const RopeSpec& spec);

// g(factor, mscale) of YaRN: 0.1 * mscale * ln(factor) + 1, and 1 for factors up to 1.
double yarn_mscale(double factor, double mscale);

std::string describe(const RopeSpec& spec);

}  // namespace heed
