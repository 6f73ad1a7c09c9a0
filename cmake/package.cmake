# `cmake --install build/release`: the program, and a CMake package for programs that embed the engine
# (examples/offline shows its use).
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(HEED_PACKAGE options base tensor formats attention kernels kernels_ref kernels_cpu kernels_cuda backends text grammar media
  model models engine metrics dialects client fetch serving)
set(directory ${CMAKE_INSTALL_LIBDIR}/cmake/heed)
foreach(name IN LISTS HEED_PACKAGE)
  set_target_properties(heed_${name} PROPERTIES EXPORT_NAME ${name})
  install(TARGETS heed_${name} EXPORT heed
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} OBJECTS DESTINATION ${CMAKE_INSTALL_LIBDIR}/heed)
endforeach()
install(EXPORT heed NAMESPACE heed:: DESTINATION ${directory})
install(TARGETS heed RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY src/ DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/heed FILES_MATCHING PATTERN "*.h"
  PATTERN api EXCLUDE PATTERN server EXCLUDE PATTERN cli EXCLUDE PATTERN kernels/cpu/isa EXCLUDE)
if(HEED_CUDA)
  set(cuda "find_dependency(CUDAToolkit)\n")
endif()
file(WRITE ${CMAKE_BINARY_DIR}/heedConfig.cmake "include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(nlohmann_json 3.11)
find_dependency(Boost 1.81)
${cuda}include(\${CMAKE_CURRENT_LIST_DIR}/heed.cmake)
")
write_basic_package_version_file(${CMAKE_BINARY_DIR}/heedConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/heedConfig.cmake ${CMAKE_BINARY_DIR}/heedConfigVersion.cmake
  DESTINATION ${directory})
