// Times the cuda backend's kernels at sizes of real models, and prints for each its rate and share of a
// ceiling measured in the same run: a copy within the device's memory, and a large bfloat16 product. JSON
// lines.
//
// Useful operations count visible (query, key) pairs only; useful bytes count each visible key and value
// once.
#include <CLI/CLI.hpp>

#include "attention/plan.h"
#include "bench/cuda_bench.h"

namespace heed::bench {
namespace {

int block_rows = 16;
DType cache = DType::kBF16;

struct AttentionCase {
  std::string name;
  Mask mask;
  std::vector<std::pair<int, int>> sequences;  // keys before the call, tokens of the call
  int heads = 32, kv_heads = 8, dim = 128;
  bool decode = false;
  std::vector<Span> media = {};
};

// Rows of a batch, and what they see.
struct Rows {
  explicit Rows(const AttentionCase& c) {
    for (const auto& [past, tokens] : c.sequences) {
      const SeqFacts facts = {past + tokens, 0, c.media.data(), static_cast<int>(c.media.size())};
      for (int i = 0; i < tokens; ++i) rows.push_back(row_of(c.mask, facts, past + i));
      for (size_t i = rows.size() - static_cast<size_t>(tokens); i < rows.size(); ++i) {
        pairs += rows[i].hi - rows[i].lo + rows[i].sinks;
      }
      keys += rows.back().hi - rows[rows.size() - static_cast<size_t>(tokens)].lo;
      seq_start.push_back(seq_start.back() + tokens);
      blocks = std::max<int64_t>(blocks, (past + tokens + block_rows - 1) / block_rows);
    }
  }
  std::vector<RowMask> rows;
  std::vector<int32_t> seq_start = {0};
  double pairs = 0, keys = 0;
  int64_t blocks = 0;  // of the longest sequence
};

void run(BenchDevice& device, const AttentionCase& c) {
  const Rows rows(c);
  const auto sequences = static_cast<int64_t>(c.sequences.size());
  const int64_t tokens = rows.seq_start.back();
  const double bytes = rows.keys * c.kv_heads * c.dim * 2 * static_cast<double>(size_of(cache));
  const int64_t sets =
      std::clamp<int64_t>(static_cast<int64_t>(kColdBytes / bytes) + 1, 1, c.decode ? 64 : 1);
  std::vector<int32_t> table(static_cast<size_t>(sets * sequences * rows.blocks));
  for (size_t i = 0; i < table.size(); ++i) table[i] = static_cast<int32_t>(i);
  std::shuffle(table.begin(), table.end(), std::mt19937(3));
  const auto blocks = static_cast<int64_t>(table.size());
  const auto keys_or_values = [&] {
    const int64_t elements = blocks * block_rows * c.kv_heads * c.dim;
    return cache == DType::kE4M3 ? device.random_fp8(elements) : device.random_bf16(elements);
  };
  const DeviceBuffer k = keys_or_values();
  const DeviceBuffer v = keys_or_values();
  const DeviceBuffer q = device.random_f32(tokens * c.heads * c.dim);
  const DeviceBuffer out(tokens * c.heads * c.dim * 2);
  const DeviceBuffer device_table = device.put(table);
  const DeviceBuffer device_rows = device.put(rows.rows);
  const DeviceBuffer seq_start = device.put(rows.seq_start);
  const AttentionNeeds needs = {c.heads, c.kv_heads, c.dim, c.dim, cache, block_rows};
  AttentionPlan plan = plan_attention(rows.rows, rows.seq_start, cuda_plan_shape(needs, device.cuda()));
  const DeviceBuffer packed = device.put(plan.packed);
  plan.device = packed.data();
  AttentionArgs args = {.q = Tensor(q.data(), DType::kF32, {tokens, c.heads, c.dim}),
                        .kv = {.k = Tensor(k.data(), cache, {blocks, c.kv_heads, block_rows, c.dim}),
                               .v = Tensor(v.data(), cache, {blocks, c.kv_heads, block_rows, c.dim}),
                               .table = nullptr,
                               .table_stride = rows.blocks},
                        .seq_start = static_cast<const int32_t*>(seq_start.data()),
                        .sequences = static_cast<int>(sequences),
                        .rows = static_cast<const RowMask*>(device_rows.data()),
                        .scale = 1 / std::sqrt(static_cast<float>(c.dim)),
                        .out = Tensor(out.data(), DType::kBF16, {tokens, c.heads, c.dim}),
                        .plan = &plan};
  Stream stream = device.stream();
  const Timing timing = device.time([&](int i) {
    args.kv.table = static_cast<const int32_t*>(device_table.data()) + i % sets * sequences * rows.blocks;
    cuda_kernels().attention[0].run(stream, args);
  });
  const double flops = 4.0 * rows.pairs * c.heads * c.dim;
  device.report(c.name + (cache == DType::kE4M3 ? ", fp8" : ""), timing, c.decode ? bytes : 0,
                c.decode ? 0 : flops);
}

std::vector<AttentionCase> attention_cases() {
  std::vector<AttentionCase> all = {
      {"prefill causal 8192", causal(), {{0, 8192}}},
      {"prefill causal 32768", causal(), {{0, 32768}}},
      {"prefill window 4096 in 32768", causal() & window(4096), {{0, 32768}}},
      {"prefill chunk 8192, lookback 1, in 32768", causal() & chunk(8192, 1), {{0, 32768}}},
      {"prefill chunk 2048, lookback 1, in 32768", causal() & chunk(2048, 1), {{0, 32768}}},
      {"prefill 2048 after 30720", causal(), {{30720, 2048}}},
      {"prefill 16 x 1024", causal(), std::vector<std::pair<int, int>>(16, {0, 1024})},
      {"prefill causal 8192 d64", causal(), {{0, 8192}}, 32, 8, 64},
      {"prefill causal 8192 d256", causal(), {{0, 8192}}, 16, 8, 256},
      {"prefill window 1024 in 8192 d256", causal() & window(1024), {{0, 8192}}, 16, 8, 256},
  };
  all.push_back({"prefill window 1024 in 8192 d256, images",
                 (causal() & window(1024)) | media(),
                 {{0, 8192}},
                 16,
                 8,
                 256});
  for (int i = 0; i < 8; ++i) all.back().media.push_back({i * 1000 + 10, i * 1000 + 290});
  const auto decode = [&](const std::string& name, const Mask& mask, std::vector<int> lengths) {
    AttentionCase c = {"decode " + name, mask, {}, 32, 8, 128, true};
    for (const int length : lengths) c.sequences.emplace_back(length - 1, 1);
    all.push_back(c);
  };
  decode("64 x 32768, window 4096", causal() & window(4096), std::vector<int>(64, 32768));
  decode("64 x 32768, chunk 2048, lookback 1", causal() & chunk(2048, 1), std::vector<int>(64, 32768));
  for (const auto& [batch, length] : {std::pair{1, 2048},
                                      {1, 32768},
                                      {1, 131072},
                                      {32, 576},
                                      {16, 2048},
                                      {16, 32768},
                                      {8, 32768},
                                      {64, 8192},
                                      {128, 2048},
                                      {256, 2048},
                                      {128, 32768}}) {
    decode(std::to_string(batch) + " x " + std::to_string(length), causal(),
           std::vector<int>(static_cast<size_t>(batch), length));
  }
  std::mt19937 random(5);
  std::vector<int> mixed(128);
  for (int& length : mixed) length = 16 + static_cast<int>(random() % 32768);
  decode("128 x 16 to 32784", causal(), mixed);
  return all;
}

void run_linear(BenchDevice& device, int64_t tokens, int64_t in, int64_t outs) {
  const int64_t sets = std::max<int64_t>(kColdBytes / (in * outs * 2), 1);
  const DeviceBuffer weights = device.random_bf16(sets * in * outs);
  const DeviceBuffer x = device.random_bf16(tokens * in);
  const DeviceBuffer out(tokens * outs * 4);
  Stream stream = device.stream();
  const Timing timing = device.time([&](int i) {
    const LinearArgs args = {.x = Tensor(x.data(), DType::kBF16, {tokens, in}),
                             .weight = Tensor(static_cast<char*>(weights.data()) + i % sets * in * outs * 2,
                                              DType::kBF16, {outs, in}),
                             .out = Tensor(out.data(), DType::kF32, {tokens, outs})};
    cuda_kernels().linear(stream, args);
  });
  const double bytes = tokens <= 64 ? static_cast<double>(in * outs * 2) : 0;
  device.report(
      "linear " + std::to_string(tokens) + " x " + std::to_string(in) + " x " + std::to_string(outs), timing,
      bytes, tokens > 64 ? 2.0 * static_cast<double>(tokens * in * outs) : 0);
}

}  // namespace
}  // namespace heed::bench

int main(int argc, char** argv) {
  using namespace heed;
  using namespace heed::bench;
  CLI::App app{"Times the cuda backend's kernels; JSON lines."};
  std::string filter;
  int block = 16;
  app.add_option("--filter", filter, "only what has this in its name");
  app.add_option("--block", block, "rows of a cache block (16)");
  std::string kept = "bfloat16";
  app.add_option("--kv-cache-dtype", kept, "of attention: bfloat16 or fp8")
      ->check(CLI::IsMember({"bfloat16", "fp8"}));
  CLI11_PARSE(app, argc, argv);
  if (const std::string reason = cuda_why_not(); !reason.empty()) {
    std::fprintf(stderr, "heed_bench_cuda: %s\n", reason.c_str());
    return 1;
  }
  block_rows = block;
  if (kept == "fp8") cache = DType::kE4M3;
  BenchDevice device;
  device.measure();
  for (const AttentionCase& c : attention_cases()) {
    if (c.name.find(filter) != std::string::npos) run(device, c);
  }
  run_layers(device, filter);
  run_blocks(device, filter);
  if (std::string("linear").find(filter) == std::string::npos) return 0;
  for (const int64_t tokens : {1, 2, 4, 8, 16, 64, 8192}) run_linear(device, tokens, 4096, 14336);
  return 0;
}
