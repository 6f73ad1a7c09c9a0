// Vector exp, tanh, softplus and erfc: every lane by itself, the same way on every instruction set.
//
// Polynomials: our own weighted minimax fits in double, rounded to float32; errors below are of the whole
// function.
#pragma once
#include "kernels/cpu/isa/simd.h"

namespace heed {
namespace {

// Within 1.1 ulp; infinity above 88.73, NaN stays NaN; exp(0) is exactly 1. Results that would be subnormal
// are 0: they cost processors a detour of a hundred cycles, and masked scores would take it all the time.
HEED_INLINE Vec exp(Vec x) {
  const Vec least = set(-87.3365F);
  const LaneMask tiny = less(x, least);
  x = max(least, min(set(128.0F), x));  // NaN is the second operand of both, and passes
  const Vec n = nearest(x * set(1.44269504F));
  Vec r = fma(n, set(-0.693359375F), x);  // ln 2 in two parts; the first product is exact
  r = fma(n, set(2.12194440e-4F), r);
  Vec p = set(0.0013814467F);
  p = fma(p, r, set(0.00836878084F));
  p = fma(p, r, set(0.0416683927F));
  p = fma(p, r, set(0.166665196F));
  p = fma(p, r, set(0.49999994F));
  p = fma(p, r * r, r) + set(1.0F);
  return select(tiny, zero(), scaled(p, n));
}

// Within 2 ulp.
HEED_INLINE Vec tanh(Vec x) {
  const Vec a = magnitude(x);
  const Vec z = x * x;
  Vec p = set(-0.00570346694F);
  p = fma(p, z, set(0.0206377804F));
  p = fma(p, z, set(-0.0537393317F));
  p = fma(p, z, set(0.133314371F));
  p = fma(p, z, set(-0.333332807F));
  const Vec small = fma(p * z, x, x);
  const Vec big = set(1.0F) - set(2.0F) / (exp(a + a) + set(1.0F));
  return select(less(a, set(0.625F)), small, with_sign_of(big, x));
}

// log(1 + exp(x)), within 4 ulp: y = exp(-|x|) is in [0, 1], and log(1 + y) = 2 atanh(y / (2 + y)).
HEED_INLINE Vec softplus(Vec x) {
  const Vec y = exp(zero() - magnitude(x));
  const Vec s = y / (set(2.0F) + y);
  const Vec z = s * s;
  Vec p = set(0.140059933F);
  p = fma(p, z, set(0.140009031F));
  p = fma(p, z, set(0.200107634F));
  p = fma(p, z, set(0.333332092F));
  const Vec half = fma(p * z, s, s);
  return max(zero(), x) + (half + half);
}

// For z >= 0, relative error below 1e-6 while the result is normal: exp(-z^2) t P(t), t = 1 / (1 + 0.3 z).
HEED_INLINE Vec erfc(Vec z) {
  z = min(set(12.0F), z);  // 0 from there on, and the square stays finite
  const Vec t = set(1.0F) / fma(set(0.3F), z, set(1.0F));
  Vec p = set(-0.129554108F);
  p = fma(p, t, set(0.485727042F));
  p = fma(p, t, set(-0.512646914F));
  p = fma(p, t, set(0.548184276F));
  p = fma(p, t, set(-0.0950074643F));
  p = fma(p, t, set(0.215097174F));
  p = fma(p, t, set(0.148289219F));
  p = fma(p, t, set(0.170723334F));
  p = fma(p, t, set(0.169187441F));
  const Vec square = z * z;
  const Vec rest = fma(z, z, zero() - square);  // what the square lost in rounding
  return exp(zero() - square) * (t * p) * (set(1.0F) - rest);
}

}  // namespace
}  // namespace heed
