// The ops that are made of others, on the device: against ref over the common cases.
#include "tests/kernels/cases_fused.h"
#include "tests/kernels/cuda/gpu.h"

namespace heed {
namespace {

using namespace cases;

class CudaFused : public Gpu {
 protected:
  static std::string suffixed(std::string op, DType dtype) {
    return dtype == DType::kBF16 ? op + " bfloat16" : dtype == DType::kE4M3 ? op + " fp8" : op;
  }
  // The arguments with everything on the device.
  LinearsArgs there(const LinearsCase& c, LinearsProblem& p, std::vector<Tensor>& outs) {
    LinearsArgs args = p.args;
    args.x = put(p.x);
    if (args.norm.defined()) args.norm = put(p.norm);
    if (args.normalise) args.h = put(p.h);
    std::vector<Tensor> weights, biases;
    for (const Array& weight : p.weights) weights.push_back(put(weight));
    for (const Array& bias : p.biases) biases.push_back(c.bias ? put(bias) : Tensor());
    for (const Array& out : p.outs) outs.push_back(put(out));
    LinearsProblem::set_parts(c, weights, biases, outs, args);
    if (args.gated) args.inner = put(p.inner);
    return args;
  }
  void expect_equals_ref(const LinearsCase& c);
  void expect_same_bits(int64_t most, std::initializer_list<int64_t> some_rows);
  void back(LinearsProblem& p, const LinearsArgs& args, const std::vector<Tensor>& outs) {
    for (size_t i = 0; i < outs.size(); ++i) get(p.outs[i], outs[i]);
    if (args.gated) get(p.inner, args.inner);
  }
};

void CudaFused::expect_equals_ref(const LinearsCase& c) {
  SCOPED_TRACE(name_of(c));
  LinearsProblem want(c, 5);
  LinearsProblem got(c, 5);
  if (!c.normalise) {  // x that bfloat16 holds: then rounding it changes nothing
    for (LinearsProblem* p : {&want, &got})
      for_each(p->x.t, [&](int64_t at) { write(p->x.t, at, rounded_to_bf16(read(p->x.t, at))); });
  }
  ref.linears(host, want.args);
  std::vector<Tensor> outs;
  const LinearsArgs args = there(c, got, outs);
  cuda.linears(stream, args);
  back(got, args, outs);
  forget();
  // A step of bfloat16 in what a norm gives moves sums, too.
  const bool rounds = c.normalise && c.x == DType::kBF16;
  const std::string op = rounds ? "linears rounded" : "linears";
  expect_close(got.results(), want.results(), c.gated ? suffixed(op + " gated", c.inner) : op);
}

TEST_F(CudaFused, linears_equal_ref) {
  for (const LinearsCase& c : linears_cases()) expect_equals_ref(c);
}

// So many outputs that each cluster has several tiles of them.
TEST_F(CudaFused, many_outputs_of_dozens_of_rows_equal_ref) {
  expect_equals_ref({.tokens = 32, .in = 128, .outs = {40000}, .bias = true});
  expect_equals_ref({.tokens = 64, .in = 128, .outs = {40000}, .bias = true});
  expect_equals_ref({.tokens = 32, .in = 3584, .outs = {18944}});
}

// Of `most` rows the last: alone or with any of these numbers beside it.
void CudaFused::expect_same_bits(int64_t most, std::initializer_list<int64_t> some_rows) {
  const LinearsCase c = {.tokens = most, .in = 2048, .outs = {40, 72}, .normalise = true};
  LinearsProblem whole(c, 3);
  std::vector<Tensor> outs;
  const LinearsArgs args = there(c, whole, outs);
  cuda.linears(stream, args);
  back(whole, args, outs);
  const std::vector<float> all = whole.outs[1].values();
  for (const int64_t rows : some_rows) {
    LinearsProblem some(c, 3);
    std::vector<Tensor> unused;
    LinearsArgs part = there(c, some, unused);
    part.x = part.x.slice(most - rows, most);
    part.h = part.h.slice(most - rows, most);
    for (int i = 0; i < 2; ++i) part.parts[i].out = part.parts[i].out.slice(0, rows);
    cuda.linears(stream, part);
    EXPECT_TRUE(same_bits(get(part.parts[1].out.as<const float>(), static_cast<size_t>(rows * 72)),
                          std::vector<float>(all.end() - rows * 72, all.end())))
        << rows;
  }
}

TEST_F(CudaFused, a_row_has_the_same_bits_whatever_few_are_beside_it) {
  if (!device->hopper()) GTEST_SKIP() << "the kernel is for sm_90";
  expect_same_bits(8, {1, 2, 3, 5, 7});
}

TEST_F(CudaFused, a_row_has_the_same_bits_whatever_dozens_are_beside_it) {
  if (!device->hopper()) GTEST_SKIP() << "the kernel is for sm_90";
  expect_same_bits(32, {9, 15, 16, 17, 18, 25, 31});
  expect_same_bits(64, {33, 40, 63});
}

TEST_F(CudaFused, finished_heads_equal_ref) {
  for (const HeadsCase& c : heads_cases()) {
    SCOPED_TRACE(std::to_string(c.tokens) + " tokens, head_dim " + std::to_string(c.head_dim));
    HeadsProblem want(c, 7);
    HeadsProblem got(c, 7);
    ref.finish_heads(host, want.args);
    FinishHeadsArgs args = got.args;
    if (c.queries) args.q = put(got.q);
    if (args.q_norm.defined()) args.q_norm = put(got.q_norm);
    if (args.k_norm.defined()) args.k_norm = put(got.k_norm);
    if (c.pairs > 0) {
      args.cos = put(got.cos);
      args.sin = put(got.sin);
    }
    if (c.keys) {
      args.k = put(got.k);
      args.v = put(got.v);
      args.slots = put(got.slots);
      args.kv = {.k = put(got.k_cache), .v = put(got.v_cache)};
      if (got.scales.t.defined()) args.kv.v_scale = put(got.scales);
    }
    cuda.finish_heads(stream, args);
    if (c.queries) get(got.q, args.q);
    if (c.keys) {
      get(got.k_cache, args.kv.k);
      get(got.v_cache, args.kv.v);
    }
    forget();
    expect_close(got.q.values(), want.q.values(), "finish_heads");
    for (const auto& [mine, theirs] : {std::pair{&got.k_cache, &want.k_cache}, {&got.v_cache, &want.v_cache}})
      expect_close(mine->values(), theirs->values(), suffixed("finish_heads", c.cache));
  }
}

}  // namespace
}  // namespace heed
