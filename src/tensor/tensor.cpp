#include "tensor/tensor.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "base/checked.h"

namespace heed {
namespace {

constexpr int64_t kHugePage = int64_t{2} << 20;

// Caches and packed weights are read from end to end: with huge pages up to a quarter faster.
void* allocate(int64_t bytes) {
  const bool large = bytes >= 2 * kHugePage;
  const int64_t alignment = large ? kHugePage : 64;
  const auto size = static_cast<size_t>(round_up(bytes > 0 ? bytes : 1, alignment));
  void* memory = std::aligned_alloc(static_cast<size_t>(alignment), size);
#if defined(__linux__)
  if (large && memory != nullptr) madvise(memory, size, MADV_HUGEPAGE);  // a wish; as it was where refused
#endif
  return memory;
}

}  // namespace

std::string describe(const Tensor& tensor) {
  std::string text(name_of(tensor.dtype));
  text += " [";
  for (int i = 0; i < tensor.rank; ++i) text += (i ? ", " : "") + std::to_string(tensor.size[i]);
  return text + "]";
}

Buffer::Buffer(int64_t bytes) : bytes_(bytes) {
  CHECK(bytes >= 0, bytes);
  memory_.reset(allocate(bytes));
  CHECK(memory_ != nullptr, bytes);
}

}  // namespace heed
