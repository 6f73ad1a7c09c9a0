// Tests of the cpu backend run once on every instruction set that this machine has.
#pragma once
#include <gtest/gtest.h>

#include "kernels/cpu/cpu.h"
#include "kernels/ref/ref.h"

namespace heed::cases {

class OnIsa : public testing::TestWithParam<std::string_view> {
 protected:
  void SetUp() override {
    kernels = cpu_kernels_for(GetParam());
    if (kernels == nullptr) GTEST_SKIP() << "this machine has no " << GetParam();
  }
  const Kernels* kernels = nullptr;
  const Kernels& ref = ref_kernels();
  ThreadPool pool{2};
  Stream stream{&pool};
};

inline std::string name_of_isa(const testing::TestParamInfo<std::string_view>& info) {
  std::string name(info.param);
  for (char& c : name) c = c == '-' ? '_' : c;
  return name;
}

inline std::string suffixed(const std::string& op, DType dtype) {
  return dtype == DType::kBF16 ? op + " bfloat16" : op;
}

}  // namespace heed::cases

// INSTANTIATE_ON_ISA(Suite): runs TEST_P(Suite, ...), Suite being OnIsa or made of it.
#define INSTANTIATE_ON_ISA(suite)                                                               \
  INSTANTIATE_TEST_SUITE_P(Isa, suite, testing::ValuesIn(cpu_isas().begin(), cpu_isas().end()), \
                           heed::cases::name_of_isa)
