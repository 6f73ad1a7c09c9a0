// Quantised safetensors against what they stand for: tools/quantise_checkpoint.py writes both, from the
// definitions of the forms (with the Python of ./setup.sh --test; without it these tests are skipped).
#include <cmath>
#include <cstring>
#include <filesystem>

#include "model/weights.h"
#include "tensor/blocks.h"
#include "tests/engine/goldens.h"

namespace heed {
namespace {

namespace fs = std::filesystem;

const std::string kPython = std::string(HEED_SOURCE_DIR) + "/.venv/bin/python";

// Folders that go with the test.
class Written {
 public:
  Written(const std::string& source, const std::string& forms)
      : folder_(fs::temp_directory_path() / ("heed_quantised_" + std::to_string(::getpid()))) {
    fs::remove_all(folder_);
    const std::string command = kPython + " " + HEED_SOURCE_DIR + "/tools/quantise_checkpoint.py " + source +
                                " " + folder_.string() + " " + forms;
    EXPECT_EQ(std::system(command.c_str()), 0) << command;  // NOLINT(cert-env33-c)
  }
  ~Written() { fs::remove_all(folder_); }
  Written(const Written&) = delete;
  Written& operator=(const Written&) = delete;
  std::string path(const std::string& form) const { return folder_ / form; }

 private:
  fs::path folder_;
};

#define NEEDS_PYTHON() \
  if (!fs::exists(kPython)) GTEST_SKIP() << "no " << kPython << "; run ./setup.sh --test"

struct Form {
  const char* name;
  DType stored;  // of most of its matrices in memory
};
// kBF16: widened to what is computed in, as no blocks hold it.
constexpr Form kForms[] = {{"gptq4", DType::kQ40},
                           {"gptq4-g32-asym", DType::kQ4Z},
                           {"gptq4-g32-act", DType::kBF16},
                           {"gptq8-g32", DType::kQ80},
                           {"gptq8-asym", DType::kBF16},
                           {"awq-g32", DType::kQ4Z},
                           {"packed4", DType::kQ40},
                           {"packed4-g32-asym", DType::kQ4Z},
                           {"packed4-g16", DType::kBF16},
                           {"packed4-g32-tiny", DType::kQ8F},
                           {"packed4-g32-act", DType::kBF16},
                           {"packed8", DType::kQ80},
                           {"packed8-g32", DType::kQ8F},
                           {"packed8-g32-asym", DType::kBF16},
                           {"int8", DType::kQ8F},
                           {"int8-bf16", DType::kQ80},
                           {"int8-tensor", DType::kQ8F},
                           {"int8-asym", DType::kBF16},
                           {"fp8", DType::kBF16},
                           {"fp8-channel", DType::kBF16},
                           {"fp8-block", DType::kBF16},
                           {"fp8-block-ct", DType::kBF16},
                           {"fp8-static", DType::kBF16}};

std::vector<float> numbers_of(const Tensor& t) {
  std::vector<float> all(static_cast<size_t>(t.elements()));
  CHECK(t.contiguous());
  if (is_blocks(t.dtype)) {
    widen_blocks(t.dtype, t.data, t.elements(), all.data());
  } else {
    for (size_t i = 0; i < all.size(); ++i)
      all[i] = t.dtype == DType::kBF16 ? to_float(t.as<bf16>()[i]) : t.as<float>()[i];
  }
  return all;
}

struct Compared {
  int exact = 0, rounded = 0, wrong = 0;  // matrices
  std::map<DType, int> quantised;         // how many are in what
};

// Every matrix as it is bound against the plain checkpoint's numbers.
Compared compare(const std::string& folder, DType compute) {
  const Checkpoint checkpoint = open_checkpoint(folder).value();
  const Safetensors plain = Safetensors::open(folder + "-plain/model.safetensors").value();
  Weights weights = load_weights(checkpoint, {.compute = compute}).value();
  Compared result;
  for (const TensorNeed& need : needed_tensors(checkpoint.spec, weights,
                                               [&](std::string_view name) { return checkpoint.has(name); })) {
    if (need.kind != TensorNeed::kMatrix) continue;
    const Tensor& bound = need.parts.at(0).target();
    const std::vector<float> got = numbers_of(bound);
    const std::vector<float> want = numbers_of(plain.tensor(need.name).value());
    if (checkpoint.quantised_matrix(need.name) != nullptr) result.quantised[bound.dtype] += 1;
    bool rounds = got.size() == want.size();
    for (size_t i = 0; rounds && i < want.size(); ++i) rounds = got[i] == rounded_to_bf16(want[i]);
    if (got == want) {
      result.exact += 1;
    } else {
      (rounds && bound.dtype == DType::kBF16 ? result.rounded : result.wrong) += 1;
    }
  }
  return result;
}

std::string all_forms() {
  std::string names;
  for (const Form& form : kForms) names += std::string(form.name) + " ";
  return names;
}

TEST(Quantised, every_form_stands_for_the_numbers_of_its_definition) {
  NEEDS_PYTHON();
  const Written written(golden_folder("qwen3"), all_forms());
  for (const Form& form : kForms) {
    const bool widened = form.stored == DType::kBF16;
    const Compared exact = compare(written.path(form.name), DType::kF32);
    EXPECT_EQ(exact.wrong, 0) << form.name;
    EXPECT_EQ(exact.rounded, 0) << form.name;
    EXPECT_EQ(exact.exact, 22) << form.name;
    EXPECT_EQ(exact.quantised.at(widened ? DType::kF32 : form.stored), 21) << form.name;
    const Compared computed = compare(written.path(form.name), DType::kBF16);
    EXPECT_EQ(computed.wrong, 0) << form.name;
    EXPECT_EQ(computed.quantised.at(form.stored), 21) << form.name;
  }
}

TEST(Quantised, experts_of_a_layer_are_in_the_same_blocks) {
  NEEDS_PYTHON();
  // Rows of down_proj hold no whole blocks.
  const Written written(golden_folder("qwen3_moe"), "packed4 gptq8-asym int8-bf16");
  for (const char* form : {"packed4", "gptq8-asym", "int8-bf16"}) {
    const Compared compared = compare(written.path(form), DType::kF32);
    EXPECT_EQ(compared.wrong + compared.rounded, 0) << form;
    EXPECT_GT(compared.exact, 80) << form;
    const Golden golden = read_golden("qwen3_moe");
    const std::vector<int> text(golden.input.begin(), golden.input.begin() + 24);
    const auto logits = logits_of(*load(written.path(form), {.dtype = "float32"}), text, 8, 1 << 20);
    const auto plain = logits_of(*load(written.path(std::string(form) + "-plain"), {}), text, 8, 1 << 20);
    EXPECT_LE(mean_divergence(plain, logits), 5e-3) << form;
  }
}

TEST(Quantised, the_reference_says_the_same) {
  NEEDS_PYTHON();
  const Written written(golden_folder("qwen3"), "awq-g32 packed8-g32");
  const Golden golden = read_golden("qwen3");
  const std::vector<int> text(golden.input.begin(), golden.input.begin() + 24);
  for (const char* form : {"awq-g32", "packed8-g32"}) {
    const auto cpu = load(written.path(form), {.dtype = "float32", .backend = "cpu"});
    const auto ref = load(written.path(form), {.dtype = "float32", .backend = "ref"});
    EXPECT_LE(mean_divergence(logits_of(*ref, text, 8, 1 << 20), logits_of(*cpu, text, 8, 1 << 20)), 5e-3)
        << form;
  }
}

TEST(Quantised, what_no_blocks_hold_can_be_rounded_to_some_when_loaded) {
  NEEDS_PYTHON();
  const Written written(golden_folder("qwen3"), "fp8-block");
  const auto runner = load(written.path("fp8-block"), {.dtype = "float32", .quantize = "int8"});
  EXPECT_EQ(runner->narrowed().tensors, 22);
  EXPECT_LT(runner->narrowed().largest_error, 0.01);
}

struct BardForm {
  const char* name;
  double own;    // divergence from the same numbers in float32, at most: what rounding of activations does
  double plain;  // from bard itself
};
constexpr BardForm kBardForms[] = {{"gptq4-g128", 1e-3, 1}, {"gptq4-g64-asym-v2", 1e-3, 1},
                                   {"awq-g128", 1e-3, 1},   {"packed4-g128", 1e-3, 1},
                                   {"packed8", 1e-3, 1},    {"int8", 1e-3, 1},
                                   {"fp8-block", 1e-3, 1},  {"fp8-channel", 1e-3, 1}};

TEST(Quantised, bard_stays_near_its_own_numbers_and_near_bard) {
  NEEDS_PYTHON();
  const auto tokens = read_json(kBard + "/val_tokens.json").value()["val_tokens"].get<std::vector<int>>();
  const std::vector<int> text(tokens.begin(), tokens.begin() + 256);
  const auto bard = logits_of(*load(kBard, {.dtype = "float32"}), text, 200, 1 << 20);
  for (const BardForm& form : kBardForms) {
    const Written written(kBard, form.name);
    const auto runner = load(written.path(form.name), {.dtype = "float32"});
    const auto ours = logits_of(*runner, text, 200, 1 << 20);
    const auto same =
        logits_of(*load(written.path(form.name + std::string("-plain")), {}), text, 200, 1 << 20);
    const double own = mean_divergence(same, ours);
    const double plain = mean_divergence(bard, ours);
    std::printf("%s: %lld bytes of weights, mean KL divergence %.2e from the same numbers, %.2e from bard\n",
                form.name, static_cast<long long>(runner->plan().weight_bytes), own, plain);
    EXPECT_LE(own, form.own) << form.name;
    EXPECT_LE(plain, form.plain) << form.name;
  }
}

}  // namespace
}  // namespace heed
