#include "engine/cache.h"

#include <algorithm>
#include <numeric>

#include "base/checked.h"

namespace heed {
namespace {

int common_hash_block(const CacheLayout& layout) {
  int block = 0;
  for (const CacheGroup& group : layout.groups) block = std::gcd(block, group.block_tokens);
  return std::max(block, 1);
}

int common_prefix_step(const CacheLayout& layout) {
  int64_t step = 1;
  for (const CacheGroup& group : layout.groups) step = std::lcm(step, int64_t{group.block_tokens});
  return static_cast<int>(std::min<int64_t>(step, kUnbounded));
}

int sink_blocks(const CacheGroup& group) {
  return static_cast<int>(div_up(group.mask.sinks, group.block_tokens));
}

}  // namespace

Cache::Cache(CacheLayout layout, int pages, bool prefix_caching)
    : layout_(std::move(layout)),
      pool_(layout_.page_bytes, pages),
      prefix_caching_(prefix_caching),
      hash_block_(common_hash_block(layout_)),
      prefix_step_(common_prefix_step(layout_)),
      secret_(random_key()) {
  for (const CacheGroup& group : layout_.groups) {
    CHECK(layout_.page_bytes * pages / group.unit_bytes <= INT32_MAX, "block table entries are 32 bits wide");
  }
}

Hash128 Cache::salt_of(std::string_view text) const {
  return siphash(secret_, std::as_bytes(std::span(text)));
}

void Cache::hash_up_to(Sequence& sequence, int blocks) const {
  static_assert(sizeof(int) == 4);
  while (static_cast<int>(sequence.prefixes.size()) < blocks) {
    const auto done = static_cast<int>(sequence.prefixes.size());
    const Hash128 before = done == 0 ? sequence.salt : sequence.prefixes.back();
    const std::span<const int> tokens(sequence.tokens.data() + int64_t{done} * hash_block_, hash_block_);
    // The hash so far is part of the key: a chain, so that equal blocks after unequal prefixes differ.
    const Hash128 key{secret_.low ^ before.low, secret_.high ^ before.high};
    sequence.prefixes.push_back(siphash(key, std::as_bytes(tokens)));
  }
}

PageKey Cache::key_of(const Sequence& sequence, int group, int block) const {
  const int end = (block + 1) * layout_.groups[group].block_tokens;
  return {sequence.prefixes[end / hash_block_ - 1], group};
}

// runs[g][b]: how many findable blocks of group g end with block b, without a gap.
bool Cache::prefix_is_there(const Sequence& sequence, int length,
                            const std::vector<std::vector<int>>& runs) const {
  for (size_t g = 0; g < layout_.groups.size(); ++g) {
    const CacheGroup& group = layout_.groups[g];
    const int blocks = length / group.block_tokens;
    const RowMask next = row_of(group.mask, sequence.facts(), length);
    const int first = std::min(next.lo / group.block_tokens, blocks);
    if (blocks > first && runs[g][blocks - 1] < blocks - first) return false;
    const int sinks = std::min(static_cast<int>(div_up(next.sinks, group.block_tokens)), blocks);
    if (sinks > 0 && runs[g][sinks - 1] < sinks) return false;
  }
  return true;
}

int Cache::take_prefix(Sequence& sequence) {
  CHECK(sequence.computed == 0 && sequence.pages.empty());
  const int most = (static_cast<int>(sequence.tokens.size()) - 1) / prefix_step_ * prefix_step_;
  if (!prefix_caching_ || most <= 0) return 0;
  hash_up_to(sequence, most / hash_block_);
  std::vector<std::vector<int>> runs(layout_.groups.size());
  for (int g = 0; g < static_cast<int>(runs.size()); ++g) {
    const int blocks = most / layout_.groups[g].block_tokens;
    for (int b = 0; b < blocks; ++b) {
      const bool there = pool_.find(key_of(sequence, g, b)) >= 0;
      runs[g].push_back(there ? (b > 0 ? runs[g].back() : 0) + 1 : 0);
    }
  }
  const auto may_end = [&](int length) {
    const auto can = [&](const CacheGroup& group) { return can_cut(group.mask, sequence.facts(), length); };
    return std::all_of(layout_.groups.begin(), layout_.groups.end(), can) &&
           prefix_is_there(sequence, length, runs);
  };
  int length = most;
  while (length > 0 && !may_end(length)) length -= prefix_step_;
  if (length <= 0) return 0;

  sequence.pages.resize(layout_.groups.size());
  sequence.freed.assign(layout_.groups.size(), 0);
  sequence.keyed.assign(layout_.groups.size(), 0);
  for (int g = 0; g < static_cast<int>(layout_.groups.size()); ++g) {
    const CacheGroup& group = layout_.groups[g];
    const int blocks = length / group.block_tokens;
    const int first = std::min(row_of(group.mask, sequence.facts(), length).lo / group.block_tokens, blocks);
    for (int b = 0; b < blocks; ++b) {
      const bool needed = b >= first || b < sink_blocks(group);
      sequence.pages[g].push_back(needed ? pool_.find(key_of(sequence, g, b)) : -1);
      if (needed) pool_.share(sequence.pages[g].back());
    }
    sequence.freed[g] = first;
    sequence.keyed[g] = blocks;
  }
  sequence.computed = length;
  return length;
}

void Cache::trim(Sequence& sequence) {
  sequence.pages.resize(layout_.groups.size());
  sequence.freed.resize(layout_.groups.size(), 0);
  sequence.keyed.resize(layout_.groups.size(), 0);
  for (size_t g = 0; g < layout_.groups.size(); ++g) {
    const CacheGroup& group = layout_.groups[g];
    std::vector<int>& pages = sequence.pages[g];
    const RowMask next = row_of(group.mask, sequence.facts(), sequence.computed);
    const int dead = std::min(next.lo / group.block_tokens, static_cast<int>(pages.size()));
    for (int block = std::max(sequence.freed[g], sink_blocks(group)); block < dead; ++block) {
      if (pages[block] >= 0) pool_.give_back(pages[block]);
      pages[block] = -1;
    }
    sequence.freed[g] = std::max(sequence.freed[g], dead);
  }
}

int64_t Cache::lacking(const Sequence& sequence, int upto) const {
  int64_t pages = 0;
  for (size_t g = 0; g < layout_.groups.size(); ++g) {
    const int64_t blocks = div_up(upto, layout_.groups[g].block_tokens);
    const int64_t have = g < sequence.pages.size() ? static_cast<int64_t>(sequence.pages[g].size()) : 0;
    pages += std::max<int64_t>(0, blocks - have);
  }
  return pages;
}

bool Cache::extend(Sequence& sequence, int upto) {
  trim(sequence);
  if (lacking(sequence, upto) > pool_.available_pages()) return false;
  for (size_t g = 0; g < layout_.groups.size(); ++g) {
    const auto blocks = static_cast<size_t>(div_up(upto, layout_.groups[g].block_tokens));
    while (sequence.pages[g].size() < blocks) sequence.pages[g].push_back(pool_.take());
  }
  return true;
}

void Cache::commit(Sequence& sequence) {
  if (!prefix_caching_) return;
  for (int g = 0; g < static_cast<int>(layout_.groups.size()); ++g) {
    const int block_tokens = layout_.groups[g].block_tokens;
    const int complete = sequence.computed / block_tokens;
    if (sequence.keyed[g] < complete) hash_up_to(sequence, complete * block_tokens / hash_block_);
    for (; sequence.keyed[g] < complete; ++sequence.keyed[g]) {
      const int page = sequence.pages[g][sequence.keyed[g]];
      if (page >= 0) pool_.set_key(page, key_of(sequence, g, sequence.keyed[g]));
    }
  }
}

bool Cache::rewind(Sequence& sequence, int length) {
  CHECK(length >= 0 && length <= sequence.computed, length, sequence.computed);
  for (size_t g = 0; g < sequence.freed.size(); ++g) {
    const CacheGroup& group = layout_.groups[g];
    const int needed = row_of(group.mask, sequence.facts(), length).lo / group.block_tokens;
    if (needed < sequence.freed[g]) return false;
    // A findable page must keep its content: nothing may be written into it again.
    if (length % group.block_tokens != 0 && sequence.keyed[g] > length / group.block_tokens) return false;
  }
  for (size_t g = 0; g < sequence.pages.size(); ++g) {
    std::vector<int>& pages = sequence.pages[g];
    const auto keep = static_cast<size_t>(div_up(length, layout_.groups[g].block_tokens));
    for (; pages.size() > keep; pages.pop_back()) {
      if (pages.back() >= 0) pool_.give_back(pages.back());
    }
    sequence.keyed[g] = std::min(sequence.keyed[g], length / layout_.groups[g].block_tokens);
  }
  sequence.prefixes.resize(std::min<size_t>(sequence.prefixes.size(), length / hash_block_));
  sequence.computed = length;
  sequence.tokens.resize(length);
  return true;
}

void Cache::release(Sequence& sequence) {
  for (std::vector<int>& pages : sequence.pages) {
    // Last blocks first: the beginnings of prefixes are worth keeping longest.
    for (; !pages.empty(); pages.pop_back()) {
      if (pages.back() >= 0) pool_.give_back(pages.back());
    }
  }
  sequence.pages.clear();
  sequence.freed.clear();
  sequence.keyed.clear();
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
    CHECK(out.table_stride >= blocks, "the batch's tables were made for shorter sequences");
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
  for (int page = 0; page < pool_.pages(); ++page)
    CHECK(holders[page] == pool_.holders(page), page, holders[page]);
}

}  // namespace heed
