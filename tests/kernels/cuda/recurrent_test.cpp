// Layers with a state on the cuda backend, against ref over the common cases.
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
  void expect_equals_ref(const std::function<void(Problem&, typename Problem::Args&)>& put_arrays,
                         const std::function<void(const typename Problem::Args&)>& run) {
    for (const RecurrentCase& c : recurrent_cases()) {
      SCOPED_TRACE(c.name);
      Problem want(c, 3), got(c, 3);
      want.run(ref, host);
      typename Problem::Args args = got.args;
      args.state = put_state(got.state);
      args.out = put(got.out);
      put_arrays(got, args);
      run(args);
      get(got.out, args.out);
      Tensor memory = got.state.memory.t;
      memory.data = args.state.slots.data;
      get(got.state.memory, memory);
      forget();
      const std::string name(Problem::kName);
      expect_close(got.out.values(), want.out.values(), name);
      const bool rounded = c.state == DType::kBF16;
      expect_close(got.state.states(), want.state.states(), name + " state" + (rounded ? " bfloat16" : ""));
      EXPECT_TRUE(got.state.others_untouched());
    }
  }
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
  expect_equals_ref<LinearAttentionProblem>(
      [&](LinearAttentionProblem& p, LinearAttentionArgs& args) {
        args.q = put(p.q);
        args.k = put(p.k);
        args.v = put(p.v);
        args.slopes = put(p.slopes);
      },
      [&](const LinearAttentionArgs& args) { cuda.linear_attention(stream, args); });
}

TEST_F(CudaRecurrent, gated_delta_equals_ref) {
  expect_equals_ref<GatedDeltaProblem>(
      [&](GatedDeltaProblem& p, GatedDeltaArgs& args) {
        args.q = put(p.q);
        args.k = put(p.k);
        args.v = put(p.v);
        args.decay = put(p.decay);
        args.beta = put(p.beta);
      },
      [&](const GatedDeltaArgs& args) { cuda.gated_delta(stream, args); });
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
