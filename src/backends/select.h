// Which backend and which attention kernels run a model: chosen once, by name or by what each says it can do.
//
// There is no silent fallback: within a backend the first attention kernel that can do a layer is taken; if
// there is none, that is an error that lists every kernel of every backend with its reasons.
#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "kernels/kernels.h"

namespace heed {

// Those that this program was built with, best first, whether they can run here or not.
std::span<const Kernels* const> all_backends();
// Makes one more known, behind the others. Not while an engine runs.
void add_backend(const Kernels& kernels);

// Where ops run: "cpu", or an accelerator's device such as "cuda:0".
struct DeviceChoice {
  const Kernels* kernels = nullptr;
  int index = 0;  // of the accelerator's device

  bool on_host() const { return kernels->accelerator == nullptr; }
  std::string name() const;         // "cpu", "cuda:0"
  std::string description() const;  // "cuda:0, NVIDIA H100 80GB HBM3", or what the host's kernels run on
};
// device: "cpu", "cuda", "cuda:1"; "": the backend's first. backend: a name, "cpu.avx2" and the like for one
// instruction set of the cpu's, or "": the best for the device. Both empty: the best backend that can run
// here. An error says why what was named cannot.
Result<DeviceChoice> find_device(std::string_view device, std::string_view backend);

struct Choice {
  const Kernels* kernels = nullptr;
  std::vector<const AttentionKernel*> attention;  // one for each layer; null where it needs none
};

// attention: a kernel's name, or "" for the backend's first that can do the layer. A named attention kernel
// runs every layer; it may be another backend's that works on the same memory, so that a wrong result can be
// traced to one op.
// Layers of 0 heads need none.
Result<Choice> choose(const std::vector<AttentionNeeds>& layers, const Kernels& kernels,
                      std::string_view attention);

// "cpu.flash: yes; ref.naive: yes" or with reasons, over every backend: for people.
std::string support_text(const std::vector<AttentionNeeds>& layers);

}  // namespace heed
