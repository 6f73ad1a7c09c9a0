// Pictures made larger or smaller as torchvision's resize does it on uint8 tensors with antialias, to the
// bit: first along rows, then along columns, each result rounded to a byte, in integers. Source: PyTorch
// aten/src/ATen/native/cpu/UpSampleKernel.cpp (antialias, uint8); its weights are those of Pillow.
#pragma once
#include <cstdint>
#include <vector>

#include "media/image.h"

namespace heed {

enum class ResizeFilter : uint8_t { kBilinear, kBicubic };  // bicubic with a = -0.5

// A new picture of width x height, both at least 1. Work memory beside it: weights, 8 bytes for each pixel of
// a row of the picture or 16 of the result, and as many rows of the result's width as one of its pixels
// needs.
Image resize(const Image& image, int width, int height, ResizeFilter filter);

}  // namespace heed
