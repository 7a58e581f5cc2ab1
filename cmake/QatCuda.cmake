# CUDA kernels (csrc/kernels/cuda, no torch) and operators (csrc/ops/cuda), by QAT_CUDA:
#
#   AUTO          libqat_ext_cuda.so where torch has CUDA and nvcc is there; otherwise nothing
#   OFF           nothing
#   COMPILE_ONLY  the object files alone, target qat_cuda_objects; any torch will do
#
# Included by csrc/CMakeLists.txt.
set_property(CACHE QAT_CUDA PROPERTY STRINGS AUTO OFF COMPILE_ONLY)
if(NOT QAT_CUDA MATCHES "^(AUTO|OFF|COMPILE_ONLY)$")
  message(FATAL_ERROR "QAT_CUDA: expected AUTO, OFF or COMPILE_ONLY, got ${QAT_CUDA}")
endif()

set(torch_cuda_library ${TORCH_INSTALL_PREFIX}/lib/libtorch_cuda.so)
include(CheckLanguage)
if(QAT_CUDA STREQUAL "COMPILE_ONLY" OR (QAT_CUDA STREQUAL "AUTO" AND EXISTS ${torch_cuda_library}))
  check_language(CUDA)
endif()
if(QAT_CUDA STREQUAL "COMPILE_ONLY" AND NOT CMAKE_CUDA_COMPILER)
  message(FATAL_ERROR "QAT_CUDA: COMPILE_ONLY needs nvcc, which was not found; put it into PATH or "
    "set CUDACXX")
endif()
if(NOT CMAKE_CUDA_COMPILER)
  message(STATUS "CUDA: not built (QAT_CUDA=${QAT_CUDA})")
  return()
endif()

# 7.5 is the oldest that torch's wheels and CUDA 13 know.
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 75-real 90)
endif()
set(CMAKE_CUDA_FLAGS_RELEASE "-O3 -DNDEBUG")
if(CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${CCACHE})
endif()
enable_language(CUDA)
find_package(CUDAToolkit REQUIRED)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc takes C++20
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()

# One stem per operator, the same in both folders; requantize is bn_act_quantize's kernel.
set(operators affine_half batch_statistics bn_act bn_act_quantize bn_act_quantize_backward choose_qparams
  conv_int fake_quantize fake_quantize_learned fold_batch_norm linear_int lookup observe_histogram
  observe_minmax quantize quantize_weight straight_through sum_codes)
list(TRANSFORM operators REPLACE "(.+)" "kernels/cuda/\\1.cu" OUTPUT_VARIABLE kernel_sources)
list(TRANSFORM operators REPLACE "(.+)" "ops/cuda/\\1.cpp" OUTPUT_VARIABLE glue_sources)
list(APPEND kernel_sources kernels/cuda/window_products.cu)
list(APPEND glue_sources ops/cuda/requantize.cpp ops/cuda/chain_view.cpp
  ops/cuda/conv_int_backward.cpp)

# Note [No contraction] in numerics/arith.h. --expt-relaxed-constexpr lets device code call the
# constexpr members of numerics/format.h.
add_library(qat_cuda_kernels OBJECT ${kernel_sources})
target_include_directories(qat_cuda_kernels PRIVATE ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_options(qat_cuda_kernels PRIVATE -fmad=false --expt-relaxed-constexpr
  -Werror=all-warnings -Xcompiler=-Wall,-Wextra,-ffp-contract=off)

add_library(qat_cuda_ops OBJECT ${glue_sources})
target_link_libraries(qat_cuda_ops PRIVATE qat_compile qat_torch)
target_include_directories(qat_cuda_ops SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS})
if(NOT EXISTS ${TORCH_INSTALL_PREFIX}/include/c10/cuda/impl/cuda_cmake_macros.h)
  # A torch without CUDA has the headers but for this generated one.
  target_compile_definitions(qat_cuda_ops PRIVATE C10_CUDA_NO_CMAKE_CONFIGURE_FILE)
endif()
add_custom_target(qat_cuda_objects DEPENDS qat_cuda_kernels qat_cuda_ops)

if(QAT_CUDA STREQUAL "COMPILE_ONLY")
  set_target_properties(qat_cuda_kernels qat_cuda_ops PROPERTIES EXCLUDE_FROM_ALL ON)
  message(STATUS "CUDA: compiled only, for ${CMAKE_CUDA_ARCHITECTURES}")
  return()
endif()

add_library(qat_ext_cuda SHARED
  $<TARGET_OBJECTS:qat_cuda_kernels> $<TARGET_OBJECTS:qat_cuda_ops>)
# The CUDA runtime must be the one that torch has loaded: a second copy knows nothing of its streams.
target_link_libraries(qat_ext_cuda PRIVATE qat_ext qat_torch ${torch_cuda_library}
  ${TORCH_INSTALL_PREFIX}/lib/libc10_cuda.so CUDA::cudart)
set_target_properties(qat_ext_cuda PROPERTIES LINKER_LANGUAGE CXX
  INSTALL_RPATH "$ORIGIN;$ORIGIN/../../torch/lib" LIBRARY_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/lib)
install(TARGETS qat_ext_cuda LIBRARY DESTINATION lib)
# The package's target is declared after this folder.
cmake_language(DEFER DIRECTORY ${CMAKE_SOURCE_DIR} CALL add_dependencies qat_package qat_ext_cuda)
message(STATUS "CUDA: libqat_ext_cuda.so for ${CMAKE_CUDA_ARCHITECTURES}")
