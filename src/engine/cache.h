// The paged cache: which pages each sequence holds, by asking the masks what is still needed.
//
// Prefix caching: a page whose tokens are all computed gets a key, the keyed hash of every token up to its
// end and of the sequence's salt. A new sequence takes over the longest prefix whose pages are still there;
// of a group whose mask no longer sees far back only the pages that the next token can read are needed.
//
// Recurrent layers keep their state in a slot. There a prefix can be gone on from only where a snapshot of
// the state was made: at every `snapshot_stride` tokens, where a prompt ends, where one leaves another that
// was cached, and behind the newest tokens of an answer; always at a multiple of snapshot_grid().
// docs/cache.md.
#pragma once
#include <memory>
#include <span>
#include <vector>

#include "attention/cache_spec.h"
#include "base/result.h"
#include "engine/block_pool.h"
#include "engine/block_tables.h"
#include "engine/sequence.h"
#include "engine/state_pool.h"
#include "model/batch.h"
#include "model/forward.h"

namespace heed {

struct CacheOptions {
  int pages = 0;
  int max_len = 0;    // longest sequence
  int sequences = 1;  // holding pages at a time; room for more is made when it is needed
  bool prefix_caching = false;
  StateLayout states = {};          // of recurrent layers
  int snapshots = 0;                // most there are at a time
  int snapshot_stride = 512;        // tokens
  Device* device = &host_device();  // whose memory pages and states lie in
};

class Cache {
 public:
  Cache(CacheLayout layout, const CacheOptions& options);

  // For a sequence without pages: takes over the longest prefix there is of all its tokens but the last, and
  // counts it as computed. Returns its length.
  int take_prefix(Sequence& sequence);
  // Frees what no token from `sequence.computed` on will read, then takes pages for positions below `upto`,
  // at most max_len. False, with nothing taken, if pages are lacking.
  bool extend(Sequence& sequence, int upto);
  // Memory for the lists of a sequence that holds pages, so that they need not grow up to so many tokens.
  void reserve(Sequence& sequence, int tokens) const;
  // Pages that extend() would take.
  int64_t lacking(const Sequence& sequence, int upto) const;
  // Makes pages findable whose tokens have all been computed and are known. Call after a step.
  void commit(Sequence& sequence);
  // Forgets all but the first `length` tokens. False, with nothing done, if what would be read again has been
  // freed.
  bool rewind(Sequence& sequence, int length);
  void release(Sequence& sequence);
  // No prefix computed so far is found again.
  void forget() {
    pool_.forget();
    states_.forget_all();
  }
  // Snapshots to make while the tokens [computed, computed + count) of a sequence run as rows from `row` on:
  // slots for them, in `saves`. finish_snapshots() when they have.
  void begin_snapshots(Sequence& sequence, int count, int row, std::vector<StateSave>& saves);
  void finish_snapshots(Sequence& sequence);
  // Whether such a step may make a snapshot, so that all its tokens have to be known.
  bool may_snapshot(const Sequence& sequence, int count) const;

  // Guesses at the end of a sequence. hold_drafts: takes what is needed to undo `count` of them (a slot each
  // for recurrent state); how many can be undone. begin_drafts: has the state before each of those that run
  // saved, the first at `row`. settle_drafts: of `run` guesses the first `kept` were right; `computed` and
  // the tokens are the caller's to set. drop_drafts: forgets guesses that have not run.
  int hold_drafts(Sequence& sequence, int count);
  void begin_drafts(const Sequence& sequence, int guesses, int row, std::vector<StateSave>& saves) const;
  void settle_drafts(Sequence& sequence, int run, int kept);
  void drop_drafts(Sequence& sequence);
  int snapshot_grid() const { return snapshot_grid_; }

  // The groups' part of a batch for tokens [computed, computed + count) of a sequence: slots and rows from
  // `row` on.
  void place(const Sequence& sequence, int count, int row, std::vector<BatchGroup>& groups) const;
  // The same for other positions and masks, one for each group: what a guess sees.
  void place(const Sequence& sequence, Span positions, const SeqFacts& facts, std::span<const Mask> masks,
             int row, std::vector<BatchGroup>& groups) const;
  // Has every group of the batch read the block tables; Sequence::table_row says which row is whose.
  void point_to_tables(std::vector<BatchGroup>& groups) const;
  BlockTables& tables() { return tables_; }

  // Views of the memory, per model layer.
  std::vector<LayerCache> layers() const;

  const CacheLayout& layout() const { return layout_; }
  int max_len() const { return max_len_; }
  const BlockPool& pool() const { return pool_; }
  const StatePool& states() const { return states_; }
  Hash128 salt_of(std::string_view text) const;
  // A picture's pixels and shape.
  Hash128 content_of(const ImagePatches& patches) const;
  // Every page has as many holders as the sequences say, and their block tables name these pages. `sequences`
  // are all that hold any. Aborts if not.
  void check(const std::vector<const Sequence*>& sequences) const;

 private:
  int32_t entry(const CacheGroup& group, int page, int kernel_block) const;
  bool hold(Sequence& sequence);
  bool may_resume(const Sequence& sequence, int length) const;
  Hash128 prefix_at(const Sequence& sequence, int length) const {
    return sequence.prefixes[length / hash_block_ - 1];
  }
  bool wants_snapshot(const Sequence& sequence, int length, int last) const;
  void take_pages(Sequence& sequence, int length);
  void set_page(Sequence& sequence, int group, int block, int page);
  void drop_pages(Sequence& sequence, int group, int keep);
  void trim(Sequence& sequence);
  int next_death_of(const Sequence& sequence, int group) const;
  void update_room(Sequence& sequence) const;
  void update_next_key(Sequence& sequence) const;
  void hash_up_to(Sequence& sequence, int blocks) const;
  PageKey key_of(const Sequence& sequence, int group, int block) const;
  bool prefix_is_there(const Sequence& sequence, int length, const std::vector<std::vector<int>>& runs) const;

  CacheLayout layout_;
  std::vector<Mask> masks_;  // of the groups
  BlockPool pool_;
  BlockTables tables_;
  StatePool states_;
  int max_len_;
  bool prefix_caching_;
  int hash_block_ = 1;   // tokens; divides every group's block_tokens
  int prefix_step_ = 1;  // a multiple of every group's block_tokens: prefixes end on one
  int snapshot_grid_ = 1, snapshot_stride_ = 1;
  Hash128 secret_;  // random, so that nobody can make two prefixes collide
};

}  // namespace heed
