# src/kernels/cpu: plain sources once, and the kernels under isa/ once per instruction set.
#
# The kernels are optimised in every build: at -O0 vector code is unusably slow, and helpers that stay out of line
# would be symbols. No contraction and no fast-math: the results are part of the contract. A test
# holds the objects to exporting one table each (tools/check_isa_symbols.py).
# heed_cpu_isa(name "files" flags ...): the kernels of these files, or of all but these ("!files"), or of all ("").
# *_amx.cpp are what AMX adds, and are compiled for it alone.
function(heed_cpu_isa isa files)
  file(GLOB sources CONFIGURE_DEPENDS src/kernels/cpu/isa/*.cpp)
  if(NOT isa STREQUAL "amx")
    list(FILTER sources EXCLUDE REGEX "_amx\\.cpp$")
  endif()
  if(files MATCHES "^!(.*)")
    list(FILTER sources EXCLUDE REGEX "/(${CMAKE_MATCH_1})\\.cpp$")
  elseif(files)
    list(FILTER sources INCLUDE REGEX "/(${files})\\.cpp$")
  endif()
  add_library(heed_cpu_${isa} OBJECT ${sources})
  target_link_libraries(heed_cpu_${isa} PUBLIC heed_kernels)
  target_compile_definitions(heed_cpu_${isa} PRIVATE HEED_ISA=${isa})
  target_compile_options(heed_cpu_${isa} PRIVATE -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math
    -fno-exceptions -fno-rtti -fno-lto -fno-semantic-interposition ${ARGN}
    # GCC's own headers leave the unused lanes of an intrinsic's result unset on purpose.
    $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized -Wno-maybe-uninitialized -Wno-psabi>)
  if(isa STREQUAL "avx2" AND HEED_SANITIZE MATCHES "address")
    set_target_properties(heed_cpu_${isa} PROPERTIES HEED_NOT_INSTRUMENTED ON)
  elseif(HEED_SANITIZE AND CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    # Checks as calls: in line they take clang 40 s for one file that is unrolled.
    target_compile_options(heed_cpu_${isa} PRIVATE -O1 "SHELL:-mllvm -asan-instrumentation-with-call-threshold=0")
  endif()
  target_sources(heed_kernels_cpu PRIVATE $<TARGET_OBJECTS:heed_cpu_${isa}>)
  set_property(GLOBAL APPEND PROPERTY HEED_CPU_OBJECTS $<TARGET_OBJECTS:heed_cpu_${isa}>)
endfunction()

function(heed_cpu_kernels)
  heed_library(kernels/cpu USES kernels)
  set(avx2 -mavx2 -mfma -mf16c)
  set(avx512 ${avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq)
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
    heed_cpu_isa(baseline "")
  elseif(HEED_SANITIZE)
    # Twice the same kernels: baseline with the sanitizer's checks, for the kernels' own tests, and avx2 without those
    # of addresses, on which whole models run: with them they take many minutes.
    heed_cpu_isa(baseline "" ${avx2})
    heed_cpu_isa(avx2 "" ${avx2})
  else()
    heed_cpu_isa(baseline "")
    heed_cpu_isa(avx2 "" ${avx2})
    heed_cpu_isa(avx512 "" ${avx512})
    heed_cpu_isa(avx512_vnni blocks ${avx512} -mavx512vnni)
    heed_cpu_isa(avx512_bf16 !blocks ${avx512} -mavx512bf16)
    heed_cpu_isa(amx ".*_amx|attention" ${avx512} -mavx512bf16 -mamx-tile -mamx-bf16)
    heed_cpu_isa(amx_int8 blocks ${avx512} -mavx512vnni -mamx-tile -mamx-int8)
  endif()
  find_package(Python3 QUIET COMPONENTS Interpreter)
  if(HEED_TESTS AND Python3_FOUND)
    get_property(objects GLOBAL PROPERTY HEED_CPU_OBJECTS)
    add_test(NAME kernels.isa_objects_export_one_table_each
      COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/tools/check_isa_symbols.py ${CMAKE_NM} ${objects}
      COMMAND_EXPAND_LISTS)
  endif()
endfunction()
