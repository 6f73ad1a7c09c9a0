// Writes a plain checkpoint anew with the matrices of its layers rounded to whole numbers: safetensors in the
// form "pack-quantized" of compressed-tensors, which this program and vLLM read (quantised.h).
#pragma once
#include <string>

#include "model/weights.h"

namespace heed {

struct QuantTarget {
  int bits = 4;       // 4 or 8
  int64_t group = 0;  // inputs that share a scale; 0: all
};

// `folder` gets the weights, config.json and what else belongs to the checkpoint. It is written under another
// name and then renamed, so that it is there as a whole or not at all. `replace`: it may be there already,
// and be a checkpoint. Embeddings, the head, routers and vision towers stay as they are, and matrices into
// whose rows groups do not go. Errors are relative, as of rounding at load.
Result<Narrowed> write_quantised(const Checkpoint& checkpoint, const std::string& folder,
                                 const QuantTarget& target, bool replace, const Progress& progress);

}  // namespace heed
