#include "attention/plan.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <functional>
#include <queue>
#include <utility>

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
  unit.last = rows[token].hi - 1;
  return unit;
}

template <class T>
int32_t append(std::vector<int32_t>& words, const std::vector<T>& items) {
  constexpr size_t kAlign = alignof(AttentionUnit) / sizeof(int32_t);
  words.resize((words.size() + kAlign - 1) / kAlign * kAlign);
  const size_t offset = words.size() * sizeof(int32_t);
  words.resize(words.size() + items.size() * sizeof(T) / sizeof(int32_t));
  if (!items.empty())
    std::memcpy(reinterpret_cast<char*>(words.data()) + offset, items.data(), items.size() * sizeof(T));
  return static_cast<int32_t>(offset);
}

void pack(AttentionPlan& plan) {
  plan.packed.assign(sizeof(AttentionPlanHeader) / sizeof(int32_t), 0);
  AttentionPlanHeader header = {};
  header.short_bins = static_cast<int32_t>(plan.bins.size()) - 1;
  header.prefill_units = static_cast<int32_t>(plan.prefill_units.size());
  header.merges = static_cast<int32_t>(plan.merges.size());
  append(plan.packed, plan.short_units);
  header.bins_offset = append(plan.packed, plan.bins);
  header.prefill_offset = append(plan.packed, plan.prefill_units);
  header.merge_offset = append(plan.packed, plan.merges);
  std::memcpy(plan.packed.data(), &header, sizeof(header));
}

constexpr int kUsualPart = 512;  // keys: a block of the kernel still fills its pipeline
constexpr int kFewParts = 8;     // of few keys, which take a block longer to wait for than to read

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
  if (tokens * shape.group > kMostCutRows) return 1;  // none, but a recording has room for some
  const int64_t each = tiles_of(tokens * shape.group);
  return slots_of(sequences * each, each, length, keys);
}

int64_t decode_plan_bytes(int64_t sequences, int64_t slots, const AttentionPlanShape& shape, int64_t tokens) {
  const int64_t tiles = sequences * tiles_of(tokens * shape.group);
  constexpr int64_t kBins = (kMostBins + 1 + 4) * int64_t{sizeof(AttentionBin)};
  return int64_t{sizeof(AttentionPlanHeader)} + kBins + (tiles + slots) * int64_t{sizeof(AttentionUnit)} +
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

// Rows of a short sequence with all their keys.
struct Tile {
  AttentionUnit unit;
  int first, parts;  // parts [first, first + parts)
};

Tile short_tile(AttentionUnit unit, bool cut) {
  unit.part = cut ? part_keys(visited(unit)) : kUnbounded;
  const int first = unit.key_lo / unit.part;
  return {unit, first, std::max((unit.key_hi + unit.part - 1) / unit.part - first, 1)};
}

constexpr int kPartCost = 32;  // of a part's end, in keys
int64_t cost_of(const Tile& tile) { return visited(tile.unit) + tile.parts * kPartCost; }

struct Dealt {
  std::vector<AttentionUnit> units;
  int first_merge = -1, last_merge = -1;
  void add(const AttentionUnit& unit, int merge) {
    if (units.empty()) first_merge = merge;
    last_merge = merge;
    units.push_back(unit);
  }
};
using Bins = std::vector<Dealt>;

// Whole tiles, the longest first, each to the bin that has least. False where one would have so much more
// than the mean that the device idles meanwhile: not a little more, for who runs beside fewer others runs
// faster.
bool deal_whole(const std::vector<Tile>& tiles, int64_t total, Bins& bins) {
  const double most = 1.25 * static_cast<double>(total) / static_cast<double>(bins.size());
  using Load = std::pair<int64_t, int>;
  std::priority_queue<Load, std::vector<Load>, std::greater<>> loads;
  for (int i = 0; i < static_cast<int>(bins.size()); ++i) loads.emplace(0, i);
  for (const Tile& tile : tiles) {
    auto [load, bin] = loads.top();
    loads.pop();
    load += cost_of(tile);
    if (static_cast<double>(load) > most) return false;
    bins[static_cast<size_t>(bin)].add(tile.unit, -1);
    loads.emplace(load, bin);
  }
  return true;
}

// Parts [first, first + count) of a tile as a unit of their own. The first takes the sinks.
AttentionUnit unit_of(const Tile& tile, int first, int count, int slot) {
  AttentionUnit unit = tile.unit;
  if (count == tile.parts) return unit;
  unit.key_lo = std::max(tile.unit.key_lo, first * unit.part);
  unit.key_hi = std::min(tile.unit.key_hi, (first + count) * unit.part);
  if (first > tile.first) unit.sink_hi = 0;
  unit.slot = slot + first - tile.first;
  return unit;
}

void add_merge(AttentionPlan& plan, const Tile& tile, int units) {
  plan.merges.push_back({.token = tile.unit.token,
                         .row = tile.unit.row,
                         .rows = tile.unit.rows,
                         .slot = plan.slots,
                         .slots = tile.parts,
                         .units = units});
  plan.slots += tile.parts;
}

// One tile behind the other, cut between parts wherever a bin has its share.
void deal_parts(AttentionPlan& plan, const std::vector<Tile>& tiles, int64_t total, Bins& bins) {
  int64_t dealt = 0;
  size_t bin = 0;
  for (const Tile& tile : tiles) {
    int begin = tile.first;
    int units = 0;
    const auto merge = static_cast<int>(plan.merges.size());
    const int end = tile.first + tile.parts;
    const auto put = [&](int upto) {
      if (upto == begin) return;
      bins[bin].add(unit_of(tile, begin, upto - begin, plan.slots), merge);
      begin = upto;
      ++units;
    };
    for (int part = tile.first; part < end; ++part) {
      const int64_t cost = visited(unit_of(tile, part, 1, 0)) + kPartCost;
      const int64_t share_end = total * static_cast<int64_t>(bin + 1) / std::ssize(bins);
      if (bin + 1 < bins.size() && dealt + cost / 2 > share_end) {
        put(part);
        ++bin;
      }
      dealt += cost;
    }
    if (begin == tile.first) {
      bins[bin].add(tile.unit, -1);
      continue;
    }
    put(end);
    add_merge(plan, tile, units);
  }
}

// Each tile in bins of its own, the more the more parts it has, so that a block has one tile at most. False
// where parts in a line leave the device idle for less time.
bool deal_apart(AttentionPlan& plan, const std::vector<Tile>& tiles, int64_t total, Bins& bins) {
  if (tiles.size() > bins.size()) return false;
  const auto each = [](int parts, int shares) { return (parts + shares - 1) / shares; };
  std::vector<int> shares(tiles.size(), 1);
  using Load = std::pair<int64_t, size_t>;  // of the tile's bin that has most
  std::priority_queue<Load> loads;
  const auto load_of = [&](size_t t) {
    return cost_of(tiles[t]) / tiles[t].parts * each(tiles[t].parts, shares[t]);
  };
  for (size_t t = 0; t < tiles.size(); ++t) loads.emplace(load_of(t), t);
  for (size_t left = bins.size() - tiles.size(); left > 0; --left) {
    const size_t t = loads.top().second;
    if (shares[t] == tiles[t].parts) break;
    loads.pop();
    ++shares[t];
    loads.emplace(load_of(t), t);
  }
  const Tile& longest = tiles[0];
  if (loads.top().first > total / std::ssize(bins) * 9 / 8 + cost_of(longest) / longest.parts) return false;
  size_t bin = 0;
  for (size_t t = 0; t < tiles.size(); ++t) {
    const Tile& tile = tiles[t];
    const int merge = shares[t] > 1 ? static_cast<int>(plan.merges.size()) : -1;
    for (int i = 0; i < shares[t]; ++i) {
      const int begin = tile.parts * i / shares[t], end = tile.parts * (i + 1) / shares[t];
      bins[bin++].add(unit_of(tile, tile.first + begin, end - begin, plan.slots), merge);
    }
    if (merge >= 0) add_merge(plan, tile, shares[t]);
  }
  return true;
}

void deal(AttentionPlan& plan, std::vector<Tile>& tiles) {
  const auto longer = [](const Tile& a, const Tile& b) { return visited(a.unit) > visited(b.unit); };
  std::stable_sort(tiles.begin(), tiles.end(), longer);
  int64_t total = 0, parts = 0;
  for (const Tile& tile : tiles) {
    total += cost_of(tile);
    parts += tile.parts;
  }
  const auto count = static_cast<int>(std::min<int64_t>(plan.shape.bins, parts));
  Bins bins(static_cast<size_t>(count));
  if (!deal_whole(tiles, total, bins)) {
    bins.assign(static_cast<size_t>(count), {});
    if (!deal_apart(plan, tiles, total, bins)) deal_parts(plan, tiles, total, bins);
  }
  std::erase_if(bins, [](const Dealt& bin) { return bin.units.empty(); });
  for (const Dealt& bin : bins) plan.short_units.push_back(bin.units[0]);
  for (const Dealt& bin : bins) {
    plan.bins.push_back({static_cast<int32_t>(plan.short_units.size()), bin.first_merge, bin.last_merge});
    plan.short_units.insert(plan.short_units.end(), bin.units.begin() + 1, bin.units.end());
  }
  plan.bins.push_back({static_cast<int32_t>(plan.short_units.size()), -1, -1});
}

}  // namespace

AttentionPlan plan_attention(std::span<const RowMask> rows, std::span<const int32_t> seq_start,
                             const AttentionPlanShape& shape) {
  CHECK(shape.group > 0 && !seq_start.empty(), shape.group);
  CHECK(0 < shape.bins && shape.bins <= kMostBins, shape.bins);
  AttentionPlan plan;
  plan.shape = shape;
  std::vector<Tile> tiles;
  for (int s = 0; s + 1 < static_cast<int>(seq_start.size()); ++s) {
    const int token = seq_start[s];
    const int count = (seq_start[s + 1] - token) * shape.group;
    const bool is_small = is_short(count, shape);
    const int tile = is_small ? kShortTile : shape.prefill_tile;
    for (int row = 0; row < count; row += tile) {
      const AttentionUnit unit = tile_of(rows, s, token, row, std::min(tile, count - row), shape.group);
      if (is_small) {
        tiles.push_back(short_tile(unit, count <= kMostCutRows));
        plan.most_rows = std::max(plan.most_rows, unit.rows);
      } else {
        plan.prefill_units.push_back(unit);
      }
    }
  }
  deal(plan, tiles);
  in_order_of_keys(plan.prefill_units);
  pack(plan);
  return plan;
}

}  // namespace heed
