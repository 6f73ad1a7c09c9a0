// What the layers of a model must remember between steps, grouped, and how that lies in uniform pages.
//
// Layers with equal key/value shape and equal mask form a group: their blocks live and die together. Every
// page has the same number of bytes, so one pool serves all groups; a page of group g holds `block_tokens`
// tokens of all the group's layers. Kernels see a page as kernel blocks of `kernel_block` tokens:
//
//   page:          [ kernel block 0 | kernel block 1 | ... | padding ]
//   kernel block:  [ layer 0: K [kv_heads, kernel_block, k_dim], V [kv_heads, kernel_block, v_dim] | layer 1
//   ... ]
//
// In int8 the scales of a layer's rows stand behind its V: of K [kv_heads, kernel_block] float32, then of V.
// Those of fp8 are the model's, not the cache's.
//
// A block table holds addresses in units of `unit_bytes` (the greatest common divisor of page and kernel
// block), so that any block size works with any kernel block size that divides it.
#pragma once
#include <cstdint>
#include <span>
#include <vector>

#include "attention/spec.h"
#include "base/result.h"
#include "tensor/dtype.h"

namespace heed {

// What one layer remembers of each token.
struct KvSpec {
  int kv_heads = 0;  // 0: nothing
  int k_dim = 0, v_dim = 0;
  bool v_in_k = false;  // v is the first v_dim elements of k, and takes no room of its own
  Mask mask = causal();
  int source = -1;  // an earlier layer, whose keys and values are this one's; the rest is as there
  bool operator==(const KvSpec&) const = default;
};

struct CacheGroup {
  std::vector<int> layers;  // model layer numbers, ascending; those that have a source are not among them
  KvSpec kv;
  int block_tokens = 0;     // tokens in a page, a multiple of kernel_block
  int64_t token_bytes = 0;  // of one token in all the group's layers
  int64_t unit_bytes = 0;   // one step of a block-table entry
};

struct CacheLayout {
  std::vector<CacheGroup> groups;
  std::vector<int> group_of_layer;   // -1: the layer keeps nothing
  std::vector<int> source_of_layer;  // the layer whose keys and values it reads: itself, or its source
  DType dtype = DType::kF32;
  int kernel_block = 16;
  int64_t page_bytes = 0;  // without groups no page is needed
};

// layers: one entry per model layer. `block_size`: tokens in a block of the group with the largest tokens, a
// multiple of `kernel_block`; the other groups' blocks hold as many more tokens as fit a page.
Result<CacheLayout> plan_cache(std::span<const KvSpec> layers, DType dtype, int kernel_block, int block_size);

// Pages one sequence holds at most while it grows to `length` tokens, `step` tokens at a time.
int64_t most_pages(const CacheLayout& layout, int length, int step);

// Bytes of cache that one token adds while every group still keeps it.
int64_t bytes_per_token(const CacheLayout& layout);

}  // namespace heed
