#include "kernels/cuda/tensor_map.h"

#include "kernels/cuda/runtime.h"

namespace heed::cuda {

decltype(&cuTensorMapEncodeTiled) encode_tiled() {
  static const auto found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result;
    constexpr unsigned kSince = 12000;
    CUDA_CALL(cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function, kSince, cudaEnableDefault,
                                               &result));
    CHECK(result == cudaDriverEntryPointSuccess, static_cast<int>(result));
    return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(function);
  }();
  return found;
}

CUtensorMap map_of_rows(const Tensor& matrix, int box) {
  constexpr cuuint32_t kColumns = 64;
  CUtensorMap map;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(matrix.size[1]),
                              static_cast<cuuint64_t>(matrix.size[0])};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(matrix.stride[0]) * 2};
  const cuuint32_t boxes[] = {kColumns, static_cast<cuuint32_t>(box)};
  const cuuint32_t ones[] = {1, 1};
  const CUresult result =
      encode_tiled()(&map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, matrix.data, sizes, strides, boxes, ones,
                     CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                     CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  CHECK(result == CUDA_SUCCESS, "cuTensorMapEncodeTiled", static_cast<int>(result), matrix.size[0],
        matrix.size[1], matrix.stride[0]);
  return map;
}

}  // namespace heed::cuda
