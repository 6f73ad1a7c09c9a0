// Recurrent layers and mixtures of experts on the cuda backend.
#include <cmath>

#include "bench/cuda_bench.h"

namespace heed::bench {
namespace {

// Sequences of equal length, with states of 128 x 128 float32 in `sets` sets of slots that take turns.
struct Recurrent {
  static constexpr int64_t kDim = 128;
  Recurrent(BenchDevice& device, int64_t sequences, int64_t each, int64_t head_count)
      : heads(head_count), tokens(sequences * each), count(sequences) {
    state_bytes = heads * kDim * kDim * 4;
    sets = std::max<int64_t>(1, kColdBytes / (sequences * state_bytes));
    std::vector<int32_t> starts, slots;
    for (int64_t s = 0; s <= sequences; ++s) starts.push_back(static_cast<int32_t>(s * each));
    for (int64_t i = 0; i < sets * sequences; ++i) slots.push_back(static_cast<int32_t>(i));
    std::shuffle(slots.begin(), slots.end(), std::mt19937(3));
    seq_start = device.put(starts);
    slot = device.put(slots);
    memory = DeviceBuffer(sets * sequences * state_bytes);
    CUDA_CALL(cudaMemset(memory.data(), 0, static_cast<size_t>(memory.bytes())));
    const auto scaled = [&](float low, float high, int64_t n) {
      std::mt19937 random(4);
      std::uniform_real_distribution<float> values(low, high);
      std::vector<float> all(static_cast<size_t>(n));
      for (float& x : all) x = values(random);
      return device.put(all);
    };
    const float size = std::sqrt(3 / static_cast<float>(kDim));
    q = scaled(-size, size, tokens * heads * kDim);
    k = scaled(-size, size, tokens * heads * kDim);
    v = scaled(-1, 1, tokens * heads * kDim);
    decay = scaled(-0.2F, 0, tokens * heads);
    beta = scaled(0, 1, tokens * heads);
    slopes = scaled(0.01F, 0.5F, heads);
    out = DeviceBuffer(tokens * heads * kDim * 4);
  }
  Tensor rows(const DeviceBuffer& buffer) const {
    return Tensor(buffer.data(), DType::kF32, {tokens, heads, kDim});
  }
  StateArgs state(int i) const {
    return {.slots = Tensor(memory.data(), DType::kF32, {sets * count, heads, kDim, kDim}),
            .seq_start = static_cast<const int32_t*>(seq_start.data()),
            .sequences = static_cast<int>(count),
            .slot = static_cast<const int32_t*>(slot.data()) + i % sets * count,
            .saves = {}};
  }
  // The least that must be moved.
  double bytes() const {
    return 2.0 * static_cast<double>(count * state_bytes) + 4.0 * static_cast<double>(out.bytes());
  }
  int64_t heads, tokens, count, state_bytes = 0, sets = 1;
  DeviceBuffer seq_start, slot, memory, q, k, v, decay, beta, slopes, out;
};

void run_recurrent(BenchDevice& device, const std::string& filter) {
  Stream stream = device.stream();
  const auto run = [&](const std::string& what, int64_t sequences, int64_t each, int64_t heads) {
    const std::string delta = "gated delta " + what;
    const std::string linear = "linear attention " + what;
    const bool wants_delta = delta.find(filter) != std::string::npos;
    const bool wants_linear = linear.find(filter) != std::string::npos;
    if (!wants_delta && !wants_linear) return;
    const Recurrent r(device, sequences, each, heads);
    if (wants_delta) {
      const Tensor decay(r.decay.data(), DType::kF32, {r.tokens, heads});
      const Tensor beta(r.beta.data(), DType::kF32, {r.tokens, heads});
      device.report(delta, device.time([&](int i) {
        cuda_kernels().gated_delta(stream, {.q = r.rows(r.q),
                                            .k = r.rows(r.k),
                                            .v = r.rows(r.v),
                                            .decay = decay,
                                            .beta = beta,
                                            .state = r.state(i),
                                            .out = r.rows(r.out)});
      }),
                    r.bytes(), 0);
    }
    if (wants_linear) {
      device.report(linear, device.time([&](int i) {
        cuda_kernels().linear_attention(stream, {.q = r.rows(r.q),
                                                 .k = r.rows(r.k),
                                                 .v = r.rows(r.v),
                                                 .slopes = static_cast<const float*>(r.slopes.data()),
                                                 .state = r.state(i),
                                                 .out = r.rows(r.out)});
      }),
                    r.bytes(), 0);
    }
  };
  for (const int64_t batch : {1, 32, 256, 1024}) run("decode " + std::to_string(batch), batch, 1, 16);
  for (const int64_t tokens : {2048, 8192, 32768}) run("prefill " + std::to_string(tokens), 1, tokens, 8);
}

// One product of each expert's rows, of `tokens` tokens with `top_k` experts each, chosen at random.
void run_experts(BenchDevice& device, int64_t tokens, int64_t in, int64_t outs) {
  constexpr int kExperts = 128, kTopK = 8;
  std::mt19937 random(7);
  std::vector<std::vector<int32_t>> chosen(kExperts);
  std::vector<int32_t> ids(kExperts);
  for (int e = 0; e < kExperts; ++e) ids[static_cast<size_t>(e)] = e;
  for (int64_t t = 0; t < tokens; ++t) {
    std::shuffle(ids.begin(), ids.end(), random);
    for (int c = 0; c < kTopK; ++c)
      chosen[static_cast<size_t>(ids[static_cast<size_t>(c)])].push_back(static_cast<int32_t>(t));
  }
  std::vector<int32_t> starts = {0};
  std::vector<int32_t> rows;
  int64_t used = 0;
  for (const auto& own : chosen) {
    rows.insert(rows.end(), own.begin(), own.end());
    starts.push_back(static_cast<int32_t>(rows.size()));
    used += own.empty() ? 0 : 1;
  }
  const auto assignments = static_cast<int64_t>(rows.size());
  const int64_t sets = std::max<int64_t>(1, kColdBytes / (used * in * outs * 2));
  const DeviceBuffer memory = device.random_bf16(sets * kExperts * in * outs);
  const DeviceBuffer x = device.random_bf16(tokens * in);
  const DeviceBuffer out(assignments * outs * 4);
  const DeviceBuffer device_rows = device.put(rows);
  const DeviceBuffer device_starts = device.put(starts);
  std::vector<Tensor> weights;
  for (int64_t e = 0; e < sets * kExperts; ++e) {
    weights.emplace_back(static_cast<char*>(memory.data()) + e * in * outs * 2, DType::kBF16,
                         std::initializer_list<int64_t>{outs, in});
  }
  Stream stream = device.stream();
  const Timing timing = device.time([&](int i) {
    cuda_kernels().expert_linear(
        stream, {.x = Tensor(x.data(), DType::kBF16, {tokens, in}),
                 .rows = static_cast<const int32_t*>(device_rows.data()),
                 .expert_start = static_cast<const int32_t*>(device_starts.data()),
                 .weights = std::span(weights).subspan(static_cast<size_t>(i % sets * kExperts), kExperts),
                 .bias = {},
                 .out = Tensor(out.data(), DType::kF32, {assignments, outs})});
  });
  device.report("experts " + std::to_string(tokens) + " x 8 of 128, " + std::to_string(in) + " x " +
                    std::to_string(outs),
                timing, static_cast<double>(used * in * outs * 2),
                2.0 * static_cast<double>(assignments * in * outs));
}

}  // namespace

void run_layers(BenchDevice& device, const std::string& filter) {
  run_recurrent(device, filter);
  if (std::string("experts").find(filter) == std::string::npos) return;
  for (const int64_t tokens : {1, 8, 32, 256, 4096}) {
    run_experts(device, tokens, 2048, 768);
    run_experts(device, tokens, 768, 2048);
  }
}

}  // namespace heed::bench
