// Shape checks that every backend's ops begin with: one per op, so that ref and the fast kernels agree on the
// contract.
#pragma once
#include "kernels/kernels.h"
#include "tensor/shape.h"

namespace heed {

Shapes check(const EmbedArgs& args);
Shapes check(const RmsNormArgs& args);
Shapes check(const LinearArgs& args);
Shapes check(const RopeTableArgs& args);
Shapes check(const RopeArgs& args);
Shapes check(const KvWriteArgs& args);
Shapes check(const AttentionArgs& args);
Shapes check(const GatedActArgs& args);
Shapes check(const AddArgs& args);
Shapes check(const GatherRowsArgs& args);
Shapes check(const SoftcapArgs& args);

}  // namespace heed
