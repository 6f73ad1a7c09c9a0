// One sequence being generated: its tokens and the pages that hold its keys and values.
#pragma once
#include <vector>

#include "attention/mask.h"
#include "base/siphash.h"

namespace heed {

struct Sequence {
  std::vector<int> tokens;
  int computed = 0;  // tokens whose keys and values are in the cache
  // Keeps prefixes of different tenants apart; the empty salt is the common one.
  Hash128 salt;

  // ---- Kept by Cache. ----
  // Per cache group, the page of each block of positions; -1 where it was never needed or has been freed.
  std::vector<std::vector<int>> pages;
  std::vector<int> freed;         // per group: blocks before this one (sinks apart) cannot be read again
  std::vector<int> keyed;         // per group: blocks before this one have been made findable
  std::vector<Hash128> prefixes;  // of the first 1, 2, ... hash blocks of tokens

  SeqFacts facts() const { return {.length = static_cast<int>(tokens.size())}; }
};

}  // namespace heed
