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
      const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {group, tile});
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

TEST(AttentionPlan, each_slot_belongs_to_one_part_and_one_merge) {
  Batch batch;
  for (const int past : {0, 100, 511, 5000, 40000, 130000}) batch.add(causal(), {past, 3});
  const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {4, 128});
  std::vector<int> parts(static_cast<size_t>(plan.slots)), merged(static_cast<size_t>(plan.slots));
  for (const AttentionUnit& unit : plan.short_units) {
    if (unit.slot >= 0) ++parts[static_cast<size_t>(unit.slot)];
  }
  for (const AttentionMerge& merge : plan.merges) {
    EXPECT_GT(merge.slots, 1);
    for (int i = 0; i < merge.slots; ++i) ++merged[static_cast<size_t>(merge.slot + i)];
  }
  EXPECT_GT(plan.slots, 0);
  EXPECT_EQ(parts, std::vector<int>(parts.size(), 1));
  EXPECT_EQ(merged, std::vector<int>(merged.size(), 1));
}

TEST(AttentionPlan, the_parts_of_a_sequence_do_not_depend_on_its_neighbours) {
  Batch alone, together;
  alone.add(causal(), {9000, 1});
  for (int i = 0; i < 50; ++i) together.add(causal(), {i * 997, 1});
  together.add(causal(), {9000, 1});
  const AttentionPlan one = plan_attention(alone.rows, alone.seq_start, {4, 128});
  const AttentionPlan many = plan_attention(together.rows, together.seq_start, {4, 128});
  std::vector<std::pair<int, int>> want, got;
  for (const AttentionUnit& unit : one.short_units) want.emplace_back(unit.key_lo, unit.key_hi);
  for (const AttentionUnit& unit : many.short_units) {
    if (unit.sequence == 50) got.emplace_back(unit.key_lo, unit.key_hi);
  }
  std::sort(want.begin(), want.end());
  std::sort(got.begin(), got.end());
  EXPECT_EQ(got, want);
}

// The most work of a block over the mean, as kernels deal the units out.
double imbalance(const std::vector<AttentionUnit>& units, int kv_heads, int blocks) {
  std::vector<int64_t> load(static_cast<size_t>(blocks));
  const int work = static_cast<int>(units.size()) * kv_heads;
  int64_t total = 0;
  for (int i = 0; i < work; ++i) {
    const AttentionUnit& unit = units[static_cast<size_t>(i / kv_heads)];
    const int round = i / blocks;
    const int block = round % 2 == 0 ? i % blocks : blocks - 1 - i % blocks;
    load[static_cast<size_t>(block)] += unit.key_hi - unit.key_lo;
    total += unit.key_hi - unit.key_lo;
  }
  return static_cast<double>(*std::max_element(load.begin(), load.end())) * blocks /
         static_cast<double>(total);
}

TEST(AttentionPlan, blocks_get_nearly_equal_work_whatever_the_lengths) {
  constexpr int kSms = 132;
  Random random(3);
  Batch mixed, prefill;
  for (int i = 0; i < 128; ++i) mixed.add(causal(), {random.below(32768), 1});
  prefill.add(causal(), {0, 8192});
  const AttentionPlan decode = plan_attention(mixed.rows, mixed.seq_start, {4, 128});
  EXPECT_LT(imbalance(decode.short_units, 8, 2 * kSms), 1.02);
  const AttentionPlan whole = plan_attention(prefill.rows, prefill.seq_start, {4, 128});
  EXPECT_LT(imbalance(whole.prefill_units, 8, kSms), 1.05);
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
      const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {group, 0});
      const auto tokens = static_cast<int64_t>(batch.rows.size());
      EXPECT_LE(plan.slots, most_slots(tokens, 6, length, {group, 0})) << length << " keys, group " << group;
    }
  }
}

TEST(AttentionPlan, the_packed_form_holds_the_units) {
  Batch batch;
  batch.add(causal(), {0, 300});
  batch.add(causal(), {700, 1});
  const AttentionPlan plan = plan_attention(batch.rows, batch.seq_start, {2, 128});
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
