// Models of published shapes with random weights, to measure with: no file is needed.
#pragma once
#include <string>
#include <vector>

#include "model/weights.h"

namespace heed {

// "qwen3-0.6b" and the like.
std::vector<std::string> synthetic_shapes();
// A checkpoint without files, whose weights load_weights() makes up. In bfloat16.
Result<Checkpoint> synthetic_checkpoint(const std::string& shape);

// Matrices of normal numbers, a few million of them over and over; vectors of ones. As options.narrow where
// it is wanted.
Weights synthetic_weights(const ModelSpec& spec, const WeightOptions& options, const Progress& progress,
                          Device& device);

}  // namespace heed
