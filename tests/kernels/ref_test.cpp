// The reference backend against values worked out by hand and against double-precision oracles that share no
// code.
#include "kernels/ref/ref.h"

#include <gtest/gtest.h>

#include "tests/kernels/cases.h"
#include "tests/kernels/compare.h"

namespace heed {
namespace {

using namespace cases;

struct Ref {
  ThreadPool pool{1};
  Stream stream{&pool};
  const Kernels& kernels = ref_kernels();
};

Tensor view(std::vector<float>& values, std::initializer_list<int64_t> sizes) {
  return Tensor(values.data(), DType::kF32, sizes);
}

TEST(Ref, linear_equals_a_sum_in_double_precision) {
  Ref ref;
  for (const LinearCase& c : linear_cases()) {
    LinearProblem problem(c, 7);
    const std::vector<float> before = problem.out.values();
    std::vector<double> want;
    for (int64_t t = 0; t < c.tokens; ++t) {
      for (int64_t o = 0; o < c.out; ++o) {
        double sum = c.bias ? read(problem.bias.t, o) : 0;
        if (c.accumulate) sum += before[static_cast<size_t>(t * c.out + o)];
        for (int64_t i = 0; i < c.in; ++i) {
          sum += double{read(problem.x.t, t * problem.x.t.stride[0] + i)} *
                 double{read(problem.weight.t, o * problem.weight.t.stride[0] + i)};
        }
        want.push_back(sum);
      }
    }
    if (c.shift % 4 != 0 && c.weight == DType::kF32) continue;  // ref reads floats where floats may lie
    ref.kernels.linear(ref.stream, problem.args);
    expect_close(problem.out.values(), want, "linear");
  }
}

TEST(Ref, rms_norm_of_three_four_is_by_hand) {
  Ref ref;
  std::vector<float> x = {3, 4};
  std::vector<float> weight = {1, 2};
  std::vector<float> out = {10, 10};
  RmsNormArgs args = {.x = view(x, {1, 2}), .weight = view(weight, {2}), .eps = 0, .out = view(out, {1, 2})};
  ref.kernels.rms_norm(ref.stream, args);
  EXPECT_FLOAT_EQ(out[0], 3 / std::sqrt(12.5F));
  EXPECT_FLOAT_EQ(out[1], 8 / std::sqrt(12.5F));
  args.accumulate = true;
  ref.kernels.rms_norm(ref.stream, args);
  EXPECT_FLOAT_EQ(out[1], 16 / std::sqrt(12.5F));
}

TEST(Ref, rope_turns_a_pair_by_a_quarter_and_leaves_the_rest) {
  Ref ref;
  std::vector<float> cos(1);
  std::vector<float> sin(1);
  const int32_t position = 1;
  const float frequency = 1.57079633F;
  ref.kernels.rope_table(ref.stream, {.positions = &position,
                                      .inverse_frequency = &frequency,
                                      .attention_factor = 2,
                                      .cos = view(cos, {1, 1}),
                                      .sin = view(sin, {1, 1})});
  EXPECT_NEAR(cos[0], 0, 1e-6);
  EXPECT_NEAR(sin[0], 2, 1e-6);
  std::vector<float> x = {1, 10, 5};
  ref.kernels.rope(ref.stream, {.cos = view(cos, {1, 1}), .sin = view(sin, {1, 1}), .x = view(x, {1, 1, 3})});
  EXPECT_NEAR(x[0], -20, 1e-5);
  EXPECT_NEAR(x[1], 2, 1e-5);
  EXPECT_EQ(x[2], 5);
}

TEST(Ref, rms_norm_without_weight_and_with_a_scale_is_the_euclidean_norm) {
  Ref ref;
  std::vector<float> x = {3, 4};
  ref.kernels.rms_norm(
      ref.stream, {.x = view(x, {1, 2}), .eps = 0, .scale = 1 / std::sqrt(2.0F), .out = view(x, {1, 2})});
  EXPECT_FLOAT_EQ(x[0], 0.6F);
  EXPECT_FLOAT_EQ(x[1], 0.8F);
}

TEST(Ref, interleaved_rope_turns_neighbours) {
  Ref ref;
  std::vector<float> cos = {0, 1};
  std::vector<float> sin = {1, 0};
  std::vector<float> x = {1, 2, 3, 4, 5};
  ref.kernels.rope(
      ref.stream,
      {.cos = view(cos, {1, 2}), .sin = view(sin, {1, 2}), .x = view(x, {1, 1, 5}), .interleaved = true});
  EXPECT_EQ(x, (std::vector<float>{-2, 1, 3, 4, 5}));
}

double exact_act(Act act, double x, double up) {
  switch (act) {
    case Act::kSilu:
      return up * x / (1 + std::exp(-x));
    case Act::kGelu:
      return up * 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Act::kGeluTanh:
      return up * 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Act::kRelu:
      return x > 0 ? up * x : 0;
    case Act::kSigmoid:
      return up / (1 + std::exp(-x));
    case Act::kClampedSwiglu: {
      const double g = x > 7 ? 7 : x;
      return g / (1 + std::exp(-1.702 * g)) * ((up > 7 ? 7 : up < -7 ? -7 : up) + 1);
    }
  }
  return 0;
}

TEST(Ref, activations_equal_their_formulas_in_double_precision) {
  Ref ref;
  for (const Act act : kActs) {
    std::vector<float> gate;
    for (float x = -12; x <= 12; x += 0.0625F) gate.push_back(x);
    std::vector<float> up;
    for (size_t i = 0; i < gate.size(); ++i) up.push_back(static_cast<float>(i % 21) - 10);
    std::vector<float> out(gate.size());
    const auto n = static_cast<int64_t>(gate.size());
    ref.kernels.gated_act(
        ref.stream,
        {.act = act, .gate = view(gate, {1, n}), .up = view(up, {1, n}), .out = view(out, {1, n})});
    for (size_t i = 0; i < gate.size(); ++i) {
      const double want = exact_act(act, gate[i], up[i]);
      EXPECT_NEAR(out[i], want, 3e-6 + 4e-7 * std::abs(want)) << static_cast<int>(act) << " of " << gate[i];
    }
  }
}

TEST(Ref, arg_max_is_the_first_of_the_largest_and_never_nan) {
  Ref ref;
  const float inf = INFINITY;
  std::vector<float> x = {1, 3, 3, NAN, NAN, -1, -2, -1, -inf, NAN, -inf, -inf};
  std::vector<int32_t> ids(3, -1);
  ref.kernels.arg_max(ref.stream, {.x = view(x, {3, 4}), .ids = ids.data()});
  EXPECT_EQ(ids, (std::vector<int32_t>{1, 1, 0}));
}

TEST(Ref, embed_gather_add_softcap_and_cache_writes_by_hand) {
  Ref ref;
  std::vector<float> table = {1, 2, 3, 4};
  std::vector<float> out(4);
  const int32_t ids[] = {1, 0};
  ref.kernels.embed(ref.stream,
                    {.table = view(table, {2, 2}), .ids = ids, .scale = 2, .out = view(out, {2, 2})});
  EXPECT_EQ(out, (std::vector<float>{6, 8, 2, 4}));
  ref.kernels.add(ref.stream, {.x = view(table, {2, 2}), .out = view(out, {2, 2})});
  EXPECT_EQ(out, (std::vector<float>{7, 10, 5, 8}));
  std::vector<float> sum = {1, 1};
  ref.kernels.add(ref.stream, {.x = view(table, {1, 2}), .scale = 3, .keep = 0.5F, .out = view(sum, {1, 2})});
  EXPECT_EQ(sum, (std::vector<float>{3.5F, 6.5F}));
  ref.kernels.scale(ref.stream, {.scale = 2, .x = view(sum, {1, 2})});
  EXPECT_EQ(sum, (std::vector<float>{7, 13}));
  std::vector<float> factors = {3, 0};
  ref.kernels.scale_rows(ref.stream, {.factors = view(factors, {2, 1}), .x = view(sum, {2, 1})});
  EXPECT_EQ(sum, (std::vector<float>{21, 0}));
  sum[1] = 8;
  factors[0] = 0;
  ref.kernels.scale_rows(ref.stream,
                         {.factors = view(factors, {2, 1}), .sigmoid = true, .x = view(sum, {2, 1})});
  EXPECT_EQ(sum, (std::vector<float>{10.5F, 4}));
  std::vector<float> picked(2);
  ref.kernels.gather_rows(ref.stream, {.x = view(out, {2, 2}), .rows = ids, .out = view(picked, {1, 2})});
  EXPECT_EQ(picked, (std::vector<float>{5, 8}));
  ref.kernels.softcap(ref.stream, {.cap = 4, .x = view(picked, {1, 2})});
  EXPECT_FLOAT_EQ(picked[0], static_cast<float>(4 * std::tanh(1.25)));
  std::vector<float> k = {1, 2, 3};
  std::vector<float> cache(4, -1);
  const int64_t slots[] = {2, -1, 1};
  ref.kernels.kv_write(ref.stream, {.k = view(k, {3, 1, 1}),
                                    .v = view(k, {3, 1, 1}),
                                    .slots = slots,
                                    .kv = {.k = view(cache, {2, 1, 2, 1}), .v = view(cache, {2, 1, 2, 1})}});
  EXPECT_EQ(cache, (std::vector<float>{-1, 3, 1, -1}));
}

// Dense scores in double precision, masked by the mask's own predicate.
std::vector<double> exact_attention(const AttentionProblem& p, const AttentionCase& c) {
  std::vector<double> out;
  for (size_t s = 0; s < c.sequences.size(); ++s) {
    for (int64_t t = p.seq_start[s]; t < p.seq_start[s + 1]; ++t) {
      for (int64_t h = 0; h < c.heads; ++h) {
        const int64_t kv = h / (c.heads / c.kv_heads);
        double total = c.sink_logits ? std::exp(double{p.sink_logits[static_cast<size_t>(h)]}) : 0;
        std::vector<double> sums(static_cast<size_t>(c.v_dim), 0.0);
        const int length = c.sequences[s].past + c.sequences[s].tokens;
        bool any = false;
        for (int key = 0; key < length; ++key) {
          if (!sees(p.rows[static_cast<size_t>(t)], key)) continue;
          any = true;
          const int64_t block =
              p.table[s * static_cast<size_t>(p.table_stride) + static_cast<size_t>(key / c.block)];
          const auto at = [&](const Tensor& tensor) {
            return block * tensor.stride[0] + kv * tensor.stride[1] + key % c.block * tensor.stride[2];
          };
          double score = 0;
          for (int64_t i = 0; i < c.head_dim; ++i) {
            score += double{read(p.q.t, t * p.q.t.stride[0] + h * p.q.t.stride[1] + i)} *
                     double{read(p.k.t, at(p.k.t) + i)};
          }
          score *= p.args.scale;
          if (c.softcap > 0) score = c.softcap * std::tanh(score / c.softcap);
          total += std::exp(score);
          for (int64_t i = 0; i < c.v_dim; ++i)
            sums[static_cast<size_t>(i)] += std::exp(score) * double{read(p.v.t, at(p.v.t) + i)};
        }
        for (const double sum : sums) out.push_back(any ? sum / total : 0);
      }
    }
  }
  return out;
}

TEST(Ref, attention_equals_a_dense_oracle_in_double_precision) {
  Ref ref;
  for (const AttentionCase& c : attention_cases()) {
    SCOPED_TRACE(c.name);
    AttentionProblem problem(c, 11);
    ref.kernels.attention[0].run(ref.stream, problem.args);
    expect_close(problem.out.values(), exact_attention(problem, c),
                 c.out == DType::kBF16 ? "attention bfloat16" : "attention");
  }
}

}  // namespace
}  // namespace heed
