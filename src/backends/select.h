#pragma once
#include <vector>

#include "base/result.h"
#include "kernels/kernels.h"
namespace heed {
struct Choice {
  const Kernels* kernels = nullptr;
  std::vector<const AttentionKernel*> attention;
};
Result<Choice> choose(const std::vector<AttentionNeeds>& layers, std::string_view backend,
                      std::string_view attention);
}  // namespace heed
