#include "kernels/cuda/cublaslt.h"

#include <cublasLt.h>
#include <dlfcn.h>

#include <map>
#include <tuple>

#include "kernels/cuda/runtime.h"

namespace heed::cuda {
namespace {

#define BLAS_CALL(call) check_blas(call, #call)
void check_blas(cublasStatus_t status, const char* call) {
  CHECK(status == CUBLAS_STATUS_SUCCESS, call, static_cast<int>(status));
}

using Key = std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t, int64_t, bool, bool, bool>;

// How to run a product of some shape: made once for each.
struct Recipe {
  cublasLtMatmulDesc_t product;
  cublasLtMatrixLayout_t weight, x, out;
  cublasLtMatmulAlgo_t algorithm;
};

}  // namespace

struct CublasLt::Library {
  void* handle = nullptr;
  decltype(&cublasLtCreate) create;
  decltype(&cublasLtDestroy) destroy;
  decltype(&cublasLtMatmul) matmul;
  decltype(&cublasLtMatmulDescCreate) desc_create;
  decltype(&cublasLtMatmulDescDestroy) desc_destroy;
  decltype(&cublasLtMatmulDescSetAttribute) desc_set;
  decltype(&cublasLtMatrixLayoutCreate) layout_create;
  decltype(&cublasLtMatrixLayoutDestroy) layout_destroy;
  decltype(&cublasLtMatmulPreferenceCreate) preference_create;
  decltype(&cublasLtMatmulPreferenceDestroy) preference_destroy;
  decltype(&cublasLtMatmulPreferenceSetAttribute) preference_set;
  decltype(&cublasLtMatmulAlgoGetHeuristic) choose;
  cublasLtHandle_t blas = nullptr;
  std::map<Key, Recipe> recipes;

  bool load();
  Recipe make(const Product& p, int64_t scratch_bytes) const;
  const Recipe& recipe(const Product& p, int64_t scratch_bytes);
};

bool CublasLt::Library::load() {
  for (const char* name : {"libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so"}) {
    handle = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (handle != nullptr) break;
  }
  if (handle == nullptr) return false;
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    return function != nullptr;
  };
  return find(create, "cublasLtCreate") && find(destroy, "cublasLtDestroy") &&
         find(matmul, "cublasLtMatmul") && find(desc_create, "cublasLtMatmulDescCreate") &&
         find(desc_destroy, "cublasLtMatmulDescDestroy") &&
         find(desc_set, "cublasLtMatmulDescSetAttribute") &&
         find(layout_create, "cublasLtMatrixLayoutCreate") &&
         find(layout_destroy, "cublasLtMatrixLayoutDestroy") &&
         find(preference_create, "cublasLtMatmulPreferenceCreate") &&
         find(preference_destroy, "cublasLtMatmulPreferenceDestroy") &&
         find(preference_set, "cublasLtMatmulPreferenceSetAttribute") &&
         find(choose, "cublasLtMatmulAlgoGetHeuristic");
}

// cuBLASLt counts matrices by columns: out^T[outs, tokens] = weight[outs, in] x^T[in, tokens], where weight
// by columns is [in, outs] and so is transposed.
Recipe CublasLt::Library::make(const Product& p, int64_t scratch_bytes) const {
  Recipe recipe = {};
  const cudaDataType_t type = p.bf16 ? CUDA_R_16BF : CUDA_R_32F;
  BLAS_CALL(desc_create(&recipe.product, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  const cublasOperation_t transposed = CUBLAS_OP_T;
  BLAS_CALL(desc_set(recipe.product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed, sizeof(transposed)));
  if (p.bias != nullptr) {
    const cublasLtEpilogue_t epilogue = CUBLASLT_EPILOGUE_BIAS;
    const cudaDataType_t bias = CUDA_R_32F;
    BLAS_CALL(desc_set(recipe.product, CUBLASLT_MATMUL_DESC_EPILOGUE, &epilogue, sizeof(epilogue)));
    BLAS_CALL(desc_set(recipe.product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, &bias, sizeof(bias)));
    BLAS_CALL(desc_set(recipe.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias, sizeof(p.bias)));
  }
  const auto n = [](int64_t size) { return static_cast<uint64_t>(size); };
  BLAS_CALL(layout_create(&recipe.weight, type, n(p.in), n(p.outs), p.weight_row));
  BLAS_CALL(layout_create(&recipe.x, type, n(p.in), n(p.tokens), p.x_row));
  BLAS_CALL(layout_create(&recipe.out, CUDA_R_32F, n(p.outs), n(p.tokens), p.out_row));

  cublasLtMatmulPreference_t preference = nullptr;
  BLAS_CALL(preference_create(&preference));
  const auto bytes = static_cast<uint64_t>(scratch_bytes);
  BLAS_CALL(preference_set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, &bytes, sizeof(bytes)));
  cublasLtMatmulHeuristicResult_t found = {};
  int count = 0;
  BLAS_CALL(choose(blas, recipe.product, recipe.weight, recipe.x, recipe.out, recipe.out, preference, 1,
                   &found, &count));
  CHECK(count == 1, "cuBLASLt has no algorithm for", p.tokens, p.in, p.outs);
  recipe.algorithm = found.algo;
  BLAS_CALL(preference_destroy(preference));
  return recipe;
}

const Recipe& CublasLt::Library::recipe(const Product& p, int64_t scratch_bytes) {
  const Key key = {p.tokens,          p.in,   p.outs,      p.x_row, p.weight_row, p.out_row,
                   p.bias != nullptr, p.bf16, p.accumulate};
  const auto found = recipes.find(key);
  if (found != recipes.end()) return found->second;
  return recipes.emplace(key, make(p, scratch_bytes)).first->second;
}

CublasLt::CublasLt(std::unique_ptr<Library> library) : library_(std::move(library)) {}

CublasLt::~CublasLt() {
  for (auto& [key, recipe] : library_->recipes) {
    library_->desc_destroy(recipe.product);
    for (cublasLtMatrixLayout_t layout : {recipe.weight, recipe.x, recipe.out})
      library_->layout_destroy(layout);
  }
  library_->destroy(library_->blas);
}

std::unique_ptr<CublasLt> CublasLt::open() {
  auto library = std::make_unique<Library>();
  if (!library->load()) return nullptr;
  BLAS_CALL(library->create(&library->blas));
  return std::unique_ptr<CublasLt>(new CublasLt(std::move(library)));
}

void CublasLt::multiply(cudaStream_t stream, const Product& p, void* scratch, int64_t scratch_bytes) {
  const Recipe& recipe = library_->recipe(p, scratch_bytes);
  if (p.bias != nullptr) {
    BLAS_CALL(library_->desc_set(recipe.product, CUBLASLT_MATMUL_DESC_BIAS_POINTER, &p.bias, sizeof(p.bias)));
  }
  const float one = 1;
  const float keep = p.accumulate ? 1 : 0;
  BLAS_CALL(library_->matmul(library_->blas, recipe.product, &one, p.weight, recipe.weight, p.x, recipe.x,
                             &keep, p.out, recipe.out, p.out, recipe.out, &recipe.algorithm, scratch,
                             static_cast<size_t>(scratch_bytes), stream));
}

}  // namespace heed::cuda
