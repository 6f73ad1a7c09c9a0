// Mixers and models of others: the example plug-in, loaded as a user would; libraries that are none; a mixer
// that takes another's place.
#include "engine/plugin.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/engine/goldens.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

const std::string kModules = std::string(HEED_BINARY_DIR) + "/tests/";

// A checkpoint of the example's model, of random weights.
class GatedConvFolder {
 public:
  GatedConvFolder() : path(fs::temp_directory_path() / ("heed_plugin_" + std::to_string(::getpid()))) {
    fs::create_directories(path);
    const Json config = {{"architectures", {"GatedConvForCausalLM"}},
                         {"hidden_size", 48},
                         {"vocab_size", 91},
                         {"intermediate_size", 80},
                         {"num_hidden_layers", 4},
                         {"num_attention_heads", 4},
                         {"num_key_value_heads", 2},
                         {"max_position_embeddings", 512},
                         {"conv_width", 4}};
    std::ofstream(path / "config.json") << config.dump();
    const ModelSpec spec = read_spec(config, "config.json").value();
    Weights weights;
    const std::vector<TensorNeed> needs = needed_tensors(spec, weights);
    std::vector<std::vector<float>> values;
    std::vector<NamedTensor> tensors;
    uint32_t state = 1;
    for (const TensorNeed& need : needs) {
      int64_t n = 1;
      for (const int64_t s : need.shape) n *= s;
      std::vector<float>& v = values.emplace_back(n);
      for (float& x : v) {
        state = state * 1664525U + 1013904223U;
        x = static_cast<float>(state >> 8) / static_cast<float>(1 << 23) - 1;
        if (need.kind == TensorNeed::kNorm) x = 1 + 0.2F * x;
        if (need.kind == TensorNeed::kMatrix) x *= 3 / std::sqrt(static_cast<float>(need.shape.back()));
      }
      Tensor t(v.data(), DType::kF32, {n});
      if (need.shape.size() == 2) t = Tensor(v.data(), DType::kF32, {need.shape[0], need.shape[1]});
      tensors.push_back({need.name, t});
    }
    EXPECT_TRUE(write_safetensors((path / "model.safetensors").string(), tensors).ok());
  }
  ~GatedConvFolder() { fs::remove_all(path); }
  GatedConvFolder(const GatedConvFolder&) = delete;
  GatedConvFolder& operator=(const GatedConvFolder&) = delete;
  fs::path path;
};

TEST(Plugin, the_example_adds_a_mixer_and_a_model_that_run) {
  const Result<std::string> line = load_plugin(kModules + "example_plugin.so");
  ASSERT_TRUE(line.ok()) << line.error().message;
  EXPECT_NE(line->find("gated_conv 1.0"), std::string::npos) << *line;
  EXPECT_NE(line->find("mixer gated_conv, "), std::string::npos) << *line;
  EXPECT_NE(line->find("model GatedConvForCausalLM"), std::string::npos) << *line;

  const GatedConvFolder folder;
  std::vector<int> text;
  for (int i = 0; i < 100; ++i) text.push_back((i * i + 7) % 91);
  const auto cpu = load(folder.path.string(), {.dtype = "float32", .backend = "cpu"});
  const auto ref = load(folder.path.string(), {.dtype = "float32", .backend = "ref"});
  const auto whole = logits_of(*cpu, text, 20, 1 << 20);
  for (const int step : {1, 2, 33})
    EXPECT_EQ(largest_difference(logits_of(*cpu, text, 20, step), whole), 0) << step;
  EXPECT_LE(largest_difference(logits_of(*ref, text, 20, 7), whole), 1e-4);
  // A token that only the convolution can bring to a layer without attention: nothing may see ahead.
  std::vector<int> other = text;
  other.back() = (other.back() + 1) % 91;
  const auto changed = logits_of(*cpu, other, 20, 1 << 20);
  EXPECT_EQ(changed[18], whole[18]);
  EXPECT_NE(changed[19], whole[19]);
}

TEST(Plugin, libraries_that_do_not_fit_are_refused_by_name) {
  const auto error = [](const std::string& path) {
    const Result<std::string> line = load_plugin(path);
    return line.ok() ? "accepted" : line.error().message;
  };
  EXPECT_NE(error("/nonexistent/plugin.so").find("/nonexistent/plugin.so"), std::string::npos);
  EXPECT_NE(error(std::string(HEED_SOURCE_DIR) + "/README.md").find("README.md"), std::string::npos);
  EXPECT_NE(error("/lib/x86_64-linux-gnu/libz.so.1").find("libz"), std::string::npos);
  EXPECT_NE(error(kModules + "wrong_plugin.so").find("version"), std::string::npos);
}

// Softmax attention that counts its calls.
class Counted : public Mixer {
 public:
  explicit Counted(const Mixer& mixer) : mixer_(mixer) {}
  MixerNeeds needs(const MixerSpec& spec) const override { return mixer_.needs(spec); }
  void declare(const MixerSpec& spec, const ModelSpec& model, WeightList& weights) const override {
    mixer_.declare(spec, model, weights);
  }
  std::string why_not(const MixerSpec& spec, const Kernels& kernels) const override {
    return mixer_.why_not(spec, kernels);
  }
  void run(const MixerSpec& spec, const MixerCall& call) const override {
    ++calls;
    mixer_.run(spec, call);
  }
  std::string describe(const MixerSpec& spec) const override { return mixer_.describe(spec); }
  mutable int calls = 0;

 private:
  const Mixer& mixer_;
};

TEST(Plugin, a_mixer_takes_another_s_place_by_name) {
  const std::shared_ptr<const Mixer> own = find_mixer("linear_attention");
  const auto counted = std::make_shared<Counted>(*own);
  register_mixer("linear_attention", counted);
  const Golden golden = read_golden("minimax");
  const auto runner = load(golden_folder("minimax"), {.dtype = "float32"});
  EXPECT_LE(largest_difference(logits_of(*runner, golden.input, 96, 1 << 20), golden.logits), 2e-3);
  EXPECT_EQ(counted->calls, 2) << "two of its four layers";
  register_mixer("linear_attention", own);
}

}  // namespace
}  // namespace heed
