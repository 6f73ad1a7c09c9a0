// Flash attention of a tile of query rows over a part of the keys of one sequence and kv head.
//
// For each tile of 64 keys, aligned to absolute positions, that some row sees:
//   s = q K^T        a sum over the lanes of a vector (attention_tile.h)
//   m' = max(m, s)   p = exp(s - m')   l = l exp(m - m') + sum p
//   acc = acc exp(m - m') + p V, key after key
//
// (m, l, acc) of a row takes the same steps whatever rows share the tile, be they one or many: rows that see
// nothing of it are left alone, and values are added for exactly the keys that the row sees, in ascending
// order (common runs for several rows together, what sticks out row by row). So a key that a row does not see
// never enters its numbers, not even as 0 * v, and a key that no row sees is not read at all. Tiles that all
// rows see in full run without tests.
//
// In float32 (attention_wide.h), or, with a cache of bf16 and an instruction for it, in products of pairs of
// bf16 with q and p rounded to it (attention_pairs.h, attention_tiles.h).
//
// An int8 cache is widened as it is read; a key's scale goes to its score, a value's to its weight. So is one
// of fp8, whose scales are those of heads: they come with the scale of scores and at the end.
//
// Bound: memory for few rows: with two rows a kv head 0.88 (float32) to 0.94 (pairs) of what two Sapphire
// Rapids cores read, at head_dim 128; int8 0.55, where widening is in the way; eight rows 0.45. Else
// products, causal, head_dim 128: pairs at 0.68, float32 at 0.50 of their peaks there. AMX: 0.75 of memory,
// or 0.07 of its peak, which is 2.5 times float32; a third of that time is the softmax. Definition:
// kernels/ref/ref.cpp: attend.
#include "kernels/cpu/isa/attention_pairs.h"
#include "kernels/cpu/isa/attention_tiles.h"
#include "kernels/cpu/isa/attention_wide.h"

namespace heed {
namespace {

HEED_INLINE float exp_of(float x) { return first_lane(exp(set(x))); }

// Scores to numerators, in place; updates largest and sum, and scales the values to the new largest.
template <class Arithmetic>
void soften(const AttentionPart& p, const Keys<typename Arithmetic::Element>& keys, float* scores,
            uint64_t bits, int row) {
  constexpr bool kScales = kHasScales<typename Arithmetic::Element>;
  Vec s[kGroups];
  Vec most = set(kNothing);
  for (int g = 0; g < kGroups; ++g) {
    const uint64_t own = bits >> (g * kLanes);
    s[g] = set(kNothing);
    if ((own & bits_between(0, kLanes)) == 0) continue;
    s[g] = load(scores + g * kLanes) * set(p.scale);
    if constexpr (kScales) s[g] = s[g] * load(keys.k_scale + g * kLanes);
    if (p.softcap > 0) s[g] = set(p.softcap) * tanh(s[g] / set(p.softcap));
    if (bits != ~uint64_t{0}) s[g] = select(mask_of(own), s[g], set(kNothing));
    most = max(most, s[g]);
  }
  const float before = p.state.largest[row];
  const float tile = largest(most);
  const float now = tile > before ? tile : before;
  const Vec base = set(now == kNothing ? 0.0F : now);
  Vec total = zero();
  for (int g = 0; g < kGroups; ++g) {
    const Vec e = exp(s[g] - base);
    total = total + e;
    if constexpr (kScales) {
      Arithmetic::keep(scores, g, e * load(keys.v_scale + g * kLanes));
    } else {
      Arithmetic::keep(scores, g, e);
    }
  }
  const float kept = before == now ? 1.0F : before == kNothing ? 0.0F : exp_of(before - now);
  const float all = p.state.sum[row] * kept + sum(total);
  p.state.sum[row] = all;
  p.state.largest[row] = all == all ? now : all;  // a NaN is something seen, and stays
  if (kept == 1.0F) return;
  float* values = p.state.values + row * pad(p.v_dim);
  for (int64_t i = 0; i < pad(p.v_dim); i += kLanes) store(values + i, load(values + i) * set(kept));
}

template <class Arithmetic>
void attend(const AttentionPart& p) {
  using T = typename Arithmetic::Element;
  const int64_t width = pad(p.v_dim);
  for (int r = 0; r < p.rows; ++r) {
    p.state.largest[r] = kNothing;
    p.state.sum[r] = 0;
    memset(p.state.values + r * width, 0, sizeof(float) * static_cast<size_t>(width));
  }
  const Scratch s = divide(p);
  const Reach reach = reach_of(p);
  Arithmetic::prepare(p, s);
  Keys<T> keys;
  Ahead ahead(p, sizeof(T));
  if (p.fresh) {
    ahead.begin(reach, p.begin);
    ahead.fetch_rest();
  }
  for (int key = p.begin; key < p.end; key += kKeyTile) {
    const bool near = key < reach.hi && reach.lo < key + kKeyTile;
    if (!near && key >= reach.sinks) continue;
    see(p, reach, s, key, keys);
    if (keys.seen == 0) continue;
    locate(p, key, keys);
    ahead.begin(reach, key + kKeyTile);
    Arithmetic::score(p, keys, ahead, s);
    for (int r = keys.first_row; r < keys.last_row; ++r) {
      const uint64_t bits = row_bits(s, r);
      if (bits != 0) soften<Arithmetic>(p, keys, s.scores + int64_t{r} * kKeyTile, bits, r);
    }
    Arithmetic::add(p, keys, ahead, s, key);
    ahead.fetch_rest();
  }
  Arithmetic::complete(p);
}

void merge(const AttentionState& into, const AttentionState& later, int rows, int64_t v_dim) {
  const int64_t width = pad(v_dim);
  for (int r = 0; r < rows; ++r) {
    if (later.largest[r] == kNothing) continue;
    const float most = into.largest[r] > later.largest[r] ? into.largest[r] : later.largest[r];
    const float a = into.largest[r] == kNothing ? 0.0F : exp_of(into.largest[r] - most);
    const float b = exp_of(later.largest[r] - most);
    into.largest[r] = most;
    into.sum[r] = into.sum[r] * a + later.sum[r] * b;
    for (int64_t i = r * width; i < (r + 1) * width; i += kLanes) {
      store(into.values + i, fma(load(later.values + i), set(b), load(into.values + i) * set(a)));
    }
  }
}

template <class Out>
void divide_into(const float* values, float scale, float total, Out* out, int64_t n) {
  for_vectors(
      n, [&](int64_t i, int some) { store_some(out + i, load(values + i) * set(scale) / set(total), some); });
}

void finish(const AttentionState& state, int row, int64_t v_dim, const float* sink_logit, float factor,
            void* out, DType dtype) {
  float total = state.sum[row];
  float scale = 1;
  if (sink_logit != nullptr) {
    const float most = *sink_logit > state.largest[row] ? *sink_logit : state.largest[row];
    scale = exp_of(state.largest[row] - most);
    total = total * scale + exp_of(*sink_logit - most);
  }
  scale *= factor;
  const float* values = state.values + row * pad(v_dim);
  if (dtype == DType::kF32) {
    divide_into(values, scale, total, static_cast<float*>(out), v_dim);
  } else {
    divide_into(values, scale, total, static_cast<bf16*>(out), v_dim);
  }
}

#if defined(__AMX_BF16__)
using OfBf16 = Tiled;
#elif defined(HEED_HAS_PAIR_DOT)
using OfBf16 = Paired;
#else
using OfBf16 = Wide<bf16>;
#endif

}  // namespace

namespace cpu {
const AttentionTable HEED_TABLE(attention) = {
    .tile_rows = kRows,
    .scratch = scratch,
    .pad = pad,
    .f32 = attend<Wide<float>>,
    .bf16 = attend<OfBf16>,
    .i8 = attend<Wide<int8_t>>,
    .fp8 = attend<Wide<e4m3>>,
    .merge = merge,
    .finish = finish,
};
}  // namespace cpu
}  // namespace heed
