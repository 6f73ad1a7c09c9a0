// Recurrent layers. A task is a sequence with one head and some columns of its state (or some channels of a
// convolution), from its first token to its last: nothing that a task computes depends on another.
//
// Where a sequence has few tokens, a float32 state is changed in its slot; else, and for bfloat16, a task
// works on a packed float32 copy, narrow enough for L1 where many tokens pass it.
#include <algorithm>
#include <functional>
#include <span>
#include <vector>

#include "base/checked.h"
#include "kernels/checks.h"
#include "kernels/cpu/ops.h"

namespace heed::cpu {
namespace {

constexpr int64_t kManyTokens = 4;  // from which a state is worth packing
constexpr int64_t kTasksPerThread = 4;
constexpr int64_t kStepsAlone = 32768;     // elements times tokens that are not worth a second thread
constexpr int64_t kConvFloats = 4096;      // of a task's taps and history together
constexpr int64_t kGatesPerThread = 1024;  // below which another thread costs more than it saves

const float* at(const Tensor& t, int64_t i, int64_t j) { return t.f32() + i * t.stride[0] + j * t.stride[1]; }
float* out_at(const Tensor& t, int64_t i, int64_t j) {
  return t.mutable_f32() + i * t.stride[0] + j * t.stride[1];
}

void run_tasks(ThreadPool& pool, int64_t count, int64_t steps, const std::function<void(int64_t)>& body) {
  if (steps > kStepsAlone) return pool.parallel_tasks(count, body);
  for (int64_t i = 0; i < count; ++i) body(i);
}

int64_t longest(const StateArgs& args) {
  int64_t most = 0;
  for (int s = 0; s < args.sequences; ++s) {
    most = std::max<int64_t>(most, args.seq_start[s + 1] - args.seq_start[s]);
  }
  return most;
}

// The saves of tokens [begin, end).
std::span<const StateSave> saves_within(const StateArgs& args, int64_t begin, int64_t end) {
  const auto earlier = [](const StateSave& save, int64_t token) { return save.token < token; };
  const auto first = std::lower_bound(args.saves.begin(), args.saves.end(), begin, earlier);
  const auto last = std::lower_bound(first, args.saves.end(), end, earlier);
  return args.saves.subspan(first - args.saves.begin(), last - first);
}

// Columns [column, column + columns) of a head's state, in every slot.
struct HeadState {
  const RowTable& isa;
  const Tensor& slots;  // [slots, heads, k_dim, v_dim]
  int64_t head, column, columns;

  int64_t k_dim() const { return slots.size[2]; }
  int64_t v_dim() const { return slots.size[3]; }
  char* in(int32_t slot) const {
    return slots.as<char>() +
           (slot * slots.stride[0] + head * k_dim() * v_dim() + column) * size_of(slots.dtype);
  }
  // body(offset in the slot, offset in memory whose rows are `stride` apart, elements) for what is
  // contiguous.
  template <class Body>
  void for_runs(int64_t stride, Body body) const {
    if (columns == v_dim() && columns == stride) return body(0, 0, k_dim() * columns);
    for (int64_t i = 0; i < k_dim(); ++i) body(i * v_dim() * size_of(slots.dtype), i * stride, columns);
  }
  void load(int32_t slot, float* to) const {  // packed
    for_runs(columns, [&](int64_t there, int64_t here, int64_t n) {
      isa.widen(in(slot) + there, slots.dtype, 1, to + here, n);
    });
  }
  void store(const float* from, int64_t stride, int32_t slot) const {
    for_runs(stride, [&](int64_t there, int64_t here, int64_t n) {
      isa.narrow(from + here, in(slot) + there, slots.dtype, n);
    });
  }
};

// run(state, its stride, begin, end) for the stretches of a sequence's tokens between saves.
template <class Run>
void run_sequence(const HeadState& state, const StateArgs& args, int sequence, Run run) {
  const int64_t begin = args.seq_start[sequence];
  const int64_t end = args.seq_start[sequence + 1];
  if (begin == end) return;
  const int32_t slot = args.slot[sequence];
  const bool in_slot = args.slots.dtype == DType::kF32 && end - begin < kManyTokens;
  const Buffer packed(in_slot ? 0 : state.k_dim() * state.columns * size_of(DType::kF32));
  auto* memory = static_cast<float*>(in_slot ? static_cast<void*>(state.in(slot)) : packed.data());
  const int64_t stride = in_slot ? state.v_dim() : state.columns;
  if (!in_slot) state.load(slot, memory);
  int64_t token = begin;
  for (const StateSave& save : saves_within(args, begin, end)) {
    if (token <= save.token) run(memory, stride, token, int64_t{save.token} + 1);
    token = save.token + 1;
    state.store(memory, stride, save.slot);
  }
  if (token < end) run(memory, stride, token, end);
  if (!in_slot) state.store(memory, stride, slot);
}

// run(state, its memory, stride, begin, end) for every sequence, head and part of its columns.
template <class Run>
void for_heads(const RecurrentIsa& isa, ThreadPool& pool, const StateArgs& args, Run run) {
  const int64_t heads = args.slots.size[1];
  const int64_t v_dim = args.slots.size[3];
  const bool narrow = longest(args) >= kManyTokens || args.sequences * heads < kTasksPerThread * pool.size();
  const int64_t width = narrow ? isa.recurrent.columns : std::max<int64_t>(v_dim, 1);
  const int64_t parts = div_up(v_dim, width);
  const int64_t tokens = args.sequences > 0 ? args.seq_start[args.sequences] : 0;
  const int64_t steps = tokens * heads * args.slots.size[2] * v_dim;
  run_tasks(pool, args.sequences * heads * parts, steps, [&](int64_t task) {
    const int64_t column = task % parts * width;
    const HeadState state = {.isa = isa.rows,
                             .slots = args.slots,
                             .head = task / parts % heads,
                             .column = column,
                             .columns = std::min(width, v_dim - column)};
    run_sequence(state, args, static_cast<int>(task / parts / heads),
                 [&](float* memory, int64_t stride, int64_t begin, int64_t end) {
                   run(state, memory, stride, begin, end);
                 });
  });
}

// Channels [channel, channel + channels) of one sequence's convolution.
struct ConvTask {
  const RecurrentIsa& isa;
  const ShortConvArgs& args;
  int64_t channel, channels;
  float* memory;  // taps [width, channels], then the history [width - 1, channels]

  int64_t width() const { return args.weight.size[1]; }
  float* history(int64_t row) const { return memory + (width() + row) * channels; }
  void* in_slot(int32_t slot, int64_t row) const {
    const Tensor& slots = args.state.slots;
    return slots.as<char>() + (slot * slots.stride[0] + row * slots.size[2] + channel) * size_of(slots.dtype);
  }
  // x of a token that counts from the sequence's first; before that the history.
  const float* row(int64_t first, int64_t token) const {
    return token >= 0 ? at(args.x, first + token, channel) : history(width() - 1 + token);
  }
  // The state after `token`.
  void store(int64_t first, int64_t token, int32_t slot) const {
    for (int64_t j = 0; j + 1 < width(); ++j) {
      isa.rows.narrow(row(first, token - width() + 2 + j), in_slot(slot, j), args.state.slots.dtype,
                      channels);
    }
  }
  void load(int32_t slot) const {
    for (int64_t c = 0; c < channels; ++c) {
      for (int64_t j = 0; j < width(); ++j) memory[j * channels + c] = at(args.weight, channel + c, j)[0];
    }
    for (int64_t j = 0; j + 1 < width(); ++j) {
      isa.rows.widen(in_slot(slot, j), args.state.slots.dtype, 1, history(j), channels);
    }
  }
};

void convolve(const ConvTask& task, int sequence) {
  const StateArgs& state = task.args.state;
  const int64_t first = state.seq_start[sequence];
  const int64_t tokens = state.seq_start[sequence + 1] - first;
  if (tokens == 0) return;
  task.load(state.slot[sequence]);
  std::vector<const float*> rows(task.width());
  for (int64_t t = 0; t < tokens; ++t) {
    for (int64_t j = 0; j < task.width(); ++j) rows[j] = task.row(first, t - task.width() + 1 + j);
    task.isa.recurrent.short_conv({
        .rows = rows.data(),
        .taps = task.memory,
        .bias = task.args.bias.defined() ? task.args.bias.f32() + task.channel : nullptr,
        .out = out_at(task.args.out, first + t, task.channel),
        .tap_stride = task.channels,
        .channels = task.channels,
        .width = task.width(),
        .silu = task.args.silu,
    });
  }
  for (const StateSave& save : saves_within(state, first, first + tokens)) {
    task.store(first, save.token - first, save.slot);
  }
  task.store(first, tokens - 1, state.slot[sequence]);
}

}  // namespace

void short_conv(const RecurrentIsa& isa, Stream& stream, const ShortConvArgs& args) {
  const Shapes n = check(args);
  const int64_t channels = n["channels"];
  const int64_t rows = 2 * n["width"] - 1;
  const int64_t part = std::max<int64_t>(kConvFloats / rows / 64 * 64, 64);
  const int64_t parts = div_up(channels, part);
  run_tasks(*stream.pool, args.state.sequences * parts, n["tokens"] * channels * rows, [&](int64_t i) {
    const int64_t channel = i % parts * part;
    const int64_t own = std::min(part, channels - channel);
    const Buffer memory(rows * own * size_of(DType::kF32));
    convolve({isa, args, channel, own, static_cast<float*>(memory.data())}, static_cast<int>(i / parts));
  });
}

void linear_attention(const RecurrentIsa& isa, Stream& stream, const LinearAttentionArgs& args) {
  check(args);
  for_heads(isa, *stream.pool, args.state,
            [&](const HeadState& state, float* memory, int64_t stride, int64_t begin, int64_t end) {
              isa.recurrent.linear_attention({
                  .head = {.q = at(args.q, begin, state.head),
                           .k = at(args.k, begin, state.head),
                           .v = at(args.v, begin, state.head) + state.column,
                           .out = out_at(args.out, begin, state.head) + state.column,
                           .q_stride = args.q.stride[0],
                           .k_stride = args.k.stride[0],
                           .v_stride = args.v.stride[0],
                           .out_stride = args.out.stride[0],
                           .state = memory,
                           .state_stride = stride,
                           .tokens = end - begin,
                           .k_dim = state.k_dim(),
                           .columns = state.columns},
                  .slope = args.slopes[state.head],
                  .scale = args.scale,
              });
            });
}

void gated_delta(const RecurrentIsa& isa, Stream& stream, const GatedDeltaArgs& args) {
  check(args);
  for_heads(isa, *stream.pool, args.state,
            [&](const HeadState& state, float* memory, int64_t stride, int64_t begin, int64_t end) {
              isa.recurrent.gated_delta({
                  .head = {.q = at(args.q, begin, args.key_head(state.head)),
                           .k = at(args.k, begin, args.key_head(state.head)),
                           .v = at(args.v, begin, state.head) + state.column,
                           .out = out_at(args.out, begin, state.head) + state.column,
                           .q_stride = args.q.stride[0],
                           .k_stride = args.k.stride[0],
                           .v_stride = args.v.stride[0],
                           .out_stride = args.out.stride[0],
                           .state = memory,
                           .state_stride = stride,
                           .tokens = end - begin,
                           .k_dim = state.k_dim(),
                           .columns = state.columns},
                  .decay = at(args.decay, begin, state.head),
                  .beta = at(args.beta, begin, state.head),
                  .decay_stride = args.decay.stride[0],
                  .beta_stride = args.beta.stride[0],
              });
            });
}

void delta_gates(const RecurrentTable& isa, Stream& stream, const DeltaGatesArgs& args) {
  const Shapes n = check(args);
  const int64_t heads = n["heads"];
  stream.pool->parallel_for(n["tokens"], kGatesPerThread / (heads + 1) + 1, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      isa.delta_gates(args.a_log.f32(), args.dt_bias.f32(), out_at(args.a, t, 0), out_at(args.b, t, 0),
                      heads);
    }
  });
}

int64_t recurrent_scratch_bytes(const StepSize& size) {
  return size.threads * std::max(size.head_state, 2 * kConvFloats) * size_of(DType::kF32);
}

}  // namespace heed::cpu
