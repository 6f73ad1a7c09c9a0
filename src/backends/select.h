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

// Best first.
std::span<const Kernels* const> all_backends();

struct Choice {
  const Kernels* kernels = nullptr;
  std::vector<const AttentionKernel*> attention;  // one for each layer; null where it needs none
};

// backend: a name, or "" for the best. attention: a kernel's name, or "" for the backend's first that can do
// the layer. A named attention kernel runs every layer; it may be another backend's (all of them work on host
// memory), so that a wrong result can be traced to one op.
// Layers of 0 heads need none.
Result<Choice> choose(const std::vector<AttentionNeeds>& layers, std::string_view backend,
                      std::string_view attention);

// "cpu.flash: yes; ref.naive: yes" or with reasons, over every backend: for people.
std::string support_text(const std::vector<AttentionNeeds>& layers);

}  // namespace heed
