// Weights in blocks on the cuda backend, against ref with what they stand for: here rows are not rounded.
#include "kernels/cuda/block_few.h"
#include "kernels/parts.h"
#include "tests/kernels/cases_blocks.h"
#include "tests/kernels/cases_moe.h"
#include "tests/kernels/cuda/gpu.h"

namespace heed {
namespace {

using namespace cases;

// The matrix in float32, or rounded to what many rows of bfloat16 are multiplied with.
Array widened(const BlockArray& weight, bool rounds) {
  Array wide(DType::kF32, {weight.t.size[0], weight.t.size[1]});
  for (int64_t o = 0; o < weight.t.size[0]; ++o) {
    float* row = wide.t.as<float>() + o * wide.t.stride[0];
    widen_blocks(weight.t.dtype, weight.t.slice(o, o + 1).data, weight.t.size[1], row);
    for (int64_t i = 0; rounds && i < weight.t.size[1]; ++i) row[i] = rounded_to_bf16(row[i]);
  }
  return wide;
}

// In float32, as it is.
Array widened(const Array& x) {
  Array wide(DType::kF32, {x.t.size[0], x.t.size[1]});
  for (int64_t r = 0; r < x.t.size[0]; ++r) {
    for (int64_t i = 0; i < x.t.size[1]; ++i)
      wide.t.as<float>()[r * wide.t.stride[0] + i] = read(x.t, r * x.t.stride[0] + i);
  }
  return wide;
}

class CudaBlocks : public Gpu {
 protected:
  // Rows of so many at least are multiplied with rounded weights.
  int64_t widened_from() const { return device->hopper() ? 33 : 1; }
  // At an even address, where the format needs one.
  Tensor put_blocks(const BlockArray& weight, int64_t shift = 0) {
    const int64_t from = weight.t.as<char>() - weight.memory.data();
    std::vector<char> memory(weight.memory.begin() + from, weight.memory.end());
    memory.insert(memory.begin(), static_cast<size_t>(2 * shift), 0x5a);
    Tensor t = weight.t;
    t.data = put(memory) + 2 * shift;
    return t;
  }
};

std::vector<BlockLinearCase> cuda_linear_cases() {
  std::vector<BlockLinearCase> all = block_linear_cases();
  for (const int64_t tokens : {1, 2, 8, 9, 16, 17, 32, 33}) {
    all.push_back({tokens, 3, 37, DType::kBF16, true, true, 0, 1});
  }
  all.insert(all.end(), {{1, 8, 130, DType::kBF16},
                         {3, 17, 40, DType::kBF16},
                         {16, 24, 33, DType::kBF16},
                         {70, 2, 300, DType::kBF16, true},
                         {5, 2, 2200, DType::kBF16}});
  return all;
}

TEST_F(CudaBlocks, linear_equals_ref) {
  for (const DType type : kAllBlockTypes) {
    for (const BlockLinearCase& c : cuda_linear_cases()) {
      SCOPED_TRACE(std::string(name_of(type)) + " " + std::to_string(c.tokens) + "x" +
                   std::to_string(width_of(c, type)) + "x" + std::to_string(c.out) + " " +
                   std::string(name_of(c.x)));
      BlockLinearProblem p(c, type, 5);
      const Array x = widened(p.x);
      const bool few = c.tokens < widened_from() && p.x.t.stride[0] % 8 == 0;  // rows at 16 bytes
      const Array wide = widened(p.weight, c.x == DType::kBF16 && !few);
      Array got = p.out;
      got.t.data = got.memory.data() + (p.out.t.as<char>() - p.out.memory.data());
      LinearArgs want = p.args;
      want.x = x.t;
      want.weight = wide.t;
      ref.linear(host, want);
      LinearArgs args = p.args;
      args.x = put(p.x);
      args.weight = put_blocks(p.weight, c.shift);
      if (c.bias) args.bias = put(p.bias);
      args.out = put(got);
      cuda.linear(stream, args);
      get(got, args.out);
      forget();
      expect_close(got.values(), p.out.values(), "linear blocks");
    }
  }
}

TEST_F(CudaBlocks, linears_are_their_parts) {
  for (const DType type : kAllBlockTypes) {
    for (const int tokens : {1, 2, 3, 8, 13, 30}) {
      for (const bool gated : {false, true}) {
        SCOPED_TRACE(std::string(name_of(type)) + " " + std::to_string(tokens) + (gated ? " gated" : ""));
        Random random(7);
        const int64_t in = 2048;
        Array x(DType::kF32, {tokens, in}), norm(DType::kF32, {in}), h(DType::kBF16, {tokens, in});
        x.fill(random);
        norm.fill(random, 0.5F, 1.5F);
        LinearsArgs args = {.x = put(x), .normalise = true, .norm = put(norm), .eps = 1e-6F, .h = put(h)};
        args.count = gated ? 2 : 3;
        args.gated = gated;
        args.act = Act::kSilu;
        const std::vector<int64_t> outs =
            gated ? std::vector<int64_t>{100, 100} : std::vector<int64_t>{40, 8, 17};
        std::vector<Array> arrays;
        for (int i = 0; i < args.count; ++i) {
          arrays.emplace_back(DType::kF32, std::initializer_list<int64_t>{tokens, outs[i]});
          args.parts[i] = {put_blocks(BlockArray(type, outs[i], in, random)), {}, put(arrays.back())};
        }
        Array inner(DType::kF32, {tokens, 100});
        if (gated) args.inner = put(inner);
        const auto results = [&] {
          std::vector<float> all;
          if (gated) get(inner, args.inner);
          if (gated) return inner.values();
          for (int i = 0; i < args.count; ++i) {
            get(arrays[i], args.parts[i].out);
            const std::vector<float> own = arrays[i].values();
            all.insert(all.end(), own.begin(), own.end());
          }
          return all;
        };
        linears_by_parts(cuda, stream, args);
        const std::vector<float> want = results();
        cuda.linears(stream, args);
        const std::vector<float> got = results();
        forget();
        // Sums of another order, of up to 2048 products of sum below 100.
        expect_close(got, want, gated ? "linears blocks gated" : "linears blocks");
      }
    }
  }
}

TEST_F(CudaBlocks, a_row_has_the_same_bits_whatever_few_are_beside_it) {
  if (!device->hopper()) GTEST_SKIP() << "the kernel is for sm_90";
  for (const DType type : {DType::kQ80, DType::kQ4K, DType::kQ4Z, DType::kFp8}) {
    const BlockLinearCase c = {16, 8, 48, DType::kBF16};
    BlockLinearProblem p(c, type, 11);
    LinearArgs args = {.x = put(p.x), .weight = put_blocks(p.weight), .out = put(p.out)};
    cuda.linear(stream, args);
    Array whole = p.out;
    whole.t.data = whole.memory.data() + (p.out.t.as<char>() - p.out.memory.data());
    get(whole, args.out);
    const std::vector<float> all = whole.values();
    for (const int64_t row : {0, 7, 15}) {
      LinearArgs alone = args;
      alone.x = args.x.slice(row, row + 1);
      alone.out = args.out.slice(row, row + 1);
      cuda.linear(stream, alone);
      get(whole, args.out);
      EXPECT_TRUE(same_bits(whole.values(), all)) << name_of(type) << " " << row;
    }
    forget();
  }
}

TEST_F(CudaBlocks, embed_equals_ref) {
  for (const DType type : kAllBlockTypes) {
    Random random(23);
    const BlockArray table(type, 7, 512, random, 1, 0);
    const std::vector<int32_t> ids = {3, 6, 0, 3};
    Array want(DType::kF32, {4, 512}, 2);
    Array got(DType::kF32, {4, 512}, 2);
    ref.embed(host, {.table = table.t, .ids = ids.data(), .scale = 3.3F, .out = want.t});
    const Tensor out = put(got);
    cuda.embed(stream, {.table = put_blocks(table), .ids = put(ids), .scale = 3.3F, .out = out});
    get(got, out);
    forget();
    expect_close(got.values(), want.values(), "embed");
  }
}

struct BlockExpertCase {
  std::vector<int> rows;  // of each expert
  int64_t blocks, out;
  DType x = DType::kBF16;
  bool bias = false, gathered = false;
};

TEST_F(CudaBlocks, expert_linear_equals_ref) {
  const BlockExpertCase cases[] = {{{1, 0, 2, 1}, 2, 21, DType::kBF16, true, true},
                                   {{0, 8, 9, 0, 3, 17}, 8, 40, DType::kBF16, false, true},
                                   {{40, 0, 70}, 3, 66, DType::kBF16, true},
                                   {{3, 30}, 2, 17, DType::kF32, true, true},
                                   {{0, 0}, 2, 8}};
  for (const DType type : kAllBlockTypes) {
    for (const BlockExpertCase& c : cases) {
      SCOPED_TRACE(std::string(name_of(type)) + " " + std::to_string(c.out));
      Random random(19);
      const int64_t in = 256 * c.blocks;
      std::vector<int32_t> starts = {0}, rows;
      for (const int own : c.rows) starts.push_back(starts.back() + own);
      const int64_t assignments = starts.back();
      const auto experts = std::ssize(c.rows);
      for (int64_t i = 0; i < assignments; ++i) rows.push_back(random.below(static_cast<int>(assignments)));
      Array x(c.x, {std::max<int64_t>(assignments, 1), in}, 8);
      x.fill(random);
      Array bias(DType::kF32, {experts, c.out}, 1);
      bias.fill(random);
      const bool few =
          device->hopper() && c.x == DType::kBF16 && assignments <= experts * heed::cuda::kFewExpertRows;
      std::vector<BlockArray> arrays;
      std::vector<Array> wide;
      std::vector<Tensor> weights, wide_weights;
      for (int64_t e = 0; e < experts; ++e) arrays.emplace_back(type, c.out, in, random);
      for (const BlockArray& array : arrays) {
        wide.push_back(widened(array, c.x == DType::kBF16 && !few));
        weights.push_back(put_blocks(array));
      }
      for (const Array& array : wide) wide_weights.push_back(array.t);
      const Array wide_x = widened(x);
      Array want(DType::kF32, {assignments, c.out}, 3);
      Array got(DType::kF32, {assignments, c.out}, 3);
      ExpertLinearArgs args = {.x = wide_x.t,
                               .rows = c.gathered ? rows.data() : nullptr,
                               .expert_start = starts.data(),
                               .weights = wide_weights,
                               .bias = c.bias ? bias.t : Tensor(),
                               .out = want.t};
      ref.expert_linear(host, args);
      args = {.x = put(x),
              .rows = c.gathered ? put(rows) : nullptr,
              .expert_start = put(starts),
              .weights = weights,
              .bias = c.bias ? put(bias) : Tensor(),
              .out = put(got)};
      cuda.expert_linear(stream, args);
      get(got, args.out);
      forget();
      expect_close(got.values(), want.values(), "linear blocks");
    }
  }
}

}  // namespace
}  // namespace heed
