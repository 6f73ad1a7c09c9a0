// Symbolic shape checks at an op's entry: a name stands for one size throughout the op.
//
//   Shapes shapes("linear");
//   shapes.match(args.x, "x", {"tokens", "in"}).match(args.weight, "weight", {"out", "in"});
//   const int64_t in = shapes["in"];
//
// A mismatch is our own bug, so it CHECKs, naming op, tensor, dimension and both sizes.
#pragma once
#include <array>
#include <cstdint>
#include <initializer_list>
#include <string_view>

#include "tensor/tensor.h"

namespace heed {

class Shapes {
 public:
  explicit Shapes(std::string_view op) : op_(op) {}

  // Binds or compares each dimension; the innermost must have stride 1. An undefined tensor never matches.
  Shapes& match(const Tensor& tensor, std::string_view name, std::initializer_list<std::string_view> dims);
  Shapes& match_if(const Tensor& tensor, std::string_view name,
                   std::initializer_list<std::string_view> dims) {
    return tensor.defined() ? match(tensor, name, dims) : *this;
  }
  int64_t operator[](std::string_view dim) const;

 private:
  struct Binding {
    std::string_view dim;
    int64_t size;
  };
  std::string_view op_;
  std::array<Binding, 12> bindings_{};
  int count_ = 0;
};

}  // namespace heed
