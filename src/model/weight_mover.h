// Takes weights from where they were bound on the host to the memory of a device, all in one buffer.
#pragma once
#include "model/weights.h"

namespace heed {

class WeightMover {
 public:
  explicit WeightMover(Device& device) : device_(device) {}

  // Before the first move(): of every need.
  void expect(const Footprint& footprint, const TensorNeed& need);
  // The need's tensors, which have just been bound; what was converted for them is given back.
  void move(const TensorNeed& need, Weights& weights);
  // Once all have been: their memory.
  Buffer finish();

 private:
  void* place(int64_t bytes);
  void move(Tensor& tensor);

  Device& device_;
  int64_t expected_ = 0, used_ = 0;
  Buffer memory_;
};

}  // namespace heed
