// Quantised matrices in safetensors, in the forms that vLLM reads: codes, scales and zero points lie in
// tensors of their own, w = scale * (code - zero).
//
// quantization_config says which forms there may be; which matrices have one is read off the tensors: what
// lists of modules that are left plain (ignore, modules_to_not_convert) say is seen there as well. Here the
// tensors of a matrix become one entry of the checkpoint, named as a plain one would be, so that nothing
// after it knows.
//
// Sources (of facts): github.com/vllm-project/compressed-tensors, src/compressed_tensors/compressors and
// quantization; github.com/casper-hansen/AutoAWQ, awq/utils/packing_utils.py;
// github.com/ModelCloud/GPTQModel, README and nn_modules/qlinear; github.com/vllm-project/vllm,
// model_executor/layers/quantization.
#pragma once
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "tensor/tensor.h"

namespace heed {

struct Checkpoint;
class ThreadPool;

// A form of stored matrices. Words are 32-bit, a word's first code is its lowest.
struct QuantScheme {
  enum Kind : uint8_t {
    kGptq,  // qweight [in / codes of a word, out], qzeros [groups, out / codes], scales [groups, out], g_idx
    kAwq,   // qweight [in, out / 8], qzeros [groups, out / 8], scales [groups, out]; nibbles of outputs 0 2 4
            // 6 1 3 5 7
    kPacked,  // weight_packed [out, in / codes], weight_scale [out, groups], weight_zero_point, weight_shape
    kInt8,    // weight [out, in] I8, weight_scale of a tensor, row or group
    kFp8,     // weight [out, in] F8_E4M3, weight_scale of a tensor or row, or weight_scale_inv of a square
  };
  Kind kind = kGptq;
  int bits = 4;              // of a code
  int64_t rows = 1;          // outputs and inputs that share a scale; 0: all
  int64_t columns = 0;       //
  bool symmetric = true;     // zero is half of all codes
  int stored_zero_less = 0;  // by how much zero points are less than they mean: kGptq's first format
};

struct QuantMatrix {
  QuantScheme scheme;  // its rows and columns are above 0
  int64_t out = 0, in = 0;
  std::string codes, scales, zeros,
      order;          // the tensors; zeros and order (the group of each input) may be ""
  int64_t bytes = 0;  // of all of them
  DType blocks =
      DType::kF32;  // those that hold it exactly; kF32: none do. kFp8 only where the backend reads it
};
std::string form_of(const QuantMatrix& matrix);   // "GPTQ int4"
std::string describe(const QuantMatrix& matrix);  // the same, with its shape and groups

// The forms that a config.json names; empty if its weights are plain, or are what a model file knows by
// itself (mxfp4). `what` names the document in errors.
Result<std::vector<QuantScheme>> read_quant_schemes(const Json& config, const std::string& what);

// Takes the tensors of quantised matrices from the checkpoint's list, and puts the matrices there. Reads
// scales and zero points, as the blocks depend on them.
Status fold_quantised(Checkpoint& checkpoint, const std::vector<QuantScheme>& schemes);

// The blocks that hold a matrix exactly, if any: its scales and zero points decide.
DType exact_blocks(const Checkpoint& checkpoint, const QuantMatrix& matrix);

// The matrix [out, in] in its own blocks, or widened: kF32 or kBF16.
Buffer make_matrix(const Checkpoint& checkpoint, const QuantMatrix& matrix, DType dtype, ThreadPool& pool);

}  // namespace heed
