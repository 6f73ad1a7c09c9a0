// Guesses by suffix decoding (arXiv 2411.04975): how the last tokens went on where they occurred before, in
// the same text or in earlier answers. How often each continuation was seen decides which one is guessed, and
// how far.
#pragma once
#include <memory>

#include "engine/proposer.h"

namespace heed {

std::unique_ptr<Proposer> suffix_proposer(const SuffixOptions& options);

}  // namespace heed
