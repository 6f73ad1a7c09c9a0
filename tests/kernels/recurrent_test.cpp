// Recurrent layers: ref by hand, every backend against the closed form of a chunk in double precision, and
// the cpu backend against ref on every instruction set.
#include <gtest/gtest.h>

#include "tests/kernels/cases_recurrent.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/on_isa.h"

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

TEST(RefRecurrent, short_conv_remembers_the_tokens_before) {
  Ref ref;
  std::vector<float> x = {10, 20, 30};
  std::vector<float> weight = {1, 2, 3};
  std::vector<float> bias = {0.5F};
  std::vector<float> state = {5, 7, -1, -1};  // slot 0: the tokens 5 and 7
  std::vector<float> out(3);
  const int32_t seq_start[] = {0, 3};
  const int32_t slot = 0;
  const StateSave save = {1, 1};
  ShortConvArgs args = {.x = view(x, {3, 1}),
                        .weight = view(weight, {1, 3}),
                        .bias = view(bias, {1}),
                        .silu = false,
                        .state = {.slots = view(state, {2, 2, 1}),
                                  .seq_start = seq_start,
                                  .sequences = 1,
                                  .slot = &slot,
                                  .saves = {&save, 1}},
                        .out = view(out, {3, 1})};
  ref.kernels.short_conv(ref.stream, args);
  EXPECT_EQ(out, (std::vector<float>{5 + 14 + 30 + 0.5F, 7 + 20 + 60 + 0.5F, 10 + 40 + 90 + 0.5F}));
  EXPECT_EQ(state, (std::vector<float>{20, 30, 10, 20}));
  args.silu = true;
  args.bias = {};
  state = {0, 0, 0, 0};
  x = {1, -1, 0};
  ref.kernels.short_conv(ref.stream, args);
  EXPECT_FLOAT_EQ(out[0], static_cast<float>(3 / (1 + std::exp(-3.0))));
  EXPECT_FLOAT_EQ(out[1], static_cast<float>(-1 / (1 + std::exp(1.0))));
}

TEST(RefRecurrent, linear_attention_decays_adds_and_then_answers) {
  Ref ref;
  std::vector<float> q = {1, 10, 0, 1};
  std::vector<float> k = {2, 3, 4, 0};
  std::vector<float> v = {5, 7};
  std::vector<float> state = {8, 16};  // of keys 0 and 1
  std::vector<float> out(2);
  const float slope = std::log(2.0F);
  const int32_t seq_start[] = {0, 2};
  const int32_t slot = 0;
  ref.kernels.linear_attention(
      ref.stream,
      {.q = view(q, {2, 1, 2}),
       .k = view(k, {2, 1, 2}),
       .v = view(v, {2, 1, 1}),
       .slopes = &slope,
       .scale = 2,
       .state = {.slots = view(state, {1, 1, 2, 1}), .seq_start = seq_start, .sequences = 1, .slot = &slot},
       .out = view(out, {2, 1, 1})});
  // After the first token: (4 + 10, 8 + 15); after the second: (7 + 28, 11.5).
  EXPECT_FLOAT_EQ(out[0], 2 * (14 + 230));
  EXPECT_FLOAT_EQ(out[1], 23);
  EXPECT_FLOAT_EQ(state[0], 35);
  EXPECT_FLOAT_EQ(state[1], 11.5F);
}

TEST(RefRecurrent, the_delta_rule_corrects_what_the_state_says_of_a_key) {
  Ref ref;
  std::vector<float> q = {1, 1};
  std::vector<float> k = {1, 0.5F};
  std::vector<float> v = {3, 100};
  std::vector<float> decay = {std::log(0.5F), 0};
  std::vector<float> beta = {0.5F, 0};
  std::vector<float> state = {4, 8, 6, 2};  // head 0: keys 0 and 1, head 1 likewise
  std::vector<float> out(2);
  const int32_t seq_start[] = {0, 1};
  const int32_t slot = 0;
  ref.kernels.gated_delta(
      ref.stream,
      {.q = view(q, {1, 1, 2}),
       .k = view(k, {1, 1, 2}),
       .v = view(v, {1, 2, 1}),
       .decay = view(decay, {1, 2}),
       .beta = view(beta, {1, 2}),
       .state = {.slots = view(state, {1, 2, 2, 1}), .seq_start = seq_start, .sequences = 1, .slot = &slot},
       .out = view(out, {1, 2, 1})});
  // Head 0: (2, 4) says 4 of the key, 3 was wanted: half of -1 times the key is added. Head 1 stays.
  EXPECT_FLOAT_EQ(state[0], 1.5F);
  EXPECT_FLOAT_EQ(state[1], 3.75F);
  EXPECT_FLOAT_EQ(out[0], 5.25F);
  EXPECT_EQ(state[2], 6);
  EXPECT_EQ(state[3], 2);
  EXPECT_EQ(out[1], 8);
}

TEST(RefRecurrent, gates_by_their_formulas_in_double_precision) {
  Ref ref;
  std::vector<float> a_log = {-2, 0, 1};
  std::vector<float> dt_bias = {0.5F, -1, 3};
  std::vector<float> a = {-30, 0, 2, -4, 17, 18};
  std::vector<float> b = {-50, 0, 3, 1, -1, 50};
  const std::vector<float> a_before = a;
  const std::vector<float> b_before = b;
  ref.kernels.delta_gates(
      ref.stream,
      {.a_log = view(a_log, {3}), .dt_bias = view(dt_bias, {3}), .a = view(a, {2, 3}), .b = view(b, {2, 3})});
  for (size_t i = 0; i < a.size(); ++i) {
    const double decay =
        -std::exp(double{a_log[i % 3]}) * std::log1p(std::exp(double{a_before[i]} + dt_bias[i % 3]));
    EXPECT_NEAR(a[i], decay, 1e-6 * std::abs(decay));
    const double beta = 1 / (1 + std::exp(-double{b_before[i]}));
    EXPECT_NEAR(b[i], beta, 1e-6 * beta);
  }
}

// ---- The closed forms: a chunk of tokens at once, in double precision. ----

constexpr int64_t kChunk = 64;
using Matrix = std::vector<std::vector<double>>;

Matrix zeros(int64_t rows, int64_t cols) {
  return Matrix(static_cast<size_t>(rows), std::vector<double>(static_cast<size_t>(cols), 0.0));
}

// Head h's rows of tokens [begin, end).
Matrix rows_of(const Tensor& t, int64_t head, int64_t begin, int64_t end) {
  Matrix m;
  for (int64_t i = begin; i < end; ++i) {
    m.emplace_back();
    for (int64_t j = 0; j < t.size[2]; ++j)
      m.back().push_back(read(t, i * t.stride[0] + head * t.stride[1] + j));
  }
  return m;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// a^T S, a column of S after the other.
std::vector<double> times(const std::vector<double>& a, const Matrix& s) {
  std::vector<double> out(s.empty() ? 0 : s[0].size(), 0.0);
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < out.size(); ++j) out[j] += a[i] * s[i][j];
  }
  return out;
}

void add_outer(Matrix& s, double factor, const std::vector<double>& k, const std::vector<double>& v) {
  for (size_t i = 0; i < k.size(); ++i) {
    for (size_t j = 0; j < v.size(); ++j) s[i][j] += factor * k[i] * v[j];
  }
}

struct Chunk {
  Matrix q, k, v;
  std::vector<double> decay, beta;  // of each token
};

// S and outputs of tokens with the decay of each, and values as they are added to S.
Matrix answer(const Chunk& c, const Matrix& added, Matrix& s) {
  const size_t n = c.q.size();
  std::vector<double> total(n);  // log of the decay from the chunk's beginning to after token i
  for (size_t i = 0; i < n; ++i) total[i] = c.decay[i] + (i > 0 ? total[i - 1] : 0);
  Matrix out;
  for (size_t i = 0; i < n; ++i) {
    out.push_back(times(c.q[i], s));
    for (double& value : out.back()) value *= std::exp(total[i]);
    for (size_t j = 0; j <= i; ++j) {
      const double weight = dot(c.q[i], c.k[j]) * std::exp(total[i] - total[j]);
      for (size_t d = 0; d < added[j].size(); ++d) out.back()[d] += weight * added[j][d];
    }
  }
  for (auto& row : s) {
    for (double& value : row) value *= std::exp(total[n - 1]);
  }
  for (size_t j = 0; j < n; ++j) add_outer(s, std::exp(total[n - 1] - total[j]), c.k[j], added[j]);
  return out;
}

// The delta rule's added values: (I + A) V' = beta (v - e^total S^T k), A_ij = beta_i (k_i . k_j)
// decay(j..i).
Matrix corrections(const Chunk& c, const Matrix& s) {
  Matrix added;
  std::vector<double> total;
  for (size_t i = 0; i < c.k.size(); ++i) {
    total.push_back(c.decay[i] + (i > 0 ? total[i - 1] : 0));
    std::vector<double> row = times(c.k[i], s);
    for (size_t d = 0; d < row.size(); ++d) row[d] = c.beta[i] * (c.v[i][d] - std::exp(total[i]) * row[d]);
    for (size_t j = 0; j < i; ++j) {
      const double a = c.beta[i] * dot(c.k[i], c.k[j]) * std::exp(total[i] - total[j]);
      for (size_t d = 0; d < row.size(); ++d) row[d] -= a * added[j][d];
    }
    added.push_back(row);
  }
  return added;
}

// chunk_of(head, begin, end) for all tokens of every sequence: the outputs, and the states as they are left.
struct Exact {
  std::vector<double> out, states;
};
template <class ChunkOf>
Exact closed_form(const StateProblem& p, int64_t heads, int64_t k_dim, int64_t v_dim, bool delta,
                  ChunkOf chunk_of) {
  Exact exact;
  exact.out.resize(static_cast<size_t>(p.tokens() * heads * v_dim));
  for (size_t s = 0; s < p.slot.size(); ++s) {
    const std::vector<float> before = p.state_of(p.slot[s]);
    for (int64_t h = 0; h < heads; ++h) {
      Matrix state = zeros(k_dim, v_dim);
      for (int64_t i = 0; i < k_dim * v_dim; ++i) {
        state[static_cast<size_t>(i / v_dim)][static_cast<size_t>(i % v_dim)] =
            before[static_cast<size_t>(h * k_dim * v_dim + i)];
      }
      for (int64_t t = p.seq_start[s]; t < p.seq_start[s + 1]; t += kChunk) {
        const Chunk chunk = chunk_of(h, t, std::min<int64_t>(t + kChunk, p.seq_start[s + 1]));
        const Matrix out = answer(chunk, delta ? corrections(chunk, state) : chunk.v, state);
        for (size_t i = 0; i < out.size(); ++i) {
          std::copy(out[i].begin(), out[i].end(),
                    exact.out.begin() + ((t + static_cast<int64_t>(i)) * heads + h) * v_dim);
        }
      }
      for (const auto& row : state) exact.states.insert(exact.states.end(), row.begin(), row.end());
    }
  }
  return exact;
}

std::vector<RecurrentCase> long_cases() {
  return {{"long", {300, 1, 64, 129}, 1, 2, 128, 128}, {"narrow", {200, 65}, 2, 4, 20, 30}};
}

void linear_attention_equals_its_closed_form(const Kernels& kernels, Stream& stream) {
  for (const RecurrentCase& c : long_cases()) {
    SCOPED_TRACE(c.name);
    LinearAttentionProblem p(c, 21);
    const Exact want =
        closed_form(p.state, c.v_heads, c.k_dim, c.v_dim, false, [&](int64_t h, int64_t begin, int64_t end) {
          Chunk chunk = {rows_of(p.q.t, h, begin, end),
                         rows_of(p.k.t, h, begin, end),
                         rows_of(p.v.t, h, begin, end),
                         {},
                         {}};
          chunk.decay.assign(chunk.q.size(), -p.slopes[static_cast<size_t>(h)]);
          for (auto& row : chunk.q) {
            for (double& value : row) value *= p.args.scale;
          }
          return chunk;
        });
    p.run(kernels, stream);
    expect_close(p.out.values(), want.out, "recurrence in closed form");
    expect_close(p.state.states(), want.states, "recurrence in closed form");
  }
}

void gated_delta_equals_its_closed_form(const Kernels& kernels, Stream& stream) {
  for (const RecurrentCase& c : long_cases()) {
    SCOPED_TRACE(c.name);
    GatedDeltaProblem p(c, 22);
    const int64_t group = c.v_heads / c.k_heads;
    const auto gates = [](const Tensor& t, int64_t head, int64_t begin, int64_t end) {
      std::vector<double> all;
      for (int64_t i = begin; i < end; ++i) all.push_back(read(t, i * t.stride[0] + head));
      return all;
    };
    const Exact want =
        closed_form(p.state, c.v_heads, c.k_dim, c.v_dim, true, [&](int64_t h, int64_t begin, int64_t end) {
          const int64_t from = c.tiled ? h % c.k_heads : h / group;
          return Chunk{rows_of(p.q.t, from, begin, end), rows_of(p.k.t, from, begin, end),
                       rows_of(p.v.t, h, begin, end), gates(p.decay.t, h, begin, end),
                       gates(p.beta.t, h, begin, end)};
        });
    p.run(kernels, stream);
    expect_close(p.out.values(), want.out, "recurrence in closed form");
    expect_close(p.state.states(), want.states, "recurrence in closed form");
  }
}

TEST(RefRecurrent, a_recurrence_equals_its_closed_form_over_chunks) {
  Ref ref;
  linear_attention_equals_its_closed_form(ref.kernels, ref.stream);
  gated_delta_equals_its_closed_form(ref.kernels, ref.stream);
}

// ---- cpu ----

class CpuRecurrent : public OnIsa {
 protected:
  ThreadPool one{1};
  Stream one_stream{&one};
};
INSTANTIATE_ON_ISA(CpuRecurrent);

TEST_P(CpuRecurrent, a_recurrence_equals_its_closed_form_over_chunks) {
  linear_attention_equals_its_closed_form(*kernels, stream);
  gated_delta_equals_its_closed_form(*kernels, stream);
}

// body(problem type) for each recurrent op, as a value that says its type.
template <class Body>
void for_ops(Body body) {
  body(static_cast<ShortConvProblem*>(nullptr));
  body(static_cast<LinearAttentionProblem*>(nullptr));
  body(static_cast<GatedDeltaProblem*>(nullptr));
}

TEST_P(CpuRecurrent, ops_equal_ref_and_touch_no_other_slot) {
  for_ops([&]<class Problem>(Problem*) {
    for (const RecurrentCase& c : recurrent_cases()) {
      SCOPED_TRACE(std::string(Problem::kName) + ": " + c.name);
      Problem want(c, 23);
      Problem got(c, 23);
      want.run(ref, stream);
      got.run(*kernels, stream);
      const std::string op(Problem::kName);
      expect_close(got.out.values(), want.out.values(), op);
      expect_close(got.state.states(), want.state.states(), suffixed(op + " state", c.state));
      EXPECT_TRUE(want.state.others_untouched()) << "ref";
      EXPECT_TRUE(got.state.others_untouched());
    }
  });
}

TEST_P(CpuRecurrent, a_sequence_has_the_same_bits_alone_and_in_a_batch_on_every_number_of_threads) {
  for_ops([&]<class Problem>(Problem*) {
    for (const RecurrentCase& c : recurrent_cases()) {
      SCOPED_TRACE(std::string(Problem::kName) + ": " + c.name);
      Problem alone(c, 25);
      for (size_t s = 0; s < c.tokens.size(); ++s) {
        alone.run_tokens(*kernels, one_stream, static_cast<int>(s), alone.state.seq_start[s],
                         alone.state.seq_start[s + 1]);
      }
      for (int threads = 1; threads <= 3; ++threads) {
        ThreadPool other(threads);
        Stream other_stream{&other};
        Problem batch(c, 25);
        batch.run(*kernels, other_stream);
        ASSERT_TRUE(same_bits(batch.out.values(), alone.out.values())) << threads << " threads";
        ASSERT_EQ(batch.state.memory.memory, alone.state.memory.memory) << threads << " threads";
      }
    }
  });
}

TEST_P(CpuRecurrent, a_sequence_has_the_same_bits_wherever_it_is_cut) {
  for_ops([&]<class Problem>(Problem*) {
    for (const RecurrentCase& c : recurrent_cases()) {
      if (c.state != DType::kF32) continue;
      SCOPED_TRACE(std::string(Problem::kName) + ": " + c.name);
      Problem whole(c, 27);
      whole.run(*kernels, one_stream);
      const int most = c.tokens.empty() ? 0 : *std::max_element(c.tokens.begin(), c.tokens.end());
      for (int cut = 1; cut < most; ++cut) {
        Problem parts(c, 27);
        for (size_t s = 0; s < c.tokens.size(); ++s) {
          const int32_t begin = parts.state.seq_start[s];
          const int32_t end = parts.state.seq_start[s + 1];
          const int32_t middle = std::min(begin + cut, end);
          parts.run_tokens(*kernels, one_stream, static_cast<int>(s), begin, middle);
          parts.run_tokens(*kernels, one_stream, static_cast<int>(s), middle, end);
        }
        ASSERT_TRUE(same_bits(parts.out.values(), whole.out.values())) << "cut after " << cut;
        ASSERT_EQ(parts.state.memory.memory, whole.state.memory.memory) << "cut after " << cut;
      }
    }
  });
}

TEST_P(CpuRecurrent, a_saved_state_is_the_one_that_the_sequence_would_have_been_left_with) {
  for_ops([&]<class Problem>(Problem*) {
    for (const RecurrentCase& c : recurrent_cases()) {
      SCOPED_TRACE(std::string(Problem::kName) + ": " + c.name);
      Problem whole(c, 29);
      whole.run(*kernels, one_stream);
      const size_t count = whole.state.saves.size();
      for (size_t i = 0; i < count; i += 1 + count / 16) {  // of very many, some
        const StateSave& save = whole.state.saves[i];
        size_t s = 0;
        while (whole.state.seq_start[s + 1] <= save.token) ++s;
        Problem part(c, 29);
        part.run_tokens(*kernels, one_stream, static_cast<int>(s), part.state.seq_start[s], save.token + 1);
        ASSERT_TRUE(same_bits(part.state.state_of(part.state.slot[s]), whole.state.state_of(save.slot)))
            << "after token " << save.token;
      }
    }
  });
}

TEST_P(CpuRecurrent, gates_equal_ref) {
  for (const auto& [tokens, heads] : {std::pair{1, 1}, {1, 32}, {7, 48}, {300, 5}, {0, 4}}) {
    Random random(31);
    Array a_log(DType::kF32, {heads});
    Array dt_bias(DType::kF32, {heads});
    Array want_a(DType::kF32, {tokens, heads}, 3);
    Array want_b(DType::kF32, {tokens, heads}, 3);
    a_log.fill(random, -3, 3);
    dt_bias.fill(random, -2, 2);
    want_a.fill(random, -30, 30);
    want_b.fill(random, -30, 30);
    Array got_a = want_a;
    Array got_b = want_b;
    got_a.t.data = got_a.memory.data();
    got_b.t.data = got_b.memory.data();
    ref.delta_gates(stream, {.a_log = a_log.t, .dt_bias = dt_bias.t, .a = want_a.t, .b = want_b.t});
    kernels->delta_gates(stream, {.a_log = a_log.t, .dt_bias = dt_bias.t, .a = got_a.t, .b = got_b.t});
    expect_close(got_a.values(), want_a.values(), "delta_gates");
    expect_close(got_b.values(), want_b.values(), "delta_gates");
  }
}

}  // namespace
}  // namespace heed
