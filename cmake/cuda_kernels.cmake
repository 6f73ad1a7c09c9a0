# src/kernels/cuda, where there is nvcc; empty elsewhere.
#
# The CUDA runtime is linked statically, the driver and cuBLASLt are found at run time: one binary starts on machines
# with and without a GPU.
set(HEED_CUDA_OPTIONS $<$<COMPILE_LANGUAGE:CUDA>:--expt-relaxed-constexpr -lineinfo -Werror=all-warnings>)

if(HEED_CUDA)
  find_package(CUDAToolkit REQUIRED)
endif()

function(heed_cuda_kernels)
  if(NOT HEED_CUDA)
    add_library(heed_kernels_cuda INTERFACE)
    target_link_libraries(heed_kernels_cuda INTERFACE heed_options heed_kernels)
    return()
  endif()
  file(GLOB sources CONFIGURE_DEPENDS src/kernels/cuda/*.cpp src/kernels/cuda/*.cu)
  add_library(heed_kernels_cuda STATIC ${sources})
  target_link_libraries(heed_kernels_cuda PUBLIC heed_options heed_kernels)
  target_compile_options(heed_kernels_cuda PRIVATE ${HEED_CUDA_OPTIONS})
  target_link_libraries(heed_kernels_cuda PRIVATE CUDA::cudart_static dl)
  target_include_directories(heed_kernels_cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
endfunction()
