#include "tensor/shape.h"

namespace heed {

Shapes& Shapes::match(const Tensor& tensor, std::string_view name,
                      std::initializer_list<std::string_view> dims) {
  CHECK(tensor.rank == static_cast<int>(dims.size()), op_, name, describe(tensor), "rank wanted",
        dims.size());
  CHECK(tensor.stride[tensor.rank - 1] == 1 || tensor.size[tensor.rank - 1] <= 1, op_, name,
        "innermost stride");
  int i = 0;
  for (const std::string_view dim : dims) {
    const int64_t size = tensor.size[i++];
    bool known = false;
    for (int b = 0; b < count_; ++b) {
      if (bindings_[b].dim != dim) continue;
      CHECK(bindings_[b].size == size, op_, name, dim, bindings_[b].size, size);
      known = true;
    }
    if (!known) {
      CHECK(count_ < static_cast<int>(bindings_.size()), op_);
      bindings_[count_++] = {dim, size};
    }
  }
  return *this;
}

int64_t Shapes::operator[](std::string_view dim) const {
  for (int b = 0; b < count_; ++b) {
    if (bindings_[b].dim == dim) return bindings_[b].size;
  }
  CHECK(false, op_, dim, "not bound");
  return 0;
}

}  // namespace heed
