// A GPU as the engine sees it: the Accelerator functions of the cuda backend.
#pragma once
#include <memory>
#include <string>

#include "tensor/device.h"

namespace heed::cuda {

std::string why_not(int index);
std::string describe(int index);
int64_t free_bytes(int index);
std::unique_ptr<Device> open(int index);

}  // namespace heed::cuda
