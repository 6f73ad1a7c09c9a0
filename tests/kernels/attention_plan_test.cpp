// The plan of the cuda attention kernels: every row is run once, over all keys that it sees, and the work is
// shared out evenly. No device is needed.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <map>

#include "attention/plan.h"
#include "tests/kernels/cases.h"

namespace heed {
namespace {

using namespace cases;

struct Batch {
  std::vector<RowMask> rows;
  std::vector<int32_t> seq_start = {0};
  void add(const Mask& mask, const SequenceCase& s, int empty_rows = 0) {
    const SeqFacts facts = {s.past + s.tokens, s.prefix, s.media.data(), static_cast<int>(s.media.size())};
    for (int i = 0; i < s.tokens; ++i) {
      rows.push_back(i < empty_rows ? RowMask{0, 0, 0} : row_of(mask, facts, s.past + i));
    }
    seq_start.push_back(seq_start.back() + s.tokens);
  }
};

Batch batch_of(const AttentionCase& c) {
  Batch batch;
  for (const SequenceCase& s : c.sequences) batch.add(c.mask, s, c.empty_rows);
  return batch;
}

bool visits(const AttentionUnit& unit, int key) {
  return key < unit.sink_hi || (unit.key_lo <= key && key < unit.key_hi);
}

// How often each (packed row of the batch, key) is visited.
using Visits = std::map<std::pair<int, int>, int>;

void expect_covers(const Batch& batch, const std::vector<AttentionUnit>& units, int group, Visits& visited) {
  for (const AttentionUnit& unit : units) {
    for (int r = unit.row; r < unit.row + unit.rows; ++r) {
      const RowMask& mask = batch.rows[unit.token + r / group];
      for (int key = 0; key < unit.key_hi; ++key) {
        if (visits(unit, key)) ++visited[{unit.token * group + r, key}];
        if (unit.full_lo <= key && key < unit.full_hi) {
          ASSERT_TRUE(sees(mask, key)) << "row " << r << ", key " << key;
        }
      }
    }
  }
}

TEST(AttentionPlan, every_visible_key_of_every_row_is_visited_once) {
  for (const AttentionCase& c : attention_cases()) {
    SCOPED_TRACE(c.name);
    const Batch batch = batch_of(c);
    for (const int tile : {0, 64, 128, 192}) {
      const int group = c.heads / c.kv_heads;
      const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {group, tile, tile / 4 + 1});
      Visits visited;
      expect_covers(batch, plan.short_units, group, visited);
      expect_covers(batch, plan.prefill_units, group, visited);
      for (size_t t = 0; t < batch.rows.size(); ++t) {
        for (int key = 0; key < batch.rows[t].hi; ++key) {
          if (!sees(batch.rows[t], key)) continue;
          for (int h = 0; h < group; ++h) {
            ASSERT_EQ((visited[{static_cast<int>(t) * group + h, key}]), 1)
                << "token " << t << ", key " << key;
          }
        }
      }
    }
  }
}

TEST(AttentionPlan, keys_that_no_row_of_a_unit_sees_are_not_visited) {
  for (const AttentionCase& c : attention_cases()) {
    SCOPED_TRACE(c.name);
    const Batch batch = batch_of(c);
    const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {1, 64});
    for (const auto* units : {&plan.short_units, &plan.prefill_units}) {
      for (const AttentionUnit& unit : *units) {
        for (int key = 0; key < unit.key_hi; ++key) {
          if (!visits(unit, key)) continue;
          bool seen = false;
          for (int r = unit.row; r < unit.row + unit.rows; ++r) seen |= sees(batch.rows[unit.token + r], key);
          ASSERT_TRUE(seen) << "key " << key;
        }
      }
    }
  }
}

// Of a short unit.
int first_part(const AttentionUnit& unit) { return unit.key_lo / unit.part; }
int parts_of(const AttentionUnit& unit) {
  return std::max((unit.key_hi + unit.part - 1) / unit.part - first_part(unit), 1);
}

TEST(AttentionPlan, each_slot_belongs_to_one_part_and_one_merge) {
  Batch batch;
  for (const int past : {0, 100, 511, 5000, 40000, 130000}) batch.add(causal(), {past, 3});
  for (const int bins : {1, 3, 33, 264}) {
    const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {4, 128, bins});
    std::vector<int> parts(static_cast<size_t>(plan.slots)), merged(static_cast<size_t>(plan.slots));
    for (const AttentionUnit& unit : plan.short_units) {
      if (unit.slot < 0) continue;
      for (int i = 0; i < parts_of(unit); ++i) ++parts[static_cast<size_t>(unit.slot + i)];
    }
    for (const AttentionMerge& merge : plan.merges) {
      EXPECT_GT(merge.slots, 1);
      for (int i = 0; i < merge.slots; ++i) ++merged[static_cast<size_t>(merge.slot + i)];
    }
    EXPECT_EQ(plan.slots > 0, bins > 1) << bins;
    EXPECT_EQ(parts, std::vector<int>(parts.size(), 1));
    EXPECT_EQ(merged, std::vector<int>(merged.size(), 1));
  }
}

// A merge waits for as many bins as say that they have parts of it, and their first or last unit has them.
TEST(AttentionPlan, each_merge_hears_of_all_its_parts) {
  Batch batch;
  for (const int past : {0, 100, 511, 5000, 40000, 130000}) batch.add(causal(), {past, 3});
  for (const int bins : {1, 3, 33, 264}) {
    const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {4, 128, bins});
    std::vector<int> units(plan.merges.size()), slots(plan.merges.size());
    for (size_t bin = 0; bin + 1 < plan.bins.size(); ++bin) {
      const auto [others, first_merge, last_merge] = plan.bins[bin];
      const int count = 1 + plan.bins[bin + 1].others - others;
      for (int i = 0; i < count; ++i) {
        const AttentionUnit& unit = plan.short_units[i == 0 ? bin : static_cast<size_t>(others + i - 1)];
        const int merge = i == 0 ? first_merge : i + 1 == count ? last_merge : -1;
        ASSERT_EQ(unit.slot >= 0, merge >= 0) << "bin " << bin << ", unit " << i;
        if (merge < 0) continue;
        ++units[static_cast<size_t>(merge)];
        slots[static_cast<size_t>(merge)] += parts_of(unit);
        EXPECT_LE(plan.merges[static_cast<size_t>(merge)].slot, unit.slot);
      }
    }
    for (size_t i = 0; i < plan.merges.size(); ++i) {
      EXPECT_EQ(plan.merges[i].units, units[i]) << bins << " bins, merge " << i;
      EXPECT_EQ(plan.merges[i].slots, slots[i]) << bins << " bins, merge " << i;
    }
  }
}

TEST(AttentionPlan, the_parts_of_a_sequence_do_not_depend_on_its_neighbours) {
  Batch alone, together;
  alone.add(causal(), {9000, 1});
  for (int i = 0; i < 50; ++i) together.add(causal(), {i * 997, 1});
  together.add(causal(), {9000, 1});
  // Where parts of a sequence begin, and its merges.
  const auto parts = [](const AttentionPlan& plan, int sequence) {
    std::vector<int> begins;
    for (const AttentionUnit& unit : plan.short_units) {
      if (unit.sequence != sequence) continue;
      begins.push_back(unit.key_lo);
      for (int i = 1; i < parts_of(unit); ++i) begins.push_back((first_part(unit) + i) * unit.part);
    }
    std::sort(begins.begin(), begins.end());
    return begins;
  };
  for (const int bins : {1, 33, 264}) {
    const AttentionPlan one = plan_attention(alone.rows, alone.seq_start, {4, 128, bins});
    const AttentionPlan many = plan_attention(together.rows, together.seq_start, {4, 128, bins});
    EXPECT_EQ(parts(many, 50), parts(one, 0)) << bins;
  }
}

TEST(AttentionPlan, many_sequences_are_not_cut) {
  Batch few, many;
  for (int i = 0; i < 8; ++i) few.add(causal(), {575, 1});
  for (int i = 0; i < 32; ++i) many.add(causal(), {575, 1});
  const AttentionPlan cut = plan_attention(few.rows, few.seq_start, {2, 128, 33});
  EXPECT_EQ(cut.merges.size(), 8U);
  EXPECT_EQ(cut.short_units.size(), 33U);  // of 40 parts
  const AttentionPlan whole = plan_attention(many.rows, many.seq_start, {2, 128, 33});
  EXPECT_EQ(whole.merges.size(), 0U);
  EXPECT_EQ(whole.slots, 0);
  EXPECT_EQ(whole.short_units.size(), 32U);
}

// The most keys of a bin over the mean.
double imbalance(const AttentionPlan& plan) {
  int64_t total = 0;
  int64_t most = 0;
  const size_t bins = plan.bins.size() - 1;
  for (size_t bin = 0; bin < bins; ++bin) {
    int64_t keys = 0;
    const auto add = [&](size_t i) { keys += plan.short_units[i].key_hi - plan.short_units[i].key_lo; };
    add(bin);
    for (int i = plan.bins[bin].others; i < plan.bins[bin + 1].others; ++i) add(static_cast<size_t>(i));
    total += keys;
    most = std::max(most, keys);
  }
  return static_cast<double>(most) * static_cast<double>(bins) / static_cast<double>(total);
}

TEST(AttentionPlan, few_tiles_have_blocks_of_their_own) {
  Batch batch;
  for (int i = 0; i < 3; ++i) batch.add(causal(), {4095, 1});
  const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {4, 128, 33});
  ASSERT_EQ(plan.bins.size() - 1, plan.short_units.size());
  std::vector<int> units(3);
  for (const AttentionUnit& unit : plan.short_units) ++units[static_cast<size_t>(unit.sequence)];
  EXPECT_EQ(units, std::vector<int>(3, 8));  // parts of 512 keys
  EXPECT_FALSE(plan.is_sparse());
  const AttentionPlan wide = plan_attention(batch.rows, batch.seq_start, {4, 128, 48});
  EXPECT_TRUE(wide.is_sparse());
}

TEST(AttentionPlan, blocks_get_nearly_equal_work_whatever_the_lengths) {
  constexpr int kBins = 33;
  Random random(3);
  Batch mixed, one;
  for (int i = 0; i < 128; ++i) mixed.add(causal(), {random.below(32768), 1});
  one.add(causal(), {131071, 1});
  for (int i = 0; i < 40; ++i) one.add(causal(), {random.below(1000), 1});
  const AttentionPlan decode = plan_attention(mixed.rows, mixed.seq_start, {4, 128, kBins});
  EXPECT_LT(imbalance(decode), 1.25);
  const AttentionPlan uneven = plan_attention(one.rows, one.seq_start, {4, 128, kBins});
  EXPECT_LT(imbalance(uneven), 1.25);
}

// The most work of a block over the mean where units are dealt out to whoever is free.
TEST(AttentionPlan, prefill_units_end_at_about_the_same_time) {
  constexpr int kBlocks = 132, kKvHeads = 8;
  Batch prefill;
  prefill.add(causal(), {0, 8192});
  const AttentionPlan whole = plan_attention(prefill.rows, prefill.seq_start, {4, 128});
  std::vector<int64_t> load(kBlocks);
  int64_t total = 0;
  for (const AttentionUnit& unit : whole.prefill_units) {
    for (int head = 0; head < kKvHeads; ++head) {
      *std::min_element(load.begin(), load.end()) += unit.key_hi - unit.key_lo;
      total += unit.key_hi - unit.key_lo;
    }
  }
  EXPECT_LT(
      static_cast<double>(*std::max_element(load.begin(), load.end())) * kBlocks / static_cast<double>(total),
      1.05);
}

TEST(AttentionPlan, long_sequences_are_dealt_out_one_after_the_other_from_their_ends) {
  Batch batch;
  batch.add(causal() & chunk(256, 1), {0, 500});
  batch.add(causal() & chunk(256, 1), {0, 2000});  // the longest units
  batch.add(causal() & chunk(256, 1), {0, 500});
  const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {1, 128});
  std::vector<std::pair<int, int>> order;
  for (const AttentionUnit& unit : plan.prefill_units) order.emplace_back(unit.sequence, unit.row / 128);
  std::vector<std::pair<int, int>> want;
  for (const auto& [sequence, tiles] : {std::pair{1, 16}, {0, 4}, {2, 4}}) {
    for (int i = tiles - 1; i >= 0; --i) want.emplace_back(sequence, i);
  }
  EXPECT_EQ(order, want);
}

TEST(AttentionPlan, most_slots_is_an_upper_bound) {
  for (const int length : {1, 17, 255, 257, 4000, 33000, 70000}) {
    for (const int group : {1, 4, 7, 64}) {
      Batch batch;
      for (int i = 0; i < 5; ++i) batch.add(causal(), {length - 1 - (i % 2) * (length / 2), 1});
      batch.add(causal(), {std::max(length - 9, 0), std::min(length, 9)});
      const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {group, 0, 264});
      const auto tokens = static_cast<int64_t>(batch.rows.size());
      EXPECT_LE(plan.slots, most_slots(tokens, 6, length, {group, 0})) << length << " keys, group " << group;
    }
  }
}

TEST(AttentionPlan, the_packed_form_holds_the_units) {
  Batch batch;
  batch.add(causal(), {0, 300});
  batch.add(causal(), {700, 1});
  const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {2, 128, 33});
  const char* bytes = reinterpret_cast<const char*>(plan.packed.data());
  AttentionPlanHeader header;
  std::memcpy(&header, bytes, sizeof(header));
  ASSERT_EQ(header.prefill_units, static_cast<int>(plan.prefill_units.size()));
  ASSERT_EQ(header.merges, 1);
  AttentionUnit unit;
  std::memcpy(&unit, bytes + header.prefill_offset + sizeof(unit), sizeof(unit));
  EXPECT_EQ(unit.row, plan.prefill_units[1].row);
  EXPECT_EQ(header.merge_offset + static_cast<int64_t>(sizeof(AttentionMerge)), plan.bytes());
}

}  // namespace
}  // namespace heed
