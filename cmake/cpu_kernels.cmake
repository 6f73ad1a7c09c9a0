# src/kernels/cpu: plain sources once, and the kernels under isa/ once per instruction set.
function(heed_cpu_kernels)
  heed_library(kernels/cpu USES kernels)
endfunction()
