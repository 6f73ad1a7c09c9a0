# emulated_tests: some of the cuda backend's kernels on the CPU (tests/emulated/emulator.h), by the tests that they pass
# on a device. Wants CUDA's headers, but no device.
find_library(BOOST_CONTEXT_LIBRARY NAMES libboost_context.a boost_context)
if(NOT HEED_CUDA OR NOT BOOST_CONTEXT_LIBRARY)
  return()
endif()

set(emulated_sources)
foreach(kernels attention_short attention_short_fp8 block_few block_few_large heads linear_few norm rows)
  set(source ${CMAKE_CURRENT_BINARY_DIR}/emulated/${kernels}.cpp)
  file(CONFIGURE OUTPUT ${source} CONTENT "#include \"kernels/cuda/${kernels}.cu\"\n")
  list(APPEND emulated_sources ${source})
endforeach()
add_executable(emulated_tests emulated/device.cpp emulated/emulator.cpp ${emulated_sources}
  ${CMAKE_SOURCE_DIR}/src/kernels/cuda/attention.cpp ${CMAKE_SOURCE_DIR}/src/kernels/cuda/linears.cpp
  kernels/cuda/attention_test.cpp kernels/cuda/blocks_test.cpp kernels/cuda/fused_test.cpp
  kernels/cuda/ops_test.cpp)
# Its headers stand before the device's.
target_include_directories(emulated_tests BEFORE PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/emulated)
target_include_directories(emulated_tests PRIVATE ${CMAKE_SOURCE_DIR})
target_include_directories(emulated_tests SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
target_link_libraries(emulated_tests PRIVATE heed_options heed_kernels heed_kernels_ref GTest::gtest_main
  ${BOOST_CONTEXT_LIBRARY})
# What is written for nvcc, g++ warns of. And sums as they stand, or products alike in two places would differ.
target_compile_options(emulated_tests PRIVATE -O2 -w -ffp-contract=off)
set_target_properties(emulated_tests PROPERTIES UNITY_BUILD OFF)

function(heed_emulated_test name filter sms)
  add_test(NAME emulated.${name} COMMAND emulated_tests --gtest_filter=${filter})
  set_tests_properties(emulated.${name} PROPERTIES ENVIRONMENT HEED_EMULATED_SMS=${sms} TIMEOUT 900)
endfunction()
heed_emulated_test(attention CudaAttention.flash_equals_ref* 24)
# Two multiprocessors, so that blocks have several bins.
heed_emulated_test(attention_bits CudaAttention.*-*simple*:*flash_equals_ref* 2)
# One multiprocessor, or linear layers would want clusters. Without what has no kernel here, or is large.
heed_emulated_test(ops CudaFused.*:CudaOps.*-*many_outputs*:*dozens*:*arg_max*:*draw*:*linear_* 1)
heed_emulated_test(blocks CudaBlocks.*-*embed*:*expert* 1)
