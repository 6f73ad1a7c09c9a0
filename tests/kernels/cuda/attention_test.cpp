// Attention of the cuda backend against ref over the common cases.
#include "attention/plan.h"
#include "tests/kernels/cuda/gpu.h"

namespace heed {
namespace {

using namespace cases;

// The common cases, and larger ones that fill the tiles of the prefill kernel.
std::vector<AttentionCase> all_cases() {
  std::vector<AttentionCase> all = attention_cases();
  const auto add = [&](const std::string& name, const Mask& mask, std::vector<SequenceCase> sequences,
                       int heads, int kv_heads, int dim, int block = 16) {
    all.push_back({name, mask, std::move(sequences), heads, kv_heads, dim, dim, block, DType::kBF16});
  };
  for (const int dim : {40, 64, 72, 96, 128, 192, 256}) {
    const std::string of = " of head_dim " + std::to_string(dim);
    add("prefill" + of, causal(), {{0, 300}, {130, 200}}, 4, 2, dim);
    add("window" + of, causal() & window(100), {{500, 210}}, 4, 2, dim, 64);
  }
  add("a batch of everything", causal(), {{0, 400}, {900, 1}, {3000, 2}, {64, 130}, {0, 1}, {257, 7}, {0, 0}},
      8, 2, 128);
  add("odd group", causal(), {{33, 150}}, 10, 2, 64);
  add("chunk with lookback", causal() & chunk(64, 1), {{0, 500}}, 4, 1, 128, 32);
  add("wide chunk", causal() & chunk(300), {{100, 500}}, 4, 1, 128, 48);
  add("sinks of a window", (causal() & window(150)).with_sinks(4), {{0, 600}, {1000, 90}}, 4, 1, 128);
  add("many sinks", (causal() & window(40)).with_sinks(200), {{0, 600}}, 4, 1, 64);
  add("images", (causal() & window(64)) | media(), {{0, 700, 0, {{3, 280}, {290, 600}}}}, 4, 2, 256);
  add("bidirectional", full(), {{0, 333}}, 4, 2, 128, 128);
  for (const bool capped : {true, false}) {
    add(capped ? "softcap, long" : "sink logits, long", causal(), {{0, 300}, {500, 3}}, 4, 2, 128);
    all.back().softcap = capped ? 5 : 0;
    all.back().sink_logits = !capped;
    all.back().out = DType::kBF16;
  }
  add("empty rows, long", causal(), {{0, 200}, {64, 100}}, 4, 2, 64);
  all.back().empty_rows = 70;
  add("a long context", causal(), {{70000, 1}}, 4, 1, 64);
  add("latent attention", causal(), {{300, 2}, {0, 20}, {1500, 1}}, 16, 1, 576, 64);
  all.back().v_dim = 512;
  all.back().v_in_k = true;
  add("latent attention, values apart", causal(), {{300, 2}, {0, 20}}, 16, 1, 576);
  all.back().v_dim = 512;
  return all;
}

class CudaAttention : public Gpu {
 protected:
  AttentionArgs args_of(AttentionProblem& p) {
    AttentionArgs args = p.args;
    args.q = put(p.q);
    args.out = put(p.out);
    args.kv.k = put(p.k);
    args.kv.v = args.kv.k;
    args.kv.v.size[3] = p.v.t.size[3];
    if (p.v.t.data != p.k.t.data) args.kv.v = put(p.v);  // else values lie within the keys
    if (p.k_scale.t.defined()) args.kv.k_scale = put(p.k_scale);
    if (p.v_scale.t.defined()) args.kv.v_scale = put(p.v_scale);
    args.kv.table = put(p.table);
    args.seq_start = put(p.seq_start);
    args.rows = put(p.rows);
    if (args.sink_logits != nullptr) args.sink_logits = put(p.sink_logits);
    return args;
  }

  AttentionPlan plan_of(const AttentionProblem& p, const AttentionPlanShape& shape) {
    AttentionPlan plan = plan_attention(p.rows, p.seq_start, shape);
    plan.device = put(plan.packed);
    return plan;
  }

  static AttentionNeeds needs_of(const AttentionCase& c) {
    return {.heads = c.heads,
            .kv_heads = c.kv_heads,
            .head_dim = c.head_dim,
            .v_dim = c.v_dim,
            .kv_dtype = c.kv,
            .block = c.block};
  }
  bool flash_takes(const AttentionCase& c) const {
    return cuda.attention[0].why_not(needs_of(c)).empty() && c.pad % 16 == 0;
  }
  // All that the kernel takes, with a cache of bfloat16 and of fp8.
  std::vector<AttentionCase> flash_cases() const {
    std::vector<AttentionCase> all;
    for (const AttentionCase& c : all_cases()) {
      for (const DType kv : {DType::kBF16, DType::kE4M3}) {
        AttentionCase one = c;
        one.kv = kv;
        if (kv == DType::kE4M3) one.scales = static_cast<AttentionCase::Scales>(all.size() / 2 % 3);
        one.name += " of " + std::string(name_of(kv));
        if (flash_takes(one)) all.push_back(one);
      }
    }
    return all;
  }

  std::vector<float> run_flash(AttentionProblem& p, const AttentionPlanShape& shape) {
    AttentionArgs args = args_of(p);
    const AttentionPlan plan = plan_of(p, shape);
    args.plan = &plan;
    cuda.attention[0].run(stream, args);
    get(p.out, args.out);
    forget();
    return p.out.values();
  }

  // Queries that are bfloat16 already: then the kernel's only rounding is that of the weights.
  static void round_queries(AttentionProblem& p) {
    for_each(p.q.t, [&](int64_t at) { write(p.q.t, at, rounded_to_bf16(read(p.q.t, at))); });
  }
};

TEST_F(CudaAttention, simple_equals_ref) {
  std::vector<AttentionCase> all = all_cases();
  for (const AttentionCase& c : fp8_attention_cases()) all.push_back(c);
  for (const AttentionCase& c : all) {
    if (c.sequences[0].past > 10000) continue;
    SCOPED_TRACE(c.name);
    AttentionProblem want(c, 11), got(c, 11);
    ref.attention[0].run(host, want.args);
    const AttentionArgs args = args_of(got);
    cuda.attention[1].run(stream, args);
    get(got.out, args.out);
    forget();
    expect_close(got.out.values(), want.out.values(),
                 c.out == DType::kBF16 ? "attention bfloat16" : "attention");
  }
}

TEST_F(CudaAttention, flash_equals_ref_with_every_plan) {
  int run = 0;
  for (const AttentionCase& c : flash_cases()) {
    SCOPED_TRACE(c.name);
    AttentionProblem want(c, 11);
    round_queries(want);
    ref.attention[0].run(host, want.args);
    const AttentionPlanShape shape = cuda_plan_shape(needs_of(c), *device);
    for (const AttentionPlanShape& plan : {AttentionPlanShape{shape.group, 0}, shape}) {
      SCOPED_TRACE(plan.prefill_tile == 0 ? "short units" : "prefill units");
      AttentionProblem got(c, 11);
      round_queries(got);
      expect_close(run_flash(got, plan), want.out.values(),
                   c.out == DType::kBF16 ? "attention flash bfloat16" : "attention flash");
      ++run;
      if (shape.prefill_tile == 0) break;
    }
  }
  std::cout << run << " cases" << std::endl;
}

TEST_F(CudaAttention, queries_in_float32_cost_no_more_than_their_rounding) {
  for (const int dim : {64, 128, 256}) {
    AttentionCase c = {"", causal(), {{0, 300}, {400, 1}}, 8, 2, dim, dim, 16, DType::kBF16};
    AttentionProblem want(c, 3), got(c, 3);
    ref.attention[0].run(host, want.args);
    const std::vector<float> out = run_flash(got, cuda_plan_shape(needs_of(c), *device));
    const std::vector<float> right = want.out.values();
    double error = 0, size = 0;
    for (size_t i = 0; i < out.size(); ++i) {
      error += (out[i] - right[i]) * (out[i] - right[i]);
      size += right[i] * right[i];
    }
    EXPECT_LT(std::sqrt(error / size), 0.004) << dim;
  }
}

TEST_F(CudaAttention, a_sequence_has_the_same_bits_alone_and_in_a_batch) {
  for (const AttentionCase& c : flash_cases()) {
    if (c.sequences.size() < 2) continue;
    SCOPED_TRACE(c.name);
    AttentionProblem whole(c, 17);
    const AttentionPlanShape shape = cuda_plan_shape(needs_of(c), *device);
    const std::vector<float> all = run_flash(whole, shape);
    const size_t width = static_cast<size_t>(c.heads) * static_cast<size_t>(c.v_dim);
    for (size_t s = 0; s < c.sequences.size(); ++s) {
      AttentionProblem alone(c, 17);
      const int32_t begin = alone.seq_start[s];
      const int32_t end = alone.seq_start[s + 1];
      const std::vector<int32_t> seq_start = {0, end - begin};
      const std::vector<RowMask> rows(alone.rows.begin() + begin, alone.rows.begin() + end);
      AttentionArgs args = args_of(alone);
      const Tensor out = args.out;
      args.q = args.q.slice(begin, end);
      args.out = out.slice(begin, end);
      args.kv.table += static_cast<int64_t>(s) * args.kv.table_stride;
      args.seq_start = put(seq_start);
      args.sequences = 1;
      args.rows = put(rows);
      AttentionPlan plan = plan_attention(rows, seq_start, shape);
      plan.device = put(plan.packed);
      args.plan = &plan;
      cuda.attention[0].run(stream, args);
      get(alone.out, out);
      forget();
      const std::vector<float> values = alone.out.values();
      const auto part = [&](const std::vector<float>& v) {
        return std::vector<float>(v.begin() + static_cast<int64_t>(static_cast<size_t>(begin) * width),
                                  v.begin() + static_cast<int64_t>(static_cast<size_t>(end) * width));
      };
      ASSERT_TRUE(same_bits(part(values), part(all))) << "sequence " << s;
    }
  }
}

TEST_F(CudaAttention, parts_have_the_same_bits_whoever_merges_them) {
  for (const DType kv : {DType::kBF16, DType::kE4M3}) {
    for (const int dim : {64, 128, 256}) {
      for (const Mask& mask : {Mask(causal()), (causal() & window(700)).with_sinks(20)}) {
        AttentionCase c = {"", mask, {{0, 1}, {575, 1}, {1500, 2}, {5000, 1}, {130, 5}}, 12, 2, dim, dim,
                           16, kv};
        AttentionPlanShape shape = cuda_plan_shape(needs_of(c), *device);
        AttentionProblem split(c, 19);
        const std::vector<float> want = run_flash(split, shape);
        for (const int bins : {1, 3, 10, 40}) {  // 40: more than blocks that the emulator runs
          shape.bins = bins;
          AttentionProblem got(c, 19);
          ASSERT_TRUE(same_bits(run_flash(got, shape), want)) << dim << ", " << bins << " bins";
        }
      }
    }
  }
}

// The cache of a problem with blocks a little further apart: no multiple of a head's stride.
Array spread(const Array& cache) {
  constexpr int64_t kFurther = 48;
  Array out(cache.t.dtype, {cache.t.size[0] * (cache.t.stride[0] + kFurther)});
  out.t.rank = 4;
  out.t.size = cache.t.size;
  out.t.stride = cache.t.stride;
  out.t.stride[0] += kFurther;
  for (int64_t block = 0; block < cache.t.size[0]; ++block) {
    const int64_t element = size_of(cache.t.dtype);
    const int64_t bytes = cache.t.stride[0] * element;
    std::memcpy(out.memory.data() + block * out.t.stride[0] * element, cache.memory.data() + block * bytes,
                static_cast<size_t>(bytes));
  }
  return out;
}

TEST_F(CudaAttention, blocks_of_the_cache_may_be_any_distance_apart) {
  for (const DType kv : {DType::kBF16, DType::kE4M3}) {
    AttentionCase c = {"", causal(), {{0, 200}, {40, 3}}, 4, 2, 64, 64, 16, kv};
    AttentionProblem plain(c, 29), apart(c, 29);
    const AttentionPlanShape shape = cuda_plan_shape(needs_of(c), *device);
    const std::vector<float> want = run_flash(plain, shape);
    AttentionArgs args = args_of(apart);
    args.kv.k = put(spread(apart.k));
    args.kv.v = put(spread(apart.v));
    const AttentionPlan plan = plan_of(apart, shape);
    args.plan = &plan;
    cuda.attention[0].run(stream, args);
    get(apart.out, args.out);
    EXPECT_TRUE(same_bits(apart.out.values(), want)) << name_of(kv);
  }
}

TEST_F(CudaAttention, the_table_row_of_a_sequence_is_looked_up) {
  AttentionCase c = {"", causal(), {{100, 1}, {0, 200}, {40, 3}}, 4, 2, 64, 64, 16, DType::kBF16};
  AttentionProblem plain(c, 23), turned(c, 23);
  const AttentionPlanShape shape = cuda_plan_shape(needs_of(c), *device);
  const std::vector<float> want = run_flash(plain, shape);
  const auto stride = static_cast<size_t>(turned.table_stride);
  std::vector<int32_t> table;
  for (const size_t row : {2U, 0U, 1U}) {
    table.insert(table.end(), turned.table.begin() + static_cast<int64_t>(row * stride),
                 turned.table.begin() + static_cast<int64_t>((row + 1) * stride));
  }
  for (const int kernel : {0, 1}) {
    AttentionArgs args = args_of(turned);
    args.kv.table = put(table);
    args.kv.table_rows = put(std::vector<int32_t>{1, 2, 0});
    const AttentionPlan plan = plan_of(turned, shape);
    args.plan = &plan;
    cuda.attention[static_cast<size_t>(kernel)].run(stream, args);
    get(turned.out, args.out);
    if (kernel == 0) {
      EXPECT_TRUE(same_bits(turned.out.values(), want));
    } else {
      expect_close(turned.out.values(), want, "attention flash rounded");
    }
    forget();
  }
}

}  // namespace
}  // namespace heed
