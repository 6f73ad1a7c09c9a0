#include "engine/cache.h"

#include <algorithm>
#include <array>
#include <climits>
#include <numeric>

#include "base/checked.h"

namespace heed {
namespace {

int common_hash_block(const CacheLayout& layout) {
  int block = 0;
  for (const CacheGroup& group : layout.groups) block = std::gcd(block, group.block_tokens);
  return block > 0 ? block : kStateGrid;  // without pages prefixes end where states are kept
}

int common_prefix_step(const CacheLayout& layout) {
  int64_t step = layout.groups.empty() ? kStateGrid : 1;
  for (const CacheGroup& group : layout.groups) step = std::lcm(step, int64_t{group.block_tokens});
  return static_cast<int>(std::min<int64_t>(step, kUnbounded));
}

// Whole pages of every group, which may end beyond the longest sequence.
int64_t table_stride(const CacheLayout& layout, int max_len) {
  int64_t stride = 0;
  for (const CacheGroup& group : layout.groups) {
    stride = std::max(stride, round_up(max_len, group.block_tokens) / layout.kernel_block);
  }
  return stride;
}

// What stands for the pictures that tokens [begin, end) belong to: content, and where it lies. Their token
// ids are all alike, and say nothing.
std::vector<int> picture_words(const Sequence& sequence, int begin, int end) {
  std::vector<int> words;
  for (size_t i = 0; i < sequence.media.size(); ++i) {
    const Span span = sequence.media[i];
    if (span.hi <= begin || span.lo >= end) continue;
    for (const uint64_t half : {sequence.images[i].content.low, sequence.images[i].content.high}) {
      words.push_back(static_cast<int>(half >> 32));
      words.push_back(static_cast<int>(half & 0xffffffffU));
    }
    words.push_back(span.lo - begin);
    words.push_back(span.hi - begin);
  }
  return words;
}

int sink_blocks(const CacheGroup& group) {
  return static_cast<int>(div_up(group.kv.mask.sinks, group.block_tokens));
}

}  // namespace

Cache::Cache(CacheLayout layout, const CacheOptions& options)
    : layout_(std::move(layout)),
      pool_(layout_.page_bytes, options.pages, *options.device),
      tables_(static_cast<int>(layout_.groups.size()), table_stride(layout_, options.max_len),
              options.sequences, !options.device->is_host()),
      states_(options.states, options.sequences, options.prefix_caching ? options.snapshots : 0,
              *options.device),
      max_len_(options.max_len),
      prefix_caching_(options.prefix_caching),
      hash_block_(common_hash_block(layout_)),
      prefix_step_(common_prefix_step(layout_)),
      snapshot_grid_(
          static_cast<int>(std::min<int64_t>(std::lcm(int64_t{prefix_step_}, kStateGrid), kUnbounded))),
      snapshot_stride_(std::max(options.snapshot_stride / snapshot_grid_, 1) * snapshot_grid_),
      secret_(random_key()) {
  for (const CacheGroup& group : layout_.groups) {
    masks_.push_back(group.kv.mask);
    CHECK(layout_.page_bytes * options.pages / group.unit_bytes <= INT32_MAX,
          "block table entries are 32 bits wide");
  }
}

Hash128 Cache::salt_of(std::string_view text) const {
  return siphash(secret_, std::as_bytes(std::span(text)));
}

Hash128 Cache::content_of(const ImagePatches& patches) const {
  const Hash128 pixels = siphash(secret_, std::as_bytes(std::span(patches.bytes)));
  const std::array<uint64_t, 4> words = {pixels.low, pixels.high, static_cast<uint64_t>(patches.grid.columns),
                                         static_cast<uint64_t>(patches.grid.rows)};
  return siphash(secret_, std::as_bytes(std::span(words)));
}

void Cache::hash_up_to(Sequence& sequence, int blocks) const {
  static_assert(sizeof(int) == 4);
  while (static_cast<int>(sequence.prefixes.size()) < blocks) {
    const auto done = static_cast<int>(sequence.prefixes.size());
    const Hash128 before = done == 0 ? sequence.salt : sequence.prefixes.back();
    const std::span<const int> tokens(sequence.tokens.data() + int64_t{done} * hash_block_, hash_block_);
    // The hash so far is part of the key: a chain, so that equal blocks after unequal prefixes differ.
    const Hash128 key{secret_.low ^ before.low, secret_.high ^ before.high};
    const std::vector<int> pictures = picture_words(sequence, done * hash_block_, (done + 1) * hash_block_);
    if (pictures.empty()) {
      sequence.prefixes.push_back(siphash(key, std::as_bytes(tokens)));
      continue;
    }
    std::vector<int> words(tokens.begin(), tokens.end());
    words.insert(words.end(), pictures.begin(), pictures.end());
    sequence.prefixes.push_back(siphash(key, std::as_bytes(std::span<const int>(words))));
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
    const RowMask next = row_of(group.kv.mask, sequence.facts(), length);
    const int first = std::min(next.lo / group.block_tokens, blocks);
    if (blocks > first && runs[g][blocks - 1] < blocks - first) return false;
    const int sinks = std::min(static_cast<int>(div_up(next.sinks, group.block_tokens)), blocks);
    if (sinks > 0 && runs[g][sinks - 1] < sinks) return false;
  }
  return true;
}

int Cache::take_prefix(Sequence& sequence) {
  CHECK(sequence.computed == 0 && sequence.held.empty() && sequence.unknown == 0);
  const bool stateful = !states_.layout().empty();
  const int step = stateful ? snapshot_grid_ : prefix_step_;
  const int most = (static_cast<int>(sequence.tokens.size()) - 1) / step * step;
  sequence.answer_from = static_cast<int>(sequence.tokens.size());
  if (!prefix_caching_ || most <= 0) return 0;
  hash_up_to(sequence, most / hash_block_);
  if (stateful) sequence.wanted_snapshots = {most};
  std::vector<std::vector<int>> runs(layout_.groups.size());
  for (int g = 0; g < static_cast<int>(runs.size()); ++g) {
    const int blocks = most / layout_.groups[g].block_tokens;
    for (int b = 0; b < blocks; ++b) {
      const bool there = pool_.find(key_of(sequence, g, b)) >= 0;
      runs[g].push_back(there ? (b > 0 ? runs[g].back() : 0) + 1 : 0);
    }
  }
  const auto may_end = [&](int length) {
    const auto can = [&](const CacheGroup& group) {
      return can_cut(group.kv.mask, sequence.facts(), length);
    };
    return std::all_of(layout_.groups.begin(), layout_.groups.end(), can) &&
           prefix_is_there(sequence, length, runs);
  };
  int length = most;
  while (length > 0 && !may_end(length)) length -= step;
  // Here another prompt went on otherwise: the next that does finds a state.
  if (stateful && length > 0) sequence.wanted_snapshots.push_back(length);
  while (length > 0 && !(may_end(length) && may_resume(sequence, length))) length -= step;
  if (length <= 0 || !hold(sequence)) return 0;
  take_pages(sequence, length);
  if (stateful) states_.restore(prefix_at(sequence, length), sequence.state_slot);
  sequence.computed = length;
  update_next_key(sequence);
  return length;
}

// Shares the findable pages that a token at `length` or later can read.
void Cache::take_pages(Sequence& sequence, int length) {
  for (int g = 0; g < static_cast<int>(layout_.groups.size()); ++g) {
    const CacheGroup& group = layout_.groups[g];
    HeldPages& held = sequence.held[g];
    const int blocks = length / group.block_tokens;
    const int first =
        std::min(row_of(group.kv.mask, sequence.facts(), length).lo / group.block_tokens, blocks);
    held.pages.assign(blocks, -1);
    for (int b = 0; b < blocks; ++b) {
      if (b < first && b >= sink_blocks(group)) continue;
      set_page(sequence, g, b, pool_.find(key_of(sequence, g, b)));
      pool_.share(held.pages[b]);
    }
    held.freed = first;
    held.keyed = blocks;
  }
}

// False if there is no slot left for its state.
bool Cache::hold(Sequence& sequence) {
  if (sequence.table_row >= 0) return true;
  if (!states_.layout().empty()) {
    sequence.state_slot = states_.take();
    if (sequence.state_slot < 0) return false;
  }
  sequence.table_row = tables_.take();
  sequence.held.resize(layout_.groups.size());
  return true;
}

void Cache::set_page(Sequence& sequence, int group, int block, int page) {
  sequence.held[group].pages[block] = page;
  const CacheGroup& g = layout_.groups[group];
  const int per_page = g.block_tokens / layout_.kernel_block;
  for (int i = 0; i < per_page; ++i) {
    tables_.set(group, sequence.table_row, block * per_page + i, page < 0 ? -1 : entry(g, page, i));
  }
}

void Cache::trim(Sequence& sequence) {
  sequence.next_death = INT_MAX;
  for (int g = 0; g < static_cast<int>(layout_.groups.size()); ++g) {
    const CacheGroup& group = layout_.groups[g];
    HeldPages& held = sequence.held[g];
    const RowMask next = row_of(group.kv.mask, sequence.facts(), sequence.computed);
    const int dead = std::min(next.lo / group.block_tokens, static_cast<int>(held.pages.size()));
    for (int block = std::max(held.freed, sink_blocks(group)); block < dead; ++block) {
      if (held.pages[block] < 0) continue;
      pool_.give_back(held.pages[block]);
      set_page(sequence, g, block, -1);
    }
    held.freed = std::max(held.freed, dead);
    sequence.next_death = std::min(sequence.next_death, next_death_of(sequence, g));
  }
}

// No block of the group dies before `computed` is there. Interval bounds never decrease, so one look at a
// later row speaks for all rows before it.
int Cache::next_death_of(const Sequence& sequence, int group) const {
  const CacheGroup& g = layout_.groups[group];
  const auto lo = [&](int position) { return row_of(g.kv.mask, sequence.facts(), position).lo; };
  const int boundary = (sequence.held[group].freed + 1) * g.block_tokens;
  if (lo(max_len_) < boundary) return INT_MAX;
  const int later = sequence.computed + std::max(boundary - lo(sequence.computed) - 1, 0);  // as windows move
  return lo(later) < boundary ? later + 1 : sequence.computed + 1;
}

void Cache::update_room(Sequence& sequence) const {
  sequence.room = INT_MAX;
  for (size_t g = 0; g < layout_.groups.size(); ++g) {
    const auto blocks = static_cast<int>(sequence.held[g].pages.size());
    sequence.room = std::min(sequence.room, blocks * layout_.groups[g].block_tokens);
  }
}

void Cache::update_next_key(Sequence& sequence) const {
  sequence.next_key = INT_MAX;
  for (size_t g = 0; g < layout_.groups.size(); ++g) {
    sequence.next_key =
        std::min(sequence.next_key, (sequence.held[g].keyed + 1) * layout_.groups[g].block_tokens);
  }
}

void Cache::reserve(Sequence& sequence, int tokens) const {
  sequence.tokens.reserve(tokens);
  if (prefix_caching_) sequence.prefixes.reserve(tokens / hash_block_);
  for (size_t g = 0; g < sequence.held.size(); ++g) {
    sequence.held[g].pages.reserve(div_up(tokens, layout_.groups[g].block_tokens));
  }
}

int64_t Cache::lacking(const Sequence& sequence, int upto) const {
  int64_t pages = 0;
  for (size_t g = 0; g < layout_.groups.size(); ++g) {
    const int64_t blocks = div_up(upto, layout_.groups[g].block_tokens);
    const int64_t have = g < sequence.held.size() ? static_cast<int64_t>(sequence.held[g].pages.size()) : 0;
    pages += std::max<int64_t>(0, blocks - have);
  }
  return pages;
}

bool Cache::extend(Sequence& sequence, int upto) {
  if (upto <= sequence.room && sequence.computed < sequence.next_death) return true;
  CHECK(upto <= max_len_, upto, max_len_);
  if (!hold(sequence)) return false;
  if (sequence.computed >= sequence.next_death) trim(sequence);
  if (lacking(sequence, upto) > pool_.available_pages()) return false;
  for (int g = 0; g < static_cast<int>(layout_.groups.size()); ++g) {
    std::vector<int>& pages = sequence.held[g].pages;
    const auto blocks = static_cast<int>(div_up(upto, layout_.groups[g].block_tokens));
    while (static_cast<int>(pages.size()) < blocks) {
      pages.push_back(-1);
      set_page(sequence, g, static_cast<int>(pages.size()) - 1, pool_.take());
    }
  }
  update_room(sequence);
  return true;
}

void Cache::commit(Sequence& sequence) {
  const int length = std::min(sequence.computed, sequence.known());
  if (length < sequence.next_key || !prefix_caching_) return;
  for (int g = 0; g < static_cast<int>(layout_.groups.size()); ++g) {
    const int block_tokens = layout_.groups[g].block_tokens;
    HeldPages& held = sequence.held[g];
    const int complete = length / block_tokens;
    if (held.keyed < complete) hash_up_to(sequence, complete * block_tokens / hash_block_);
    for (; held.keyed < complete; ++held.keyed) {
      const int page = held.pages[held.keyed];
      if (page >= 0) pool_.set_key(page, key_of(sequence, g, held.keyed));
    }
  }
  update_next_key(sequence);
}

bool Cache::rewind(Sequence& sequence, int length) {
  CHECK(length >= 0 && length <= sequence.computed, length, sequence.computed);
  if (!states_.layout().empty() && length != sequence.computed) return false;  // a state cannot go back
  for (size_t g = 0; g < sequence.held.size(); ++g) {
    const CacheGroup& group = layout_.groups[g];
    const HeldPages& held = sequence.held[g];
    const int needed = row_of(group.kv.mask, sequence.facts(), length).lo / group.block_tokens;
    if (needed < held.freed) return false;
    // A findable page must keep its content: nothing may be written into it again.
    if (length % group.block_tokens != 0 && held.keyed > length / group.block_tokens) return false;
  }
  for (int g = 0; g < static_cast<int>(sequence.held.size()); ++g) {
    HeldPages& held = sequence.held[g];
    const int keep = static_cast<int>(div_up(length, layout_.groups[g].block_tokens));
    drop_pages(sequence, g, keep);
    held.keyed = std::min(held.keyed, length / layout_.groups[g].block_tokens);
  }
  sequence.room = sequence.next_death = sequence.next_key = 0;
  sequence.prefixes.resize(std::min<size_t>(sequence.prefixes.size(), length / hash_block_));
  sequence.computed = length;
  sequence.tokens.resize(length);
  while (!sequence.media.empty() && sequence.media.back().hi > length) {
    sequence.media.pop_back();
    sequence.images.pop_back();
  }
  return true;
}

// Last blocks first: the beginnings of prefixes are worth keeping longest.
void Cache::drop_pages(Sequence& sequence, int group, int keep) {
  std::vector<int>& pages = sequence.held[group].pages;
  while (static_cast<int>(pages.size()) > keep) {
    const int page = pages.back();
    set_page(sequence, group, static_cast<int>(pages.size()) - 1, -1);
    pages.pop_back();
    if (page >= 0) pool_.give_back(page);
  }
}

void Cache::release(Sequence& sequence) {
  drop_drafts(sequence);
  for (int g = 0; g < static_cast<int>(sequence.held.size()); ++g) drop_pages(sequence, g, 0);
  if (sequence.table_row >= 0) tables_.give_back(sequence.table_row);
  for (const PendingSnapshot& snapshot : sequence.snapshots) states_.drop_snapshot(snapshot.slot);
  if (sequence.state_slot >= 0) states_.give_back(sequence.state_slot);
  sequence.snapshots.clear();
  sequence.wanted_snapshots.clear();
  sequence.table_row = sequence.state_slot = -1;
  sequence.answer_from = sequence.last_snapshot = 0;
  sequence.held.clear();
  sequence.room = sequence.next_death = sequence.next_key = 0;
  sequence.computed = 0;
}

int32_t Cache::entry(const CacheGroup& group, int page, int kernel_block) const {
  const int64_t offset = page * layout_.page_bytes + kernel_block * group.token_bytes * layout_.kernel_block;
  return static_cast<int32_t>(offset / group.unit_bytes);
}

void Cache::place(const Sequence& sequence, int count, int row, std::vector<BatchGroup>& groups) const {
  place(sequence, {sequence.computed, sequence.computed + count}, sequence.facts(), masks_, row, groups);
}

void Cache::place(const Sequence& sequence, Span positions, const SeqFacts& facts,
                  std::span<const Mask> masks, int row, std::vector<BatchGroup>& groups) const {
  const int kb = layout_.kernel_block;
  CHECK(positions.hi <= sequence.room, positions.hi, sequence.room);
  for (int g = 0; g < static_cast<int>(groups.size()); ++g) {
    const int32_t* table = tables_.row(g, sequence.table_row);
    int64_t* slot = groups[g].slots.data() + row;
    for (int p = positions.lo; p < positions.hi; ++p) *slot++ = int64_t{table[p / kb]} * kb + p % kb;
    fill_rows(masks[g], facts, positions.lo, positions.hi - positions.lo, groups[g].rows.data() + row);
  }
}

void Cache::point_to_tables(std::vector<BatchGroup>& groups) const {
  for (int g = 0; g < static_cast<int>(groups.size()); ++g) {
    groups[g].table = tables_.of(g);
    groups[g].table_stride = tables_.stride();
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
        Tensor t(at, layout_.dtype, {units, group.kv.kv_heads, layout_.kernel_block, dim});
        t.stride[0] = group.unit_bytes / element;
        at += int64_t{group.kv.kv_heads} * layout_.kernel_block * dim * element;
        return t;
      };
      views[layer].kv.k = view(group.kv.k_dim);
      views[layer].kv.v =
          group.kv.v_in_k ? views[layer].kv.k.columns(0, group.kv.v_dim) : view(group.kv.v_dim);
      if (layout_.dtype == DType::kI8) {
        for (Tensor* t : {&views[layer].kv.k_scale, &views[layer].kv.v_scale}) {
          *t = Tensor(at, DType::kF32, {units, group.kv.kv_heads, layout_.kernel_block});
          t->stride[0] = group.unit_bytes / size_of(DType::kF32);
          at += int64_t{group.kv.kv_heads} * layout_.kernel_block * size_of(DType::kF32);
        }
      }
      views[layer].group = g;
    }
  }
  for (size_t layer = 0; layer < views.size(); ++layer) views[layer] = views[layout_.source_of_layer[layer]];
  return views;
}

void Cache::check(const std::vector<const Sequence*>& sequences) const {
  std::vector<int> holders(pool_.pages(), 0);
  int rows = 0;
  std::vector<int> slots;
  std::vector<int> under_way;
  for (const Sequence* sequence : sequences) {
    rows += sequence->table_row >= 0 ? 1 : 0;
    if (sequence->state_slot >= 0) slots.push_back(sequence->state_slot);
    slots.insert(slots.end(), sequence->draft_slots.begin(), sequence->draft_slots.end());
    for (const PendingSnapshot& snapshot : sequence->snapshots) under_way.push_back(snapshot.slot);
    for (int g = 0; g < static_cast<int>(sequence->held.size()); ++g) {
      const CacheGroup& group = layout_.groups[g];
      const int per_page = group.block_tokens / layout_.kernel_block;
      const int32_t* table = tables_.row(g, sequence->table_row);
      for (const int page : sequence->held[g].pages) {
        if (page >= 0) ++holders[page];
        for (int i = 0; i < per_page; ++i, ++table) {
          CHECK(*table == (page < 0 ? -1 : entry(group, page, i)), *table, page, i);
        }
      }
    }
  }
  CHECK(rows == tables_.taken(), rows, tables_.taken());
  for (int page = 0; page < pool_.pages(); ++page) {
    CHECK(holders[page] == pool_.holders(page), page, holders[page], pool_.holders(page));
  }
  pool_.check();
  states_.check(slots, under_way);
}

}  // namespace heed
