// The mask algebra against predicates written as the papers and transformers' masking_utils.py write them, by
// brute force over random expressions, sequences and media ranges. Everything derived is checked the same
// way.
#include "attention/mask.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "attention/rows.h"

namespace heed {
namespace {

bool oracle(const Term& t, const SeqFacts& s, int q, int k) {
  switch (t.kind) {
    case Term::kFull:
      return true;
    case Term::kCausal:
      return k <= q;
    case Term::kWindow:
      return q - k <= t.a && k - q <= t.b;
    case Term::kChunk:
      return k / t.a <= q / t.a && q / t.a - k / t.a <= t.b;
    case Term::kPrefix:
      return k == q || (q < s.prefix && k < s.prefix);
    case Term::kMedia:
      for (int i = 0; i < s.num_media; ++i) {
        const Span r = s.media[i];
        if (r.lo <= q && q < r.hi && r.lo <= k && k < r.hi) return true;
      }
      return k == q;
  }
  return false;
}

bool oracle(const Mask& m, const SeqFacts& s, int q, int k) {
  bool seen = oracle(m.terms[0], s, q, k);
  for (int i = 1; i < m.count; ++i) {
    const bool term = oracle(m.terms[i], s, q, k);
    seen = m.terms[i].join ? seen || term : seen && term;
  }
  return seen;
}

struct Case {
  Mask mask;
  std::vector<Span> media;
  SeqFacts facts;
};

class RandomCases {
 public:
  explicit RandomCases(unsigned seed) : generator_(seed) {}
  int below(int n) { return static_cast<int>(generator_() % static_cast<unsigned>(n)); }

  Term term() {
    switch (below(8)) {
      case 0:
        return full();
      case 1:
      case 2:
        return causal();
      case 3:
        return window(1 + below(12));
      case 4:
        return around(below(6), below(6));
      case 5:
        return chunk(1 + below(10), below(3));
      case 6:
        return media();
      default:
        return prefix();
    }
  }

  Case next() {
    Case c;
    const int length = 1 + below(48);
    for (int p = below(6); p < length;) {
      const int end = std::min(p + 1 + below(9), length);
      c.media.push_back({p, end});
      p = end + below(10);
    }
    c.mask = term();
    for (int more = below(Mask::kMaxTerms); more > 0; --more) {
      c.mask = below(3) != 0 ? c.mask & term() : c.mask | term();
    }
    c.facts = {length, below(length + 1), nullptr, static_cast<int>(c.media.size())};
    return c;
  }

 private:
  std::mt19937 generator_;
};

void check_rows(const Case& c, const SeqFacts& s, std::vector<std::vector<bool>>& seen) {
  Span before{-1, -1};
  for (int q = 0; q < s.length; ++q) {
    const Span v = visible(c.mask, s, q);
    ASSERT_TRUE(v.lo >= 0 && v.lo <= q && q < v.hi && v.hi <= s.length) << describe(c.mask) << " at " << q;
    ASSERT_TRUE(v.lo >= before.lo && v.hi >= before.hi) << describe(c.mask) << " not monotone at " << q;
    before = v;
    for (int k = 0; k < s.length; ++k) {
      const bool want = oracle(c.mask, s, q, k);
      seen[q][k] = want;
      ASSERT_EQ(want, v.lo <= k && k < v.hi)
          << describe(c.mask) << " length " << s.length << " q " << q << " k " << k;
    }
  }
}

void check_derived(const Case& c, const SeqFacts& s, const std::vector<std::vector<bool>>& seen, int r0,
                   int r1) {
  const Span visit = tile_visit(c.mask, s, r0, r1);
  const Span every = tile_full(c.mask, s, r0, r1);
  for (int q = r0; q < r1; ++q) {
    for (int k = 0; k < s.length; ++k) {
      ASSERT_TRUE(!seen[q][k] || (visit.lo <= k && k < visit.hi)) << describe(c.mask);
      ASSERT_TRUE(seen[q][k] || k < every.lo || k >= every.hi) << describe(c.mask);
    }
  }
  const int live = first_live(c.mask, s, r0);
  bool legal = true;
  for (int q = 0; q < s.length; ++q) {
    for (int k = 0; k < s.length; ++k) {
      ASSERT_FALSE(q >= r0 && k < live && seen[q][k]) << describe(c.mask) << ": a dead key is read";
      if (q < r0 && k >= r0 && seen[q][k]) legal = false;
    }
  }
  ASSERT_EQ(can_cut(c.mask, s, r0), legal) << describe(c.mask) << " cut at " << r0;
}

TEST(Mask, equals_its_predicates_and_derivations_by_brute_force) {
  const unsigned seed = 1;
  RandomCases random(seed);
  for (int i = 0; i < 12000; ++i) {
    const Case c = random.next();
    SeqFacts s = c.facts;
    s.media = c.media.data();
    std::vector<std::vector<bool>> seen(s.length, std::vector<bool>(s.length));
    ASSERT_NO_FATAL_FAILURE(check_rows(c, s, seen)) << "seed " << seed << " case " << i;
    for (int j = 0; j < 3; ++j) {
      const int r0 = random.below(s.length);
      const int r1 = r0 + 1 + random.below(s.length - r0);
      ASSERT_NO_FATAL_FAILURE(check_derived(c, s, seen, r0, r1)) << "seed " << seed << " case " << i;
    }
  }
}

TEST(Mask, masks_of_the_target_models_see_what_their_papers_say) {
  static_assert(visible(causal() & window(4), SeqFacts{100}, 10) == Span{7, 11});
  static_assert(visible(causal() & chunk(8, 1), SeqFacts{100}, 17) == Span{8, 18});
  static_assert(visible(full() & around(3, 3), SeqFacts{100}, 98) == Span{95, 100});
  static constexpr Span kImage[] = {{10, 40}};
  constexpr SeqFacts kFacts{100, 0, kImage, 1};
  // Gemma 4's sliding layers: an image longer than the window is bounded on the past side only.
  static_assert(visible((causal() | media()) & window(8), kFacts, 30) == Span{23, 40});
  static_assert(!can_cut((causal() | media()) & window(8), kFacts, 39));
  static_assert(can_cut((causal() | media()) & window(8), kFacts, 40));
  SUCCEED();
}

TEST(Mask, huge_sizes_do_not_overflow) {
  const int last = kUnbounded - 1;
  const SeqFacts facts{.length = kUnbounded};
  for (const Term t : {window(2147483647), around(2147483647, 2147483647), chunk(2147483647, 2147483647)}) {
    EXPECT_EQ(visible(causal() & t, facts, last), (Span{0, kUnbounded}));
    EXPECT_EQ(visible(causal() & t, facts, 0), (Span{0, 1}));
  }
  EXPECT_EQ(visible(causal() & chunk(3, 2147483647), facts, last), (Span{0, kUnbounded}));
}

TEST(Rows, sinks_never_reach_past_the_interval) {
  const Mask mask = (causal() & window(3)).with_sinks(4);
  std::vector<RowMask> rows(8);
  fill_rows(mask, {.length = 8}, 0, 8, rows.data());
  for (int q = 0; q < 8; ++q) {
    for (int k = 0; k < 8; ++k) EXPECT_EQ(sees(rows[q], k), k <= q && (q - k < 3 || k < 4)) << q << " " << k;
  }
}

TEST(Rows, the_last_cut_is_never_inside_an_image) {
  const Span image[] = {{5, 9}};
  const SeqFacts facts{20, 0, image, 1};
  EXPECT_EQ(last_cut(causal() | media(), facts, 0, 7), 5);
  EXPECT_EQ(last_cut(causal() | media(), facts, 5, 8), 5) << "no legal cut: the caller must take more";
  EXPECT_EQ(last_cut(causal() | media(), facts, 5, 9), 9);
  EXPECT_EQ(last_cut(causal(), facts, 0, 7), 7);
}

TEST(Rows, live_keys_are_counted_as_the_brute_force_counts_them) {
  for (const Mask& mask :
       {Mask(causal()), causal() & window(5), causal() & chunk(4, 1), (causal() & window(3)).with_sinks(2)}) {
    for (const int step : {1, 4, 64}) {
      const int length = 30;
      int most = 0;
      for (int q = 0; q < length; ++q) {
        int live = std::min(step, length - q);
        for (int k = 0; k < q; ++k) {
          bool needed = false;
          for (int later = q; later < length; ++later)
            needed |= sees(row_of(mask, {.length = length}, later), k);
          live += needed ? 1 : 0;
        }
        most = std::max(most, live);
      }
      EXPECT_EQ(most_live_keys(mask, length, step), most) << describe(mask) << " step " << step;
    }
  }
}

TEST(Rows, a_chunked_and_sliding_mask_is_refused_with_a_reason) {
  EXPECT_NE(why_not(causal() & chunk(8, 1) & window(16)).find("sliding window"), std::string::npos);
  EXPECT_EQ(why_not(causal() & chunk(8, 1)), "");
  EXPECT_EQ(describe((causal() | media()) & window(8)), "(causal | media) & window(8)");
}

}  // namespace
}  // namespace heed
