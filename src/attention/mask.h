// Which keys may each query see? The one definition; kernels, cache, scheduler and planner all ask here.
//
// A Mask maps a query position q to ONE half-open interval of key positions, plus the first `sinks` keys:
//     key k is visible to q   iff   k < min(sinks, lo(q))  or  lo(q) <= k < hi(q)
// Three facts make it an algebra:
//   1. every term's interval contains q, so & (intersection) and | (union) of terms is again one interval;
//   2. every bound is non-decreasing in q, and min and max keep that;
//   3. so any expression is two monotone integers per row.
// tests/attention/mask_test.cpp proves them by brute force. Not expressible: dilated or strided patterns and
// selection by data (top-k). Positions are token indices in the sequence from 0, below 2^29.
// Host and device; no allocation. Sources of the predicates: docs/attention.md.
#pragma once
#include <cstdint>

#ifdef __CUDACC__
#define HEED_HD __host__ __device__
#else
#define HEED_HD
#endif

namespace heed {

inline constexpr int kUnbounded = 1 << 29;  // beyond every position; sums of two stay in an int

struct Span {  // [lo, hi)
  int lo = 0, hi = 0;
  constexpr bool operator==(const Span&) const = default;
};
HEED_HD constexpr int smaller(int a, int b) { return a < b ? a : b; }
HEED_HD constexpr int larger(int a, int b) { return a > b ? a : b; }
HEED_HD constexpr Span meet(Span a, Span b) { return {larger(a.lo, b.lo), smaller(a.hi, b.hi)}; }
HEED_HD constexpr Span hull(Span a, Span b) { return {smaller(a.lo, b.lo), larger(a.hi, b.hi)}; }

// What a mask must know about one sequence. The ranges are owned by the sequence.
struct SeqFacts {
  int length = 0;               // tokens known so far; keys end here for terms that look ahead
  int prefix = 0;               // the first `prefix` tokens see each other
  const Span* media = nullptr;  // image ranges: sorted, disjoint, not empty
  int num_media = 0;
};

struct Term {
  enum Kind : uint8_t { kFull, kCausal, kWindow, kChunk, kMedia, kPrefix };
  Kind kind = kCausal;
  bool join = false;  // joined by | (else by &) to the terms before it
  int a = 0, b = 0;   // kWindow: keys back, keys ahead; kChunk: size, chunks of lookback
  constexpr bool operator==(const Term&) const = default;
};

HEED_HD constexpr Span media_range(const SeqFacts& facts, int q) {
  int lo = 0, hi = facts.num_media;  // the first range that ends after q is in [lo, hi]
  while (lo < hi) {
    const int middle = (lo + hi) / 2;
    if (facts.media[middle].hi <= q) {
      lo = middle + 1;
    } else {
      hi = middle;
    }
  }
  if (lo < facts.num_media && facts.media[lo].lo <= q) return facts.media[lo];
  return {q, q + 1};
}

HEED_HD constexpr Span interval(const Term& term, const SeqFacts& facts, int q) {
  switch (term.kind) {
    case Term::kFull:
      return {0, kUnbounded};
    case Term::kCausal:
      return {0, q + 1};
    case Term::kWindow:
      return {q - term.a, q + term.b + 1};
    case Term::kChunk: {
      const int own = q / term.a;
      return {own > term.b ? (own - term.b) * term.a : 0, (own + 1) * term.a};
    }
    case Term::kMedia:
      return media_range(facts, q);
    case Term::kPrefix:
      return q < facts.prefix ? Span{0, facts.prefix} : Span{q, q + 1};
  }
  return {q, q + 1};
}

// An expression of terms, applied from left to right: (((t0 op t1) op t2) ...). Compared and copied by value.
struct Mask {
  static constexpr int kMaxTerms = 6;
  Term terms[kMaxTerms] = {};
  int count = 0;
  int sinks = 0;  // the first keys that every row sees besides its interval

  constexpr Mask() = default;
  constexpr Mask(Term term) : count(1) { terms[0] = term; }  // NOLINT(google-explicit-constructor)
  constexpr Mask operator&(Term term) const { return with(term, false); }
  constexpr Mask operator|(Term term) const { return with(term, true); }
  constexpr Mask with_sinks(int n) const {
    Mask mask = *this;
    mask.sinks = n;
    return mask;
  }
  constexpr bool has(Term::Kind kind) const {
    for (int i = 0; i < count; ++i) {
      if (terms[i].kind == kind) return true;
    }
    return false;
  }
  constexpr bool operator==(const Mask&) const = default;

 private:
  constexpr Mask with(Term term, bool join) const {
    if (count == kMaxTerms) __builtin_trap();
    Mask mask = *this;
    term.join = join;
    mask.terms[mask.count++] = term;
    return mask;
  }
};

// The terms. Sizes are at least 1 (window, chunk) or 0 (around, lookback); larger than any position means no
// bound.
constexpr Term full() { return {Term::kFull}; }
constexpr Term causal() { return {Term::kCausal}; }
// `keys` keys, itself included, and no bound ahead.
constexpr Term window(int keys) { return {Term::kWindow, false, smaller(keys, kUnbounded) - 1, kUnbounded}; }
constexpr Term around(int back, int ahead) {
  return {Term::kWindow, false, smaller(back, kUnbounded), smaller(ahead, kUnbounded)};
}
// Its own chunk of `size` positions, aligned to position 0, and `lookback` chunks before it.
constexpr Term chunk(int size, int lookback = 0) {
  return {Term::kChunk, false, smaller(size, kUnbounded), smaller(lookback, kUnbounded)};
}
constexpr Term media() { return {Term::kMedia}; }    // an image token sees its whole image
constexpr Term prefix() { return {Term::kPrefix}; }  // prefix tokens see the whole prefix
constexpr Mask operator&(Term a, Term b) { return Mask(a) & b; }
constexpr Mask operator|(Term a, Term b) { return Mask(a) | b; }

// The interval of row q, cut to the keys that exist.
HEED_HD constexpr Span visible(const Mask& mask, const SeqFacts& facts, int q) {
  Span span = interval(mask.terms[0], facts, q);
  for (int i = 1; i < mask.count; ++i) {
    const Span term = interval(mask.terms[i], facts, q);
    span = mask.terms[i].join ? hull(span, term) : meet(span, term);
  }
  return meet(span, {0, larger(facts.length, q + 1)});
}

// ---- Everything else is derived; nothing below or elsewhere looks at a term. ----

// Query rows [r0, r1): the keys that some row sees (sinks apart), and those that every row sees. The second
// may be empty (lo >= hi).
HEED_HD constexpr Span tile_visit(const Mask& mask, const SeqFacts& facts, int r0, int r1) {
  return {visible(mask, facts, r0).lo, visible(mask, facts, r1 - 1).hi};
}
HEED_HD constexpr Span tile_full(const Mask& mask, const SeqFacts& facts, int r0, int r1) {
  return {visible(mask, facts, r1 - 1).lo, visible(mask, facts, r0).hi};
}
// No query at or after `next` reads a key in [sinks, first_live): its blocks can be freed.
HEED_HD constexpr int first_live(const Mask& mask, const SeqFacts& facts, int next) {
  return visible(mask, facts, next).lo;
}
// May a prefill be cut before position `cut`? Only if no earlier query reads a key at or after it.
HEED_HD constexpr bool can_cut(const Mask& mask, const SeqFacts& facts, int cut) {
  return cut <= 0 || visible(mask, facts, cut - 1).hi <= cut;
}

}  // namespace heed
