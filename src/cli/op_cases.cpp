#include "cli/op_cases.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <numeric>
#include <random>

#include "tensor/blocks.h"

namespace heed {
namespace {

constexpr int64_t kColdBytes = int64_t{512} << 20;  // that take turns: more than caches hold
constexpr int64_t kSample = 1 << 18;                // random elements, which are repeated
constexpr int kHeads = 16;
constexpr int kKvHeads = 8;
constexpr int kHeadDim = 128;
constexpr int kExperts = 128;
constexpr int kTopK = 8;

class Random {
 public:
  float uniform() { return std::uniform_real_distribution<float>(-1, 1)(generator_); }
  int below(int n) { return static_cast<int>(generator_() % static_cast<unsigned>(n)); }
  std::mt19937& generator() { return generator_; }

 private:
  std::mt19937 generator_{1};
};

// Any bits that stand for numbers of a usual size.
void fill_block(DType dtype, char* block, Random& random) {
  const BlockShape shape = block_of(dtype);
  std::vector<float> values(static_cast<size_t>(shape.elements));
  const auto usual = [&] {
    float largest = 0;
    for (const float value : values) {
      if (!std::isfinite(value)) return false;
      largest = std::max(largest, std::abs(value));
    }
    return largest > 1e-4F && largest < 1e4F;
  };
  do {
    for (int64_t i = 0; i < shape.bytes; ++i) block[i] = static_cast<char>(random.below(256));
    widen_blocks(dtype, block, shape.elements, values.data());
  } while (!usual());
}

void fill(DType dtype, char* data, int64_t elements, Random& random) {
  const BlockShape shape = block_of(dtype);
  for (int64_t i = 0; i < elements / shape.elements; ++i) {
    char* at = data + i * shape.bytes;
    if (is_blocks(dtype)) {
      fill_block(dtype, at, random);
    } else if (dtype == DType::kI8) {
      *at = static_cast<char>(random.below(255) - 127);
    } else if (dtype == DType::kE4M3) {
      *at = static_cast<char>(from_float<e4m3>(random.uniform()).bits);
    } else if (dtype == DType::kF32) {
      const float value = random.uniform();
      std::memcpy(at, &value, sizeof value);
    } else {
      const float value = random.uniform();
      const uint16_t bits =
          dtype == DType::kBF16 ? from_float<bf16>(value).bits : from_float<f16>(value).bits;
      std::memcpy(at, &bits, sizeof bits);
    }
  }
}

// `copies` tensors one behind the other, of random numbers.
class Array {
 public:
  Array(DType dtype, std::initializer_list<int64_t> sizes, Random& random, int64_t copies = 1)
      : copies_(copies), first_(nullptr, dtype, sizes), memory_(first_.bytes() * copies) {
    first_.data = memory_.data();
    const int64_t sample = std::min(bytes_of(dtype, kSample), memory_.bytes());
    auto* memory = first_.as<char>();
    fill(dtype, memory, kSample * sample / bytes_of(dtype, kSample), random);
    for (int64_t at = sample; at < memory_.bytes(); at += sample)
      std::memcpy(memory + at, memory, static_cast<size_t>(std::min(sample, memory_.bytes() - at)));
  }
  // As many copies as no cache holds.
  static Array cold(DType dtype, std::initializer_list<int64_t> sizes, Random& random) {
    const int64_t bytes = Tensor(nullptr, dtype, sizes).bytes();
    return {dtype, sizes, random, std::max<int64_t>(kColdBytes / bytes, 1)};
  }

  Tensor operator[](int64_t copy) const {
    Tensor t = first_;
    t.data = t.as<char>() + copy % copies_ * t.bytes();
    return t;
  }
  Tensor operator*() const { return first_; }
  auto bytes() const { return static_cast<double>(first_.bytes()); }

 private:
  int64_t copies_;
  Tensor first_;
  Buffer memory_;
};

// The body of an op over what it needs, which it keeps.
template <class State>
ReadyOp ready(StepWork work, std::shared_ptr<State> state,
              void (*run)(const State& state, Stream& stream, int64_t call)) {
  return {work, [state = std::move(state), run](Stream& stream, int64_t call) { run(*state, stream, call); }};
}

std::string text(int64_t number) { return std::to_string(number); }

// What products of x with such weights are compared with.
Peak peak_of(DType x, DType weight) {
  if (is_blocks(weight)) return Peak::kInt8;
  return x == DType::kBF16 ? Peak::kBfloat16 : Peak::kFloat32;
}

// float32 and float16 weights go with float32 rows.
DType rows_of(DType weight) {
  return weight == DType::kF32 || weight == DType::kF16 ? DType::kF32 : DType::kBF16;
}

// ---- linear layers ----

struct Linear {
  const Kernels& kernels;
  Array x, weight, out;
};

OpCase linear_case(const Kernels& kernels, DType weight, int64_t tokens, int64_t in, int64_t out) {
  const DType x = rows_of(weight);
  const auto prepare = [=, &kernels] {
    Random random;
    auto state = std::make_shared<Linear>(Linear{kernels, Array(x, {tokens, in}, random),
                                                 Array::cold(weight, {out, in}, random),
                                                 Array(DType::kF32, {tokens, out}, random)});
    const StepWork work = {.bytes = state->weight.bytes() + state->x.bytes() + state->out.bytes(),
                           .flops = 2.0 * static_cast<double>(tokens * in * out)};
    return ready<Linear>(work, state, [](const Linear& s, Stream& stream, int64_t call) {
      s.kernels.linear(stream, {.x = *s.x, .weight = s.weight[call], .out = *s.out});
    });
  };
  return {
      "linear " + std::string(name_of(weight)) + " " + text(tokens) + " x " + text(in) + " x " + text(out),
      peak_of(x, weight), prepare};
}

void add_linear(const Kernels& kernels, std::vector<OpCase>& all) {
  std::vector<DType> types = {DType::kBF16, DType::kF32, DType::kF16};
  for (int i = 0; kernels.reads_blocks && i <= static_cast<int>(kLastDType); ++i) {
    const auto type = static_cast<DType>(i);
    if (is_blocks(type) && (type != DType::kFp8 || kernels.reads_fp8)) types.push_back(type);
  }
  for (const DType type : types) {
    for (const int64_t tokens : {1, 16, 512}) all.push_back(linear_case(kernels, type, tokens, 1024, 4096));
    all.push_back(linear_case(kernels, type, 1, 3072, 1024));
  }
}

// ---- attention ----

struct Attention {
  const Kernels& kernels;
  const AttentionKernel& kernel;
  Array q, k, v, k_scale, v_scale, out;
  std::vector<int32_t> seq_start, table;
  std::vector<RowMask> rows;
  int64_t table_stride;
};

struct AttentionShape {
  std::string name;
  Mask mask;
  int sequences, past, tokens;  // of each
  DType kv;
};

void run_attention(const Attention& s, Stream& stream, int64_t call) {
  // What a window sees of a long sequence would stay in a cache: other blocks each time.
  constexpr int64_t kOthers = 67;  // prime: all of them have their turn
  const int64_t first = call * kOthers % (std::ssize(s.table) / 2);
  const bool codes = (*s.k).dtype == DType::kI8;
  s.kernel.run(stream, {.q = *s.q,
                        .kv = {.k = s.k[call],
                               .v = s.v[call],
                               .k_scale = codes ? *s.k_scale : Tensor(),
                               .v_scale = codes ? *s.v_scale : Tensor(),
                               .table = s.table.data() + first,
                               .table_stride = s.table_stride},
                        .seq_start = s.seq_start.data(),
                        .sequences = static_cast<int>(s.seq_start.size()) - 1,
                        .rows = s.rows.data(),
                        .scale = 1 / std::sqrt(static_cast<float>(kHeadDim)),
                        .out = *s.out});
}

ReadyOp prepare_attention(const Kernels& kernels, const AttentionKernel& kernel, const AttentionShape& c) {
  const int block = kernels.kernel_block;
  const int length = c.past + c.tokens;
  const int64_t stride = (length + block - 1) / block;
  const int64_t blocks = stride * c.sequences;
  const int64_t tokens = int64_t{c.sequences} * c.tokens;
  Random random;
  auto state = std::make_shared<Attention>(Attention{
      .kernels = kernels,
      .kernel = kernel,
      .q = Array(DType::kF32, {tokens, kHeads, kHeadDim}, random),
      .k = Array::cold(c.kv, {blocks, kKvHeads, block, kHeadDim}, random),
      .v = Array::cold(c.kv, {blocks, kKvHeads, block, kHeadDim}, random),
      .k_scale = Array(DType::kF32, {blocks, kKvHeads, block}, random),
      .v_scale = Array(DType::kF32, {blocks, kKvHeads, block}, random),
      .out = Array(c.kv == DType::kF32 ? DType::kF32 : DType::kBF16, {tokens, kHeads, kHeadDim}, random),
      .seq_start = {0},
      .table = std::vector<int32_t>(static_cast<size_t>(blocks)),
      .rows = {},
      .table_stride = stride});
  std::iota(state->table.begin(), state->table.end(), 0);
  std::shuffle(state->table.begin(), state->table.end(), random.generator());
  state->table.resize(static_cast<size_t>(2 * blocks));  // once more behind itself, to begin anywhere in it
  std::copy_n(state->table.begin(), blocks, state->table.begin() + blocks);
  StepWork work = {.bytes = state->q.bytes() + state->out.bytes()};
  const double key_bytes =
      2.0 * kKvHeads *
      static_cast<double>(kHeadDim * size_of(c.kv) + (c.kv == DType::kI8 ? sizeof(float) : 0));
  for (int s = 0; s < c.sequences; ++s) {
    state->seq_start.push_back(state->seq_start.back() + c.tokens);
    int lo = length;  // keys that some token sees are read once
    for (int t = 0; t < c.tokens; ++t) {
      const RowMask row = row_of(c.mask, {.length = length}, c.past + t);
      state->rows.push_back(row);
      lo = std::min(lo, row.lo);
      work.flops += 4.0 * (row.hi - row.lo) * kHeads * kHeadDim;
    }
    work.bytes += (length - lo) * key_bytes;
  }
  return ready<Attention>(work, state, run_attention);
}

void add_attention(const Kernels& kernels, std::vector<OpCase>& all) {
  const auto add = [&](const AttentionShape& c) {
    const AttentionNeeds needs = {.heads = kHeads,
                                  .kv_heads = kKvHeads,
                                  .head_dim = kHeadDim,
                                  .v_dim = kHeadDim,
                                  .kv_dtype = c.kv,
                                  .block = kernels.kernel_block};
    const AttentionKernel* kernel = nullptr;
    for (const AttentionKernel& one : kernels.attention) {
      if (kernel == nullptr && one.why_not(needs).empty()) kernel = &one;
    }
    if (kernel == nullptr) return;
    all.push_back({"attention " + c.name + " " + std::string(name_of(c.kv)),
                   c.kv == DType::kBF16 ? Peak::kBfloat16 : Peak::kFloat32,
                   [c, kernel, &kernels] { return prepare_attention(kernels, *kernel, c); }});
  };
  const std::pair<const char*, Mask> masks[] = {{"causal", causal()},
                                                {"window 512", causal() & window(512)},
                                                {"chunk 512", causal() & chunk(512)},
                                                {"non-causal", full()}};
  for (const auto& [name, mask] : masks) {
    for (const DType kv : {DType::kBF16, DType::kF32, DType::kI8, DType::kE4M3}) {
      add({std::string(name) + ", decode at 4096", mask, 1, 4095, 1, kv});
      add({std::string(name) + ", prefill of 2048", mask, 1, 0, 2048, kv});
    }
  }
  for (const int length : {512, 32768}) {  // what lies before a window or a chunk costs nothing
    const std::string at = ", decode at " + std::to_string(length);
    add({"window 512" + at, causal() & window(512), 1, length - 1, 1, DType::kBF16});
    add({"chunk 512" + at, causal() & chunk(512), 1, length - 1, 1, DType::kBF16});
  }
  add({"causal, decode of 8 at 4096", causal(), 8, 4095, 1, DType::kBF16});
  add({"causal, prefill of 512 behind 4096", causal(), 1, 4096, 512, DType::kBF16});
}

// ---- layers with a state: Qwen3-Next's (delta rule, convolution) and MiniMax-M1's (linear attention) ----

struct Sequences {
  const char* name;
  int sequences, tokens;  // of each
};
constexpr Sequences kBatches[] = {{"decode", 1, 1}, {"decode of 16", 16, 1}, {"prefill of 512", 1, 512}};

// Sequences with a slot each.
struct States {
  States(const Sequences& batch, DType dtype, std::initializer_list<int64_t> sizes, Random& random)
      : slots(Array::cold(dtype, sizes, random)) {
    for (int s = 0; s <= batch.sequences; ++s) start.push_back(s * batch.tokens);
    for (int s = 0; s < batch.sequences; ++s) slot.push_back(s);
  }
  StateArgs args(int64_t call) const {
    return {.slots = slots[call],
            .seq_start = start.data(),
            .sequences = static_cast<int>(slot.size()),
            .slot = slot.data(),
            .saves = {}};
  }
  Array slots;
  std::vector<int32_t> start, slot;
};

struct Recurrent {
  const Kernels& kernels;
  States states;
  Array q, k, v, decay, beta, out;
  std::vector<float> slopes;
};

// flops: of an element of the state and a token.
OpCase recurrent_case(const Kernels& kernels, const std::string& name, const Sequences& batch, DType dtype,
                      int k_heads, int v_heads, double flops,
                      void (*run)(const Recurrent&, Stream&, int64_t)) {
  const auto prepare = [=, &kernels] {
    Random random;
    const int64_t tokens = int64_t{batch.sequences} * batch.tokens;
    auto state = std::make_shared<Recurrent>(Recurrent{
        kernels, States(batch, dtype, {batch.sequences, v_heads, kHeadDim, kHeadDim}, random),
        Array(DType::kF32, {tokens, k_heads, kHeadDim}, random),
        Array(DType::kF32, {tokens, k_heads, kHeadDim}, random),
        Array(DType::kF32, {tokens, v_heads, kHeadDim}, random),
        Array(DType::kF32, {tokens, v_heads}, random), Array(DType::kF32, {tokens, v_heads}, random),
        Array(DType::kF32, {tokens, v_heads, kHeadDim}, random),
        std::vector<float>(static_cast<size_t>(v_heads), 0.1F)});
    for (int64_t i = 0; i < tokens * v_heads; ++i) {  // between -1 and 0; between 0 and 1
      (*state->decay).as<float>()[i] = -std::abs((*state->decay).as<float>()[i]);
      (*state->beta).as<float>()[i] = std::abs((*state->beta).as<float>()[i]);
    }
    for (int64_t i = 0; i < tokens * k_heads * kHeadDim; ++i)  // keys of norm 1, about
      (*state->k).as<float>()[i] *= std::sqrt(3.0F / kHeadDim);
    const double elements = static_cast<double>(batch.sequences) * v_heads * kHeadDim * kHeadDim;
    const StepWork work = {.bytes = 2 * state->states.slots.bytes() + state->q.bytes() + state->k.bytes() +
                                    state->v.bytes() + state->out.bytes(),
                           .flops = flops * elements * batch.tokens};
    return ready<Recurrent>(work, state, run);
  };
  return {name + " " + batch.name + ", state " + std::string(name_of(dtype)), Peak::kFloat32, prepare};
}

struct Conv {
  const Kernels& kernels;
  States states;
  Array x, weight, out;
};

OpCase conv_case(const Kernels& kernels, const Sequences& batch) {
  constexpr int64_t kChannels = 8192;
  constexpr int64_t kWidth = 4;
  const auto prepare = [=, &kernels] {
    Random random;
    const int64_t tokens = int64_t{batch.sequences} * batch.tokens;
    auto state = std::make_shared<Conv>(
        Conv{kernels, States(batch, DType::kF32, {batch.sequences, kWidth - 1, kChannels}, random),
             Array(DType::kF32, {tokens, kChannels}, random), Array(DType::kF32, {kChannels, kWidth}, random),
             Array(DType::kF32, {tokens, kChannels}, random)});
    const StepWork work = {.bytes = 2 * state->states.slots.bytes() + state->x.bytes() + state->out.bytes(),
                           .flops = 2.0 * static_cast<double>(tokens * kChannels * kWidth)};
    return ready<Conv>(work, state, [](const Conv& s, Stream& stream, int64_t call) {
      s.kernels.short_conv(stream,
                           {.x = *s.x, .weight = *s.weight, .state = s.states.args(call), .out = *s.out});
    });
  };
  return {"short_conv " + std::string(batch.name), Peak::kFloat32, prepare};
}

void add_recurrent(const Kernels& kernels, std::vector<OpCase>& all) {
  const auto delta = [](const Recurrent& s, Stream& stream, int64_t call) {
    s.kernels.gated_delta(stream, {.q = *s.q,
                                   .k = *s.k,
                                   .v = *s.v,
                                   .decay = *s.decay,
                                   .beta = *s.beta,
                                   .state = s.states.args(call),
                                   .out = *s.out});
  };
  const auto linear = [](const Recurrent& s, Stream& stream, int64_t call) {
    s.kernels.linear_attention(stream, {.q = *s.q,
                                        .k = *s.k,
                                        .v = *s.v,
                                        .slopes = s.slopes.data(),
                                        .state = s.states.args(call),
                                        .out = *s.out});
  };
  for (const Sequences& batch : kBatches) {
    for (const DType dtype : {DType::kF32, DType::kBF16}) {
      all.push_back(recurrent_case(kernels, "gated_delta", batch, dtype, 16, 32, 7, delta));
      all.push_back(recurrent_case(kernels, "linear_attention", batch, dtype, 64, 64, 5, linear));
    }
    all.push_back(conv_case(kernels, batch));
  }
}

// ---- experts, and products of each head ----

struct Experts {
  const Kernels& kernels;
  Array x, weights, out;
  std::vector<std::vector<int32_t>> start, rows;  // of several choices, that take turns
};

// Random tokens' choices, sorted.
void add_choice(int64_t tokens, Random& random, Experts& s) {
  std::vector<int32_t> chosen(static_cast<size_t>(tokens * kTopK));
  std::vector<int32_t> experts(kExperts);
  std::iota(experts.begin(), experts.end(), 0);
  for (int64_t t = 0; t < tokens; ++t) {
    std::shuffle(experts.begin(), experts.end(), random.generator());
    std::copy_n(experts.begin(), kTopK, chosen.begin() + t * kTopK);
  }
  std::vector<int32_t>& start = s.start.emplace_back(kExperts + 1);
  std::vector<int32_t>& rows = s.rows.emplace_back(chosen.size());
  std::vector<int32_t> place(chosen.size());
  ThreadPool alone(1);
  Stream stream = {&alone};
  s.kernels.moe_sort(stream, {.experts = chosen.data(),
                              .tokens = tokens,
                              .top_k = kTopK,
                              .expert_count = kExperts,
                              .expert_start = start.data(),
                              .rows = rows.data(),
                              .place = place.data()});
}

void run_experts(const Experts& s, Stream& stream, int64_t call) {
  const size_t choice = static_cast<size_t>(call) % s.start.size();
  std::vector<Tensor> weights;
  for (int e = 0; e < kExperts; ++e) weights.push_back(s.weights[call * kExperts + e]);
  s.kernels.expert_linear(stream, {.x = *s.x,
                                   .rows = s.rows[choice].data(),
                                   .expert_start = s.start[choice].data(),
                                   .weights = weights,
                                   .out = *s.out});
}

OpCase experts_case(const Kernels& kernels, DType weight, int64_t tokens, int64_t in, int64_t out) {
  const DType x = rows_of(weight);
  const auto prepare = [=, &kernels] {
    Random random;
    const int64_t all_bytes = kExperts * bytes_of(weight, out * in);
    const int64_t copies = std::max<int64_t>(kColdBytes / all_bytes, 1);
    auto state =
        std::make_shared<Experts>(Experts{.kernels = kernels,
                                          .x = Array(x, {tokens, in}, random),
                                          .weights = Array(weight, {out, in}, random, copies * kExperts),
                                          .out = Array(DType::kF32, {tokens * kTopK, out}, random),
                                          .start = {},
                                          .rows = {}});
    constexpr int kChoices = 16;
    double used = 0;
    for (int i = 0; i < kChoices; ++i) {
      add_choice(tokens, random, *state);
      for (int e = 0; e < kExperts; ++e)
        used += state->start.back()[e + 1] > state->start.back()[e] ? 1.0 / kChoices : 0;
    }
    const StepWork work = {.bytes = used * state->weights.bytes() + state->x.bytes() + state->out.bytes(),
                           .flops = 2.0 * static_cast<double>(tokens * kTopK * in * out)};
    return ready<Experts>(work, state, run_experts);
  };
  return {"expert_linear " + std::string(name_of(weight)) + " " + text(tokens) + " x " + text(in) + " x " +
              text(out) + ", 8 of 128",
          peak_of(x, weight), prepare};
}

struct HeadLinear {
  const Kernels& kernels;
  Array x, weight, out;
};

// As latent attention has them.
OpCase head_linear_case(const Kernels& kernels, int64_t tokens) {
  const auto prepare = [=, &kernels] {
    Random random;
    auto state = std::make_shared<HeadLinear>(HeadLinear{
        kernels, Array(DType::kF32, {tokens, 32, 128}, random),
        Array::cold(DType::kBF16, {32, 512, 128}, random), Array(DType::kF32, {tokens, 32, 512}, random)});
    const StepWork work = {.bytes = state->weight.bytes() + state->x.bytes() + state->out.bytes(),
                           .flops = 2.0 * static_cast<double>(tokens * 32 * 128 * 512)};
    return ready<HeadLinear>(work, state, [](const HeadLinear& s, Stream& stream, int64_t call) {
      s.kernels.head_linear(stream, {.x = *s.x, .weight = s.weight[call], .out = *s.out});
    });
  };
  return {"head_linear bfloat16 " + text(tokens) + " x 32 heads x 128 x 512", Peak::kFloat32, prepare};
}

void add_experts(const Kernels& kernels, std::vector<OpCase>& all) {
  for (const DType weight : {DType::kBF16, DType::kQ80, DType::kQ40}) {
    if (is_blocks(weight) && !kernels.reads_blocks) continue;
    for (const int64_t tokens : {1, 16, 512}) {
      all.push_back(experts_case(kernels, weight, tokens, 2048, 768));
      all.push_back(experts_case(kernels, weight, tokens, 768, 2048));
    }
  }
  for (const int64_t tokens : {1, 16, 512}) all.push_back(head_linear_case(kernels, tokens));
}

// ---- ops that treat rows by themselves ----

struct Rows {
  const Kernels& kernels;
  Array x, other, weight, out;
};

void add_rows(const Kernels& kernels, std::vector<OpCase>& all) {
  const auto add = [&](const char* name, double tensors, void (*run)(const Rows&, Stream&, int64_t)) {
    const auto prepare = [=, &kernels] {
      Random random;
      constexpr int64_t kRows = 512;
      constexpr int64_t kDim = 3072;
      auto state = std::make_shared<Rows>(Rows{
          kernels, Array::cold(DType::kF32, {kRows, kDim}, random), Array(DType::kF32, {kRows, kDim}, random),
          Array(DType::kF32, {kDim}, random), Array(DType::kF32, {kRows, kDim}, random)});
      return ready<Rows>({.bytes = tensors * state->x.bytes(), .flops = 0}, state, run);
    };
    all.push_back({std::string(name) + " 512 x 3072", Peak::kFloat32, prepare});
  };
  add("rms_norm", 2, [](const Rows& s, Stream& stream, int64_t call) {
    s.kernels.rms_norm(stream, {.x = s.x[call], .weight = *s.weight, .eps = 1e-6F, .out = s.out[call]});
  });
  add("layer_norm", 2, [](const Rows& s, Stream& stream, int64_t call) {
    s.kernels.layer_norm(
        stream, {.x = s.x[call], .weight = *s.weight, .bias = *s.weight, .eps = 1e-6F, .out = s.out[call]});
  });
  add("gated_act silu", 3, [](const Rows& s, Stream& stream, int64_t call) {
    s.kernels.gated_act(stream,
                        {.act = Act::kSilu, .gate = s.x[call], .up = s.other[call], .out = s.out[call]});
  });
  add("gated_act gelu_tanh", 3, [](const Rows& s, Stream& stream, int64_t call) {
    s.kernels.gated_act(stream,
                        {.act = Act::kGeluTanh, .gate = s.x[call], .up = s.other[call], .out = s.out[call]});
  });
  add("add", 3, [](const Rows& s, Stream& stream, int64_t call) {
    s.kernels.add(stream, {.x = s.x[call], .out = s.out[call]});
  });
}

}  // namespace

std::vector<OpCase> op_cases(const Kernels& kernels) {
  std::vector<OpCase> all;
  add_linear(kernels, all);
  add_attention(kernels, all);
  add_recurrent(kernels, all);
  add_experts(kernels, all);
  add_rows(kernels, all);
  return all;
}

}  // namespace heed
