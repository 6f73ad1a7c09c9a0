// The paged cache: which pages each sequence holds, by asking the masks what is still needed.
#pragma once
#include <vector>

#include "attention/cache_spec.h"
#include "base/result.h"
#include "engine/block_pool.h"
#include "engine/sequence.h"
#include "model/batch.h"
#include "model/forward.h"

namespace heed {

class Cache {
 public:
  Cache(CacheLayout layout, int pages);

  // Frees what no token from `sequence.computed` on will read, then takes pages for positions below `upto`.
  // False, with nothing taken, if pages are lacking.
  bool extend(Sequence& sequence, int upto);
  // Forgets all but the first `length` tokens. False, with nothing done, if what would be read again has been
  // freed.
  bool rewind(Sequence& sequence, int length);
  void release(Sequence& sequence);

  // The group's part of a batch for tokens [computed, computed + count) of a sequence, appended; `index` is
  // the sequence's place in the batch.
  void append(const Sequence& sequence, int index, int count, std::vector<BatchGroup>& groups) const;

  // Views of the memory, per model layer.
  std::vector<LayerCache> layers() const;

  const CacheLayout& layout() const { return layout_; }
  const BlockPool& pool() const { return pool_; }
  // Every page is free or held by exactly one of the sequences, once. Aborts if not.
  void check(const std::vector<const Sequence*>& sequences) const;

 private:
  int32_t entry(const CacheGroup& group, int page, int kernel_block) const;
  void trim(Sequence& sequence);

  CacheLayout layout_;
  BlockPool pool_;
};

}  // namespace heed
