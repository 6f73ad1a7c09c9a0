// Quantised safetensors: logits beside those of the same numbers in float32, and of the plain checkpoint.
#include <algorithm>

#include "tests/engine/goldens.h"
#include "tests/model/quantised_forms.h"

namespace heed {
namespace {

TEST(Quantised, experts_say_what_their_numbers_say_in_float32) {
  NEEDS_PYTHON();
  // Rows of down_proj hold no whole blocks.
  const Written written(golden_folder("qwen3_moe"), "packed4 gptq8-asym int8-bf16");
  for (const char* form : {"packed4", "gptq8-asym", "int8-bf16"}) {
    const Golden golden = read_golden("qwen3_moe");
    const std::vector<int> text(golden.input.begin(), golden.input.begin() + 24);
    const auto logits = logits_of(*load(written.path(form), {.dtype = "float32"}), text, 8, 1 << 20);
    const auto plain = logits_of(*load(written.plain(form), {}), text, 8, 1 << 20);
    std::vector<double> of_places;
    for (size_t i = 0; i < plain.size(); ++i) of_places.push_back(mean_divergence({plain[i]}, {logits[i]}));
    std::sort(of_places.begin(), of_places.end());
    // Not the mean: where two experts are about as likely, rounding picks another one, and that place
    // differs.
    EXPECT_LE(of_places[of_places.size() / 2], 2e-3) << form;
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
  double own;    // divergence from the same numbers in float32, at most: what rounding of activations does;
                 // none where widened
  double plain;  // from bard itself; some 1.5 times what was measured
};
constexpr BardForm kBardForms[] = {{"gptq4-g128", 2e-4, 3e-2},  {"gptq4-g64-asym-v2", 2e-4, 2e-2},
                                   {"awq-g128", 2e-4, 2.3e-2},  {"packed4-g128", 2e-4, 3e-2},
                                   {"packed8", 2e-4, 3e-4},     {"int8", 2e-4, 3e-4},
                                   {"fp8-block", 1e-9, 1.6e-3}, {"fp8-channel", 1e-9, 1.5e-3}};

TEST(Quantised, bard_stays_near_its_own_numbers_and_near_bard) {
  NEEDS_PYTHON();
  const auto tokens = read_json(kBard + "/val_tokens.json").value()["val_tokens"].get<std::vector<int>>();
  const std::vector<int> text(tokens.begin(), tokens.begin() + 256);
  const auto bard = logits_of(*load(kBard, {.dtype = "float32"}), text, 200, 1 << 20);
  for (const BardForm& form : kBardForms) {
    const Written written(kBard, form.name);
    const auto runner = load(written.path(form.name), {.dtype = "float32"});
    const auto ours = logits_of(*runner, text, 200, 1 << 20);
    const auto same = logits_of(*load(written.plain(form.name), {}), text, 200, 1 << 20);
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
