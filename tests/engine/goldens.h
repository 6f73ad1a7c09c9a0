// Checkpoints with known answers: small random-weight models of transformers' own classes, float32, without a
// cache.
#pragma once
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "engine/runner.h"
#include "engine/sampler.h"
#include "formats/safetensors.h"

namespace heed {

inline const std::string kBard = std::string(HEED_SOURCE_DIR) + "/models/bard";

inline std::string golden_folder(const std::string& name) {
  return std::string(HEED_SOURCE_DIR) + "/tests/golden/" + name;
}

struct Golden {
  std::vector<int> input;                  // [T]
  std::vector<std::vector<float>> logits;  // of the last positions
  std::vector<int> greedy;                 // continuation
  std::vector<float> margin;               // top-1 minus top-2 at each greedy step
};

inline std::vector<int> ints_of(const Tensor& t) {
  std::vector<int> all;
  for (int64_t i = 0; i < t.elements(); ++i) {
    all.push_back(t.dtype == DType::kI64 ? static_cast<int>(t.as<int64_t>()[i]) : t.as<int32_t>()[i]);
  }
  return all;
}

inline Golden read_golden(const std::string& name) {
  const Safetensors file = Safetensors::open(golden_folder(name) + "/golden.safetensors").value();
  Golden golden;
  golden.input = ints_of(file.tensor("input_ids").value());
  golden.greedy = ints_of(file.tensor("greedy").value());
  const Tensor margin = file.tensor("margin").value();
  golden.margin.assign(margin.f32(), margin.f32() + margin.elements());
  const Tensor logits = file.tensor("logits").value();
  for (int64_t i = 0; i < logits.size[0]; ++i) {
    const float* row = logits.f32() + i * logits.stride[0];
    golden.logits.emplace_back(row, row + logits.size[1]);
  }
  return golden;
}

// Why tests of a backend cannot run here, or "".
inline std::string missing(std::string_view backend) {
  if (backend.starts_with("cpu.")) {
    const Result<DeviceChoice> place = find_device("cpu", backend);
    return place.ok() ? "" : place.error().message;
  }
  for (const Kernels* kernels : all_backends()) {
    if (kernels->name == backend)
      return kernels->accelerator == nullptr ? "" : kernels->accelerator->why_not(0);
  }
  return "this program was built without " + std::string(backend);
}

// On the CPU unless the options say otherwise. A failure aborts the test program with the error's message.
inline std::unique_ptr<Runner> load(const std::string& folder, RunnerOptions options) {
  if (options.device.empty() && options.backend.empty()) options.backend = "cpu";
  return Runner::load(open_checkpoint(folder).value(), options).value();
}

inline std::vector<std::vector<float>> rows_of(const Tensor& logits) {
  std::vector<std::vector<float>> rows;
  for (int64_t i = 0; i < logits.size[0]; ++i) {
    rows.emplace_back(logits.f32() + i * logits.size[1], logits.f32() + (i + 1) * logits.size[1]);
  }
  return rows;
}

// Logits of the last `last` tokens, run in steps of at most `step` tokens.
inline std::vector<std::vector<float>> logits_of(Runner& runner, const std::vector<int>& tokens, int last,
                                                 int step) {
  Sequence sequence{.tokens = tokens};
  std::vector<std::vector<float>> all;
  const int end = static_cast<int>(tokens.size());
  while (sequence.computed < end) {
    const int count = std::min(step, end - sequence.computed);
    EXPECT_TRUE(runner.cache().extend(sequence, sequence.computed + count));
    const int wanted = std::clamp(sequence.computed + count - (end - last), 0, count);
    const Scheduled item{.sequence = &sequence, .count = count, .logit_count = wanted};
    const Tensor logits = runner.step({&item, 1});
    if (wanted > 0) {
      for (std::vector<float>& row : rows_of(logits)) all.push_back(std::move(row));
    }
    runner.cache().check({&sequence});
  }
  runner.cache().release(sequence);
  runner.cache().check({});
  return all;
}

inline std::vector<int> greedy_of(Runner& runner, const std::vector<int>& prompt, int count) {
  Sequence sequence{.tokens = prompt};
  std::vector<int> made;
  while (static_cast<int>(made.size()) < count) {
    const Tensor logits = runner.prefill(sequence, 1).value();
    made.push_back(arg_max({logits.f32(), static_cast<size_t>(logits.size[1])}));
    sequence.tokens.push_back(made.back());
  }
  runner.cache().release(sequence);
  return made;
}

inline double largest_difference(const std::vector<std::vector<float>>& a,
                                 const std::vector<std::vector<float>>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i) {
    EXPECT_EQ(a[i].size(), b[i].size());
    for (size_t j = 0; j < a[i].size(); ++j) {
      const double difference = std::abs(static_cast<double>(a[i][j]) - b[i][j]);
      largest = difference <= largest ? largest : difference;  // NaN is kept
    }
  }
  return largest;
}

// Mean Kullback-Leibler divergence of the rows, in nats.
inline double mean_divergence(const std::vector<std::vector<float>>& golden,
                              const std::vector<std::vector<float>>& ours) {
  double total = 0;
  for (size_t i = 0; i < golden.size(); ++i) {
    const auto log_normaliser = [](const std::vector<float>& row) {
      double largest = -INFINITY, sum = 0;
      for (const float x : row) largest = std::max<double>(largest, x);
      for (const float x : row) sum += std::exp(x - largest);
      return largest + std::log(sum);
    };
    const double a = log_normaliser(golden[i]), b = log_normaliser(ours[i]);
    for (size_t j = 0; j < golden[i].size(); ++j) {
      total += std::exp(golden[i][j] - a) * ((golden[i][j] - a) - (ours[i][j] - b));
    }
  }
  return total / static_cast<double>(golden.size());
}

}  // namespace heed
