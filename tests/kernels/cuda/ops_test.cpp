// The ops of the cuda backend beside attention, against ref over the common cases.
#include "kernels/draw.h"
#include "tests/kernels/cuda/gpu.h"

namespace heed {
namespace {

using namespace cases;

class CudaOps : public Gpu {
 protected:
  // Runs `op` with the cuda backend on device memory: body puts its tensors and calls it.
  static std::string suffixed(std::string op, DType dtype) {
    return dtype == DType::kBF16 ? op + " bfloat16" : op;
  }
};

TEST_F(CudaOps, linear_equals_ref) {
  std::vector<LinearCase> all = linear_cases();
  for (const DType weight : {DType::kF32, DType::kBF16, DType::kF16}) {
    for (const int64_t tokens : {1, 2, 4, 5, 8, 9, 33})
      all.push_back({tokens, 264, 72, DType::kF32, weight, true, true});
  }
  for (const LinearCase& c : all) {
    SCOPED_TRACE(std::to_string(c.tokens) + "x" + std::to_string(c.in) + "x" + std::to_string(c.out) + " " +
                 std::string(name_of(c.x)) + " " + std::string(name_of(c.weight)));
    LinearCase aligned = c;
    aligned.shift = 0;
    LinearProblem want(aligned, 3), got(aligned, 3);
    for (LinearProblem* p : {&want, &got}) {  // x that bfloat16 holds: then rounding it changes nothing
      for_each(p->x.t, [&](int64_t at) { write(p->x.t, at, rounded_to_bf16(read(p->x.t, at))); });
    }
    ref.linear(host, want.args);
    LinearArgs args = got.args;
    args.x = put(got.x);
    args.weight = put(got.weight);
    if (c.bias) args.bias = put(got.bias);
    args.out = put(got.out);
    cuda.linear(stream, args);
    get(got.out, args.out);
    forget();
    expect_close(got.out.values(), want.out.values(), suffixed("linear", c.x));
  }
}

TEST_F(CudaOps, linear_of_float32_with_bfloat16_weights_is_that_of_float32) {
  for (const bool accumulate : {false, true}) {
    const LinearCase c = {100, 512, 256, DType::kF32, DType::kBF16, !accumulate, accumulate};
    LinearProblem want(c, 9), got(c, 9);
    LinearArgs args = got.args;
    args.x = put(got.x);
    args.weight = put(got.weight);
    if (c.bias) args.bias = put(got.bias);
    args.out = put(got.out);
    ref.linear(host, want.args);
    cuda.linear(stream, args);
    get(got.out, args.out);
    expect_close(got.out.values(), want.out.values(), "linear");
    forget();
  }
  std::cout << "cuBLASLt " << (device->blas() != nullptr ? "found" : "missing: own kernel") << std::endl;
}

TEST_F(CudaOps, arg_max_equals_ref) {
  for (const auto& [rows, dim, pad] :
       {std::tuple{1, 1, 0}, {3, 37, 3}, {5, 4096, 0}, {2, 151936, 4}, {7, 4097, 1}, {300, 500, 0}}) {
    SCOPED_TRACE(std::to_string(rows) + "x" + std::to_string(dim));
    Random random(5);
    Array x(DType::kF32, {rows, dim}, pad);
    x.fill(random);
    for (int r = 0; r < rows; ++r) {
      float* row = x.t.mutable_f32() + r * x.t.stride[0];
      if (r % 5 == 1) row[random.below(dim)] = NAN;
      if (r % 5 == 2) std::fill_n(row, dim, random.below(2) == 0 ? -INFINITY : NAN);
      if (r % 5 == 3) row[random.below(dim)] = row[random.below(dim)] = 3;  // equal ones
      if (r % 5 == 4) {
        for (int i = 0; i < dim; ++i) row[i] = i % 3 == 0 ? -0.0F : 0.0F;
      }
    }
    std::vector<int32_t> want(rows, -1);
    ref.arg_max(host, {.x = x.t, .ids = want.data()});
    int32_t* ids = put(std::vector<int32_t>(rows, -1));
    cuda.arg_max(stream, {.x = put(x), .ids = ids});
    EXPECT_EQ(get(ids, static_cast<size_t>(rows)), want);
    forget();
  }
}

TEST_F(CudaOps, draw_equals_ref) {
  std::vector<DrawRow> ways;
  for (const float temperature : {0.0F, 0.2F, 1.0F, 3.0F}) {
    for (const int k : {0, 1, 20, 1000}) {
      for (const float p : {1.0F, 0.95F, 0.3F}) {
        for (const float min_p : {0.0F, 0.03F})
          ways.push_back({.temperature = temperature, .top_k = k, .top_p = p, .min_p = min_p});
      }
    }
  }
  const auto count = static_cast<int>(ways.size());
  for (const auto& [dim, pad, mapped] :
       {std::tuple{1, 0, false}, {37, 3, true}, {4097, 1, false}, {32000, 0, true}, {151936, 4, false}}) {
    SCOPED_TRACE(dim);
    Random random(7);
    Array x(DType::kF32, {count, dim}, pad);
    x.fill(random);
    std::vector<int32_t> offsets(dim);
    for (int i = 0; i < dim; ++i) offsets[i] = i % 3;
    for (int r = 0; r < count; ++r) {
      ways[r].key = draw_key(11, static_cast<uint64_t>(r));
      float* row = x.t.mutable_f32() + r * x.t.stride[0];
      // Few that matter, as of a model that has learnt something; some with equal ones, and with none.
      for (int i = 0; i < dim; ++i)
        row[i] = r % 7 == 3 ? std::round(4 * row[i]) : 4 * row[i] * row[i] * row[i];
      if (r % 5 == 1) row[random.below(dim)] = NAN;
      if (r % 11 == 2) std::fill_n(row, dim, -INFINITY);
    }
    const int32_t* map = mapped ? offsets.data() : nullptr;
    std::vector<int32_t> want(count, -1);
    ref.draw(host, {.x = x.t, .rows = ways.data(), .id_offsets = map, .ids = want.data()});
    int32_t* ids = put(std::vector<int32_t>(count, -2));
    cuda.draw(stream,
              {.x = put(x), .rows = put(ways), .id_offsets = mapped ? put(offsets) : nullptr, .ids = ids});
    const std::vector<int32_t> got = get(ids, static_cast<size_t>(count));
    int undecided = 0;
    for (int r = 0; r < count; ++r) {
      const bool sorts = (ways[r].top_k > 0 || ways[r].top_p < 1) && dim > 4096;
      if (sorts && got[r] == -1) {
        ++undecided;
      } else {
        EXPECT_EQ(got[r], want[r]) << "row " << r;
      }
    }
    std::printf("%d: %d of %d undecided\n", dim, undecided, count);
    EXPECT_LE(undecided, count / 4);
    forget();
  }
}

TEST_F(CudaOps, rms_norm_equals_ref) {
  std::vector<RowCase> all = row_cases();
  all.push_back({5, 4096});
  all.push_back({3, 3001, 0, 2});
  for (const RowCase& c : all) {
    SCOPED_TRACE(std::to_string(c.rows) + "x" + std::to_string(c.dim));
    const std::initializer_list<int64_t> two = {c.rows, c.dim};
    const std::initializer_list<int64_t> three = {c.rows, c.heads, c.dim};
    Random random(23);
    Array x(DType::kF32, c.heads > 0 ? three : two, c.pad);
    Array weight(DType::kF32, {c.dim});
    Array want(c.dtype, c.heads > 0 ? three : two, c.pad);
    x.fill(random);
    weight.fill(random);
    if (c.accumulate) want.fill(random);
    Array got = want;
    got.t.data = got.memory.data();
    RmsNormArgs args = {
        .x = x.t, .weight = weight.t, .eps = 1e-6F, .accumulate = c.accumulate, .out = want.t};
    RmsNormArgs device_args = args;
    device_args.x = put(x);
    device_args.weight = put(weight);
    device_args.out = put(got);
    ref.rms_norm(host, args);
    cuda.rms_norm(stream, device_args);
    get(got, device_args.out);
    expect_close(got.values(), want.values(), suffixed("rms_norm", c.dtype));
    if (c.dtype != DType::kF32 || c.accumulate) continue;
    device_args.out = device_args.x;
    cuda.rms_norm(stream, device_args);
    get(x, device_args.x);
    EXPECT_TRUE(same_bits(x.values(), got.values())) << "in place";
    forget();
  }
}

TEST_F(CudaOps, gated_act_equals_ref) {
  for (const Act act : kActs) {
    for (const RowCase& c : row_cases()) {
      Random random(29);
      Array gate = row_array(c);
      Array up = row_array(c);
      Array want = row_array(c, c.dtype);
      Array got = row_array(c, c.dtype);
      gate.fill(random, -6, 6);
      up.fill(random);
      ref.gated_act(host, {.act = act, .gate = gate.t, .up = up.t, .out = want.t});
      const Tensor out = put(got);
      cuda.gated_act(stream, {.act = act, .gate = put(gate), .up = put(up), .out = out});
      get(got, out);
      forget();
      SCOPED_TRACE(static_cast<int>(act));
      expect_close(got.values(), want.values(), suffixed("gated_act", c.dtype));
    }
  }
}

TEST_F(CudaOps, softcap_embed_gather_and_add_equal_ref) {
  for (const RowCase& c : row_cases()) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      Random random(37);
      Array table(dtype, {11, c.dim}, c.pad);
      table.fill(random, -50, 50);
      std::vector<int32_t> ids;
      for (int64_t i = 0; i < c.rows; ++i) ids.push_back(random.below(11));
      Array want(DType::kF32, {c.rows, c.dim}, c.pad);
      Array got(DType::kF32, {c.rows, c.dim}, c.pad);
      const Tensor device_table = put(table);
      const int32_t* device_ids = put(ids);
      const Tensor out = put(got);
      const auto compare = [&](std::string_view op) {
        get(got, out);
        expect_close(got.values(), want.values(), op);
      };
      ref.embed(host, {.table = table.t, .ids = ids.data(), .scale = 3.3F, .out = want.t});
      cuda.embed(stream, {.table = device_table, .ids = device_ids, .scale = 3.3F, .out = out});
      compare("embed");
      if (dtype == DType::kF32) {
        ref.gather_rows(host, {.x = table.t, .rows = ids.data(), .out = want.t});
        cuda.gather_rows(stream, {.x = device_table, .rows = device_ids, .out = out});
        compare("gather_rows");
        ref.add(host, {.x = want.t, .out = want.t});
        cuda.add(stream, {.x = out, .out = out});
        compare("add");
        ref.softcap(host, {.cap = 30, .x = want.t});
        cuda.softcap(stream, {.cap = 30, .x = out});
        compare("softcap");
      }
      forget();
    }
  }
}

TEST_F(CudaOps, scales_and_weighted_sums_equal_ref) {
  for (const RowCase& c : row_cases()) {
    if (c.heads > 0) continue;
    Random random(53);
    Array x = row_array(c), y = row_array(c);
    Array factors(DType::kF32, {c.rows, 1}, c.pad);
    x.fill(random);
    y.fill(random);
    factors.fill(random, -3, 3);
    const Tensor device_x = put(x);
    const Tensor device_factors = put(factors);
    const auto compare = [&](std::string_view op) {
      Array got = x;
      got.t.data = got.memory.data();
      get(got, device_x);
      expect_close(got.values(), x.values(), op);
      device->upload(device_x.data, x.memory.data(), static_cast<int64_t>(x.memory.size()));
    };
    ref.scale(host, {.scale = 0.37F, .x = x.t});
    cuda.scale(stream, {.scale = 0.37F, .x = device_x});
    compare("scale");
    for (const bool sigmoid : {false, true}) {
      ref.scale_rows(host, {.factors = factors.t, .sigmoid = sigmoid, .x = x.t});
      cuda.scale_rows(stream, {.factors = device_factors, .sigmoid = sigmoid, .x = device_x});
      compare(sigmoid ? "scale_rows sigmoid" : "scale");
    }
    ref.add(host, {.x = y.t, .scale = 0.7F, .keep = 0.6F, .out = x.t});
    cuda.add(stream, {.x = put(y), .scale = 0.7F, .keep = 0.6F, .out = device_x});
    compare("add scaled");
    forget();
  }
}

TEST_F(CudaOps, kv_write_equals_ref_and_touches_nothing_else) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    Random random(43);
    Array k(DType::kF32, {9, 3, 40}, 2);
    Array v(DType::kF32, {9, 3, 24}, 2);
    k.fill(random);
    v.fill(random);
    const std::vector<int64_t> slots = {5, -1, 17, 16, 31, 0, -7, 44, 47};
    Array cache[4] = {Array(dtype, {3, 3, 16, 40}, 4), Array(dtype, {3, 3, 16, 24}, 4),
                      Array(dtype, {3, 3, 16, 40}, 4), Array(dtype, {3, 3, 16, 24}, 4)};
    ref.kv_write(host, {.k = k.t, .v = v.t, .slots = slots.data(), .kv = {.k = cache[0].t, .v = cache[1].t}});
    const Tensor keys = put(cache[2]);
    const Tensor values = put(cache[3]);
    cuda.kv_write(stream, {.k = put(k), .v = put(v), .slots = put(slots), .kv = {.k = keys, .v = values}});
    get(cache[2], keys);
    get(cache[3], values);
    EXPECT_EQ(cache[0].memory, cache[2].memory);
    EXPECT_EQ(cache[1].memory, cache[3].memory);
  }
}

TEST_F(CudaOps, rows_of_an_fp8_cache_have_the_codes_of_ref) {
  const Fp8Rows rows;
  Array cache[4] = {rows.cache(37), rows.cache(24), rows.cache(37), rows.cache(24)};
  ref.kv_write(host, {.k = rows.k.t,
                      .v = rows.v.t,
                      .slots = rows.slots.data(),
                      .kv = {.k = cache[0].t, .v = cache[1].t, .k_scale = rows.scales.t}});
  const KvWriteArgs args = {.k = put(rows.k),
                            .v = put(rows.v),
                            .slots = put(rows.slots),
                            .kv = {.k = put(cache[2]), .v = put(cache[3]), .k_scale = put(rows.scales)}};
  cuda.kv_write(stream, args);
  get(cache[2], args.kv.k);
  get(cache[3], args.kv.v);
  EXPECT_EQ(cache[0].memory, cache[2].memory);
  EXPECT_EQ(cache[1].memory, cache[3].memory);
}

TEST_F(CudaOps, rope_and_its_table_equal_ref) {
  for (const auto& [head_dim, pairs] : {std::pair{64, 32}, {80, 20}, {24, 12}, {7, 3}, {128, 64}, {16, 0}}) {
    Random random(47);
    const std::vector<int32_t> positions = {0, 1, 1000000, 77777, 5};
    std::vector<float> frequency;
    for (int i = 0; i < pairs; ++i)
      frequency.push_back(std::pow(10000.0F, -static_cast<float>(i) / static_cast<float>(pairs)));
    const auto n = static_cast<int64_t>(positions.size());
    Array cos[2] = {Array(DType::kF32, {n, pairs}, 3), Array(DType::kF32, {n, pairs}, 3)};
    Array sin[2] = {Array(DType::kF32, {n, pairs}, 3), Array(DType::kF32, {n, pairs}, 3)};
    Array want(DType::kF32, {n, 3, head_dim}, 5);
    want.fill(random);
    Array got = want;
    got.t.data = got.memory.data();
    ref.rope_table(host, {.positions = positions.data(),
                          .inverse_frequency = frequency.data(),
                          .attention_factor = 1.25F,
                          .cos = cos[0].t,
                          .sin = sin[0].t});
    const Tensor device_cos = put(cos[1]);
    const Tensor device_sin = put(sin[1]);
    cuda.rope_table(stream, {.positions = put(positions),
                             .inverse_frequency = put(frequency),
                             .attention_factor = 1.25F,
                             .cos = device_cos,
                             .sin = device_sin});
    get(cos[1], device_cos);
    get(sin[1], device_sin);
    expect_close(cos[1].values(), cos[0].values(), "rope_table cuda");
    expect_close(sin[1].values(), sin[0].values(), "rope_table cuda");
    ref.rope(host, {.cos = cos[1].t, .sin = sin[1].t, .x = want.t});
    const Tensor x = put(got);
    cuda.rope(stream, {.cos = device_cos, .sin = device_sin, .x = x});
    get(got, x);
    expect_close(got.values(), want.values(), "rope");
  }
}

TEST(CudaBackend, says_why_it_cannot_run_where_it_cannot) {
  const std::string reason = cuda_why_not();
  std::cout << (reason.empty() ? "there is a device" : reason) << std::endl;
  EXPECT_TRUE(reason.empty() || reason.find("CUDA") != std::string::npos) << reason;
}

}  // namespace
}  // namespace heed
