// How near a kernel's results must be to the definition: one table, with the reason of each figure.
#pragma once
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

namespace heed::cases {

struct Tolerance {
  std::string_view op;
  float relative, absolute;
  std::string_view reason;
};

inline constexpr Tolerance kTolerances[] = {
    {"embed", 0, 0, "one product, rounded once"},
    {"kv_write", 0, 0, "one rounding"},
    {"add", 0, 0, "one sum, rounded once"},
    {"add scaled", 0, 2e-7F, "two products and a sum of values below 2"},
    {"scale", 0, 0, "one product, rounded once"},
    {"scale_rows sigmoid", 2e-6F, 0, "2 ulp of exp and the quotient"},
    {"gather_rows", 0, 0, "a copy"},
    {"rope_table", 0, 0, "the same libm on both sides"},
    {"rope", 0, 3e-7F, "two products and a sum of values below 2"},
    {"rms_norm", 2e-6F, 1e-6F, "a sum of up to 1024 squares in another order, accumulated to values near 1"},
    {"rms_norm bfloat16", 0.008F, 1e-6F, "one step of bfloat16 where the value lies between two"},
    {"linear", 0, 4e-5F,
     "320 partial sums below 16 in another order: each rounds to 5e-7, together some 4 sigma of 9e-6"},
    {"linear bfloat16", 0, 4e-5F, "products of bfloat16 are exact in float32; the sums as for linear"},
    {"linear blocks", 0, 2e-4F,
     "768 products of sum below 100: of each group one product, in ref 32, rounded to 4e-6 of it, in another "
     "order"},
    {"gated_act", 2e-6F, 2.5e-7F,
     "2 ulp each of exp and the quotient; the definition's 1 + tanh and 1 + erf round to 6e-8"},
    {"gated_act bfloat16", 0.008F, 2.5e-7F, "one step of bfloat16"},
    {"moe_route", 3e-6F, 0,
     "2 ulp each of exp and of two quotients; sums of up to 512 scores in another order"},
    {"expert_sum", 0, 1e-6F, "8 products below 1, summed with one rounding each instead of two"},
    {"short_conv", 1e-6F, 1e-6F, "5 products below 1 in another order; 2 ulp each of exp and the quotient"},
    {"short_conv state", 0, 0, "a copy"},
    {"short_conv state bfloat16", 0, 0, "a copy, rounded once"},
    {"linear_attention", 0, 2e-6F, "128 products of sum below 4 in another order"},
    {"linear_attention state", 0, 2e-6F, "one rounding of values below 4 a token, forgotten with the state"},
    {"linear_attention state bfloat16", 0.008F, 2e-6F, "one step of bfloat16"},
    {"gated_delta", 0, 4e-6F, "two sums of 128 products below 4 in another order"},
    {"gated_delta state", 0, 4e-6F, "as the sums of gated_delta, forgotten with the state"},
    {"gated_delta state bfloat16", 0.008F, 4e-6F, "one step of bfloat16"},
    {"linear_attention chunks", 0, 1e-4F, "sums of up to 128 products of sum below 4, each 2^-16 off"},
    {"linear_attention state chunks", 0, 1e-4F, "the same"},
    {"gated_delta chunks", 0, 1e-4F, "the same, through a chunk's inverse"},
    {"gated_delta state chunks", 0, 1e-4F, "the same"},
    {"recurrence in closed form", 0, 1e-5F, "float32 sums of values below 8, against double precision"},
    {"delta_gates", 2e-6F, 1e-37F, "2 ulp each of two exp, a logarithm and a quotient"},
    {"layer_norm", 2e-6F, 2e-6F, "two sums of up to 1024 values below 8 in another order"},
    {"layer_norm bfloat16", 0.008F, 2e-6F, "one step of bfloat16"},
    {"clamp", 0, 0, "no arithmetic"},
    {"standardise", 0, 0, "one difference and one product, each rounded once"},
    {"average_patches", 0, 1e-6F, "16 values below 1 in another order, a quotient and a product"},
    {"temper", 1e-6F, 0, "log1p within 2 ulp"},
    {"softcap", 1e-6F, 1e-7F, "tanh within 2 ulp"},
    {"attention", 2e-5F, 1e-5F,
     "scores up to 60 round to 4e-6, and exp makes that a relative error of the weights"},
    {"attention bfloat16", 0.008F, 1e-5F, "one step of bfloat16"},
    {"attention flash", 0, 5e-3F, "weights rounded to bfloat16: 2^-9 of values up to 2, and a sum of 1"},
    {"attention flash bfloat16", 0.008F, 5e-3F, "the same, and one step of bfloat16"},
    {"attention flash rounded", 0, 2e-2F, "the same, and queries rounded: scores within some 5e-3"},
    {"attention flash rounded bfloat16", 0.008F, 2e-2F, "the same, and one step of bfloat16"},
    {"linears", 0, 1e-4F, "as linear, of up to 4160 products below 1"},
    {"linears gated", 2e-6F, 2e-4F, "as linears, times a factor below 8"},
    {"linears gated bfloat16", 0.008F, 2e-4F, "the same, and one step of bfloat16"},
    {"linears rounded", 0, 2e-2F, "some of up to 2080 normalised values a step of bfloat16 off, times 0.3"},
    {"linears rounded gated", 2e-6F, 0.1F, "the same, times a factor below 8"},
    {"linears rounded gated bfloat16", 0.008F, 0.1F, "the same, and one step of bfloat16"},
    {"linears blocks", 0, 4e-4F, "as linear blocks, of up to 2048 products"},
    {"linears blocks gated", 2e-6F, 4e-3F, "the same, times a factor below 10"},
    {"finish_heads", 4e-6F, 2e-6F, "a norm, two products and a sum of values below 4, and a norm"},
    {"finish_heads bfloat16", 0.008F, 2e-6F, "the same, and one step of bfloat16"},
    {"finish_heads fp8", 0.13F, 2e-3F, "the same, and one step of E4M3: of numbers below 448, or of 2^-9"},
    {"rope_table cuda", 0, 4e-7F, "sine and cosine within 2 ulp of 1, times 1.25"},
};

inline Tolerance tolerance_of(std::string_view op) {
  for (const Tolerance& tolerance : kTolerances) {
    if (tolerance.op == op) return tolerance;
  }
  ADD_FAILURE() << "no tolerance for " << op;
  return {};
}

// NaN equals NaN only.
template <class Got, class Want>
void expect_close(const std::vector<Got>& got, const std::vector<Want>& want, std::string_view op) {
  const Tolerance tolerance = tolerance_of(op);
  ASSERT_EQ(got.size(), want.size()) << op;
  for (size_t i = 0; i < got.size(); ++i) {
    const auto w = static_cast<double>(want[i]);
    const auto g = static_cast<double>(got[i]);
    const double allowed = tolerance.absolute + tolerance.relative * std::abs(w);
    ASSERT_TRUE(g == w || std::abs(g - w) <= allowed || (std::isnan(g) && std::isnan(w)))
        << op << ": element " << i << " is " << g << ", should be " << w << " within " << allowed << " ("
        << tolerance.reason << ")";
  }
}

inline bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() &&
         (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0);
}

}  // namespace heed::cases
