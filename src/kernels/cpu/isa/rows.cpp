// The ops that treat each row by itself: conversions, norms, rotation, activations. Bound: memory.
// Definitions: kernels/ref/ref.cpp, under the same names.
#include "kernels/cpu/isa/math.h"
#include "kernels/cpu/isa/simd.h"
#include "kernels/cpu/isa/tables.h"

namespace heed {
namespace {

template <class T>
void widen_from(const T* x, float scale, float* out, int64_t n) {
  for_vectors(n,
              [&](int64_t i, int some) { store_some(out + i, load_some(x + i, some) * set(scale), some); });
}

void widen(const void* x, DType dtype, float scale, float* out, int64_t n) {
  if (dtype == DType::kF32) return widen_from(static_cast<const float*>(x), scale, out, n);
  if (dtype == DType::kBF16) return widen_from(static_cast<const bf16*>(x), scale, out, n);
  widen_from(static_cast<const f16*>(x), scale, out, n);
}

void narrow(const float* x, void* out, DType dtype, int64_t n) {
  if (dtype == DType::kF32) {
    memcpy(out, x, sizeof(float) * static_cast<size_t>(n));
    return;
  }
  for_vectors(
      n, [&](int64_t i, int some) { store_some(static_cast<bf16*>(out) + i, load_some(x + i, some), some); });
}

float to_codes(const float* x, int8_t* out, int64_t n) {
  Vec most = zero();
  Vec poison = zero();
  for_vectors(n, [&](int64_t i, int some) {
    const Vec v = load_some(x + i, some);
    most = max(most, magnitude(v));
    poison = fma(v, zero(), poison);  // NaN from there on where v is not finite
  });
  const float largest_of_row = largest(most);
  const bool finite = sum(poison) == 0;
  if (!finite || largest_of_row < 1e-30F) {
    memset(out, 0, static_cast<size_t>(n));
    return finite ? 0.0F : __builtin_nanf("");
  }
  const float factor = 127 / largest_of_row;
  for_vectors(n, [&](int64_t i, int some) {
    float codes[kLanes];
    store(codes, nearest(load_some(x + i, some) * set(factor)));
    for (int j = 0; j < some; ++j) out[i + j] = static_cast<int8_t>(codes[j]);
  });
  return largest_of_row / 127;
}

void add_row(const float* x, float scale, float keep, float* out, int64_t n) {
  for_vectors(n, [&](int64_t i, int some) {
    store_some(out + i, fma(set(scale), load_some(x + i, some), set(keep) * load_some(out + i, some)), some);
  });
}

void scale_row(float factor, float* x, int64_t n) {
  for_vectors(n, [&](int64_t i, int some) { store_some(x + i, set(factor) * load_some(x + i, some), some); });
}

template <class Out>
void normalise(const float* x, const float* weight, float factor, bool accumulate, Out* out, int64_t n) {
  for_vectors(n, [&](int64_t i, int some) {
    Vec value = load_some(x + i, some) * set(factor);
    if (weight != nullptr) value = value * load_some(weight + i, some);
    if (accumulate) value = load_some(out + i, some) + value;
    store_some(out + i, value, some);
  });
}

void rms_norm(const float* x, const float* weight, float eps, float scale, bool accumulate, void* out,
              DType dtype, int64_t n) {
  Vec sums[4] = {zero(), zero(), zero(), zero()};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const Vec v = load(x + i + j * kLanes);
      sums[j] = fma(v, v, sums[j]);
    }
  }
  for_vectors(n - i, [&](int64_t j, int some) {
    const Vec v = load_some(x + i + j, some);
    sums[0] = fma(v, v, sums[0]);
  });
  const float squares = sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
  const float factor = scale / __builtin_sqrtf(squares / static_cast<float>(n) + eps);
  if (dtype == DType::kF32) {
    normalise(x, weight, factor, accumulate, static_cast<float*>(out), n);
  } else {
    normalise(x, weight, factor, false, static_cast<bf16*>(out), n);
  }
}

void rope(const float* cos, const float* sin, float* x, int64_t pairs) {
  for_vectors(pairs, [&](int64_t i, int some) {
    const Vec c = load_some(cos + i, some);
    const Vec s = load_some(sin + i, some);
    const Vec a = load_some(x + i, some);
    const Vec b = load_some(x + pairs + i, some);
    store_some(x + i, a * c - b * s, some);
    store_some(x + pairs + i, b * c + a * s, some);
  });
}

void rope_interleaved(const float* cos, const float* sin, float* x, int64_t pairs) {
  for_vectors(pairs, [&](int64_t i, int some) {
    const int low = smaller_of(2 * some, kLanes);
    float* first = x + 2 * i;
    Vec a;
    Vec b;
    deinterleave(load_some(first, low), load_some(first + low, 2 * some - low), a, b);
    const Vec c = load_some(cos + i, some);
    const Vec s = load_some(sin + i, some);
    Vec front;
    Vec back;
    interleave(a * c - b * s, b * c + a * s, front, back);
    store_some(first, front, low);
    store_some(first + low, back, 2 * some - low);
  });
}

HEED_INLINE Vec logistic_times(Vec x, Vec slope) { return x / (set(1.0F) + exp(zero() - slope)); }

HEED_INLINE Vec gelu(Vec x) {
  const Vec tail = erfc(magnitude(x) * set(0.707106781F));
  const Vec half = set(0.5F) * x;
  return half * select(less(x, zero()), tail, set(2.0F) - tail);
}

template <Act kAct>
HEED_INLINE Vec gated(Vec x, Vec up) {
  if constexpr (kAct == Act::kSilu) return logistic_times(x, x) * up;
  if constexpr (kAct == Act::kGelu) return gelu(x) * up;
  if constexpr (kAct ==
                Act::kGeluTanh) {  // (1 + tanh u) / 2 = 1 / (1 + exp(-2u)), which keeps the tail's digits
    return logistic_times(x, set(1.59576912F) * fma(set(0.044715F) * x, x * x, x)) * up;
  }
  if constexpr (kAct == Act::kRelu) return max(zero(), x) * up;
  if constexpr (kAct == Act::kSigmoid) return logistic_times(set(1.0F), x) * up;
  if constexpr (kAct == Act::kClampedSwiglu) {
    const Vec g = min(set(7.0F), x);
    const Vec u = max(set(-7.0F), min(set(7.0F), up));
    return logistic_times(g, set(1.702F) * g) * (u + set(1.0F));
  }
}

template <Act kAct, class Out>
void gate(const float* x, const float* up, Out* out, int64_t n) {
  for_vectors(n, [&](int64_t i, int some) {
    store_some(out + i, gated<kAct>(load_some(x + i, some), load_some(up + i, some)), some);
  });
}

template <class Out>
void gate_by(Act act, const float* x, const float* up, Out* out, int64_t n) {
  switch (act) {
    case Act::kSilu:
      return gate<Act::kSilu>(x, up, out, n);
    case Act::kGelu:
      return gate<Act::kGelu>(x, up, out, n);
    case Act::kGeluTanh:
      return gate<Act::kGeluTanh>(x, up, out, n);
    case Act::kRelu:
      return gate<Act::kRelu>(x, up, out, n);
    case Act::kSigmoid:
      return gate<Act::kSigmoid>(x, up, out, n);
    case Act::kClampedSwiglu:
      return gate<Act::kClampedSwiglu>(x, up, out, n);
  }
}

void gated_act(Act act, const float* x, const float* up, void* out, DType dtype, int64_t n) {
  if (dtype == DType::kF32) {
    gate_by(act, x, up, static_cast<float*>(out), n);
  } else {
    gate_by(act, x, up, static_cast<bf16*>(out), n);
  }
}

void softcap(float cap, float* x, int64_t n) {
  for_vectors(n, [&](int64_t i, int some) {
    store_some(x + i, set(cap) * tanh(load_some(x + i, some) / set(cap)), some);
  });
}

void sigmoid(const float* x, float* out, int64_t n) {
  for_vectors(n, [&](int64_t i, int some) {
    store_some(out + i, logistic_times(set(1.0F), load_some(x + i, some)), some);
  });
}

void softmax(const float* x, float* out, int64_t n) {
  float most = x[0];
  for (int64_t i = 1; i < n; ++i) most = x[i] > most ? x[i] : most;
  Vec total = zero();
  for_vectors(n, [&](int64_t i, int some) {
    const Vec e = exp(load_some(x + i, some) - set(most));
    store_some(out + i, e, some);
    total = total + select(mask_of((uint64_t{1} << some) - 1), e, zero());
  });
  const Vec sum_of_all = set(sum(total));
  for_vectors(n,
              [&](int64_t i, int some) { store_some(out + i, load_some(out + i, some) / sum_of_all, some); });
}

void weighted_sum(const float* const* rows, const float* weights, int count, bool accumulate, float* out,
                  int64_t n) {
  for_vectors(n, [&](int64_t i, int some) {
    Vec total = accumulate ? load_some(out + i, some) : zero();
    for (int r = 0; r < count; ++r) total = fma(set(weights[r]), load_some(rows[r] + i, some), total);
    store_some(out + i, total, some);
  });
}

}  // namespace

namespace cpu {
const RowTable HEED_TABLE(rows) = {
    .widen = widen,
    .narrow = narrow,
    .to_codes = to_codes,
    .add = add_row,
    .scale = scale_row,
    .rms_norm = rms_norm,
    .rope = rope,
    .rope_interleaved = rope_interleaved,
    .gated_act = gated_act,
    .softcap = softcap,
    .sigmoid = sigmoid,
    .softmax = softmax,
    .weighted_sum = weighted_sum,
};
}  // namespace cpu
}  // namespace heed
