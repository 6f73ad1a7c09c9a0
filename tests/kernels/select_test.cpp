// The choice of backend and attention kernels, and what it says when there is none.
#include "backends/select.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/cpu/cpu.h"
#include "kernels/ref/ref.h"

namespace heed {
namespace {

using testing::AllOf;
using testing::EndsWith;
using testing::HasSubstr;

AttentionNeeds needs(int head_dim) {
  return {.heads = 8, .kv_heads = 2, .head_dim = head_dim, .v_dim = head_dim};
}

// What this program has besides, in messages: nothing, or cuda where it was built with that.
const bool kCuda = all_backends().front()->name == "cuda";

TEST(Select, auto_takes_the_first_backend_that_runs_here_and_its_first_kernel_for_every_layer) {
  const Result<DeviceChoice> place = find_device("", "");
  ASSERT_TRUE(place.ok());
  const bool has_device = kCuda && all_backends().front()->accelerator->why_not(0).empty();
  EXPECT_EQ(place->name(), has_device ? "cuda:0" : "cpu");
  EXPECT_EQ(place->kernels->name, has_device ? "cuda" : "cpu");
  const Result<Choice> choice = choose({needs(64), needs(128)}, cpu_kernels(), "");
  ASSERT_TRUE(choice.ok());
  ASSERT_EQ(choice->attention.size(), 2U);
  EXPECT_EQ(choice->attention[0]->name, "cpu.flash");
  EXPECT_EQ(choice->attention[1]->name, "cpu.flash");
}

TEST(Select, a_named_backend_and_a_named_attention_kernel_are_taken) {
  EXPECT_EQ(find_device("", "ref")->kernels, &ref_kernels());
  EXPECT_EQ(find_device("cpu", "")->kernels, &cpu_kernels());
  EXPECT_EQ(choose({needs(64)}, ref_kernels(), "")->attention[0]->name, "ref.naive");
  const Result<Choice> mixed = choose({needs(64)}, cpu_kernels(), "ref.naive");
  ASSERT_TRUE(mixed.ok());
  EXPECT_EQ(mixed->kernels->name, "cpu");
  EXPECT_EQ(mixed->attention[0]->name, "ref.naive");
}

TEST(Select, an_instruction_set_can_be_forced) {
  const Result<DeviceChoice> place = find_device("cpu", "cpu.baseline");
  ASSERT_TRUE(place.ok());
  EXPECT_EQ(place->kernels, cpu_kernels_for("baseline"));
  EXPECT_EQ(place->description(), "baseline");
  EXPECT_EQ(choose({needs(64)}, *place->kernels, "cpu.flash")->attention[0], &place->kernels->attention[0]);
  EXPECT_THAT(find_device("", "cpu.mmx").error().message,
              AllOf(HasSubstr("backend \"cpu.mmx\" is unknown: this program has cpu, cpu.baseline")));
  for (const std::string_view isa : cpu_isas()) {
    if (cpu_kernels_for(isa) != nullptr) continue;
    EXPECT_EQ(find_device("", "cpu." + std::string(isa)).error().message,
              "backend cpu." + std::string(isa) + " cannot be used here: this machine lacks it");
  }
}

TEST(Select, unknown_names_are_refused_with_the_names_that_exist) {
  EXPECT_EQ(
      find_device("", "metal").error().message,
      std::string("backend \"metal\" is unknown: this program has ") + (kCuda ? "cuda, " : "") + "cpu, ref");
  EXPECT_EQ(find_device("tpu:0", "").error().message,
            std::string("device \"tpu:0\" is unknown: this program has cpu") + (kCuda ? ", cuda:0" : ""));
  EXPECT_EQ(choose({needs(64)}, cpu_kernels(), "cpu.fast").error().message,
            std::string("attention kernel \"cpu.fast\" is unknown: this program has ") +
                (kCuda ? "cuda.flash, cuda.simple, " : "") + "cpu.flash, ref.naive");
}

TEST(Select, a_layer_that_the_backend_cannot_run_is_an_error_and_no_fallback) {
  const Result<Choice> choice = choose({needs(64), needs(2048)}, cpu_kernels(), "");
  ASSERT_FALSE(choice.ok());
  EXPECT_EQ(choice.error().code, ErrorCode::kUnsupported);
  EXPECT_THAT(choice.error().message,
              AllOf(HasSubstr("backend cpu cannot run this model's attention: "),
                    HasSubstr("cpu.flash: head_dim 2048: takes 1 to 1024; ref.naive: yes (--backend ref)")));
}

TEST(Select, a_forced_kernel_is_refused_with_its_reasons) {
  const Result<Choice> choice = choose({needs(64), needs(2048), needs(2048)}, cpu_kernels(), "cpu.flash");
  ASSERT_FALSE(choice.ok());
  EXPECT_EQ(choice.error().message,
            "attention kernel cpu.flash cannot run this model: head_dim 2048: takes 1 to 1024");
}

TEST(Select, reasons_carry_numbers) {
  const AttentionKernel& flash = cpu_kernels().attention[0];
  AttentionNeeds n = needs(64);
  EXPECT_EQ(flash.why_not(n), "");
  n.v_dim = 1025;
  EXPECT_EQ(flash.why_not(n), "v_dim 1025: takes 1 to 1024");
  n = needs(64);
  n.kv_dtype = DType::kF16;
  EXPECT_EQ(flash.why_not(n), "cache of float16: takes float32, bfloat16, int8 and fp8");
  n = needs(64);
  n.kv_heads = 3;
  EXPECT_THAT(flash.why_not(n), HasSubstr("8 heads with 3 kv heads"));
}

TEST(Select, support_text_lists_every_kernel) {
  EXPECT_THAT(support_text({needs(80)}), EndsWith("cpu.flash: yes; ref.naive: yes"));
  EXPECT_THAT(support_text({needs(80), needs(1040)}),
              EndsWith("cpu.flash: head_dim 1040: takes 1 to 1024; ref.naive: yes"));
}

}  // namespace
}  // namespace heed
