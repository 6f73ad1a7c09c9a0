// Rotary position embedding as data, and the frequencies that follow from it.
//
// A rotation turns the pair (x[i], x[i + dims/2]), or (x[2i], x[2i + 1]) where interleaved, by position *
// inverse_frequency[i], for i < dims/2; elements from `dims` on pass through. cos and sin are multiplied by
// the attention factor. Sources: arXiv 2104.09864 (RoPE), 2309.00071 (YaRN); transformers
// modeling_rope_utils.py, whose float32 order of operations is kept so that angles agree to the last bit.
#pragma once
#include <string>
#include <vector>

namespace heed {

struct RopeSpec {
  // kProportional: the pairs from `turning` on do not turn, and frequencies are spread over all dims.
  enum Scaling { kDefault, kLinear, kLlama3, kYarn, kProportional };
  float theta = 10000;
  int dims = 0;  // rotated elements of a head, even; 0: no rotation
  bool interleaved = false;
  Scaling scaling = kDefault;
  float factor = 1;
  float attention_factor = 1;           // yarn: resolved when the configuration is read
  int original_positions = 0;           // llama3, yarn: trained context
  float low_freq = 1, high_freq = 4;    // llama3
  float beta_fast = 32, beta_slow = 1;  // yarn
  bool truncate = true;                 // yarn: correction range rounded to whole dimensions
  int turning = 0;                      // proportional: pairs that turn
  std::vector<float> divisors;          // one for each pair, of what the rest gives; empty: ones
  bool operator==(const RopeSpec&) const = default;
};

// [dims / 2], angle per position of each pair.
std::vector<float> inverse_frequencies(const RopeSpec& spec);

// g(factor, mscale) of YaRN: 0.1 * mscale * ln(factor) + 1, and 1 for factors up to 1.
double yarn_mscale(double factor, double mscale);

std::string describe(const RopeSpec& spec);

}  // namespace heed
