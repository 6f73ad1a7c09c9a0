// What attention kernels of an accelerator are to run, decided on the host from the rows of a batch.
// A plan is made once a step for each mask and ratio of heads to kv heads, and serves all layers with both.
//
// Rows are packed: row r of a sequence is its token r / group with head r % group of a kv head, group being
// heads / kv_heads. So a key is read once for all heads that share it. A unit is up to `tile` rows of a
// sequence with a range of keys; every kv head runs every unit.
//
//   keys      0 ...... sink_hi ......... key_lo ........ full_lo ........ full_hi ........ key_hi
//   visited   [ tested )                 [ tested       )[ no test       )[ tested         )
//
// Short sequences (few rows: decoding, drafts) have their keys in parts, whose results are merged in their
// order. The size of a part depends on the sequence alone, so neighbours in the batch change no bit of a
// result. They do decide who merges: a unit with all parts of its rows does so itself; where such units would
// leave some of the device idle, sequences are cut into units of some parts each, and who comes last merges
// their results.
#pragma once
#include <cstdint>
#include <iterator>
#include <span>
#include <vector>

#include "attention/rows.h"

namespace heed {

struct alignas(16) AttentionUnit {
  int32_t sequence;
  int32_t token;             // the sequence's first in the call
  int32_t row, rows;         // of the sequence: [row, row + rows)
  int32_t key_lo, key_hi;    // keys that some row sees
  int32_t full_lo, full_hi;  // keys that every row sees; empty: lo >= hi
  int32_t sink_hi;           // keys [0, sink_hi) are visited besides; at most key_lo
  int32_t slot;  // where its first part's result goes, and so on; -1: it has all parts of its rows
  int32_t part;  // keys of a part: parts begin at multiples of it
  int32_t last;  // of the keys that its first row sees
};
static_assert(sizeof(AttentionUnit) == 48);

// The rows of a tile, and its partial results: slots [slot, slot + slots), merged in that order.
struct AttentionMerge {
  int32_t token, row, rows;
  int32_t slot, slots;
  int32_t units;  // that have its parts
  int32_t unused[2];
};
static_assert(sizeof(AttentionMerge) == 32);

// Bin i has the i-th short unit and those from its `others` up to that of the next bin. Its first unit may go
// on with a tile and its last leave one to the next bin: the merges of these, or -1.
struct AttentionBin {
  int32_t others, first_merge, last_merge;
};

// As the device sees it: this, then right behind it the short units, and the rest at its offset, in bytes.
struct alignas(16) AttentionPlanHeader {
  int32_t short_bins, bins_offset;
  int32_t prefill_units, prefill_offset;
  int32_t merges, merge_offset;
  int32_t dealt, blocks_done;  // counted by the kernel for long sequences as it runs; 0 before and after
};

inline constexpr int kShortTile = 16;  // rows of a unit of short sequences
// Sequences of more rows in a call are not cut into parts: they have tiles enough to keep the device busy.
inline constexpr int kMostCutRows = 512;
inline constexpr int kMostBins = 1024;

struct AttentionPlanShape {
  int group = 1;         // heads / kv_heads
  int prefill_tile = 0;  // rows of a unit of long sequences; 0: no kernel for them, all are short
  int bins = 1;          // of short units, that the device runs at the same time for each kv head
  bool operator==(const AttentionPlanShape&) const = default;
};

struct AttentionPlan {
  std::vector<AttentionUnit> short_units;    // the first of each bin, then the others bin by bin
  std::vector<AttentionBin> bins;            // and one behind the last
  std::vector<AttentionUnit> prefill_units;  // to be dealt out in this order
  std::vector<AttentionMerge> merges;
  int slots = 0;
  int most_rows = 0;  // of a short unit
  // Launches do not depend on what the plan holds, so that they may be recorded: then partial results have
  // room for so many slots. 0: they do.
  int recorded_slots = 0;
  // Of those: whether keys before the last that a sequence's first row sees are in the cache from earlier
  // steps, so that kernels may read them before the step's other kernels have ended.
  bool reads_ahead = true;

  AttentionPlanShape shape;
  std::vector<int32_t> packed;   // header, units, bins, merges, to be copied to the device in one piece
  const void* device = nullptr;  // where that is; set by whoever copied it
  // Whether half as many blocks at a time as the device could run are enough for the short units.
  bool is_sparse() const { return 2 * (std::ssize(bins) - 1) <= shape.bins; }
  int64_t bytes() const { return static_cast<int64_t>(packed.size() * sizeof(int32_t)); }
};

// rows: one for each token; seq_start: [sequences + 1], as in AttentionArgs but in host memory.
AttentionPlan plan_attention(std::span<const RowMask> rows, std::span<const int32_t> seq_start,
                             const AttentionPlanShape& shape);

// Keys of a part of a short tile that visits `keys` keys.
int part_keys(int keys);

// Most slots that a batch of so many tokens and sequences can take, of at most `length` keys each and of at
// most `keys` together.
int64_t most_slots(int64_t tokens, int64_t sequences, int64_t length, const AttentionPlanShape& shape,
                   int64_t keys = INT64_MAX);
// The same where every sequence has so many `tokens`; and bytes of such a plan.
int64_t most_decode_slots(int64_t sequences, int64_t length, const AttentionPlanShape& shape, int64_t keys,
                          int64_t tokens = 1);
int64_t decode_plan_bytes(int64_t sequences, int64_t slots, const AttentionPlanShape& shape,
                          int64_t tokens = 1);

}  // namespace heed
