// One sequence being generated: its tokens and the pages that hold its keys and values.
#pragma once
#include <vector>

#include "attention/mask.h"

namespace heed {

struct Sequence {
  std::vector<int> tokens;
  int computed = 0;  // tokens whose keys and values are in the cache
  // Per cache group, the page of each block of positions; -1 where it was never needed or has been freed.
  std::vector<std::vector<int>> pages;
  // Per cache group: blocks before this one (sinks apart) have been freed and cannot be read again.
  std::vector<int> freed;

  SeqFacts facts() const { return {.length = static_cast<int>(tokens.size())}; }
};

}  // namespace heed
