// The ops that are made of others: those of cpu against ref's.
#include <gtest/gtest.h>

#include "kernels/cpu/cpu.h"
#include "kernels/parts.h"
#include "tests/kernels/cases_blocks.h"
#include "tests/kernels/cases_fused.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/on_isa.h"

namespace heed {
namespace {

using namespace cases;

class Fused : public OnIsa {};
INSTANTIATE_ON_ISA(Fused);

TEST_P(Fused, linears_equal_ref) {
  for (const LinearsCase& c : linears_cases()) {
    SCOPED_TRACE(name_of(c));
    LinearsProblem want(c, 5);
    LinearsProblem got(c, 5);
    ref.linears(stream, want.args);
    kernels->linears(stream, got.args);
    expect_close(got.results(), want.results(), c.gated ? suffixed("linears gated", c.inner) : "linears");
  }
}

TEST_P(Fused, finished_heads_equal_ref) {
  for (const HeadsCase& c : heads_cases()) {
    SCOPED_TRACE(std::to_string(c.tokens) + " tokens, head_dim " + std::to_string(c.head_dim));
    HeadsProblem want(c, 7);
    HeadsProblem got(c, 7);
    ref.finish_heads(stream, want.args);
    kernels->finish_heads(stream, got.args);
    expect_close(got.q.values(), want.q.values(), "finish_heads");
    for (const auto& [mine, theirs] : {std::pair{&got.k_cache, &want.k_cache}, {&got.v_cache, &want.v_cache}})
      expect_close(mine->values(), theirs->values(), suffixed("finish_heads", c.cache));
  }
}

// However the columns are cut and whoever computes them, a row has the bits that op by op gives it.
TEST_P(Fused, linears_are_their_parts_bit_for_bit) {
  for (const LinearsCase& c : linears_cases()) {
    SCOPED_TRACE(name_of(c));
    LinearsProblem want(c, 5);
    LinearsProblem got(c, 5);
    linears_by_parts(*kernels, stream, want.args);
    kernels->linears(stream, got.args);
    EXPECT_TRUE(same_bits(got.results(), want.results()));
  }
}

TEST_P(Fused, blocks_are_their_parts_bit_for_bit) {
  for (const DType dtype : {DType::kQ80, DType::kQ40, DType::kQ4K, DType::kQ8F}) {
    for (const bool gated : {false, true}) {
      for (const int64_t tokens : {1, 3, 40}) {
        SCOPED_TRACE(std::string(name_of(dtype)) + " " + std::to_string(tokens));
        const LinearsCase c = {
            .tokens = tokens, .in = 512, .outs = {130, 130}, .normalise = true, .gated = gated};
        Random random(3);
        const BlockArray gate(dtype, 130, 512, random);
        const BlockArray up(dtype, 130, 512, random, 1, 2);
        LinearsProblem want(c, 5);
        LinearsProblem got(c, 5);
        for (LinearsProblem* p : {&want, &got}) {
          p->args.parts[0].weight = gate.t;
          p->args.parts[1].weight = up.t;
        }
        linears_by_parts(*kernels, stream, want.args);
        kernels->linears(stream, got.args);
        EXPECT_TRUE(same_bits(got.results(), want.results()));
      }
    }
  }
}

TEST_P(Fused, one_part_is_a_linear_layer) {
  LinearsProblem p({.tokens = 3, .in = 64, .outs = {20}, .bias = true}, 1);
  p.args.count = 1;
  kernels->linears(stream, p.args);
  const std::vector<float> all = p.results();
  kernels->linear(stream, {.x = p.x.t, .weight = p.weights[0].t, .bias = p.biases[0].t, .out = p.outs[0].t});
  EXPECT_TRUE(same_bits(all, p.results()));
}

}  // namespace
}  // namespace heed
