// The choice of backend and attention kernels, and what it says when there is none.
#include "backends/select.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace heed {
namespace {

using testing::HasSubstr;

AttentionNeeds needs(int head_dim) {
  return {.heads = 8, .kv_heads = 2, .head_dim = head_dim, .v_dim = head_dim};
}

TEST(Select, auto_takes_the_first_backend_and_its_first_kernel_for_every_layer) {
  const Result<Choice> choice = choose({needs(64), needs(128)}, "", "");
  ASSERT_TRUE(choice.ok());
  EXPECT_EQ(choice->kernels, all_backends().front());
  EXPECT_EQ(choice->kernels->name, "cpu");
  ASSERT_EQ(choice->attention.size(), 2U);
  EXPECT_EQ(choice->attention[0]->name, "cpu.flash");
  EXPECT_EQ(choice->attention[1]->name, "cpu.flash");
}

TEST(Select, a_named_backend_and_a_named_attention_kernel_are_taken) {
  EXPECT_EQ(choose({needs(64)}, "ref", "")->attention[0]->name, "ref.naive");
  const Result<Choice> mixed = choose({needs(64)}, "cpu", "ref.naive");
  ASSERT_TRUE(mixed.ok());
  EXPECT_EQ(mixed->kernels->name, "cpu");
  EXPECT_EQ(mixed->attention[0]->name, "ref.naive");
}

TEST(Select, unknown_names_are_refused_with_the_names_that_exist) {
  EXPECT_EQ(choose({needs(64)}, "metal", "").error().message,
            "backend \"metal\" is unknown: this program has cpu, ref");
  EXPECT_EQ(choose({needs(64)}, "", "cpu.fast").error().message,
            "attention kernel \"cpu.fast\" is unknown: this program has cpu.flash, ref.naive");
}

TEST(Select, a_layer_that_the_backend_cannot_run_is_an_error_and_no_fallback) {
  const Result<Choice> choice = choose({needs(64), needs(2048)}, "", "");
  ASSERT_FALSE(choice.ok());
  EXPECT_EQ(choice.error().code, ErrorCode::kUnsupported);
  EXPECT_EQ(choice.error().message,
            "backend cpu cannot run this model's attention: cpu.flash: head_dim 2048: takes 1 to 1024; "
            "ref.naive: yes (--backend ref)");
}

TEST(Select, a_forced_kernel_is_refused_with_its_reasons) {
  const Result<Choice> choice = choose({needs(64), needs(2048), needs(2048)}, "", "cpu.flash");
  ASSERT_FALSE(choice.ok());
  EXPECT_EQ(choice.error().message,
            "attention kernel cpu.flash cannot run this model: head_dim 2048: takes 1 to 1024");
}

TEST(Select, reasons_carry_numbers) {
  const AttentionKernel& flash = all_backends().front()->attention[0];
  AttentionNeeds n = needs(64);
  EXPECT_EQ(flash.why_not(n), "");
  n.v_dim = 1025;
  EXPECT_EQ(flash.why_not(n), "v_dim 1025: takes 1 to 1024");
  n = needs(64);
  n.kv_dtype = DType::kF16;
  EXPECT_EQ(flash.why_not(n), "cache of float16: takes float32 and bfloat16");
  n = needs(64);
  n.kv_heads = 3;
  EXPECT_THAT(flash.why_not(n), HasSubstr("8 heads with 3 kv heads"));
}

TEST(Select, support_text_lists_every_kernel) {
  EXPECT_EQ(support_text({needs(80)}), "cpu.flash: yes; ref.naive: yes");
  EXPECT_EQ(support_text({needs(80), needs(1040)}),
            "cpu.flash: head_dim 1040: takes 1 to 1024; ref.naive: yes");
}

}  // namespace
}  // namespace heed
