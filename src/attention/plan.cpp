#include "attention/plan.h"

#include <algorithm>
#include <climits>
#include <cstring>

#include "base/check.h"

namespace heed {
namespace {

// The prefill kernel takes a sequence once its rows fill most of a tile; below that the parts of the short
// kernel keep more of the device busy.
bool is_short(int rows, const AttentionPlanShape& shape) {
  return shape.prefill_tile == 0 || rows < shape.prefill_tile / 2;
}

int visited(const AttentionUnit& unit) { return unit.key_hi - unit.key_lo + unit.sink_hi; }

// A unit with the keys of rows [row, row + count) of a sequence.
AttentionUnit tile_of(std::span<const RowMask> rows, int sequence, int token, int row, int count, int group) {
  AttentionUnit unit = {.sequence = sequence, .token = token, .row = row, .rows = count};
  int lo = INT_MAX;
  unit.full_hi = INT_MAX;
  for (int t = token + row / group; t <= token + (row + count - 1) / group; ++t) {
    const RowMask& mask = rows[t];
    unit.sink_hi = std::max(unit.sink_hi, mask.sinks);
    unit.full_lo = std::max(unit.full_lo, mask.lo);
    unit.full_hi = std::min(unit.full_hi, mask.hi);
    if (mask.lo >= mask.hi) continue;
    lo = std::min(lo, mask.lo);
    unit.key_hi = std::max(unit.key_hi, mask.hi);
  }
  unit.key_lo = std::min(lo, unit.key_hi);
  if (unit.key_hi == 0) unit.key_lo = unit.key_hi = unit.sink_hi;  // sinks alone
  unit.sink_hi = std::min(unit.sink_hi, unit.key_lo);
  unit.slot = -1;
  return unit;
}

// The parts of a tile, cut at multiples of the part's size. The first takes the sinks.
void split(AttentionPlan& plan, const AttentionUnit& tile) {
  const int part = part_keys(visited(tile));
  const int first = tile.key_lo / part;
  const int last = std::max((tile.key_hi + part - 1) / part, first + 1);
  if (last - first == 1) {
    plan.short_units.push_back(tile);
    return;
  }
  plan.merges.push_back(
      {.token = tile.token, .row = tile.row, .rows = tile.rows, .slot = plan.slots, .slots = last - first});
  for (int i = first; i < last; ++i) {
    AttentionUnit unit = tile;
    unit.key_lo = std::max(tile.key_lo, i * part);
    unit.key_hi = std::min(tile.key_hi, (i + 1) * part);
    if (i > first) unit.sink_hi = 0;
    unit.slot = plan.slots++;
    plan.short_units.push_back(unit);
  }
}

template <class T>
int32_t append(std::vector<int32_t>& words, const std::vector<T>& items) {
  const size_t offset = words.size() * sizeof(int32_t);
  words.resize(words.size() + items.size() * sizeof(T) / sizeof(int32_t));
  if (!items.empty())
    std::memcpy(reinterpret_cast<char*>(words.data()) + offset, items.data(), items.size() * sizeof(T));
  return static_cast<int32_t>(offset);
}

void pack(AttentionPlan& plan) {
  plan.packed.assign(sizeof(AttentionPlanHeader) / sizeof(int32_t), 0);
  AttentionPlanHeader header = {};
  header.short_units = static_cast<int32_t>(plan.short_units.size());
  header.prefill_units = static_cast<int32_t>(plan.prefill_units.size());
  header.merges = static_cast<int32_t>(plan.merges.size());
  header.short_offset = append(plan.packed, plan.short_units);
  header.prefill_offset = append(plan.packed, plan.prefill_units);
  header.merge_offset = append(plan.packed, plan.merges);
  std::memcpy(plan.packed.data(), &header, sizeof(header));
}

}  // namespace

namespace {

constexpr int kUsualPart = 512;  // keys: a block of the kernel still fills its pipeline
constexpr int kFewParts = 4;     // of few keys, which take a block longer to wait for than to read

}  // namespace

int part_keys(int keys) {
  constexpr int kLeast = 128;
  constexpr int kMost = 1024;
  constexpr int kParts = 64;  // enough for every multiprocessor when one sequence runs alone
  int part = kLeast;
  while (part < kUsualPart && part * kFewParts < keys) part *= 2;
  while (part < kMost && part * kParts < keys) part *= 2;
  return part;
}

namespace {

int64_t tiles_of(int64_t rows) { return (rows + kShortTile - 1) / kShortTile; }

// Of one tile that visits up to `length` keys. Not monotone in the length, because parts grow.
int64_t most_parts(int64_t length) {
  int64_t parts = 0;
  for (int64_t keys = 1; keys < 2 * length; keys *= 2) {
    const int64_t most = std::min(keys, length);
    parts = std::max(parts, most / part_keys(static_cast<int>(std::min<int64_t>(most, INT_MAX))) + 2);
  }
  return parts;
}

// Of `tiles` tiles, `each` of a sequence at most.
int64_t slots_of(int64_t tiles, int64_t each, int64_t length, int64_t keys) {
  return std::min(tiles * most_parts(length), (kFewParts + 2) * tiles + each * (keys / kUsualPart + 1));
}

}  // namespace

int64_t most_slots(int64_t tokens, int64_t sequences, int64_t length, const AttentionPlanShape& shape,
                   int64_t keys) {
  const int64_t most_rows = shape.prefill_tile > 0 ? shape.prefill_tile / 2 : kMostCutRows;
  const int64_t each = tiles_of(std::max<int64_t>(std::min<int64_t>(most_rows, kMostCutRows), shape.group));
  const int64_t tiles = std::min(tokens * shape.group / kShortTile + sequences, sequences * each);
  return slots_of(tiles, each, length, keys);
}

int64_t most_decode_slots(int64_t sequences, int64_t length, const AttentionPlanShape& shape, int64_t keys,
                          int64_t tokens) {
  const int64_t each = tiles_of(tokens * shape.group);
  return slots_of(sequences * each, each, length, keys);
}

int64_t decode_plan_bytes(int64_t sequences, int64_t slots, const AttentionPlanShape& shape, int64_t tokens) {
  const int64_t tiles = sequences * tiles_of(tokens * shape.group);
  return int64_t{sizeof(AttentionPlanHeader)} + (tiles + slots) * int64_t{sizeof(AttentionUnit)} +
         tiles * int64_t{sizeof(AttentionMerge)};
}

namespace {

// Sequences of the longest units first, and each sequence from its end: units that run at the same time then
// read the same keys, and where early rows see less, the last to be dealt out are short.
void in_order_of_keys(std::vector<AttentionUnit>& units) {
  std::vector<int> longest;  // unit of a sequence
  for (const AttentionUnit& unit : units) {
    longest.resize(std::max(longest.size(), static_cast<size_t>(unit.sequence) + 1));
    int& most = longest[static_cast<size_t>(unit.sequence)];
    most = std::max(most, visited(unit));
  }
  std::sort(units.begin(), units.end(), [&](const AttentionUnit& a, const AttentionUnit& b) {
    const int of_a = longest[static_cast<size_t>(a.sequence)];
    const int of_b = longest[static_cast<size_t>(b.sequence)];
    if (of_a != of_b) return of_a > of_b;
    return a.sequence != b.sequence ? a.sequence < b.sequence : a.row > b.row;
  });
}

}  // namespace

AttentionPlan plan_attention(std::span<const RowMask> rows, std::span<const int32_t> seq_start,
                             const AttentionPlanShape& shape) {
  CHECK(shape.group > 0 && !seq_start.empty(), shape.group);
  AttentionPlan plan;
  plan.shape = shape;
  for (int s = 0; s + 1 < static_cast<int>(seq_start.size()); ++s) {
    const int token = seq_start[s];
    const int count = (seq_start[s + 1] - token) * shape.group;
    const bool is_small = is_short(count, shape);
    const int tile = is_small ? kShortTile : shape.prefill_tile;
    for (int row = 0; row < count; row += tile) {
      const AttentionUnit unit = tile_of(rows, s, token, row, std::min(tile, count - row), shape.group);
      if (is_small && count <= kMostCutRows) {
        split(plan, unit);
      } else if (is_small) {
        plan.short_units.push_back(unit);
      } else {
        plan.prefill_units.push_back(unit);
      }
    }
  }
  const auto longer = [](const AttentionUnit& a, const AttentionUnit& b) { return visited(a) > visited(b); };
  std::stable_sort(plan.short_units.begin(), plan.short_units.end(), longer);
  in_order_of_keys(plan.prefill_units);
  pack(plan);
  return plan;
}

}  // namespace heed
