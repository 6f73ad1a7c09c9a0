// Quantised safetensors are in memory exactly what they stand for, by the definitions of their forms.
#include <cstring>
#include <map>

#include "formats/safetensors.h"
#include "model/weights.h"
#include "tensor/blocks.h"
#include "tests/model/quantised_forms.h"

namespace heed {
namespace {

std::string golden_folder(const std::string& name) {
  return std::string(HEED_SOURCE_DIR) + "/tests/golden/" + name;
}

struct Form {
  const char* name;
  DType stored;  // of most of its matrices in memory
};
// kBF16: widened to what is computed in, as no blocks hold it.
constexpr Form kForms[] = {{"gptq4", DType::kQ40},
                           {"gptq4-g32-asym", DType::kQ4Z},
                           {"gptq4-g32-act", DType::kBF16},
                           {"gptq8-g32", DType::kQ80},
                           {"gptq8-asym", DType::kQ8Z},
                           {"awq-g32", DType::kQ4Z},
                           {"packed4", DType::kQ40},
                           {"packed4-g32-asym", DType::kQ4Z},
                           {"packed4-g16", DType::kBF16},
                           {"packed4-g32-tiny", DType::kQ8F},
                           {"packed4-g32-act", DType::kBF16},
                           {"packed8", DType::kQ80},
                           {"packed8-g32", DType::kQ8F},
                           {"packed8-g32-asym", DType::kQ8Z},
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
Compared compare(const std::string& folder, DType compute, bool fp8 = false) {
  const Checkpoint checkpoint = open_checkpoint(folder).value();
  const Safetensors plain = Safetensors::open(folder + "-plain/model.safetensors").value();
  Weights weights = load_weights(checkpoint, {.compute = compute, .fp8 = fp8}).value();
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

TEST(Quantised, groups_of_64_and_128_too) {
  NEEDS_PYTHON();
  const std::string bard = std::string(HEED_SOURCE_DIR) + "/models/bard";
  const Written written(bard, "gptq4-g128 gptq4-g64-asym-v2 awq-g128 packed4-g128 fp8-block");
  for (const char* form : {"gptq4-g128", "gptq4-g64-asym-v2", "awq-g128", "packed4-g128", "fp8-block"}) {
    const Compared compared = compare(written.path(form), DType::kF32);
    EXPECT_EQ(compared.wrong + compared.rounded, 0) << form;
    EXPECT_EQ(compared.exact, 43) << form;
  }
}

TEST(Quantised, fp8_is_kept_for_who_reads_it) {
  NEEDS_PYTHON();
  const std::string bard = std::string(HEED_SOURCE_DIR) + "/models/bard";
  const Written written(bard, "fp8 fp8-channel fp8-block");
  for (const char* form : {"fp8", "fp8-channel", "fp8-block"}) {
    const Compared compared = compare(written.path(form), DType::kBF16, /*fp8=*/true);
    EXPECT_EQ(compared.wrong + compared.rounded, 0) << form;
    EXPECT_EQ(compared.quantised.at(DType::kFp8), 42) << form;
  }
}

TEST(Quantised, experts_of_a_layer_are_in_the_same_blocks) {
  NEEDS_PYTHON();
  const Written written(golden_folder("qwen3_moe"), "packed4 gptq8-asym int8-bf16");
  for (const char* form : {"packed4", "gptq8-asym", "int8-bf16"}) {
    const Compared compared = compare(written.path(form), DType::kF32);
    EXPECT_EQ(compared.wrong + compared.rounded, 0) << form;
    EXPECT_EQ(compared.exact, 89) << form;
  }
}

}  // namespace
}  // namespace heed
