// Layers with a state on the cuda backend, against ref over the common cases.
#include <functional>

#include "tests/kernels/cases_recurrent.h"
#include "tests/kernels/cuda/gpu.h"

namespace heed {
namespace {

using namespace cases;

class CudaRecurrent : public Gpu {
 protected:
  // The state of a problem on the device; its slots are what `get` reads back.
  StateArgs put_state(const StateProblem& p) {
    StateArgs args = p.args();
    args.slots.data = put(p.memory).data;
    args.seq_start = put(p.seq_start);
    args.slot = put(p.slot);
    if (!p.saves.empty()) args.saves = {put(p.saves), p.saves.size()};
    return args;
  }

  template <class Problem>
  using PutArrays = std::function<void(Problem&, typename Problem::Args&)>;
  template <class Problem>
  using Run = std::function<void(const typename Problem::Args&)>;

  // Runs the problem on the device, and brings back what it wrote.
  template <class Problem>
  void run(Problem& p, typename Problem::Args& args, const Run<Problem>& op) {
    op(args);
    get(p.out, args.out);
    Tensor memory = p.state.memory.t;
    memory.data = args.state.slots.data;
    get(p.state.memory, memory);
    forget();
  }
  template <class Problem>
  typename Problem::Args put_problem(Problem& p, const PutArrays<Problem>& put_arrays) {
    typename Problem::Args args = p.args;
    args.state = put_state(p.state);
    args.out = put(p.out);
    put_arrays(p, args);
    return args;
  }

  template <class Problem>
  void expect_equals_ref(const PutArrays<Problem>& put_arrays, const Run<Problem>& op,
                         const std::vector<RecurrentCase>& all = recurrent_cases(),
                         const std::string& how = "") {
    for (const RecurrentCase& c : all) {
      SCOPED_TRACE(c.name);
      Problem want(c, 3), got(c, 3);
      want.run(ref, host);
      typename Problem::Args args = put_problem(got, put_arrays);
      run(got, args, op);
      const std::string name(Problem::kName);
      expect_close(got.out.values(), want.out.values(), name + how);
      const bool rounded = c.state == DType::kBF16;
      expect_close(got.state.states(), want.state.states(),
                   name + " state" + how + (rounded ? " bfloat16" : ""));
      EXPECT_TRUE(got.state.others_untouched());
    }
  }

  // Each sequence of a case alone has the bits that it has beside the others, and so have saved states.
  template <class Problem>
  void expect_same_bits_alone(const PutArrays<Problem>& put_arrays, const Run<Problem>& op,
                              const std::function<void(typename Problem::Args&, int32_t, int32_t)>& cut) {
    for (const RecurrentCase& c : chunk_cases()) {
      SCOPED_TRACE(c.name);
      Problem together(c, 3);
      typename Problem::Args all = put_problem(together, put_arrays);
      run(together, all, op);
      for (size_t s = 0; s < c.tokens.size(); ++s) {
        Problem alone(c, 3);
        typename Problem::Args args = put_problem(alone, put_arrays);
        const int32_t begin = alone.state.seq_start[s], end = alone.state.seq_start[s + 1];
        std::vector<StateSave> saves;
        for (const StateSave& save : alone.state.saves) {
          if (save.token >= begin && save.token < end) saves.push_back({save.token - begin, save.slot});
        }
        const Tensor out = args.out;
        cut(args, begin, end);
        args.out = out.slice(begin, end);
        args.state.seq_start = put(std::vector<int32_t>{0, end - begin});
        args.state.sequences = 1;
        args.state.slot += s;
        args.state.saves = {};
        if (!saves.empty()) args.state.saves = {put(saves), saves.size()};
        op(args);
        args.out = out;
        run(alone, args, [](const typename Problem::Args&) {});
        const int64_t row = together.out.t.size[1] * together.out.t.size[2];
        const std::vector<float> want = together.out.values(), got = alone.out.values();
        EXPECT_TRUE(same_bits({got.begin() + begin * row, got.begin() + end * row},
                              {want.begin() + begin * row, want.begin() + end * row}))
            << "sequence " << s;
        const int32_t slot = alone.state.slot[s];
        EXPECT_TRUE(same_bits(alone.state.state_of(slot), together.state.state_of(slot))) << "sequence " << s;
        for (const StateSave& save : saves) {
          EXPECT_TRUE(same_bits(alone.state.state_of(save.slot), together.state.state_of(save.slot)))
              << "save after " << save.token;
        }
      }
    }
  }

  // Sizes that run in chunks.
  static std::vector<RecurrentCase> chunk_cases() {
    return {
        {"chunks and short ones",
         {64, 200, 1, 129, 63},
         1,
         2,
         128,
         128,
         DType::kF32,
         {10, 63, 64, 150, 151, 263, 264, 300, 328, 456}},
        {"grouped heads", {130, 64}, 2, 4, 128, 64, DType::kF32, {}, 4},
        {"many chunks", {1500}, 1, 1, 128, 32},
        {"many chunks of some", {1500, 64, 0, 900, 66}, 1, 2, 128, 128, DType::kF32, {767, 768, 1563, 2463}},
        {"more columns than rows", {150, 0, 70}, 1, 2, 128, 160, DType::kF32, {100, 149, 151}}};
  }

  PutArrays<LinearAttentionProblem> put_linear = [&](LinearAttentionProblem& p, LinearAttentionArgs& args) {
    args.q = put(p.q);
    args.k = put(p.k);
    args.v = put(p.v);
    args.slopes = put(p.slopes);
  };
  Run<LinearAttentionProblem> run_linear = [&](const LinearAttentionArgs& args) {
    cuda.linear_attention(stream, args);
  };
  PutArrays<GatedDeltaProblem> put_delta = [&](GatedDeltaProblem& p, GatedDeltaArgs& args) {
    args.q = put(p.q);
    args.k = put(p.k);
    args.v = put(p.v);
    args.decay = put(p.decay);
    args.beta = put(p.beta);
  };
  Run<GatedDeltaProblem> run_delta = [&](const GatedDeltaArgs& args) { cuda.gated_delta(stream, args); };
};

TEST_F(CudaRecurrent, short_conv_equals_ref) {
  expect_equals_ref<ShortConvProblem>(
      [&](ShortConvProblem& p, ShortConvArgs& args) {
        args.x = put(p.x);
        args.weight = put(p.weight);
        if (args.bias.defined()) args.bias = put(p.bias);
      },
      [&](const ShortConvArgs& args) { cuda.short_conv(stream, args); });
}

TEST_F(CudaRecurrent, linear_attention_equals_ref) {
  expect_equals_ref<LinearAttentionProblem>(put_linear, run_linear);
  expect_equals_ref<LinearAttentionProblem>(put_linear, run_linear, chunk_cases(), " chunks");
}

TEST_F(CudaRecurrent, gated_delta_equals_ref) {
  expect_equals_ref<GatedDeltaProblem>(put_delta, run_delta);
  expect_equals_ref<GatedDeltaProblem>(put_delta, run_delta, chunk_cases(), " chunks");
}

TEST_F(CudaRecurrent, chunks_of_a_sequence_have_the_same_bits_alone) {
  const auto cut = [](auto& args, int32_t begin, int32_t end) {
    for (Tensor* t : {&args.q, &args.k, &args.v}) *t = t->slice(begin, end);
  };
  expect_same_bits_alone<LinearAttentionProblem>(put_linear, run_linear, cut);
  expect_same_bits_alone<GatedDeltaProblem>(put_delta, run_delta,
                                            [&](GatedDeltaArgs& args, int32_t begin, int32_t end) {
                                              cut(args, begin, end);
                                              args.decay = args.decay.slice(begin, end);
                                              args.beta = args.beta.slice(begin, end);
                                            });
}

TEST_F(CudaRecurrent, delta_gates_equal_ref) {
  for (const RowCase& c : row_cases()) {
    if (c.heads > 0) continue;
    Random random(11);
    Array a_log(DType::kF32, {c.dim}), dt_bias(DType::kF32, {c.dim});
    Array a(DType::kF32, {c.rows, c.dim}, c.pad), b(DType::kF32, {c.rows, c.dim}, c.pad);
    a_log.fill(random, -2, 3);
    dt_bias.fill(random);
    a.fill(random, -30, 30);
    b.fill(random, -8, 8);
    Array got_a = a, got_b = b;
    got_a.t.data = got_a.memory.data();
    got_b.t.data = got_b.memory.data();
    const DeltaGatesArgs args = {
        .a_log = put(a_log), .dt_bias = put(dt_bias), .a = put(got_a), .b = put(got_b)};
    cuda.delta_gates(stream, args);
    ref.delta_gates(host, {.a_log = a_log.t, .dt_bias = dt_bias.t, .a = a.t, .b = b.t});
    get(got_a, args.a);
    get(got_b, args.b);
    forget();
    expect_close(got_a.values(), a.values(), "delta_gates");
    expect_close(got_b.values(), b.values(), "delta_gates");
  }
}

}  // namespace
}  // namespace heed
