# src/kernels/cuda: the plan of its attention everywhere, for tests need no device; the rest where there is nvcc.
#
# The CUDA runtime is linked statically, the driver and cuBLASLt are found at run time: one binary starts on machines
# with and without a GPU.
set(HEED_CUDA_OPTIONS $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -lineinfo -Werror=all-warnings>)

if(HEED_CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()

function(heed_cuda_kernels)
  set(sources src/kernels/cuda/attention_plan.cpp)
  if(HEED_CUDA)
    file(GLOB sources CONFIGURE_DEPENDS src/kernels/cuda/*.cpp src/kernels/cuda/*.cu)
  endif()
  add_library(heed_kernels_cuda STATIC ${sources})
  target_link_libraries(heed_kernels_cuda PUBLIC heed_options heed_kernels)
  if(HEED_CUDA)
    target_compile_options(heed_kernels_cuda PRIVATE ${HEED_CUDA_OPTIONS})
    target_link_libraries(heed_kernels_cuda PRIVATE CUDA::cudart_static dl)
    target_include_directories(heed_kernels_cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
  endif()
endfunction()
