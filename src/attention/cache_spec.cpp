#include "attention/cache_spec.h"

#include <algorithm>
#include <numeric>

#include "attention/rows.h"
#include "base/checked.h"

namespace heed {
namespace {

void collect_groups(std::span<const KvSpec> layers, CacheLayout& layout) {
  for (int i = 0; i < static_cast<int>(layers.size()); ++i) {
    const KvSpec& kv = layers[i];
    layout.source_of_layer.push_back(kv.source >= 0 ? kv.source : i);
    if (kv.source >= 0) {
      layout.group_of_layer.push_back(layout.group_of_layer[kv.source]);
      continue;
    }
    if (kv.kv_heads == 0) {
      layout.group_of_layer.push_back(-1);
      continue;
    }
    auto group = std::find_if(layout.groups.begin(), layout.groups.end(),
                              [&](const CacheGroup& g) { return g.kv == kv; });
    if (group == layout.groups.end()) {
      layout.groups.push_back({.kv = kv});
      group = std::prev(layout.groups.end());
    }
    group->layers.push_back(i);
    const int64_t scales = layout.dtype == DType::kI8 ? 2 * size_of(DType::kF32) : 0;
    group->token_bytes +=
        int64_t{kv.kv_heads} * ((kv.k_dim + (kv.v_in_k ? 0 : kv.v_dim)) * size_of(layout.dtype) + scales);
    layout.group_of_layer.push_back(static_cast<int>(group - layout.groups.begin()));
  }
}

Status check_int8(std::span<const KvSpec> layers) {
  for (const KvSpec& kv : layers) {
    if (kv.source >= 0 || kv.kv_heads == 0) continue;
    if (kv.v_in_k) return unsupported("a cache of int8: latent attention takes float32 and bfloat16");
    const int elements = kv.kv_heads * (kv.k_dim + kv.v_dim);
    if (elements % 4 != 0) {
      return unsupported("a cache of int8 with " + std::to_string(elements) +
                         " elements a token in a layer: takes multiples of 4");
    }
  }
  return {};
}

}  // namespace

Result<CacheLayout> plan_cache(std::span<const KvSpec> layers, DType dtype, int kernel_block,
                               int block_size) {
  if (kernel_block < 1 || block_size < kernel_block || block_size % kernel_block != 0) {
    return invalid("block size " + std::to_string(block_size) +
                   " is not a multiple of the kernel block size " + std::to_string(kernel_block));
  }
  if (dtype == DType::kI8) TRY(check_int8(layers));
  CacheLayout layout{.dtype = dtype, .kernel_block = kernel_block};
  collect_groups(layers, layout);
  int64_t largest = layout.groups.empty() ? 1 : 0;
  for (const CacheGroup& group : layout.groups) largest = std::max(largest, group.token_bytes);
  const auto page = checked_mul(largest, block_size);
  if (!page)
    return limit_reached("a cache page of " + std::to_string(block_size) + " tokens does not fit memory");
  layout.page_bytes = *page;
  for (CacheGroup& group : layout.groups) {
    const int64_t kernel_bytes = group.token_bytes * kernel_block;
    // A page of few large-token layers may hold very many small tokens; blocks beyond 64 sizes share too
    // coarsely.
    const int64_t fits =
        std::min<int64_t>(layout.page_bytes / kernel_bytes, int64_t{64} * block_size / kernel_block);
    group.block_tokens = static_cast<int>(fits) * kernel_block;
    group.unit_bytes = std::gcd(layout.page_bytes, kernel_bytes);
  }
  return layout;
}

int64_t most_pages(const CacheLayout& layout, int length, int step) {
  int64_t pages = 0;
  for (const CacheGroup& group : layout.groups) {
    int64_t most = 0;
    const int block = group.block_tokens;
    for (int q = 0; q < length; ++q) {  // before a step at q, dead whole blocks have been freed
      const RowMask row = row_of(group.kv.mask, {.length = length}, q);
      const int64_t end = div_up(std::min(q + step, length), block);
      const int64_t first = row.lo / block;
      const int64_t sinks = std::min<int64_t>(div_up(row.sinks, block), first);
      most = std::max(most, end - first + sinks);
    }
    pages += most;
  }
  return pages;
}

int64_t bytes_per_token(const CacheLayout& layout) {
  int64_t bytes = 0;
  for (const CacheGroup& group : layout.groups) bytes += group.token_bytes;
  return bytes;
}

}  // namespace heed
