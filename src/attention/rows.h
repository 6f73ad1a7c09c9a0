// Row intervals: all that a kernel, the batch builder or a planner needs to know about masks.
#pragma once
#include <cstdint>
#include <string>

#include "attention/mask.h"

namespace heed {

// Key k is visible to the row iff k < sinks or lo <= k < hi. sinks <= lo.
struct RowMask {
  int32_t lo, hi, sinks;
  constexpr bool operator==(const RowMask&) const = default;
};

HEED_HD constexpr RowMask row_of(const Mask& mask, const SeqFacts& facts, int q) {
  const Span span = visible(mask, facts, q);
  return {span.lo, span.hi, smaller(mask.sinks, span.lo)};
}

HEED_HD constexpr bool sees(const RowMask& row, int k) {
  return k < row.sinks || (row.lo <= k && k < row.hi);
}

// Rows of positions [first, first + count) of one sequence, written to `rows`.
void fill_rows(const Mask& mask, const SeqFacts& facts, int first, int count, RowMask* rows);

// The largest legal cut of a prefill in (from, upto], or `from` if there is none (the caller must then take
// more).
int last_cut(const Mask& mask, const SeqFacts& facts, int from, int upto);

// The most keys a sequence holds alive when `step` tokens run at a time and it grows to `length` tokens.
int most_live_keys(const Mask& mask, int length, int step);

// Why this mask is refused, or "": today only chunk and window terms in one mask, whose meanings exclude each
// other.
std::string why_not(const Mask& mask);

// "causal & chunk(64, lookback 1)": for people and messages.
std::string describe(const Mask& mask);

}  // namespace heed
