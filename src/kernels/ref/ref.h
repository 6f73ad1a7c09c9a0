// The reference backend: every op as a naive loop. It is the definition of each op and the oracle of every
// test.
#pragma once
#include "kernels/kernels.h"

namespace heed {

const Kernels& ref_kernels();

}  // namespace heed
