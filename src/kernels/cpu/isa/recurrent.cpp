// Layers that carry a state from token to token.
//
// A head's state S is [k_dim, v_dim], lanes are columns. Columns do not know of each other, and every element
// takes the same steps in the same order (tokens ascending; sums over k_dim ascending, one chain a column),
// whatever tile it is in, however many tokens a call has and wherever the call ends:
//   linear attention:  s = kept s + k_i v;   out = out + q_i s      a few tokens while s is in a register
//   delta rule:        s = kept s + k_i d;   out = out + q_i s;   known = known + k'_i s
// where d = beta (v - kept known), and k' is the next token's key: what S knows of it is summed while S
// passes by, so that a token costs one reading and writing of S instead of two.
//
// Bound: memory for one token, else FMA and mul with S in L1 or near it (0.67 of the AVX-512 peak of a Zen 4
// core, 0.7 of its AVX2 peak, for a head of 128 x 128; the multiplication by `kept`, which counts half,
// allows 0.87 and 0.83). Definitions: kernels/ref/ref_recurrent.cpp.
#include "kernels/cpu/isa/math.h"
#include "kernels/cpu/isa/simd.h"
#include "kernels/cpu/isa/tables.h"

namespace heed {
namespace {

using cpu::ConvPart;
using cpu::GatedDeltaPart;
using cpu::HeadPart;
using cpu::LinearAttentionPart;

#if defined(__AVX512F__)
constexpr int kVectors =
    8;                      // of columns at most: 24 registers hold sums, known and changes of the delta rule
constexpr int kTokens = 4;  // of linear attention together, in tiles of kTokenVectors
constexpr int kColumns = 64;
#else
constexpr int kVectors = 4;
constexpr int kTokens = 1;
constexpr int kColumns = 32;
#endif
constexpr int kTokenVectors = 4;

// Vector c of the C that begin at p; a single one has `some` elements.
template <int C>
HEED_INLINE Vec get(const float* p, int c, int some) {
  return C > 1 ? load(p + c * kLanes) : load_some(p, some);
}
template <int C>
HEED_INLINE void put(float* p, int c, Vec v, int some) {
  C > 1 ? store(p + c * kLanes, v) : store_some(p, v, some);
}

// body(integral constant C, column, some) over the columns in tiles of kMost vectors, then of fewer.
template <int C>
struct Count {
  static constexpr int kValue = C;
};
template <int kMost, class Body>
HEED_INLINE void for_tiles(int64_t column, int64_t columns, Body body) {
  if constexpr (kMost > 1) {
    for (; column + kMost * kLanes <= columns; column += kMost * kLanes) body(Count<kMost>{}, column, kLanes);
    for_tiles<kMost / 2>(column, columns, body);
  } else {
    for (; column < columns; column += kLanes) {
      body(Count<1>{}, column, smaller_of(columns - column, kLanes));
    }
  }
}

// ---- linear attention ----

template <int T, int C>
HEED_INLINE void attend_tokens(const HeadPart& p, Vec kept, Vec scale, int64_t token, int64_t column,
                               int some) {
  const float* q[T];
  const float* k[T];
  Vec v[T][C];
  Vec sums[T][C];
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
    q[t] = p.q + (token + t) * p.q_stride;
    k[t] = p.k + (token + t) * p.k_stride;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      v[t][c] = get<C>(p.v + (token + t) * p.v_stride + column, c, some);
      sums[t][c] = zero();
    }
  }
  float* row = p.state + column;
  const int64_t stride = p.state_stride;
  const int64_t k_dim = p.k_dim;
  for (int64_t i = 0; i < k_dim; ++i, row += stride) {
    Vec s[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) s[c] = get<C>(row, c, some);
#pragma GCC unroll 4
    for (int t = 0; t < T; ++t) {
      const Vec key = set(k[t][i]);
      const Vec query = set(q[t][i]);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        s[c] = fma(key, v[t][c], kept * s[c]);
        sums[t][c] = fma(query, s[c], sums[t][c]);
      }
    }
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) put<C>(row, c, s[c], some);
  }
#pragma GCC unroll 4
  for (int t = 0; t < T; ++t) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      put<C>(p.out + (token + t) * p.out_stride + column, c, scale * sums[t][c], some);
    }
  }
}

void linear_attention(const LinearAttentionPart& part) {
  const HeadPart& p = part.head;
  const Vec kept = exp(set(-part.slope));
  const Vec scale = set(part.scale);
  if (p.tokens >= kTokens) {
    for_tiles<kTokenVectors>(0, p.columns, [&](auto count, int64_t column, int some) {
      constexpr int kCount = decltype(count)::kValue;
      int64_t t = 0;
      for (; t + kTokens <= p.tokens; t += kTokens) {
        attend_tokens<kTokens, kCount>(p, kept, scale, t, column, some);
      }
      for (; t < p.tokens; ++t) attend_tokens<1, kCount>(p, kept, scale, t, column, some);
    });
    return;
  }
  for_tiles<kVectors>(0, p.columns, [&](auto count, int64_t column, int some) {
    for (int64_t t = 0; t < p.tokens; ++t) {
      attend_tokens<1, decltype(count)::kValue>(p, kept, scale, t, column, some);
    }
  });
}

// ---- the gated delta rule ----

// S as token t leaves it, and the token's output; kNext: what S then knows of the next token's key too.
template <int C, bool kNext>
HEED_INLINE void change_state(const HeadPart& p, int64_t t, Vec kept, const Vec (&change)[C], Vec (&known)[C],
                              int64_t column, int some) {
  const float* q = p.q + t * p.q_stride;
  const float* k = p.k + t * p.k_stride;
  const float* next = k + p.k_stride;
  Vec sums[C];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) sums[c] = known[c] = zero();
  float* row = p.state + column;
  const int64_t stride = p.state_stride;
  const int64_t k_dim = p.k_dim;
  for (int64_t i = 0; i < k_dim; ++i, row += stride) {
    const Vec key = set(k[i]);
    const Vec query = set(q[i]);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const Vec s = fma(key, change[c], kept * get<C>(row, c, some));
      put<C>(row, c, s, some);
      sums[c] = fma(query, s, sums[c]);
      if constexpr (kNext) known[c] = fma(set(next[i]), s, known[c]);
    }
  }
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) put<C>(p.out + t * p.out_stride + column, c, sums[c], some);
}

template <int C>
HEED_INLINE void delta_tile(const GatedDeltaPart& part, int64_t column, int some) {
  const HeadPart& p = part.head;
  Vec known[C];
#pragma GCC unroll 8
  for (int c = 0; c < C; ++c) known[c] = zero();
  const float* row = p.state + column;
  for (int64_t i = 0; i < p.k_dim; ++i, row += p.state_stride) {
    const Vec key = set(p.k[i]);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) known[c] = fma(key, get<C>(row, c, some), known[c]);
  }
  for (int64_t t = 0; t < p.tokens; ++t) {
    const Vec kept = exp(set(part.decay[t * part.decay_stride]));
    const Vec beta = set(part.beta[t * part.beta_stride]);
    Vec change[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      change[c] = beta * (get<C>(p.v + t * p.v_stride + column, c, some) - kept * known[c]);
    }
    if (t + 1 < p.tokens) {
      change_state<C, true>(p, t, kept, change, known, column, some);
    } else {
      change_state<C, false>(p, t, kept, change, known, column, some);
    }
  }
}

void gated_delta(const GatedDeltaPart& part) {
  for_tiles<kVectors>(0, part.head.columns, [&](auto count, int64_t column, int some) {
    delta_tile<decltype(count)::kValue>(part, column, some);
  });
}

void delta_gates(const float* a_log, const float* dt_bias, float* a, float* b, int64_t n) {
  for_vectors(n, [&](int64_t i, int some) {
    const Vec step = softplus(load_some(a + i, some) + load_some(dt_bias + i, some));
    store_some(a + i, zero() - exp(load_some(a_log + i, some)) * step, some);
    const Vec odds = exp(zero() - load_some(b + i, some));
    store_some(b + i, set(1.0F) / (set(1.0F) + odds), some);
  });
}

// ---- short convolution ----

// width: kWidth, or any where that is 0.
template <int kWidth>
HEED_INLINE void convolve(const ConvPart& p) {
  const int64_t width = kWidth > 0 ? kWidth : p.width;
  for_vectors(p.channels, [&](int64_t i, int some) {
    Vec sum = zero();
#pragma GCC unroll 4
    for (int64_t j = 0; j < width; ++j) {
      sum = fma(load_some(p.taps + j * p.tap_stride + i, some), load_some(p.rows[j] + i, some), sum);
    }
    if (p.bias != nullptr) sum = sum + load_some(p.bias + i, some);
    if (p.silu) sum = sum / (set(1.0F) + exp(zero() - sum));
    store_some(p.out + i, sum, some);
  });
}

void short_conv(const ConvPart& p) {
  if (p.width == 4) {
    convolve<4>(p);
  } else {
    convolve<0>(p);
  }
}

}  // namespace

namespace cpu {
const RecurrentTable HEED_TABLE(recurrent) = {
    .columns = kColumns,
    .linear_attention = linear_attention,
    .gated_delta = gated_delta,
    .delta_gates = delta_gates,
    .short_conv = short_conv,
};
}  // namespace cpu
}  // namespace heed
