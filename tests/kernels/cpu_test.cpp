// The cpu backend against ref over the common cases, on every instruction set that this machine has.
#include "kernels/cpu/cpu.h"

#include <gtest/gtest.h>

#include "tests/kernels/cases.h"
#include "tests/kernels/compare.h"
#include "tests/kernels/on_isa.h"

namespace heed {
namespace {

using namespace cases;

class Cpu : public OnIsa {};
INSTANTIATE_ON_ISA(Cpu);

TEST_P(Cpu, linear_equals_ref) {
  for (const LinearCase& c : linear_cases()) {
    SCOPED_TRACE(std::to_string(c.tokens) + "x" + std::to_string(c.in) + "x" + std::to_string(c.out) + " " +
                 std::string(name_of(c.x)) + " " + std::string(name_of(c.weight)));
    LinearCase aligned = c;
    aligned.shift = 0;
    LinearProblem want(aligned, 3);
    LinearProblem got(c, 3);
    ref.linear(stream, want.args);
    kernels->linear(stream, got.args);
    expect_close(got.out.values(), want.out.values(), suffixed("linear", c.x));
  }
}

TEST_P(Cpu, infinities_beyond_the_end_of_a_row_of_weights_do_not_reach_it) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    LinearProblem p({2, 5, 1, DType::kF32, dtype, false, false, 64}, 1);  // NaN between rows
    LinearProblem q({2, 5, 1, DType::kF32, dtype, false, false, 64}, 1);
    kernels->linear(stream, p.args);
    ref.linear(stream, q.args);
    expect_close(p.out.values(), q.out.values(), "linear");
  }
}

TEST_P(Cpu, a_row_of_linear_has_the_same_bits_in_every_batch_and_on_every_number_of_threads) {
  for (const auto& [x, w] : {std::pair{DType::kF32, DType::kF32},
                             {DType::kF32, DType::kBF16},
                             {DType::kF32, DType::kF16},
                             {DType::kBF16, DType::kBF16}}) {
    const int64_t most = 53;  // beyond where a kernel may prepare its weights differently
    LinearProblem whole({most, 203, 301, x, w, true}, 5);
    kernels->linear(stream, whole.args);
    const std::vector<float> all = whole.out.values();
    for (int threads = 1; threads <= 4; ++threads) {
      ThreadPool other(threads);
      Stream other_stream{&other};
      for (const int64_t rows : {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 24, 40}) {
        const int64_t first = most - rows;
        Array out(DType::kF32, {rows, 301});
        LinearArgs args = whole.args;
        args.x = whole.x.t.slice(first, most);
        args.out = out.t;
        kernels->linear(other_stream, args);
        ASSERT_TRUE(same_bits(out.values(), std::vector<float>(all.begin() + first * 301, all.end())))
            << rows << " rows, " << threads << " threads, " << name_of(x) << " x " << name_of(w);
      }
    }
  }
}

// Where products of bf16 are an instruction, queries and weights are rounded to it with a cache of bf16.
bool rounds(const Kernels& kernels, const AttentionCase& c) {
  return (kernels.isa == "avx512-bf16" || kernels.isa == "avx512-amx") && c.kv == DType::kBF16;
}

std::vector<AttentionCase> all_attention_cases() {
  std::vector<AttentionCase> all = attention_cases();
  for (const AttentionCase& c : int8_attention_cases()) all.push_back(c);
  for (const AttentionCase& c : fp8_attention_cases()) all.push_back(c);
  return all;
}

TEST_P(Cpu, attention_equals_ref) {
  for (const AttentionCase& c : all_attention_cases()) {
    SCOPED_TRACE(c.name);
    AttentionProblem want(c, 11);
    AttentionProblem got(c, 11);
    ref.attention[0].run(stream, want.args);
    kernels->attention[0].run(stream, got.args);
    const std::string op = rounds(*kernels, c) ? "attention flash rounded" : "attention";
    expect_close(got.out.values(), want.out.values(), suffixed(op, c.out));
  }
}

// Runs tokens [begin, end) of the only sequence of `p` by themselves, into the same rows of p's output.
void run_tokens(const Kernels& kernels, Stream& stream, const AttentionProblem& p, int32_t begin,
                int32_t end) {
  AttentionArgs args = p.args;
  const int32_t seq_start[] = {0, end - begin};
  args.q = p.q.t.slice(begin, end);
  args.out = p.out.t.slice(begin, end);
  args.rows = p.rows.data() + begin;
  args.seq_start = seq_start;
  kernels.attention[0].run(stream, args);
}

std::vector<AttentionCase> one_sequence_cases() {
  std::vector<AttentionCase> all;
  for (const AttentionCase& c : all_attention_cases()) {
    for (const SequenceCase& s : c.sequences) {
      if (s.tokens < 2 || c.head_dim > 128) continue;
      all.push_back(c);
      all.back().sequences = {s};
    }
  }
  return all;
}

TEST_P(Cpu, a_row_of_attention_has_the_same_bits_however_the_prefill_is_cut) {
  for (const AttentionCase& c : one_sequence_cases()) {
    SCOPED_TRACE(c.name);
    AttentionProblem whole(c, 13);
    kernels->attention[0].run(stream, whole.args);
    for (const int32_t step : {1, 2, 3, 7, 16, 17, 50}) {
      ThreadPool other(step % 4 + 1);
      Stream other_stream{&other};
      AttentionProblem parts(c, 13);
      const int32_t tokens = c.sequences[0].tokens;
      for (int32_t t = 0; t < tokens; t += step)
        run_tokens(*kernels, other_stream, parts, t, std::min(t + step, tokens));
      ASSERT_TRUE(same_bits(parts.out.values(), whole.out.values())) << "in steps of " << step;
    }
  }
}

TEST_P(Cpu, a_sequence_has_the_same_bits_alone_and_in_a_batch_on_every_number_of_threads) {
  for (const AttentionCase& c : all_attention_cases()) {
    SCOPED_TRACE(c.name);
    AttentionProblem whole(c, 17);
    kernels->attention[0].run(stream, whole.args);
    const std::vector<float> want = whole.out.values();
    AttentionProblem alone(c, 17);
    for (size_t s = 0; s < c.sequences.size(); ++s) {
      ThreadPool other(static_cast<int>(s % 4) + 1);
      Stream other_stream{&other};
      AttentionArgs args = alone.args;
      const int32_t seq_start[] = {0, alone.seq_start[s + 1] - alone.seq_start[s]};
      args.q = alone.q.t.slice(alone.seq_start[s], alone.seq_start[s + 1]);
      args.out = alone.out.t.slice(alone.seq_start[s], alone.seq_start[s + 1]);
      args.rows = alone.rows.data() + alone.seq_start[s];
      args.kv.table = alone.table.data() + static_cast<int64_t>(s) * alone.table_stride;
      args.seq_start = seq_start;
      args.sequences = 1;
      kernels->attention[0].run(other_stream, args);
    }
    ASSERT_TRUE(same_bits(alone.out.values(), want));
    ThreadPool four(4);
    Stream four_stream{&four};
    kernels->attention[0].run(four_stream, whole.args);
    ASSERT_TRUE(same_bits(whole.out.values(), want));
  }
}

void expect_nan_where_seen(const Kernels& kernels, Stream& stream, const AttentionCase& c, int key,
                           bool of_key) {
  AttentionProblem clean(c, 19);
  AttentionProblem poisoned(c, 19);
  const Tensor& t = of_key ? poisoned.k.t : poisoned.v.t;
  for (int64_t h = 0; h < c.kv_heads; ++h) {
    write(t, poisoned.table[key / c.block] * t.stride[0] + h * t.stride[1] + key % c.block * t.stride[2],
          std::numeric_limits<float>::quiet_NaN());
  }
  kernels.attention[0].run(stream, clean.args);
  kernels.attention[0].run(stream, poisoned.args);
  const std::vector<float> want = clean.out.values();
  const std::vector<float> got = poisoned.out.values();
  const size_t width = want.size() / clean.rows.size();
  for (size_t row = 0; row < clean.rows.size(); ++row) {
    const std::vector<float> a(want.begin() + row * width, want.begin() + (row + 1) * width);
    const std::vector<float> b(got.begin() + row * width, got.begin() + (row + 1) * width);
    if (sees(poisoned.rows[row], key)) {
      EXPECT_TRUE(std::isnan(b[0])) << "row " << row;
    } else {
      EXPECT_TRUE(same_bits(a, b)) << "row " << row;
    }
  }
}

TEST_P(Cpu, a_nan_key_or_value_reaches_exactly_the_rows_that_see_it) {
  for (const DType kv : {DType::kF32, DType::kBF16}) {
    for (const SequenceCase& s : {SequenceCase{0, 100}, SequenceCase{40, 9}}) {  // many rows and few
      for (const int key : {44, 45}) {
        SCOPED_TRACE(std::string(name_of(kv)) + " " + std::to_string(s.tokens) + " " + std::to_string(key));
        AttentionCase c{.name = "nan", .mask = causal() & window(30), .sequences = {s}, .kv = kv};
        expect_nan_where_seen(*kernels, stream, c, key, true);
        expect_nan_where_seen(*kernels, stream, c, key, false);
      }
    }
  }
}

TEST_P(Cpu, rms_norm_equals_ref) {
  for (const RowCase& c : row_cases()) {
    Random random(23);
    Array x = row_array(c);
    Array weight(DType::kF32, {c.dim});
    Array want = row_array(c, c.dtype);
    x.fill(random);
    weight.fill(random);
    if (c.accumulate) want.fill(random);
    Array got = want;
    got.t.data = got.memory.data();
    const bool weighted = c.rows != 3 && c.rows != 6;
    RmsNormArgs args = {.x = x.t,
                        .weight = weighted ? weight.t : Tensor(),
                        .eps = 1e-6F,
                        .scale = c.rows % 2 == 0 ? 0.3F : 1.0F,
                        .accumulate = c.accumulate,
                        .out = want.t};
    ref.rms_norm(stream, args);
    args.out = got.t;
    kernels->rms_norm(stream, args);
    expect_close(got.values(), want.values(), suffixed("rms_norm", c.dtype));
    if (c.dtype != DType::kF32 || c.accumulate) continue;
    args.out = x.t;
    kernels->rms_norm(stream, args);
    EXPECT_TRUE(same_bits(x.values(), got.values())) << "in place";
  }
}

TEST_P(Cpu, gated_act_equals_ref) {
  for (const Act act : kActs) {
    for (const RowCase& c : row_cases()) {
      Random random(29);
      Array gate = row_array(c);
      Array up = row_array(c);
      Array want = row_array(c, c.dtype);
      Array got = row_array(c, c.dtype);
      const float reach = act == Act::kClampedSwiglu ? 9 : 1;  // beyond where it clamps
      gate.fill(random, -6, std::max(6.0F, reach));
      up.fill(random, -reach, reach);
      ref.gated_act(stream, {.act = act, .gate = gate.t, .up = up.t, .out = want.t});
      kernels->gated_act(stream, {.act = act, .gate = gate.t, .up = up.t, .out = got.t});
      SCOPED_TRACE(static_cast<int>(act));
      expect_close(got.values(), want.values(), suffixed("gated_act", c.dtype));
      if (c.dtype != DType::kF32) continue;
      for (Array* in_place : {&gate, &up}) {
        const Array kept = *in_place;
        kernels->gated_act(stream, {.act = act, .gate = gate.t, .up = up.t, .out = in_place->t});
        EXPECT_TRUE(same_bits(in_place->values(), got.values())) << "in place";
        in_place->memory = kept.memory;
        in_place->t.data = in_place->memory.data();
      }
    }
  }
}

TEST_P(Cpu, activations_hold_far_out_and_at_the_odd_values) {
  std::vector<float> gate = {0, -0.0F, 1e-30F, -1e-30F, 50, -50, 88, -88, 100, -100, 1e30F, INFINITY, NAN};
  std::vector<float> up(gate.size(), 1);
  std::vector<float> out(gate.size());
  const auto n = static_cast<int64_t>(gate.size());
  const auto view = [&](std::vector<float>& v) { return Tensor(v.data(), DType::kF32, {1, n}); };
  for (const Act act : {Act::kSilu, Act::kGelu, Act::kGeluTanh, Act::kRelu, Act::kSigmoid}) {
    kernels->gated_act(stream, {.act = act, .gate = view(gate), .up = view(up), .out = view(out)});
    for (size_t i = 0; i + 1 < gate.size(); ++i) {
      const double passed = act == Act::kSigmoid ? 1 : gate[i];
      const double want = gate[i] < -20  ? 0
                          : gate[i] > 20 ? passed
                                         : passed * (act == Act::kRelu ? gate[i] > 0 : 0.5);
      EXPECT_TRUE(std::abs(out[i] - want) <= 1e-7 || out[i] == want)
          << static_cast<int>(act) << " of " << gate[i] << ": " << out[i];
    }
    EXPECT_TRUE(std::isnan(out.back()));
  }
}

TEST_P(Cpu, exp_and_tanh_are_within_two_ulp) {
  // silu(x) with gate x and up 1/x would hide exp; softcap(1) is tanh itself, and silu at -x shows exp.
  std::vector<float> x;
  for (float v = -9; v <= 9; v += 0.00137F) x.push_back(v);
  std::vector<float> got = x;
  const auto n = static_cast<int64_t>(x.size());
  kernels->softcap(stream, {.cap = 1, .x = Tensor(got.data(), DType::kF32, {1, n})});
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = std::tanh(double{x[i]});
    EXPECT_NEAR(got[i], want, 2.4e-7 * std::abs(want)) << x[i];
  }
  std::vector<float> up(x.size(), 1);
  for (float& v : x) v = 8 * v - 10;
  kernels->gated_act(stream, {.act = Act::kSilu,
                              .gate = Tensor(x.data(), DType::kF32, {1, n}),
                              .up = Tensor(up.data(), DType::kF32, {1, n}),
                              .out = Tensor(got.data(), DType::kF32, {1, n})});
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = double{x[i]} / (1 + std::exp(-double{x[i]}));
    EXPECT_NEAR(got[i], want, 4e-7 * std::abs(want)) << x[i];
  }
}

TEST_P(Cpu, softcap_equals_ref) {
  for (const RowCase& c : row_cases()) {
    Random random(31);
    Array want(DType::kF32, {c.rows, c.dim}, c.pad);
    want.fill(random, -100, 100);
    Array got = want;
    got.t.data = got.memory.data();
    ref.softcap(stream, {.cap = 30, .x = want.t});
    kernels->softcap(stream, {.cap = 30, .x = got.t});
    expect_close(got.values(), want.values(), "softcap");
  }
}

TEST_P(Cpu, embed_gather_and_add_equal_ref) {
  for (const RowCase& c : row_cases()) {
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      Random random(37);
      Array table(dtype, {11, c.dim}, c.pad);
      table.fill(random);
      std::vector<int32_t> ids;
      for (int64_t i = 0; i < c.rows; ++i) ids.push_back(random.below(11));
      Array want(DType::kF32, {c.rows, c.dim}, c.pad);
      Array got(DType::kF32, {c.rows, c.dim}, c.pad);
      ref.embed(stream, {.table = table.t, .ids = ids.data(), .scale = 3.3F, .out = want.t});
      kernels->embed(stream, {.table = table.t, .ids = ids.data(), .scale = 3.3F, .out = got.t});
      expect_close(got.values(), want.values(), "embed");
      if (dtype != DType::kF32) continue;
      kernels->gather_rows(stream, {.x = table.t, .rows = ids.data(), .out = got.t});
      ref.gather_rows(stream, {.x = table.t, .rows = ids.data(), .out = want.t});
      expect_close(got.values(), want.values(), "gather_rows");
      kernels->add(stream, {.x = want.t, .out = got.t});
      ref.add(stream, {.x = want.t, .out = want.t});
      expect_close(got.values(), want.values(), "add");
    }
  }
}

TEST_P(Cpu, scaled_sums_and_scaled_rows_equal_ref) {
  for (const RowCase& c : row_cases()) {
    if (c.heads > 0) continue;
    Random random(39);
    Array x = row_array(c);
    Array factors(DType::kF32, {c.rows, 1}, c.pad);
    Array want = row_array(c);
    x.fill(random);
    factors.fill(random, -3, 3);
    want.fill(random);
    Array got = want;
    got.t.data = got.memory.data();
    const auto compare = [&](std::string_view name, const auto& op) {
      op(ref, want.t);
      op(*kernels, got.t);
      expect_close(got.values(), want.values(), name);
      std::memcpy(got.memory.data(), want.memory.data(), want.memory.size());
    };
    compare("add scaled", [&](const Kernels& k, const Tensor& out) {
      k.add(stream, {.x = x.t, .scale = -0.7F, .keep = 1.3F, .out = out});
    });
    compare("scale",
            [&](const Kernels& k, const Tensor& out) { k.scale(stream, {.scale = 1.7F, .x = out}); });
    compare("scale", [&](const Kernels& k, const Tensor& out) {
      k.scale_rows(stream, {.factors = factors.t, .x = out});
    });
    compare("scale_rows sigmoid", [&](const Kernels& k, const Tensor& out) {
      k.scale_rows(stream, {.factors = factors.t, .sigmoid = true, .x = out});
    });
  }
}

TEST_P(Cpu, every_float16_widens_as_the_definition_does) {
  std::vector<uint16_t> bits(65536);
  for (size_t i = 0; i < bits.size(); ++i) bits[i] = static_cast<uint16_t>(i);
  std::vector<float> out(bits.size());
  const int32_t id = 0;
  kernels->embed(stream, {.table = Tensor(bits.data(), DType::kF16, {1, 65536}),
                          .ids = &id,
                          .scale = 1,
                          .out = Tensor(out.data(), DType::kF32, {1, 65536})});
  for (size_t i = 0; i < bits.size(); ++i) {
    const float want = to_float(f16{bits[i]});
    ASSERT_TRUE(out[i] == want || (std::isnan(out[i]) && std::isnan(want))) << i;
  }
}

TEST_P(Cpu, bfloat16_is_rounded_as_the_definition_does) {
  std::vector<float> x = {0,       -0.0F,  1,      1.00390625F, 1.01171875F, -3e38F,
                          3.4e38F, 1e-39F, 1e-45F, INFINITY,    -INFINITY,   NAN};
  Random random(41);
  for (int i = 0; i < 1000; ++i)
    x.push_back(std::bit_cast<float>(static_cast<uint32_t>(random.below(1 << 30)) * 4U));
  const auto n = static_cast<int64_t>(x.size());
  std::vector<bf16> cache(2 * x.size());
  const int64_t slot = 0;
  Tensor in(x.data(), DType::kF32, {1, 1, n});
  kernels->kv_write(stream, {.k = in,
                             .v = in,
                             .slots = &slot,
                             .kv = {.k = Tensor(cache.data(), DType::kBF16, {1, 1, 1, n}),
                                    .v = Tensor(cache.data() + n, DType::kBF16, {1, 1, 1, n})}});
  for (size_t i = 0; i < x.size(); ++i) {
    EXPECT_EQ(cache[i].bits, from_float<bf16>(x[i]).bits) << x[i];
    EXPECT_EQ(cache[i].bits, cache[i + x.size()].bits);
  }
}

TEST_P(Cpu, kv_write_equals_ref_and_touches_nothing_else) {
  for (const DType dtype : {DType::kF32, DType::kBF16}) {
    Random random(43);
    Array k(DType::kF32, {9, 3, 40}, 2);
    Array v(DType::kF32, {9, 3, 24}, 2);
    k.fill(random);
    v.fill(random);
    std::vector<int64_t> slots = {5, -1, 17, 16, 31, 0, -7, 44, 47};
    Array cache[4] = {Array(dtype, {3, 3, 16, 40}, 4), Array(dtype, {3, 3, 16, 24}, 4),
                      Array(dtype, {3, 3, 16, 40}, 4), Array(dtype, {3, 3, 16, 24}, 4)};
    ref.kv_write(stream,
                 {.k = k.t, .v = v.t, .slots = slots.data(), .kv = {.k = cache[0].t, .v = cache[1].t}});
    kernels->kv_write(stream,
                      {.k = k.t, .v = v.t, .slots = slots.data(), .kv = {.k = cache[2].t, .v = cache[3].t}});
    EXPECT_EQ(cache[0].memory, cache[2].memory);
    EXPECT_EQ(cache[1].memory, cache[3].memory);
    Array keys[2] = {Array(dtype, {3, 3, 16, 40}, 4), Array(dtype, {3, 3, 16, 40}, 4)};
    ref.kv_write(stream, {.k = k.t, .v = {}, .slots = slots.data(), .kv = {.k = keys[0].t, .v = {}}});
    kernels->kv_write(stream, {.k = k.t, .v = {}, .slots = slots.data(), .kv = {.k = keys[1].t, .v = {}}});
    EXPECT_EQ(keys[0].memory, cache[0].memory);
    EXPECT_EQ(keys[1].memory, cache[0].memory);
  }
}

TEST_P(Cpu, rows_of_an_int8_cache_have_the_codes_and_scales_of_ref) {
  Random random(47);
  Array k(DType::kF32, {6, 2, 37}, 3);
  Array v(DType::kF32, {6, 2, 24}, 3);
  k.fill(random, -3, 3);
  v.fill(random);
  const float specials[] = {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity(),
                            0, 1e-35F};
  for (int t = 0; t < 4; ++t) {  // whole rows of zeros and of the next to nothing, else one element
    for (int64_t i = 0; i < (t < 2 ? 1 : 37); ++i) write(k.t, t * k.t.stride[0] + i, specials[t]);
  }
  const std::vector<int64_t> slots = {5, 17, 16, 31, -1, 0};
  std::vector<Array> kept;
  for (const Kernels* which : {&ref, kernels}) {
    const size_t first = kept.size();
    kept.emplace_back(DType::kI8, std::initializer_list<int64_t>{2, 2, 16, 37}, 3);
    kept.emplace_back(DType::kI8, std::initializer_list<int64_t>{2, 2, 16, 24}, 3);
    for (int i = 0; i < 2; ++i) kept.emplace_back(DType::kF32, std::initializer_list<int64_t>{2, 2, 16});
    which->kv_write(stream, {.k = k.t,
                             .v = v.t,
                             .slots = slots.data(),
                             .kv = {.k = kept[first].t,
                                    .v = kept[first + 1].t,
                                    .k_scale = kept[first + 2].t,
                                    .v_scale = kept[first + 3].t}});
  }
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(kept[i].memory, kept[i + 4].memory);
    expect_close(kept[i + 6].values(), kept[i + 2].values(), "kv_write");
  }
  for (int64_t i = 0; i < 24; ++i) {  // token 5, head 0
    const float scale = kept[3].t.f32()[0];
    EXPECT_NEAR(scale * static_cast<float>(kept[1].t.as<int8_t>()[i]), v.t.f32()[5 * v.t.stride[0] + i],
                scale / 2 + 1e-7F);
  }
}

TEST_P(Cpu, rows_of_an_fp8_cache_have_the_codes_of_ref) {
  const Fp8Rows rows;
  for (const bool with_values : {true, false}) {
    Array cache[4] = {rows.cache(37), rows.cache(24), rows.cache(37), rows.cache(24)};
    for (const int i : {0, 1}) {
      KvWriteArgs args = {.k = rows.k.t,
                          .v = with_values ? rows.v.t : Tensor(),
                          .slots = rows.slots.data(),
                          .kv = {.k = cache[2 * i].t, .k_scale = rows.scales.t}};
      if (with_values) args.kv.v = cache[2 * i + 1].t;
      (i == 0 ? ref : *kernels).kv_write(stream, args);
    }
    EXPECT_EQ(cache[0].memory, cache[2].memory);
    EXPECT_EQ(cache[1].memory, cache[3].memory);
  }
}

TEST_P(Cpu, rope_and_its_table_equal_ref) {
  for (const auto& [head_dim, pairs] : {std::pair{64, 32}, {80, 20}, {24, 12}, {7, 3}, {128, 64}, {16, 0}}) {
    Random random(47);
    std::vector<int32_t> positions = {0, 1, 1000000, 77777, 5};
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
    const auto table = [&](int i) {
      return RopeTableArgs{.positions = positions.data(),
                           .inverse_frequency = frequency.data(),
                           .attention_factor = 1.25F,
                           .cos = cos[i].t,
                           .sin = sin[i].t};
    };
    ref.rope_table(stream, table(0));
    kernels->rope_table(stream, table(1));
    expect_close(cos[1].values(), cos[0].values(), "rope_table");
    expect_close(sin[1].values(), sin[0].values(), "rope_table");
    for (const bool interleaved : {false, true}) {
      ref.rope(stream, {.cos = cos[0].t, .sin = sin[0].t, .x = want.t, .interleaved = interleaved});
      kernels->rope(stream, {.cos = cos[0].t, .sin = sin[0].t, .x = got.t, .interleaved = interleaved});
      expect_close(got.values(), want.values(), "rope");
      std::memcpy(got.memory.data(), want.memory.data(), want.memory.size());
    }
  }
}

// Heads as parts of a wider row: the first of two halves of each head, in rows that hold other things too.
struct View {
  View(Random& random, int64_t tokens, int64_t heads, int64_t dim)
      : wide(DType::kF32, {tokens, heads + 3, 2 * dim}), narrow(DType::kF32, {tokens, heads, dim}) {
    t = wide.t;
    t.size = {tokens, heads, dim, 0};
    narrow.fill(random);
    copy(narrow.t, t);
  }
  static void copy(const Tensor& from, const Tensor& to) {
    for (int64_t i = 0; i < from.size[0]; ++i) {
      for (int64_t h = 0; h < from.size[1]; ++h) {
        std::memcpy(to.as<float>() + i * to.stride[0] + h * to.stride[1],
                    from.as<float>() + i * from.stride[0] + h * from.stride[1],
                    static_cast<size_t>(from.size[2]) * sizeof(float));
      }
    }
  }
  std::vector<float> values() const {
    std::vector<float> all;
    for_each(t, [&](int64_t at) { all.push_back(read(t, at)); });
    return all;
  }
  Array wide, narrow;
  Tensor t;  // in `wide`, which is NaN elsewhere
};

TEST_P(Cpu, ops_on_heads_within_wider_rows_give_the_same_bits) {
  Random random(53);
  const int64_t tokens = 9;
  const int64_t dim = 40;
  View x(random, tokens, 3, dim);
  View up(random, tokens, 3, dim);
  Array cos(DType::kF32, {tokens, 12});
  Array sin(DType::kF32, {tokens, 12});
  cos.fill(random);
  sin.fill(random);
  const auto same = [&](const auto& op) {
    op(x.t, up.t);
    op(x.narrow.t, up.narrow.t);
    EXPECT_TRUE(same_bits(x.values(), x.narrow.values()));
    EXPECT_TRUE(same_bits(up.values(), up.narrow.values()));
    EXPECT_FALSE(std::isnan(x.values()[0] + up.values()[0]));
  };
  same([&](const Tensor& t, const Tensor&) { kernels->rms_norm(stream, {.x = t, .eps = 1e-6F, .out = t}); });
  same([&](const Tensor& t, const Tensor&) { kernels->rope(stream, {.cos = cos.t, .sin = sin.t, .x = t}); });
  same([&](const Tensor& t, const Tensor& u) {
    kernels->gated_act(stream, {.act = Act::kSigmoid, .gate = t, .up = u, .out = t});
  });
  const int64_t slots[] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
  Array cache(DType::kF32, {1, 3, 16, dim});
  kernels->kv_write(stream, {.k = up.t, .v = up.t, .slots = slots, .kv = {.k = cache.t, .v = cache.t}});
  const int32_t table = 0;
  const int32_t seq_start[] = {0, 9};
  std::vector<RowMask> rows;
  for (int i = 0; i < 9; ++i) rows.push_back({0, i + 1, 0});
  same([&](const Tensor& t, const Tensor& out) {
    kernels->attention[0].run(stream, {.q = t,
                                       .kv = {.k = cache.t, .v = cache.t, .table = &table, .table_stride = 1},
                                       .seq_start = seq_start,
                                       .sequences = 1,
                                       .rows = rows.data(),
                                       .out = out});
  });
}

TEST(CpuKernels, the_chosen_instruction_set_is_one_of_those_known_and_unknown_ones_are_refused) {
  EXPECT_NE(cpu_kernels_for("baseline"), nullptr);
  EXPECT_EQ(cpu_kernels_for("neon128"), nullptr);
  EXPECT_EQ(cpu_kernels_for(cpu_kernels().isa), &cpu_kernels());
}

}  // namespace
}  // namespace heed
