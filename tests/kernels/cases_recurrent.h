// Cases of the layers that carry a state from token to token.
//
// Slots that a call does not own are NaN, and are compared by their bytes afterwards.
#pragma once
#include <algorithm>
#include <numeric>

#include "tests/kernels/cases.h"

namespace heed::cases {

struct RecurrentCase {
  std::string name;
  std::vector<int> tokens;  // of each sequence
  int64_t k_heads, v_heads, k_dim, v_dim;
  DType state = DType::kF32;
  std::vector<int32_t> saves = {};  // tokens of the batch
  int64_t pad = 0;                  // elements between rows, and between slots
  bool fresh = false;               // states are zero before
  bool tiled = false;               // value heads take turns with the key heads
};

inline std::vector<RecurrentCase> recurrent_cases() {
  std::vector<int32_t> many(300);  // guesses of a full batch
  for (size_t i = 0; i < many.size(); ++i) many[i] = static_cast<int32_t>(i / 5 * 6 + i % 5);
  std::vector<RecurrentCase> all = {
      {"one token", {1}, 1, 1, 1, 1},
      {"one token of a model's size", {1}, 2, 4, 128, 128},
      {"a new sequence", {40}, 2, 2, 32, 32, DType::kF32, {}, 0, true},
      {"decodes and sequences without tokens", {1, 0, 1, 1, 0, 1, 0}, 2, 6, 24, 40, DType::kF32, {}, 3},
      {"ragged batch", {7, 1, 0, 33, 2, 100}, 1, 3, 33, 17, DType::kF32, {}, 5},
      {"saves", {20, 3, 30}, 2, 4, 16, 48, DType::kF32, {0, 4, 4, 5, 19, 22, 23, 52}, 1},
      {"a save after every token", {5}, 1, 2, 8, 20, DType::kF32, {0, 1, 2, 3, 4}},
      {"a prefill with saves", {130}, 1, 2, 64, 80, DType::kF32, {63, 127, 129}},
      {"heads that take turns", {6, 1, 40}, 2, 6, 16, 24, DType::kF32, {3}, 2, false, true},
      {"guesses", std::vector<int>(60, 6), 1, 2, 16, 20, DType::kF32, many},
      {"guesses of a model's size", {6, 1, 0, 3}, 2, 4, 128, 128, DType::kF32, {0, 4, 6, 9}},
      {"few columns", {9, 2}, 4, 4, 70, 3, DType::kF32, {4}, 2},
      {"one row", {9, 2}, 3, 3, 1, 36, DType::kF32, {4}, 2},
      {"no sequences", {}, 2, 2, 8, 8},
      {"nothing but sequences without tokens", {0, 0}, 2, 2, 8, 8}};
  const std::vector<RecurrentCase> float32 = all;
  for (RecurrentCase c : float32) {
    c.name += ", bfloat16 state";
    c.state = DType::kBF16;
    all.push_back(c);
  }
  return all;
}

// Sequences with states in shuffled slots, some of which nobody owns.
struct StateProblem {
  StateProblem() = default;
  StateProblem(const RecurrentCase& c, std::initializer_list<int64_t> sizes, Random& random) {
    const Tensor one(nullptr, c.state, sizes);
    const auto sequences = static_cast<int64_t>(c.tokens.size());
    const auto saved = static_cast<int64_t>(c.saves.size());
    const int64_t count = sequences + saved + 3;
    memory = Array(c.state, {count, one.elements()}, c.pad);
    std::vector<int32_t> ids(static_cast<size_t>(count));
    std::iota(ids.begin(), ids.end(), 0);
    for (size_t i = ids.size(); i > 1; --i)
      std::swap(ids[i - 1], ids[static_cast<size_t>(random.below(static_cast<int>(i)))]);
    seq_start = {0};
    for (const int tokens : c.tokens) {
      seq_start.push_back(seq_start.back() + tokens);
      slot.push_back(ids.back());
      ids.pop_back();
      for (int64_t i = 0; i < one.elements(); ++i) {
        write(memory.t, slot.back() * memory.t.stride[0] + i, c.fresh ? 0 : random.uniform(-1, 1));
      }
    }
    for (const int32_t token : c.saves) {
      saves.push_back({token, ids.back()});
      ids.pop_back();
    }
    slots = memory.t;
    slots.rank = one.rank + 1;
    for (int i = 0; i < one.rank; ++i) {
      slots.size[i + 1] = one.size[i];
      slots.stride[i + 1] = one.stride[i];
    }
    before = memory.memory;
  }

  int64_t tokens() const { return seq_start.back(); }
  StateArgs args() const {
    return {.slots = slots,
            .seq_start = seq_start.data(),
            .sequences = static_cast<int>(slot.size()),
            .slot = slot.data(),
            .saves = saves};
  }
  std::vector<float> state_of(int32_t id) const {
    std::vector<float> all;
    for (int64_t i = 0; i < memory.t.size[1]; ++i) all.push_back(read(memory.t, id * memory.t.stride[0] + i));
    return all;
  }
  // Everything that a call may write, in the order of the sequences and then the saves.
  std::vector<float> states() const {
    std::vector<float> all;
    const auto append = [&](int32_t id) {
      for (const float value : state_of(id)) all.push_back(value);
    };
    for (const int32_t id : slot) append(id);
    for (const StateSave& save : saves) append(save.slot);
    return all;
  }
  // Whether all else has the bytes that it had, the gaps between slots included.
  bool others_untouched() const {
    std::vector<char> now = memory.memory;
    const auto restore = [&](int32_t id) {
      const int64_t at = id * memory.t.stride[0] * size_of(memory.t.dtype);
      const int64_t bytes = memory.t.size[1] * size_of(memory.t.dtype);
      std::copy_n(before.begin() + at, bytes, now.begin() + at);
    };
    for (const int32_t id : slot) restore(id);
    for (const StateSave& save : saves) restore(save.slot);
    return now == before;
  }

  std::vector<int32_t> seq_start = {0}, slot;
  std::vector<StateSave> saves;
  Array memory;
  Tensor slots;
  std::vector<char> before;
};

// Tokens [begin, end) of the batch, of sequence s, as a call of their own.
struct Call {
  template <class Args>
  Call(Args& args, const StateProblem& state, int s, int32_t begin, int32_t end)
      : seq_start{0, end - begin}, slot(state.slot[static_cast<size_t>(s)]) {
    for (const StateSave& save : state.saves) {
      if (save.token >= begin && save.token < end) saves.push_back({save.token - begin, save.slot});
    }
    args.state.seq_start = seq_start;
    args.state.sequences = 1;
    args.state.slot = &slot;
    args.state.saves = saves;
    args.out = args.out.slice(begin, end);
  }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  int32_t seq_start[2];
  int32_t slot;
  std::vector<StateSave> saves;
};

struct LinearAttentionProblem {
  using Args = LinearAttentionArgs;
  static constexpr std::string_view kName = "linear_attention";
  LinearAttentionProblem(const RecurrentCase& c, unsigned seed) {
    Random random(seed);
    state = StateProblem(c, {c.v_heads, c.k_dim, c.v_dim}, random);
    q = Array(DType::kF32, {state.tokens(), c.v_heads, c.k_dim}, c.pad);
    k = Array(DType::kF32, {state.tokens(), c.v_heads, c.k_dim}, c.pad);
    v = Array(DType::kF32, {state.tokens(), c.v_heads, c.v_dim}, c.pad);
    out = Array(DType::kF32, {state.tokens(), c.v_heads, c.v_dim}, c.pad);
    const float size = 1 / std::sqrt(static_cast<float>(c.k_dim));
    q.fill(random);
    k.fill(random, -size, size);
    v.fill(random);
    for (int64_t h = 0; h < c.v_heads; ++h) slopes.push_back(h == 0 ? 0.9F : random.uniform(0.01F, 1));
    args = {.q = q.t,
            .k = k.t,
            .v = v.t,
            .slopes = slopes.data(),
            .scale = size,
            .state = state.args(),
            .out = out.t};
  }
  void run(const Kernels& kernels, Stream& stream) const { kernels.linear_attention(stream, args); }
  void run_tokens(const Kernels& kernels, Stream& stream, int s, int32_t begin, int32_t end) const {
    LinearAttentionArgs part = args;
    const Call call(part, state, s, begin, end);
    part.q = q.t.slice(begin, end);
    part.k = k.t.slice(begin, end);
    part.v = v.t.slice(begin, end);
    kernels.linear_attention(stream, part);
  }
  StateProblem state;
  Array q, k, v, out;
  std::vector<float> slopes;
  LinearAttentionArgs args;
};

struct GatedDeltaProblem {
  using Args = GatedDeltaArgs;
  static constexpr std::string_view kName = "gated_delta";
  GatedDeltaProblem(const RecurrentCase& c, unsigned seed) {
    Random random(seed);
    state = StateProblem(c, {c.v_heads, c.k_dim, c.v_dim}, random);
    const int64_t tokens = state.tokens();
    q = Array(DType::kF32, {tokens, c.k_heads, c.k_dim}, c.pad);
    k = Array(DType::kF32, {tokens, c.k_heads, c.k_dim}, c.pad);
    v = Array(DType::kF32, {tokens, c.v_heads, c.v_dim}, c.pad);
    out = Array(DType::kF32, {tokens, c.v_heads, c.v_dim}, c.pad);
    decay = Array(DType::kF32, {tokens, c.v_heads}, c.pad);
    beta = Array(DType::kF32, {tokens, c.v_heads}, c.pad);
    const float size = std::sqrt(3 / static_cast<float>(c.k_dim));  // of norm 1, about
    q.fill(random, -size, size);
    k.fill(random, -size, size);
    v.fill(random);
    decay.fill(random, -1, 0);
    beta.fill(random, 0, 1);
    args = {.q = q.t,
            .k = k.t,
            .v = v.t,
            .decay = decay.t,
            .beta = beta.t,
            .state = state.args(),
            .out = out.t,
            .tiled = c.tiled};
  }
  void run(const Kernels& kernels, Stream& stream) const { kernels.gated_delta(stream, args); }
  void run_tokens(const Kernels& kernels, Stream& stream, int s, int32_t begin, int32_t end) const {
    GatedDeltaArgs part = args;
    const Call call(part, state, s, begin, end);
    part.q = q.t.slice(begin, end);
    part.k = k.t.slice(begin, end);
    part.v = v.t.slice(begin, end);
    part.decay = decay.t.slice(begin, end);
    part.beta = beta.t.slice(begin, end);
    kernels.gated_delta(stream, part);
  }
  StateProblem state;
  Array q, k, v, out, decay, beta;
  GatedDeltaArgs args;
};

// channels: v_heads * v_dim; width: k_dim at most 5.
struct ShortConvProblem {
  using Args = ShortConvArgs;
  static constexpr std::string_view kName = "short_conv";
  ShortConvProblem(const RecurrentCase& c, unsigned seed) {
    Random random(seed);
    const int64_t channels = c.v_heads * c.v_dim;
    const int64_t width = std::min<int64_t>(c.k_dim, 2 + c.v_heads);
    state = StateProblem(c, {width - 1, channels}, random);
    x = Array(DType::kF32, {state.tokens(), channels}, c.pad);
    out = Array(DType::kF32, {state.tokens(), channels}, c.pad);
    weight = Array(DType::kF32, {channels, width}, c.pad);
    bias = Array(DType::kF32, {channels});
    x.fill(random);
    weight.fill(random);
    bias.fill(random);
    args = {.x = x.t,
            .weight = weight.t,
            .bias = c.v_dim % 2 == 1 ? bias.t : Tensor(),
            .silu = c.v_dim % 3 != 0,
            .state = state.args(),
            .out = out.t};
  }
  void run(const Kernels& kernels, Stream& stream) const { kernels.short_conv(stream, args); }
  void run_tokens(const Kernels& kernels, Stream& stream, int s, int32_t begin, int32_t end) const {
    ShortConvArgs part = args;
    const Call call(part, state, s, begin, end);
    part.x = x.t.slice(begin, end);
    kernels.short_conv(stream, part);
  }
  StateProblem state;
  Array x, out, weight, bias;
  ShortConvArgs args;
};

}  // namespace heed::cases
