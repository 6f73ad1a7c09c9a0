#include "tensor/tensor.h"

#include "base/checked.h"

namespace heed {

std::string describe(const Tensor& tensor) {
  std::string text(name_of(tensor.dtype));
  text += " [";
  for (int i = 0; i < tensor.rank; ++i) text += (i ? ", " : "") + std::to_string(tensor.size[i]);
  return text + "]";
}

Buffer::Buffer(int64_t bytes) : bytes_(bytes) {
  CHECK(bytes >= 0, bytes);
  memory_.reset(std::aligned_alloc(64, static_cast<size_t>(round_up(bytes > 0 ? bytes : 1, 64))));
  CHECK(memory_ != nullptr, bytes);
}

}  // namespace heed
