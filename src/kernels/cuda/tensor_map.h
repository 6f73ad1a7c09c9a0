// Maps of the tensor copy engine; sm_90.
#pragma once
#include <cuda.h>

#include "tensor/tensor.h"

namespace heed::cuda {

// cuTensorMapEncodeTiled, of the driver and found at run time: the program must start without one.
decltype(&cuTensorMapEncodeTiled) encode_tiled();

// Of a matrix of bfloat16 with rows at multiples of 16 bytes, in boxes of `box` rows by 64 columns, whose
// places in shared memory wgmma.cuh describes. Zeros are read beyond it.
CUtensorMap map_of_rows(const Tensor& matrix, int box);

}  // namespace heed::cuda
