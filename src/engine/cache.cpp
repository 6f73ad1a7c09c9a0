#include "engine/cache.h"

#include <algorithm>

#include "base/checked.h"

namespace heed {

Cache::Cache(CacheLayout layout, int pages) : layout_(std::move(layout)), pool_(layout_.page_bytes, pages) {}

void Cache::trim(Sequence& sequence) {
  sequence.pages.resize(layout_.groups.size());
  sequence.freed.resize(layout_.groups.size(), 0);
  for (size_t g = 0; g < layout_.groups.size(); ++g) {
    const CacheGroup& group = layout_.groups[g];
    std::vector<int>& pages = sequence.pages[g];
    const RowMask next = row_of(group.mask, sequence.facts(), sequence.computed);
    const int sink_blocks = static_cast<int>(div_up(group.mask.sinks, group.block_tokens));
    const int dead = std::min(next.lo / group.block_tokens, static_cast<int>(pages.size()));
    for (int block = std::max(sequence.freed[g], sink_blocks); block < dead; ++block) {
      if (pages[block] >= 0) pool_.give_back(pages[block]);
      pages[block] = -1;
    }
    sequence.freed[g] = std::max(sequence.freed[g], dead);
  }
}

bool Cache::extend(Sequence& sequence, int upto) {
  trim(sequence);
  int64_t lacking = 0;
  for (size_t g = 0; g < layout_.groups.size(); ++g) {
    const int64_t blocks = div_up(upto, layout_.groups[g].block_tokens);
    lacking += std::max<int64_t>(0, blocks - static_cast<int64_t>(sequence.pages[g].size()));
  }
  if (lacking > pool_.free_pages()) return false;
  for (size_t g = 0; g < layout_.groups.size(); ++g) {
    const auto blocks = static_cast<size_t>(div_up(upto, layout_.groups[g].block_tokens));
    while (sequence.pages[g].size() < blocks) sequence.pages[g].push_back(pool_.take());
  }
  return true;
}

bool Cache::rewind(Sequence& sequence, int length) {
  CHECK(length >= 0 && length <= sequence.computed, length, sequence.computed);
  for (size_t g = 0; g < sequence.freed.size(); ++g) {
    const CacheGroup& group = layout_.groups[g];
    const int needed = row_of(group.mask, sequence.facts(), length).lo / group.block_tokens;
    if (needed < sequence.freed[g]) return false;
  }
  for (size_t g = 0; g < sequence.pages.size(); ++g) {
    std::vector<int>& pages = sequence.pages[g];
    const auto keep = static_cast<size_t>(div_up(length, layout_.groups[g].block_tokens));
    for (; pages.size() > keep; pages.pop_back()) {
      if (pages.back() >= 0) pool_.give_back(pages.back());
    }
  }
  sequence.computed = length;
  sequence.tokens.resize(length);
  return true;
}

void Cache::release(Sequence& sequence) {
  for (std::vector<int>& pages : sequence.pages) {
    for (const int page : pages) {
      if (page >= 0) pool_.give_back(page);
    }
  }
  sequence.pages.clear();
  sequence.freed.clear();
  sequence.computed = 0;
}

int32_t Cache::entry(const CacheGroup& group, int page, int kernel_block) const {
  const int64_t offset = page * layout_.page_bytes + kernel_block * group.token_bytes * layout_.kernel_block;
  return static_cast<int32_t>(offset / group.unit_bytes);
}

void Cache::append(const Sequence& sequence, int index, int count, std::vector<BatchGroup>& groups) const {
  groups.resize(layout_.groups.size());
  const int end = sequence.computed + count;
  const int kb = layout_.kernel_block;
  for (size_t g = 0; g < groups.size(); ++g) {
    const CacheGroup& group = layout_.groups[g];
    BatchGroup& out = groups[g];
    const int per_page = group.block_tokens / kb;
    const auto address = [&](int kernel_block) {
      const int page = sequence.pages[g][kernel_block / per_page];
      return page < 0 ? -1 : entry(group, page, kernel_block % per_page);
    };
    const int64_t blocks = div_up(end, kb);
    CHECK(index == 0 || out.table_stride >= blocks, "the batch's tables were made for shorter sequences");
    out.table.resize((index + 1) * out.table_stride, -1);
    for (int b = 0; b < blocks; ++b) out.table[index * out.table_stride + b] = address(b);
    for (int p = sequence.computed; p < end; ++p) {
      out.slots.push_back(int64_t{address(p / kb)} * kb + p % kb);
      out.rows.push_back(row_of(group.mask, sequence.facts(), p));
    }
  }
}

std::vector<LayerCache> Cache::layers() const {
  std::vector<LayerCache> views(layout_.group_of_layer.size());
  for (int g = 0; g < static_cast<int>(layout_.groups.size()); ++g) {
    const CacheGroup& group = layout_.groups[g];
    const int64_t element = size_of(layout_.dtype);
    const int64_t units = layout_.page_bytes * pool_.pages() / group.unit_bytes;
    char* at = pool_.memory();
    for (const int layer : group.layers) {
      const auto view = [&](int dim) {
        Tensor t(at, layout_.dtype, {units, group.kv_heads, layout_.kernel_block, dim});
        t.stride[0] = group.unit_bytes / element;
        at += int64_t{group.kv_heads} * layout_.kernel_block * dim * element;
        return t;
      };
      views[layer].kv.k = view(group.k_dim);
      views[layer].kv.v = view(group.v_dim);
      views[layer].group = g;
    }
  }
  return views;
}

void Cache::check(const std::vector<const Sequence*>& sequences) const {
  std::vector<int> holders(pool_.pages(), 0);
  for (const Sequence* sequence : sequences) {
    for (const std::vector<int>& pages : sequence->pages) {
      for (const int page : pages) {
        if (page >= 0) ++holders[page];
      }
    }
  }
  for (int page = 0; page < pool_.pages(); ++page) {
    CHECK(holders[page] == (pool_.taken(page) ? 1 : 0), page, holders[page]);
  }
}

}  // namespace heed
